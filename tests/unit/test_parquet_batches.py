"""Batches of Parquet: what is said of their order."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.writing import parquet_files
from feast_hybrid.writing.parquet_layout import is_sorted_by


@pytest.mark.parametrize(("most", "is_sorted"), [(1 << 20, True), (8, False)])
def test_a_batch_that_arrow_cannot_sort_is_written_as_it_comes(
    monkeypatch: pytest.MonkeyPatch, most: int, is_sorted: bool
) -> None:
    monkeypatch.setattr(parquet_files, "SORTED_BYTES", most)
    rows = pa.table({"key": [2, 1, 3]})
    content = parquet_files._encoded(rows, {}, ["key"], int96=False)
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        assert file.read()["key"].to_pylist() == ([1, 2, 3] if is_sorted else [2, 1, 3])
        assert is_sorted_by(file.metadata, ["key"]) is is_sorted


def file_of(times: pa.Array, options: dict[str, str] | None = None, **more: Any) -> pq.ParquetFile:
    rows = pa.table(
        {
            "key": pa.array(range(len(times))),
            "ts": times,
            "a.b": times,
            "other": pa.repeat("x", len(times)),
            "deep": [[]] * len(times),
        }
    )
    content = parquet_files._encoded(rows, options or {}, ["key"], **{"int96": False, **more})
    file = pq.ParquetFile(pa.BufferReader(content))
    assert file.read().equals(rows) or more
    return file


def encodings(file: pq.ParquetFile) -> dict[str, set[str]]:
    columns = [file.metadata.row_group(0).column(place) for place in range(file.metadata.num_columns)]
    return {column.path_in_schema: set(column.encodings) for column in columns}


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_times_are_written_as_differences(unit: str, zone: str | None) -> None:
    times = pa.array([1_700_000_000_000 + 7 * n * n for n in range(1000)], pa.int64()).cast(
        pa.timestamp(unit, tz=zone)
    )
    found = encodings(file_of(times))
    assert "DELTA_BINARY_PACKED" in found["ts"] & found["a.b"]
    assert "RLE_DICTIONARY" not in found["ts"]
    assert "RLE_DICTIONARY" in found["other"]


@pytest.mark.parametrize("options", [{"Parquet.Writer.Version": "PARQUET_1_0"}, {"parquet.writer.version": "v1"}])
def test_a_source_that_asks_for_the_first_version_of_parquet_gets_its_encodings(options: dict[str, str]) -> None:
    times = pa.array(range(1000), pa.timestamp("us"))
    assert all("DELTA_BINARY_PACKED" not in found for found in encodings(file_of(times, options)).values())


def test_times_that_stand_often_have_a_dictionary_and_old_times_are_no_differences() -> None:
    often = pa.array([n // 20 for n in range(1000)], pa.timestamp("us"))
    assert "RLE_DICTIONARY" in encodings(file_of(often))["ts"]
    rare = pa.array(range(1000), pa.timestamp("us"))
    assert "DELTA_BINARY_PACKED" not in encodings(file_of(rare, int96=True))["ts"]
    nothing = pa.nulls(1000, pa.timestamp("us"))
    assert "DELTA_BINARY_PACKED" not in encodings(file_of(nothing))["ts"]
    none = pa.array([], pa.timestamp("us"))
    assert file_of(none).metadata.num_rows == 0
