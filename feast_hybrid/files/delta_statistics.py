"""What the log of a Delta table says of the times in a file, by which files are left out before one is opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feast_hybrid.arrow.utc import to_epoch_micros

#: Times in the log may be cut off after milliseconds, the latest one too.
_CUT_OFF = 999


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
            low, high = (_micros(found[end][column]) for end in ("minValues", "maxValues"))
        except (ValueError, KeyError, TypeError, OverflowError):
            return None
        return low, high + _CUT_OFF


def _micros(text: Any) -> int:
    time = datetime.fromisoformat(text)
    return to_epoch_micros(time.replace(tzinfo=UTC) if time.tzinfo is None else time)
