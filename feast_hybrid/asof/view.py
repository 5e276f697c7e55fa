"""What an as-of join is asked for: one :class:`AsOfView` for each feature view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from feast_hybrid.asof.scan import Ineligible, Scan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


#: Micros in Spark are 64 bit: a ttl beyond this can exclude nothing.
_LONGEST = 2**63 - 1
_NOT_KNOWN = Ineligible("its files are not known")


@dataclass(frozen=True, kw_only=True, eq=False)
class AsOfView:
    """The history of some features, and how its rows are matched to entity rows.

    Args:
        name: Names the view in errors and in :meth:`JoinPlan.describe`.
        frame: The source's rows, lazy. Columns that are not named below are never read.
        keys: Pairs of (entity column, source column) that have to be equal by value. Where there are
            none, every entity row matches every row of the history.
        timestamp: The source column that says when a row became true: ``timestamp``, ``timestamp_ntz``
            (taken as UTC) or ``date`` (taken as midnight UTC).
        created: The source column that says when a row was written, of the same types. It ranks rows of
            equal ``timestamp``.
        ttl: How old a row may be to still count, inclusive. ``None``, zero and less mean: any age.
        features: Pairs of (source column, output column).
        scan: The files that ``frame`` reads, which can then be read without it; or why they are not known.
        within: Gives ``frame``, or less of it, for two times in microseconds, None for no bound: what a caller knows
            of where its rows of these times are, such as in which partitions. Rows of other times may be in it.
        where: Where the history is, in words.
        notes: What :meth:`JoinPlan.describe` says of how the history is read, such as files that were left out.
    """

    name: str
    frame: DataFrame
    keys: Sequence[tuple[str, str]]
    timestamp: str
    created: str | None = None
    ttl: timedelta | None = None
    features: Sequence[tuple[str, str]]
    scan: Scan | Ineligible = _NOT_KNOWN
    within: Callable[[int | None, int | None], DataFrame] | None = None
    where: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ttl_micros(self) -> int | None:
        """The ttl in microseconds, ``None`` where it limits nothing."""
        return ttl_in_micros(self.ttl)


def ttl_in_micros(ttl: timedelta | None) -> int | None:
    """A ttl in microseconds, ``None`` where it limits nothing."""
    if ttl is None or ttl <= timedelta(0):
        return None
    micros = ttl // timedelta(microseconds=1)
    return micros if micros < _LONGEST else None
