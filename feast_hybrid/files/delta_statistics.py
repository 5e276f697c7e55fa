"""What the log of a Delta table says of the times in a file, by which files are left out before one is opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from feast_hybrid.arrow.utc import to_epoch_micros

#: Times in the log may be cut off after milliseconds, the latest one too; those before 1970 towards it, by some.
_CUT_OFF = 999
#: So may be the seconds of a zone's offset, which it had where its clocks went by the sun: New York's were 4:56:02
#: behind UTC, and Spark writes -04:56.
_OFFSET_CUT_OFF = 59_999_999
#: What the offsets of today's zones are multiples of.
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True)
class LoggedTimes:
    """The times in a file: see :class:`feast_hybrid.files.resolved.ColumnTimes`.

    Attributes:
        statistics: of the file, in JSON as the log has them.
    """

    statistics: str

    def between(self, column: str) -> tuple[int, int] | None:
        """The first and the last time that the file can have in a column; None where the log does not say it."""
        try:
            found = json.loads(self.statistics)
            (low, less), (high, more) = (_micros(found[end][column]) for end in ("minValues", "maxValues"))
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
        return low - less, high + more


def _micros(text: Any) -> tuple[int, int]:
    """A time, and by how much the one that is meant may be off."""
    time = datetime.fromisoformat(text)
    offset = time.utcoffset()
    if offset is None:
        time, offset = time.replace(tzinfo=UTC), timedelta(0)
    return to_epoch_micros(time), _OFFSET_CUT_OFF if offset % _QUARTER else _CUT_OFF
