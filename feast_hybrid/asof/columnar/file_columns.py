"""A Parquet file's columns by the names that a view's frame has for them, and what its row groups' statistics say."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.utc import DAY_MICROS, epoch_micros_of_array
from feast_hybrid.errors import JoinError, SchemaError

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import FileSplit, SourceColumn, ViewSpec

_YEAR_1900 = -2_208_988_800 * 1_000_000
_MICROS_OF_UNIT = {"s": 1_000_000, "ms": 1_000, "us": 1}


class FileColumns:
    """A file's columns by the names that the view's frame has for them.

    Args:
        split: Which file it is, and its partition columns.
        view: Says which columns are wanted.
        file: The file, open.

    Attributes:
        in_file: The wanted columns that the file has: names in the frame and in the file.

    Raises:
        SchemaError: A wanted column could be several of the file's.
    """

    def __init__(self, split: FileSplit, view: ViewSpec, file: pq.ParquetFile) -> None:
        self._split = split
        self._view = view
        self._file = file
        self._has_old_calendar = _has_old_calendar(file.metadata.metadata or {})
        self.in_file: dict[str, str] = {}
        names = file.schema_arrow.names
        for column in view.columns:
            if column.name not in split.partitions:
                found = [name for name in names if name == column.name]
                if not found and not view.case_sensitive:
                    found = [name for name in names if name.lower() == column.name.lower()]
                if len(found) > 1:
                    raise SchemaError(f"{self._describe(column)}: the file has {', '.join(map(repr, found))}")
                if found:
                    self.in_file[column.name] = found[0]

    def _describe(self, column: SourceColumn) -> str:
        return f"view {self._view.name!r}: column {column.name!r} of {self._split.path}"

    def get(self, column: SourceColumn, batch: pa.RecordBatch | None, rows: int) -> pa.Array:
        """A column in the frame's type; of the folder's name or of nulls where the file does not have it.

        Args:
            column: A wanted one.
            batch: Rows of the file, None where no column of it is wanted.
            rows: How many rows there are.

        Raises:
            SchemaError: The file has it in a type that does not go with the frame's.
            JoinError: It has times that another calendar would have moved.
        """
        if column.name in self._split.partitions:
            value = self._split.partitions[column.name]
            return self._in_our_calendar(column, pa.repeat(pa.scalar(value, column.data_type), rows))
        name = self.in_file.get(column.name)
        if name is None or batch is None:
            return pa.nulls(rows, column.data_type)
        try:
            array = convert_for_reading(batch.column(batch.schema.get_field_index(name)), column.data_type)
        except (SchemaError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"{self._describe(column)}: {error}") from None
        return self._in_our_calendar(column, array)

    def _in_our_calendar(self, column: SourceColumn, array: pa.Array) -> pa.Array:
        """The array, unless a file of an old Spark holds times in it that another calendar would have moved."""
        if not self._has_old_calendar or not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
            return array
        first = pc.min(epoch_micros_of_array(array)).as_py()
        if first is not None and first < _YEAR_1900:
            raise JoinError(
                f"{self._describe(column)} holds times before 1900 in the calendar of an old Spark, which Spark's"
                " own reader converts: use another strategy than 'columnar' for it (offline_store.join.strategy)"
            )
        return array

    def may_match(self, group: int) -> bool:
        """Whether a row group's statistics leave room for a row that can be a match."""
        view = self._view
        ts = self._time_range(view.timestamp, group)
        if ts is not None and (
            (view.high is not None and ts[0] > view.high) or (view.low is not None and ts[1] < view.low)
        ):
            return False
        if view.by_created and view.created is not None and view.high is not None:
            created = self._time_range(view.created, group)
            if created is not None and created[0] > view.high:
                return False
        exact = view.key_filter.exact if view.key_filter is not None else None
        if exact is None:
            return True
        key = view.keys[0]
        if key.form.family not in ("whole number", "string") or not self._compares_plainly(
            key.source, key.form.family
        ):
            return True
        key_range = self._statistics(key.source, group)
        if key_range is None:
            return True
        place = bisect.bisect_left(exact, key_range[0])
        return bool(place < len(exact) and exact[place] <= key_range[1])

    def _compares_plainly(self, column: SourceColumn, family: str) -> bool:
        """Whether the statistics of a key column are ranges of what is compared."""
        if column.name not in self.in_file:
            return False
        found = self._file.schema_arrow.field(self.in_file[column.name]).type
        return bool(pa.types.is_signed_integer(found) if family == "whole number" else pa.types.is_string(found))

    def _time_range(self, column: SourceColumn, group: int) -> tuple[int, int] | None:
        """The first and last time of a row group, in microseconds."""
        if column.name not in self.in_file:
            return None
        data_type = self._file.schema_arrow.field(self.in_file[column.name]).type
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
        name = self.in_file[column.name]
        leaves = [n for n in range(len(self._file.schema)) if self._file.schema.column(n).path == name]
        if len(leaves) != 1:
            return None
        statistics = self._file.metadata.row_group(group).column(leaves[0]).statistics
        if statistics is None or not statistics.has_min_max or statistics.physical_type == "INT96":
            return None
        return statistics.min_raw, statistics.max_raw


def _has_old_calendar(metadata: dict[bytes, bytes]) -> bool:
    """Whether Spark's reader would convert times before 1900: in files of Spark 2, and of its legacy mode."""
    version = metadata.get(b"org.apache.spark.version", b"3").split(b".")[0]
    legacy = b"org.apache.spark.legacyDateTime" in metadata or b"org.apache.spark.legacyINT96" in metadata
    return legacy or (version.isdigit() and int(version) < 3)
