"""Blocks of entity rows and histories joined, without Spark: they are sorted here, as its shuffle would."""

from __future__ import annotations

import dataclasses
import math
import pickle
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.asof.columnar import blocks as blocks_module
from feast_hybrid.asof.columnar import join as join_module
from feast_hybrid.asof.columnar.blocks import bucket_ids
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.join import EntityBlocks, JoinBlocks
from feast_hybrid.asof.columnar.keys import KeyForm
from feast_hybrid.asof.columnar.match import CompositeSortKey
from feast_hybrid.asof.columnar.read import ReadBlocks
from feast_hybrid.asof.columnar.spec import (
    EntitySpec,
    FileSplit,
    GroupSpec,
    ViewSpec,
)
from tests.unit.columnar import TEXT, UTC, WHOLE, file_splits, history, view_of


def run(
    entities: pa.Table,
    groups: Sequence[tuple[GroupSpec, tuple[tuple[FileSplit, ...], ...]]],
    *,
    shuffle: random.Random | None = None,
    flush: int = 1,
    pushdown: bool = False,
) -> pa.Table:
    """The entity rows with features: ``__fh_t`` is their time. ``pushdown``: readers know keys and times."""
    specs = []
    schema = entities.schema
    for group, _ in groups:
        specs.append(EntitySpec("__fh_t", schema))
        for view in group.views:
            for out, value in zip(view.outputs, view.values, strict=True):
                schema = schema.append(pa.field(out, value.data_type))
    blocks = list(EntityBlocks(specs[0], groups[0][0])(iter(entities.to_batches())))
    for n, (group, tasks) in enumerate(groups):
        entity_keys = pairs_of(entities, group) if pushdown else None
        views = {view.view_id: dataclasses.replace(view, entity_keys=entity_keys) for view in group.views}
        read = ReadBlocks(tasks, views, group.buckets, flush)
        for task in range(len(tasks)):
            blocks += read(iter([pa.record_batch({"id": pa.array([task])})]))
        then = (specs[n + 1], groups[n + 1][0]) if n + 1 < len(groups) else None
        rows = [batch.slice(i, 1) for batch in blocks for i in range(batch.num_rows)]
        (shuffle or random.Random(0)).shuffle(rows)
        rows.sort(key=lambda row: (row["bucket"][0].as_py(), row["view_id"][0].as_py()))
        blocks = list(JoinBlocks(specs[n], group, then, tuple(schema.names))(iter(rows)))
    return pa.Table.from_batches(blocks) if blocks else schema.empty_table()


def pairs_of(entities: pa.Table, group: GroupSpec) -> EntityKeys:
    table = entities.combine_chunks()
    keys = [form.encode(table[name].chunk(0)) for name, form in group.keys]
    found: EntityKeys = pickle.loads(pickle.dumps(EntityKeys(keys, table["__fh_t"].chunk(0)).distinct()))
    return found


def entity_table(keys: dict[str, pa.Array], times: Sequence[int | None]) -> pa.Table:
    return pa.table({"row": pa.array(range(len(times))), **keys, "__fh_t": pa.array(times, pa.int64())})


def rank(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (2,) if math.isnan(value) else (1, value, math.copysign(1, value))
    return (1, value.encode()) if isinstance(value, str) else (1, value)


Row = tuple[Any, ...]


def best(key: Row, time: int | None, rows: Sequence[Row], view: ViewSpec) -> Row:
    """By brute force: rows are (keys…, ts, created, values…)."""
    width = len(key)
    found = None
    for row in rows:
        ts, created = row[width], row[width + 1] if view.created is not None else None
        values = row[width + (2 if view.created is not None else 1) :]
        if (
            time is None
            or ts is None
            or ts > time
            or any(a is None or a != b for a, b in zip(key, row, strict=False))
        ):
            continue
        if view.ttl is not None and ts < time - view.ttl:
            continue
        if view.by_created and (created is None or created > time):
            continue
        score = (ts, -math.inf if created is None else created, *(rank(values[n]) for n in view.ranked))
        if found is None or score > found[0]:
            found = (score, values)
    return (None,) * len(view.values) if found is None else found[1]


FEATURES = [("v", pa.float64()), ("a", pa.string())]


TIMES: list[int | None] = [*range(8), None]


Column = tuple[str, KeyForm, pa.DataType, list[Any]]


KEYS: list[list[Column]] = [
    [("k", WHOLE, pa.int32(), [1, 2, 3, None])],
    [("k", WHOLE, pa.int64(), [1 << 60, -5, 7, None])],
    [("k", TEXT, pa.string(), ["a", "", "é", None])],
    [("k", WHOLE, pa.int32(), [1, 2, None]), ("l", TEXT, pa.large_string(), ["x", "y", None])],
]


def draw_view(draw: random.Random, view_id: int, keys: list[Column]) -> ViewSpec:
    created = draw.random() < 0.7
    return view_of(
        [(name, form, form.data_type) for name, form, _, _ in keys],
        FEATURES,
        view_id=view_id,
        created=created,
        by_created=created and draw.random() < 0.5,
        ttl=draw.choice([None, 1, 3]),
    )


def draw_rows(draw: random.Random, view: ViewSpec, keys: list[Column], offset: int) -> list[Row]:
    def time() -> int | None:
        drawn = draw.choice(TIMES)
        return None if drawn is None else drawn + offset

    return [
        (
            *(draw.choice(values) for _, _, _, values in keys),
            *(time() for _ in range(1 if view.created is None else 2)),
            draw.choice([1.5, -0.0, 0.0, float("nan"), None]),
            draw.choice(["a", "b", None]),
        )
        for _ in range(draw.choice([0, 5, 60]))
    ]


def write_rows(folder: Path, view: ViewSpec, keys: list[Column], rows: list[Row]) -> list[Path]:
    """Two files of small row groups."""
    columns = [(name, data_type) for name, _, data_type, _ in keys] + [("ts", pa.int64())]
    columns += [("c", pa.int64())] if view.created is not None else []
    arrays = {
        name: pa.array([row[n] for row in rows], data_type)
        for n, (name, data_type) in enumerate([*columns, *FEATURES])
    }
    table = pa.table({name: array.view(UTC) if name in ("ts", "c") else array for name, array in arrays.items()})
    files = []
    for n, slice_ in enumerate((table.slice(0, len(rows) // 2), table.slice(len(rows) // 2))):
        files.append(folder / f"{view.view_id}-{n}.parquet")
        pq.write_table(slice_, files[-1], row_group_size=7)
    return files


@pytest.mark.parametrize("seed", range(60))
def test_random_worlds_are_answered_as_by_brute_force(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    if seed % 2:
        # So that a bucket's history is joined in many chunks, as that of a hot key is.
        monkeypatch.setattr(join_module, "_CHUNK", draw.choice([1, 300]))
    keys = draw.choice(KEYS)
    offset = draw.choice([0, 0, 10**15, -(2**62)])
    views = [draw_view(draw, view_id, keys) for view_id in range(draw.choice([1, 2, 3]))]
    histories = [draw_rows(draw, view, keys, offset) for view in views]
    wanted = [tuple(draw.choice(values) for _, _, _, values in keys) for _ in range(30)]
    times = [None if time is None else time + offset for time in (draw.choice(TIMES) for _ in wanted)]
    columns = {
        f"e{n}": pa.array([key[n] for key in wanted], form.data_type) for n, (_, form, _, _) in enumerate(keys)
    }
    names = tuple((f"e{n}", form) for n, (_, form, _, _) in enumerate(keys))
    group = GroupSpec(tuple(views), names, draw.choice([1, 3, 16]))
    tasks = tuple(
        file_splits(view.view_id, file)
        for view, rows in zip(views, histories, strict=True)
        for file in write_rows(tmp_path, view, keys, rows)
    )
    answer = run(
        entity_table(columns, times),
        [(group, tasks)],
        shuffle=draw,
        flush=draw.choice([1, 1000, 100_000]),
        pushdown=seed % 3 > 0,
    ).sort_by("row")
    assert answer["row"].to_pylist() == list(range(30))
    for view, rows in zip(views, histories, strict=True):
        got = list(zip(*(answer[out].to_pylist() for out in view.outputs), strict=True))
        assert repr(got) == repr([best(key, time, rows, view) for key, time in zip(wanted, times, strict=True)])


def test_views_of_different_keys_are_joined_one_after_another(tmp_path: Path) -> None:
    one = history(tmp_path, "1", k=[1, 2], ts=pa.array([1, 1]).view(UTC), v=[10.0, 20.0])
    two = history(tmp_path, "2", k=["a", "b"], ts=pa.array([1, 1]).view(UTC), v=[0.1, 0.2])
    entities = entity_table({"e0": pa.array([1, 2, None, 3]), "e1": pa.array(["b", None, "a", "c"])}, [5] * 4)
    first, second = view_of(created=False), view_of([("k", TEXT, pa.string())], view_id=1, created=False)
    answer = run(
        entities,
        [
            (GroupSpec((first,), (("e0", WHOLE),), 3), (file_splits(0, one),)),
            (GroupSpec((second,), (("e1", TEXT),), 5), (file_splits(1, two),)),
        ],
    ).sort_by("row")
    assert answer["0.v"].to_pylist() == [10.0, 20.0, None, None]
    assert answer["1.v"].to_pylist() == [0.2, None, 0.1, None]


@pytest.mark.parametrize("buckets", [1, 2, 20, 300])
def test_each_bucket_gets_a_partition_of_its_own(buckets: int) -> None:
    numbers = bucket_ids(buckets)
    assert len(set(numbers)) == buckets
    # hash(0), hash(1) and hash(2) as Spark gives them
    assert blocks_module.spark_hash(np.arange(3)).tolist() == [933211791, -559580957, 1765031574]
    places = [int(place) % buckets for place in blocks_module.spark_hash(np.array(numbers))]
    assert sorted(places) == list(range(buckets))


@pytest.mark.parametrize("count", [1, 7, 1 << 16, (1 << 16) + 1, 3_000_000_000])
@pytest.mark.parametrize("by_time", [True, False])
def test_rows_are_sorted_by_key_and_time_however_they_come(count: int, by_time: bool) -> None:
    random = np.random.default_rng(count)
    codes, times = random.integers(0, count, 5000), random.integers(-1000, 1000, 5000)
    times = np.sort(times) if by_time else times
    order = CompositeSortKey(codes, times, count).order()
    expected = np.lexsort([times, codes])
    assert sorted(order) == list(range(5000))
    assert (codes[order] == codes[expected]).all()
    assert (times[order] == times[expected]).all()
