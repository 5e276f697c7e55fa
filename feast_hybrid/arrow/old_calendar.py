"""Times before 1900 in Parquet files of an old Spark, whose calendar was another: Spark converts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.utc import epoch_micros_of_array

_YEAR_1900 = -2_208_988_800 * 1_000_000


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
