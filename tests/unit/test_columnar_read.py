"""What reading tasks read of files, and which rows they pass on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.arrow.old_calendar import columns_with_old_times
from feast_hybrid.asof.columnar.blocks import read_block
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.keys import hashed
from feast_hybrid.asof.columnar.read import ReadBlocks, read_split
from feast_hybrid.asof.columnar.spec import (
    FileSplit,
    KeyFilter,
    ViewSpec,
)
from feast_hybrid.asof.entity_stats.model import make_key_filter
from feast_hybrid.errors import SchemaError, SourceError
from tests.unit.columnar import UTC, Reads, file_splits, history, plain, view_of


def rows_read(view: ViewSpec, file: Path, **partitions: Any) -> tuple[pa.Table, int]:
    opened = Reads()
    rows = list(read_split(file_splits(view.view_id, file, opened=opened, **partitions)[0], view))
    return pa.Table.from_batches(rows, view.block_schema()), opened.bytes


def filter_of(*keys: int) -> KeyFilter:
    column = pa.array(keys, pa.int64())
    found = make_key_filter(np.unique(hashed([column])), [column])
    assert found is not None
    return found


def test_columns_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    file = history(tmp_path)
    _, few = rows_read(view_of(created=False), file)
    _, many = rows_read(view_of(values=[("v", pa.float64()), ("unwanted", pa.float64())], created=False), file)
    assert many - few > 8 * 100_000 * 0.9


def test_row_groups_without_keys_of_the_entity_rows_are_not_read(tmp_path: Path) -> None:
    file = history(tmp_path)
    everything, all_bytes = rows_read(view_of(created=False), file)
    some, few_bytes = rows_read(view_of(created=False, key_filter=filter_of(3, 77)), file)
    assert (everything.num_rows, some.num_rows, set(some["k0"].to_pylist())) == (100_000, 10_000, {3})
    assert few_bytes < all_bytes / 4


def test_row_groups_outside_of_the_entity_rows_times_are_not_read(tmp_path: Path) -> None:
    times = pa.array(np.arange(100_000)).view(UTC)
    file = history(tmp_path, k=pa.array(np.arange(100_000) % 7), ts=times, v=np.random.default_rng(0).random(100_000))
    _, all_bytes = rows_read(view_of(created=False), file)
    some, few_bytes = rows_read(view_of(created=False, low=25_000, high=35_000), file)
    assert some["ts"].to_pylist() == list(range(25_000, 35_001))
    assert few_bytes < all_bytes / 3


def passed_on(
    view: ViewSpec, file: Path, entity_keys: EntityKeys | None, *, flush: int = 1 << 20
) -> list[tuple[Any, ...]]:
    """The rows that leave a reading task, each as (keys…, ts, values…)."""
    view = dataclasses.replace(view, entity_keys=entity_keys)
    read = ReadBlocks((file_splits(view.view_id, file, file),), {view.view_id: view}, 3, flush)
    found = []
    for batch in read(iter([pa.record_batch({"id": pa.array([0])})])):
        for block in batch.column(batch.schema.get_field_index("block")):
            found += [tuple(row.values()) for row in read_block(block, view.block_schema()).to_pylist()]
    return found


@pytest.mark.parametrize("flush", [1, 300_000, 1 << 30])
def test_readers_pass_on_only_rows_that_answer_an_entity_row(tmp_path: Path, flush: int) -> None:
    file = history(tmp_path)
    entity_keys = EntityKeys([pa.array([3, 3, 3, 5, None, 99])], pa.array([20, 20, 77_000, 9_999, 5, 5])).distinct()
    assert len(passed_on(view_of(created=False), file, None, flush=flush)) == 200_000
    found = passed_on(view_of(created=False), file, entity_keys, flush=flush)
    # The file is read twice: where both times meet in one view_id, one row of a tie is enough.
    assert {row[:2] for row in found} == {(3, 20), (3, 9_999), (5, 9_999)}
    assert len(found) <= 6
    found = passed_on(view_of(created=False, ttl=100), file, entity_keys, flush=flush)
    assert {row[:2] for row in found} == {(3, 20), (5, 9_999)}


def test_readers_pass_on_all_rows_where_the_entity_rows_are_many_more(tmp_path: Path) -> None:
    file = history(tmp_path, k=[1, 1], ts=pa.array([1, 2]).view(UTC), v=[0.5, 1.5])
    entity_keys = EntityKeys([pa.array([1] * 100)], pa.array(range(100))).distinct()
    assert len(passed_on(view_of(created=False), file, entity_keys)) == 4


def test_a_file_read_in_pieces_gives_each_row_once(tmp_path: Path) -> None:
    file = history(tmp_path)
    view, size = view_of(created=False), file.stat().st_size
    found = []
    for start in range(0, size, 100_000):
        for rows in read_split(FileSplit(0, str(file), start, start + 100_000, {}, plain), view):
            found += rows.column(0).to_pylist()
    assert sorted(found) == sorted(np.repeat(np.arange(10), 10_000).tolist())


def test_a_column_that_a_file_lacks_is_null_and_a_narrower_one_is_widened(tmp_path: Path) -> None:
    file = history(tmp_path, K=pa.array([1, 2], pa.int16()), ts=pa.array([1, 2]).view(UTC))
    rows, _ = rows_read(view_of(created=True), file)
    assert rows.to_pydict() == {"k0": [1, 2], "ts": [1, 2], "created": [None, None], "v0": [None, None]}


def test_a_partition_column_is_read_from_the_folders_name(tmp_path: Path) -> None:
    file = history(tmp_path, k=[1, 2], ts=pa.array([1, 2]).view(UTC), v=[0.5, 1.5])
    view = view_of(values=[("day", pa.string()), ("v", pa.float64())], created=False)
    rows, _ = rows_read(view, file, day="2024-01-01", v=9.0)
    assert rows["v0"].to_pylist() == ["2024-01-01"] * 2
    assert rows["v1"].to_pylist() == [9.0, 9.0]


def test_a_column_of_another_type_is_refused_by_name(tmp_path: Path) -> None:
    file = history(tmp_path, k=["1"], ts=pa.array([1]).view(UTC), v=[0.5])
    with pytest.raises(SchemaError, match=r"view 'view 0': column 'k' of .*h\.parquet: it is string in the file"):
        rows_read(view_of(created=False), file)


def test_times_before_1900_of_an_old_spark_are_refused(tmp_path: Path) -> None:
    table = pa.table({"k": [1], "ts": pa.array([-(10**16)]).view(UTC), "v": [0.5]})
    file = tmp_path / "old.parquet"
    pq.write_table(table.replace_schema_metadata({"org.apache.spark.legacyDateTime": ""}), file)
    with pytest.raises(SourceError, match="before 1900"):
        rows_read(view_of(created=False), file)


OLD, NEW = pa.array([-(10**16), None]).view(UTC), pa.array([0, None]).view(UTC)


@pytest.mark.parametrize(
    "nest",
    [
        lambda times: pa.ListArray.from_arrays([0, 2], times),
        lambda times: pa.StructArray.from_arrays([times], ["t"]).slice(0, 1),
        lambda times: pa.MapArray.from_arrays([0, 1], pa.array(["a"]), times.slice(0, 1)),
        lambda times: pa.ListArray.from_arrays([0, 2], pa.StructArray.from_arrays([times], ["t"])),
        lambda times: times.slice(0, 1).cast(pa.timestamp("us")).cast(pa.date32()),
    ],
    ids=["list", "struct", "map", "list of structs", "date"],
)
def test_times_of_an_old_spark_are_found_wherever_they_stand(tmp_path: Path, nest: Any) -> None:
    for times, is_old in ((OLD, True), (NEW, False)):
        value = nest(times)
        table = pa.table({"k": [1], "ts": pa.array([1]).view(UTC), "v": value})
        file = tmp_path / f"{is_old}.parquet"
        pq.write_table(table.replace_schema_metadata({"org.apache.spark.version": "2.4.8"}), file)
        view = view_of(values=[("v", value.type)], created=False)
        assert list(columns_with_old_times(pq.ParquetFile(file))) == (["v"] if is_old else [])
        if is_old:
            with pytest.raises(SourceError, match=r"column 'v' of .*before 1900"):
                rows_read(view, file)
        else:
            assert rows_read(view, file)[0].num_rows == 1
