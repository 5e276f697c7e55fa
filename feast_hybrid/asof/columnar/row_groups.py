"""Which row groups of a Parquet file, and what else has statistics, can hold a match."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.utc import DAY_MICROS

if TYPE_CHECKING:
    import pyarrow.parquet as pq

    from feast_hybrid.asof.columnar.file_columns import FileColumns
    from feast_hybrid.asof.columnar.spec import KeyColumn, SourceColumn, ViewSpec

_MICROS_OF_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


def may_match(
    view: ViewSpec,
    time_range: Callable[[SourceColumn], tuple[int, int] | None],
    key_range: Callable[[KeyColumn], tuple[Any, Any] | None],
) -> bool:
    """Whether statistics of some rows leave room for one that can be a match.

    Args:
        view: Says which rows can be.
        time_range: No later than the first and no earlier than the last time of a column, in microseconds; None if
            not known.
        key_range: No greater than the least and no less than the greatest value of a whole number or a text, the
            latter in bytes; None if not known.
    """
    ts = time_range(view.timestamp)
    if ts is not None and (
        (view.high is not None and ts[0] > view.high) or (view.low is not None and ts[1] < view.low)
    ):
        return False
    if ts is not None and view.found is not None and not view.found.may_match(*ts):
        return False
    if view.by_created and view.created is not None and view.high is not None:
        created = time_range(view.created)
        if created is not None and created[0] > view.high:
            return False
    exact = view.key_filter.exact if view.key_filter is not None else None
    if exact is None or view.keys[0].form.family not in ("whole number", "string"):
        return True
    keys = key_range(view.keys[0])
    if keys is None:
        return True
    place = bisect.bisect_left(exact, keys[0])
    return bool(place < len(exact) and exact[place] <= keys[1])


class RowGroups:
    """The row groups of a file.

    Args:
        file: The file, open.
        columns: Its columns by the view's names.
        view: Says which rows can be a match.
    """

    def __init__(self, file: pq.ParquetFile, columns: FileColumns, view: ViewSpec) -> None:
        self._file, self._columns, self._view = file, columns, view

    def may_match(self, group: int) -> bool:
        """Whether a row group's statistics leave room for a row that can be a match."""
        return may_match(
            self._view,
            lambda column: self._time_range(column, group),
            lambda key: self._key_range(key, group),
        )

    def _key_range(self, key: KeyColumn, group: int) -> tuple[Any, Any] | None:
        """The least and the greatest value of a key in a row group, as it is compared."""
        if not self._compares_plainly(key.source, key.form.family):
            return None
        return self._statistics(key.source, group)

    def _compares_plainly(self, column: SourceColumn, family: str) -> bool:
        """Whether the statistics of a key column are ranges of what is compared."""
        if column.name not in self._columns.in_file:
            return False
        found = self._file.schema_arrow.field(self._columns.in_file[column.name]).type
        return bool(pa.types.is_signed_integer(found) if family == "whole number" else pa.types.is_string(found))

    def _time_range(self, column: SourceColumn, group: int) -> tuple[int, int] | None:
        """The first and last time of a row group, in microseconds."""
        if column.name not in self._columns.in_file:
            return None
        data_type = self._file.schema_arrow.field(self._columns.in_file[column.name]).type
        found = self._statistics(column, group)
        if found is None:
            return None
        low, high = found
        if pa.types.is_date32(data_type):
            return low * DAY_MICROS, high * DAY_MICROS
        if not pa.types.is_timestamp(data_type):
            return None
        factor = _MICROS_OF_UNIT.get(data_type.unit)
        return (low // 1000, high // 1000) if factor is None else (low * factor, high * factor)

    def _statistics(self, column: SourceColumn, group: int) -> tuple[Any, Any] | None:
        """The least and the greatest value as Parquet holds them."""
        name = self._columns.in_file[column.name]
        leaves = [n for n in range(len(self._file.schema)) if self._file.schema.column(n).path == name]
        if len(leaves) != 1:
            return None
        statistics = self._file.metadata.row_group(group).column(leaves[0]).statistics
        if statistics is None or not statistics.has_min_max or statistics.physical_type == "INT96":
            return None
        return statistics.min_raw, statistics.max_raw
