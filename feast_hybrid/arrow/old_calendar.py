"""Times before 1900 in Parquet files of an old Spark, whose calendar was another: Spark converts them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.arrow.utc import DAY_MICROS, epoch_micros_of_array

_YEAR_1900 = -2_208_988_800 * 1_000_000

#: Microseconds of the units of Parquet's times, as its footers call them; nanoseconds are none of an old Spark's.
_MICROS = {"milliseconds": 1_000, "microseconds": 1}


def has_old_calendar(metadata: Mapping[bytes, bytes]) -> bool:
    """Whether Spark's reader would convert times before 1900: in files of Spark 2, and of its legacy mode.

    Args:
        metadata: what a Parquet file's writer noted.
    """
    version = metadata.get(b"org.apache.spark.version", b"3").split(b".")[0]
    legacy = b"org.apache.spark.legacyDateTime" in metadata or b"org.apache.spark.legacyINT96" in metadata
    return legacy or (version.isdigit() and int(version) < 3)


def holds_old_times(array: pa.Array) -> bool:
    """Whether there are times before 1900 among values, or within their lists, maps and structs."""
    return any(_is_before_1900(times) for times in _times_in(array))


def columns_with_old_times(file: pq.ParquetFile) -> dict[str, str]:
    """The columns of a file of an old Spark with times before 1900, as far as its statistics tell, and what they are.

    INT96 has no statistics: whoever reads such a column looks at its values.

    Args:
        file: a Parquet file, open.
    """
    if not has_old_calendar(file.metadata.metadata or {}):
        return {}
    found = {}
    for place in range(len(file.schema)):
        leaf = file.schema.column(place)
        factor = _micros_of(leaf)
        if factor is not None and any(least * factor < _YEAR_1900 for least in _least(file.metadata, place)):
            name = next((name for name in file.schema_arrow.names if leaf.path == name), leaf.path.split(".")[0])
            found[name] = "holds times before 1900 in the calendar of an old Spark"
    return found


def _micros_of(leaf: pq.ColumnSchema) -> int | None:
    """How many microseconds a column's numbers count; None for other columns than of dates and times."""
    kind = json.loads(leaf.logical_type.to_json())
    if kind["Type"] == "Date":
        return DAY_MICROS
    return _MICROS.get(kind["timeUnit"]) if kind["Type"] == "Timestamp" else None


def _least(metadata: pq.FileMetaData, place: int) -> Iterator[int]:
    """The least numbers of a column in those row groups that have statistics of it."""
    for group in range(metadata.num_row_groups):
        statistics = metadata.row_group(group).column(place).statistics
        if statistics is not None and statistics.has_min_max:
            yield statistics.min_raw


def _times_in(array: pa.Array) -> Iterator[pa.Array]:
    """The times of an array: its own, and those within its lists, maps and structs."""
    is_ = pa.types
    if is_.is_timestamp(array.type) or is_.is_date(array.type):
        yield array
    elif is_.is_map(array.type):
        yield from _times_in(array.keys)
        yield from _times_in(array.items)
    elif is_.is_list(array.type) or is_.is_struct(array.type):
        for part in [array.flatten()] if is_.is_list(array.type) else array.flatten():
            yield from _times_in(part)


def _is_before_1900(times: pa.Array) -> bool:
    first = pc.min(epoch_micros_of_array(times)).as_py()
    return first is not None and first < _YEAR_1900
