"""Rows that Spark hands to tasks: as blocks they are those of files; and what the planner knows of their number."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feast_hybrid.asof.columnar import frame_view, split_rows
from feast_hybrid.asof.columnar.blocks import BLOCK, BUCKET
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.keys import KeyForm, hashed
from feast_hybrid.asof.columnar.read import ReadBlocks
from feast_hybrid.asof.columnar.split_rows import SplitRows
from feast_hybrid.asof.entity_stats.model import distinct_hashes, make_key_filter
from feast_hybrid.spark.statistics import sizes_in_plan
from tests.unit.columnar import TEXT, UTC, WHOLE, file_splits, history, view_of

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import ViewSpec

VIEW = view_of(
    keys=(("k", WHOLE, pa.int64()), ("city", TEXT, pa.string())),
    values=(("v", pa.float64()), ("when", UTC), ("names", pa.list_(pa.string()))),
    created=False,
)
ROWS = 500


def rows_of_a_history() -> dict[str, pa.Array]:
    random = np.random.default_rng(3)
    return {
        "k": pa.array(random.integers(0, 20, ROWS)),
        "city": pa.array([f"c{n}" for n in random.integers(0, 3, ROWS)]),
        "ts": pa.array(random.integers(0, 1000, ROWS)).view(UTC),
        "v": pa.array(random.random(ROWS)),
        "when": pa.array(random.integers(0, 1000, ROWS)).view(UTC),
        "names": pa.array([["a", None]] * ROWS),
    }


def as_spark_hands_them(columns: dict[str, pa.Array], size: int) -> list[pa.RecordBatch]:
    """In batches, times of the key in microseconds, instants in the session's zone, text laid out widely."""
    zoned = columns["when"].cast(pa.timestamp("us", "America/New_York"))
    names = columns["names"].cast(pa.large_list(pa.large_string()))
    table = pa.table({
        "__fh_k0": columns["k"], "__fh_k1": columns["city"].cast(pa.large_string()),
        "__fh_ts": columns["ts"].cast(pa.int64()), "__fh_v0": columns["v"], "__fh_v1": zoned, "__fh_v2": names,
    })  # fmt: skip
    batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=size)
    return batches


def opened(blocks: list[pa.RecordBatch], view: ViewSpec) -> list[tuple[int, list[Any]]]:
    """The blocks' rows by their buckets, in order."""
    found: dict[int, list[Any]] = {}
    for batch in blocks:
        for bucket, block in zip(batch[BUCKET].to_pylist(), batch[BLOCK], strict=True):
            rows = pa.ipc.read_record_batch(block.as_buffer(), view.block_schema())
            found.setdefault(bucket, []).extend(map(repr, rows.to_pylist()))
    return sorted((bucket, sorted(rows)) for bucket, rows in found.items())


@pytest.mark.parametrize("flush", [1, 1 << 30])
@pytest.mark.parametrize("size", [7, ROWS])
@pytest.mark.parametrize("pushdown", ["none", "times", "keys", "matches"])
def test_blocks_of_a_frame_are_those_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flush: int, size: int, pushdown: str
) -> None:
    monkeypatch.setattr(split_rows, "_ROWS", 50)
    columns = rows_of_a_history()
    view = dataclasses.replace(VIEW, low=100, high=900) if pushdown == "times" else VIEW
    keys = [pa.array([3, 5]), pa.array(["c0", "c1"])]
    if pushdown == "keys":
        view = dataclasses.replace(view, key_filter=make_key_filter(np.unique(hashed(keys))))
    if pushdown == "matches":
        view = dataclasses.replace(view, entity_keys=EntityKeys(keys, pa.array([500, 600])).distinct())
    by_spark = list(SplitRows(view, 3, flush)(iter(as_spark_hands_them(columns, size))))
    file = history(tmp_path, **columns)
    by_file = list(ReadBlocks((file_splits(0, file),), {0: view}, 3, flush)(iter([pa.record_batch({"id": [0]})])))
    found = opened(by_spark, view)
    if pushdown == "matches" and flush == 1:
        # What is best of a part depends on the parts; the best of all is in both.
        best = opened(list(SplitRows(view, 3, 1 << 30)(iter(as_spark_hands_them(columns, size)))), view)
        kept = [row for _, rows in found for row in rows]
        assert all(row in kept for _, rows in best for row in rows)
    else:
        assert found == opened(by_file, view)
    rows = sum(len(of_bucket) for _, of_bucket in found)
    assert (rows == ROWS) if pushdown == "none" else 0 < rows < ROWS


def test_a_frame_without_rows_gives_no_blocks() -> None:
    assert list(SplitRows(VIEW, 3, 1)(iter([]))) == []
    empty = as_spark_hands_them({name: column[:0] for name, column in rows_of_a_history().items()}, 10)
    assert list(SplitRows(VIEW, 3, 1)(iter(empty))) == []


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_the_distinct_keys_of_entity_rows_are_found_by_their_codes(columns: int) -> None:
    keys = [pa.array([5, 3, None, 5, 3]), pa.array(["x", "y", "y", "x", "x"]), pa.array([7, 7, 7, None, 8])][:columns]
    encoded = EntityKeys(keys, pa.array([1, 2, 3, 4, 5])).distinct()
    found = encoded.distinct_keys()
    assert encoded.encode(found, encoded.count).tolist() == list(range(encoded.count))
    rows = list(zip(*(column.to_pylist() for column in keys), strict=True))
    wanted = {row for row in rows if None not in row}
    assert set(zip(*(column.to_pylist() for column in found), strict=True)) >= wanted
    assert all(column.null_count == 0 for column in found)
    nobody = EntityKeys([pc.filter(column, pa.array([False] * 5)) for column in keys], pa.array([], pa.int64()))
    assert [len(column) for column in nobody.distinct_keys()] == [0] * columns


@pytest.mark.parametrize(
    "values", [pa.array([5, 3, 5, None]), pa.array(["é", "", None, "é"]), pa.array([b"\xff", b""])]
)
def test_keys_that_are_known_without_times_cut_a_frame_too(values: pa.Array) -> None:
    family = {"int64": "whole number"}.get(str(values.type), str(values.type))
    form = KeyForm(family, values.type)
    spec = view_of(keys=(("k", form, values.type),))
    key_filter = make_key_filter(distinct_hashes([values]), [values])
    keys = frame_view._known_keys(spec, key_filter, None)
    assert keys is not None
    (found,) = keys
    assert found.type == values.type
    assert set(found.to_pylist()) == set(values.to_pylist()) - {None}
    assert frame_view._known_keys(spec, None, None) is None


PLAN = """== Optimized Logical Plan ==
Project [a#1, Statistics#2], Statistics(sizeInBytes=1.5 EiB)
+- Join Inner, (a#1 = b#3), Statistics(sizeInBytes=8.0E+40 B)
   :- Project [a#1], Statistics(sizeInBytes=1024.0 KiB)
   :  +- Filter isnotnull(a#1), Statistics(sizeInBytes=2.0 MiB)
   :     +- Relation [a#1,c#4] parquet, Statistics(sizeInBytes=2.0 MiB)
   +- LocalRelation [b#3], Statistics(sizeInBytes=32.0 B, rowCount=2)

== Physical Plan ==
LocalTableScan [b#3], Statistics(sizeInBytes=7.0 B)
"""


def test_sizes_are_read_from_sparks_text_of_a_plan() -> None:
    assert sizes_in_plan(PLAN) == (int(1.5 * 2**60), [2 << 20, 32])
    assert sizes_in_plan("== Physical Plan ==\n") is None


@pytest.mark.parametrize("end", ["... 147 more characters", "\n... 7 more characters\n"])
def test_a_plan_whose_text_is_cut_off_says_nothing_of_sizes(end: str) -> None:
    assert sizes_in_plan(PLAN.partition("Physical Plan")[0] + end) is None


@pytest.mark.parametrize("node", ["MapInArrow f(id#1L), [id#2L]", "Generate explode(l#1), false, [c#2]"])
def test_a_plan_that_makes_rows_has_no_size(node: str) -> None:
    assert sizes_in_plan(PLAN.replace("Filter isnotnull(a#1)", node)) is None
