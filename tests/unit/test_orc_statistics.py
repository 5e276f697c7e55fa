"""Times of ORC that Arrow's reader would wrap around are seen in the file's statistics."""

from __future__ import annotations

import io
from datetime import datetime

import pyarrow as pa
import pyarrow.orc
import pytest

from feast_hybrid.arrow.orc_statistics import beyond_nanoseconds

FAR, NEAR = datetime(9999, 12, 31), datetime(2026, 1, 1)
TIME = pa.timestamp("us")


def _file(columns: dict[str, pa.Array], **options: str) -> io.BytesIO:
    written = io.BytesIO()
    pyarrow.orc.write_table(pa.table(columns), written, **options)
    return io.BytesIO(written.getvalue())


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd"])
@pytest.mark.parametrize(
    "far",
    [
        pa.array([NEAR, FAR], TIME),
        pa.array([datetime(1, 1, 1), None], TIME),
        pa.array([datetime(1677, 9, 20), NEAR], TIME),
        pa.array([datetime(2262, 4, 12), NEAR], TIME),
        pa.array([[NEAR], [NEAR, FAR]], pa.list_(TIME)),
        pa.array([{"a": 1, "b": FAR}, None], pa.struct([("a", pa.int8()), ("b", TIME)])),
        pa.array([[("k", FAR)], []], pa.map_(pa.string(), TIME)),
    ],
    ids=str,
)
def test_a_column_with_such_times_is_named(far: pa.Array, compression: str) -> None:
    file = _file({"key": pa.array([1, 2]), "near": pa.array([NEAR, None], TIME), "far": far}, compression=compression)
    assert beyond_nanoseconds(file, ["key", "near", "far"]) == ("far", True)
    assert beyond_nanoseconds(file, ["key", "near"]) is None


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd"])
def test_what_arrow_can_hold_is_none(compression: str) -> None:
    columns = {
        "edges": pa.array([datetime(1677, 9, 22), datetime(2262, 4, 11)], TIME),
        "nulls": pa.array([None, None], TIME),
        "empty": pa.array([[], None], pa.list_(TIME)),
        "text": pa.array(["9999-12-31", ""]),
    }
    assert beyond_nanoseconds(_file(columns, compression=compression), list(columns)) is None


def test_a_file_without_rows_has_none() -> None:
    assert beyond_nanoseconds(_file({"t": pa.array([], TIME)}), ["t"]) is None


def test_the_file_can_be_read_afterwards() -> None:
    file = _file({"t": pa.array([NEAR], TIME)})
    assert beyond_nanoseconds(file, ["t"]) is None
    assert pyarrow.orc.ORCFile(file).read()["t"].to_pylist() == [NEAR]
