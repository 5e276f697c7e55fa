"""What the columnar strategy's tasks do, without Spark: blocks are sorted here, as its shuffle would."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.asof.columnar import join as join_module
from feast_hybrid.asof.columnar.blocks import labels
from feast_hybrid.asof.columnar.conform import conform
from feast_hybrid.asof.columnar.join import EntityBlocks, JoinBlocks
from feast_hybrid.asof.columnar.keys import KeyForm, hashed
from feast_hybrid.asof.columnar.ranks import rank_codes
from feast_hybrid.asof.columnar.read import ReadBlocks
from feast_hybrid.asof.columnar.spec import EntitySpec, GroupSpec, KeyFilter, Piece, SourceColumn, ViewSpec
from feast_hybrid.asof.facts import key_filter
from feast_hybrid.errors import SchemaError

UTC = pa.timestamp("us", tz="UTC")
WHOLE = KeyForm("whole number", pa.int64())
TEXT = KeyForm("string", pa.string())
MAX = 2**62


def view_of(
    keys: Sequence[tuple[str, KeyForm, pa.DataType]] = (("k", WHOLE, pa.int64()),),
    values: Sequence[tuple[str, pa.DataType]] = (("v", pa.float64()),),
    *,
    part: int = 0,
    created: bool = True,
    by_created: bool = False,
    **more: Any,
) -> ViewSpec:
    return ViewSpec(
        part=part,
        name=f"view {part}",
        keys=tuple((form, SourceColumn(name, kind), False) for name, form, kind in keys),
        timestamp=SourceColumn("ts", UTC),
        created=SourceColumn("c", UTC) if created else None,
        by_created=by_created,
        values=tuple(SourceColumn(name, kind) for name, kind in values),
        ranked=tuple(sorted(range(len(values)), key=lambda n: values[n][0])),
        outputs=tuple(f"{part}.{name}" for name, _ in values),
        case_sensitive=False,
        **{"ttl": None, **more},
    )


class Reads:
    """Opens files, and keeps count of the bytes that were asked for."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, path: str) -> Any:
        counted = self

        class File(pa.PythonFile):  # type: ignore[misc]
            pass

        class Counting:
            def __init__(self) -> None:
                self._file = open(path, "rb")  # noqa: SIM115

            def read(self, size: int = -1) -> bytes:
                content = self._file.read(size)
                counted.bytes += len(content)
                return content

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

        return File(Counting(), mode="r")


def plain(path: str) -> str:
    return path


def pieces(part: int, *files: Path, opened: Any = plain, **partitions: Any) -> tuple[Piece, ...]:
    return tuple(Piece(part, str(file), 0, MAX, partitions, opened) for file in files)


def run(
    entities: pa.Table,
    groups: Sequence[tuple[GroupSpec, tuple[tuple[Piece, ...], ...]]],
    *,
    shuffle: random.Random | None = None,
) -> pa.Table:
    """The entity rows with features: ``__fh_t`` is their time."""
    specs = []
    schema = entities.schema
    for group, _ in groups:
        specs.append(EntitySpec("__fh_t", schema))
        for view in group.views:
            for out, value in zip(view.outputs, view.values, strict=True):
                schema = schema.append(pa.field(out, value.kind))
    blocks = list(EntityBlocks(specs[0], groups[0][0])(iter(entities.to_batches())))
    for n, (group, tasks) in enumerate(groups):
        read = ReadBlocks(tasks, {view.part: view for view in group.views}, group.buckets, 1)
        for task in range(len(tasks)):
            blocks += read(iter([pa.record_batch({"id": pa.array([task])})]))
        then = (specs[n + 1], groups[n + 1][0]) if n + 1 < len(groups) else None
        rows = [batch.slice(i, 1) for batch in blocks for i in range(batch.num_rows)]
        (shuffle or random.Random(0)).shuffle(rows)
        rows.sort(key=lambda row: (row["bucket"][0].as_py(), row["part"][0].as_py()))
        blocks = list(JoinBlocks(specs[n], group, then, tuple(schema.names))(iter(rows)))
    return pa.Table.from_batches(blocks) if blocks else schema.empty_table()


def entity_table(keys: dict[str, pa.Array], at: Sequence[int | None]) -> pa.Table:
    return pa.table({"row": pa.array(range(len(at))), **keys, "__fh_t": pa.array(at, pa.int64())})


def rank(value: Any) -> tuple[Any, ...]:
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (2,) if math.isnan(value) else (1, value, math.copysign(1, value))
    return (1, value.encode()) if isinstance(value, str) else (1, value)


Row = tuple[Any, ...]


def best(key: Row, at: int | None, rows: Sequence[Row], view: ViewSpec) -> Row:
    """By brute force: rows are (keys…, ts, created, values…)."""
    width = len(key)
    found = None
    for row in rows:
        ts, created = row[width], row[width + 1] if view.created is not None else None
        values = row[width + (2 if view.created is not None else 1) :]
        if at is None or ts is None or ts > at or any(a is None or a != b for a, b in zip(key, row, strict=False)):
            continue
        if view.ttl is not None and ts < at - view.ttl:
            continue
        if view.by_created and (created is None or created > at):
            continue
        score = (ts, -math.inf if created is None else created, *(rank(values[n]) for n in view.ranked))
        if found is None or score > found[0]:
            found = (score, values)
    return (None,) * len(view.values) if found is None else found[1]


@pytest.mark.parametrize("seed", range(40))
def test_random_worlds_are_answered_as_by_brute_force(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    if seed % 2:
        # So that a bucket's history is joined in many chunks, as that of a hot key is.
        monkeypatch.setattr(join_module, "_CHUNK", draw.choice([1, 300]))
    keys = draw.choice([[("k", WHOLE, pa.int32())], [("k", TEXT, pa.string())], [("k", WHOLE, pa.int64()), ("l", TEXT, pa.large_string())]])
    offset = draw.choice([0, 0, 10**15, -(2**62)])
    kinds = {pa.int32(): [1, 2, 3, None], pa.int64(): [1 << 60, -5, 7, None], pa.string(): ["a", "", "é", None]}
    kinds[pa.large_string()] = ["x", "y", None]
    times = [*range(8), None]
    views, files, histories = [], [], []
    for part in range(draw.choice([1, 2, 3])):
        view = view_of(
            [(name, form, pa.string() if form is TEXT else kind) for name, form, kind in keys],
            [("v", pa.float64()), ("a", pa.string())],
            part=part,
            created=draw.random() < 0.7,
            by_created=draw.random() < 0.5,
            ttl=draw.choice([None, 1, 3]),
        )
        if view.created is None:
            view = view_of([(n, f, pa.string() if f is TEXT else k) for n, f, k in keys], [("v", pa.float64()), ("a", pa.string())], part=part, created=False, ttl=view.ttl)
        rows = [
            (
                *(draw.choice(kinds[kind]) for _, _, kind in keys),
                None if (ts := draw.choice(times)) is None else ts + offset,
                *([None if (c := draw.choice(times)) is None else c + offset] if view.created is not None else []),
                draw.choice([1.5, -0.0, 0.0, float("nan"), None]),
                draw.choice(["a", "b", None]),
            )
            for _ in range(draw.choice([0, 5, 60]))
        ]
        names = [name for name, _, _ in keys] + ["ts", *(["c"] if view.created is not None else []), "v", "a"]
        types = [kind for _, _, kind in keys] + [pa.int64()] * (len(names) - len(keys) - 2) + [pa.float64(), pa.string()]
        columns = {n: pa.array([row[i] for row in rows], t) for i, (n, t) in enumerate(zip(names, types, strict=True))}
        for time in ("ts", "c"):
            if time in columns:
                columns[time] = columns[time].view(UTC)
        table = pa.table(columns)
        half = len(rows) // 2
        for n, piece in enumerate((table.slice(0, half), table.slice(half))):
            pq.write_table(piece, tmp_path / f"{part}-{n}.parquet", row_group_size=7)
            files.append(tmp_path / f"{part}-{n}.parquet")
        views.append(view)
        histories.append(rows)
    asked = [tuple(draw.choice(kinds[kind]) for _, _, kind in keys) for _ in range(30)]
    at = [None if (t := draw.choice(times)) is None else t + offset for _ in asked]
    entity = entity_table({f"e{n}": pa.array([key[n] for key in asked], pa.string() if form is TEXT else pa.int64()) for n, (_, form, _) in enumerate(keys)}, at)
    group = GroupSpec(tuple(views), tuple((f"e{n}", form) for n, (_, form, _) in enumerate(keys)), draw.choice([1, 3, 16]))
    tasks = tuple(pieces(int(file.name[0]), file) for file in files)
    answer = run(entity, [(group, tasks)], shuffle=draw).sort_by("row")
    assert answer["row"].to_pylist() == list(range(30))
    for view, rows in zip(views, histories, strict=True):
        got = list(zip(*(answer[out].to_pylist() for out in view.outputs), strict=True))
        want = [best(key, t, rows, view) for key, t in zip(asked, at, strict=True)]
        assert repr(got) == repr(want)
