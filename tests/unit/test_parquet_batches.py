"""Batches of Parquet: what is said of their order."""

from __future__ import annotations

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
