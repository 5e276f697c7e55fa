"""What the columnar strategy's tasks do, without Spark: blocks are sorted here, as its shuffle would."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import random
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.asof.columnar import blocks as blocks_module
from feast_hybrid.asof.columnar import join as join_module
from feast_hybrid.asof.columnar.blocks import labels, read_block
from feast_hybrid.asof.columnar.join import EntityBlocks, JoinBlocks
from feast_hybrid.asof.columnar.keys import KeyForm, hashed
from feast_hybrid.asof.columnar.match import EntityKeys
from feast_hybrid.asof.columnar.plan import BUCKET_BYTES, ColumnarView, Measure, buckets, tasks_of
from feast_hybrid.asof.columnar.ranks import rank_codes
from feast_hybrid.asof.columnar.read import ReadBlocks, read_piece
from feast_hybrid.asof.columnar.spec import EntitySpec, GroupSpec, KeyFilter, Piece, SourceColumn, ViewSpec
from feast_hybrid.asof.entity_stats.model import key_filter
from feast_hybrid.asof.scan import Scan, ScanFile
from feast_hybrid.errors import JoinError, SchemaError

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

        class Counting:
            def __init__(self) -> None:
                self._file = Path(path).open("rb")  # noqa: SIM115

            def read(self, size: int = -1) -> bytes:
                content = self._file.read(size)
                counted.bytes += len(content)
                return content

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

        return pa.PythonFile(Counting(), mode="r")


def plain(path: str) -> str:
    return path


def pieces(part: int, *files: Path, opened: Any = plain, **partitions: Any) -> tuple[Piece, ...]:
    return tuple(Piece(part, str(file), 0, MAX, partitions, opened) for file in files)


def run(
    entities: pa.Table,
    groups: Sequence[tuple[GroupSpec, tuple[tuple[Piece, ...], ...]]],
    *,
    shuffle: random.Random | None = None,
    flush: int = 1,
    told: bool = False,
) -> pa.Table:
    """The entity rows with features: ``__fh_t`` is their time. ``told``: readers know keys and times."""
    specs = []
    schema = entities.schema
    for group, _ in groups:
        specs.append(EntitySpec("__fh_t", schema))
        for view in group.views:
            for out, value in zip(view.outputs, view.values, strict=True):
                schema = schema.append(pa.field(out, value.kind))
    blocks = list(EntityBlocks(specs[0], groups[0][0])(iter(entities.to_batches())))
    for n, (group, tasks) in enumerate(groups):
        asked = pairs_of(entities, group) if told else None
        views = {view.part: dataclasses.replace(view, asked=asked) for view in group.views}
        read = ReadBlocks(tasks, views, group.buckets, flush)
        for task in range(len(tasks)):
            blocks += read(iter([pa.record_batch({"id": pa.array([task])})]))
        then = (specs[n + 1], groups[n + 1][0]) if n + 1 < len(groups) else None
        rows = [batch.slice(i, 1) for batch in blocks for i in range(batch.num_rows)]
        (shuffle or random.Random(0)).shuffle(rows)
        rows.sort(key=lambda row: (row["bucket"][0].as_py(), row["part"][0].as_py()))
        blocks = list(JoinBlocks(specs[n], group, then, tuple(schema.names))(iter(rows)))
    return pa.Table.from_batches(blocks) if blocks else schema.empty_table()


def pairs_of(entities: pa.Table, group: GroupSpec) -> EntityKeys:
    table = entities.combine_chunks()
    keys = [form.encode(table[name].chunk(0)) for name, form in group.keys]
    found: EntityKeys = pickle.loads(pickle.dumps(EntityKeys(keys, table["__fh_t"].chunk(0)).distinct()))
    return found


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


FEATURES = [("v", pa.float64()), ("a", pa.string())]
TIMES: list[int | None] = [*range(8), None]
Column = tuple[str, KeyForm, pa.DataType, list[Any]]
KEYS: list[list[Column]] = [
    [("k", WHOLE, pa.int32(), [1, 2, 3, None])],
    [("k", WHOLE, pa.int64(), [1 << 60, -5, 7, None])],
    [("k", TEXT, pa.string(), ["a", "", "é", None])],
    [("k", WHOLE, pa.int32(), [1, 2, None]), ("l", TEXT, pa.large_string(), ["x", "y", None])],
]


def draw_view(draw: random.Random, part: int, keys: list[Column]) -> ViewSpec:
    created = draw.random() < 0.7
    return view_of(
        [(name, form, form.kind) for name, form, _, _ in keys],
        FEATURES,
        part=part,
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
    columns = [(name, kind) for name, _, kind, _ in keys] + [("ts", pa.int64())]
    columns += [("c", pa.int64())] if view.created is not None else []
    arrays = {name: pa.array([row[n] for row in rows], kind) for n, (name, kind) in enumerate([*columns, *FEATURES])}
    table = pa.table({name: array.view(UTC) if name in ("ts", "c") else array for name, array in arrays.items()})
    files = []
    for n, piece in enumerate((table.slice(0, len(rows) // 2), table.slice(len(rows) // 2))):
        files.append(folder / f"{view.part}-{n}.parquet")
        pq.write_table(piece, files[-1], row_group_size=7)
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
    views = [draw_view(draw, part, keys) for part in range(draw.choice([1, 2, 3]))]
    histories = [draw_rows(draw, view, keys, offset) for view in views]
    asked = [tuple(draw.choice(values) for _, _, _, values in keys) for _ in range(30)]
    at = [None if time is None else time + offset for time in (draw.choice(TIMES) for _ in asked)]
    columns = {f"e{n}": pa.array([key[n] for key in asked], form.kind) for n, (_, form, _, _) in enumerate(keys)}
    names = tuple((f"e{n}", form) for n, (_, form, _, _) in enumerate(keys))
    group = GroupSpec(tuple(views), names, draw.choice([1, 3, 16]))
    tasks = tuple(
        pieces(view.part, file)
        for view, rows in zip(views, histories, strict=True)
        for file in write_rows(tmp_path, view, keys, rows)
    )
    answer = run(
        entity_table(columns, at),
        [(group, tasks)],
        shuffle=draw,
        flush=draw.choice([1, 1000, 100_000]),
        told=seed % 3 > 0,
    ).sort_by("row")
    assert answer["row"].to_pylist() == list(range(30))
    for view, rows in zip(views, histories, strict=True):
        got = list(zip(*(answer[out].to_pylist() for out in view.outputs), strict=True))
        assert repr(got) == repr([best(key, time, rows, view) for key, time in zip(asked, at, strict=True)])


def history(tmp_path: Path, name: str = "h.parquet", groups: int = 10, **columns: Any) -> Path:
    """Ten rows for each of some keys, one key to a row group unless columns are given."""
    file = tmp_path / name
    table = pa.table(columns) if columns else pa.table({
        "k": np.repeat(np.arange(groups), 10_000),
        "ts": pa.array(np.tile(np.arange(10_000), groups)).view(UTC),
        "v": np.random.default_rng(0).random(10_000 * groups),
        "unwanted": np.random.default_rng(1).random(10_000 * groups),
    })  # fmt: skip
    pq.write_table(table, file, row_group_size=10_000)
    return file


def rows_read(view: ViewSpec, file: Path, **partitions: Any) -> tuple[pa.Table, int]:
    opened = Reads()
    rows = list(read_piece(pieces(view.part, file, opened=opened, **partitions)[0], view))
    return pa.Table.from_batches(rows, view.block_schema()), opened.bytes


def filter_of(*keys: int) -> KeyFilter:
    column = pa.array(keys, pa.int64())
    found = key_filter(np.unique(hashed([column])), [column])
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
    some, few_bytes = rows_read(view_of(created=False, filter=filter_of(3, 77)), file)
    assert (everything.num_rows, some.num_rows, set(some["k0"].to_pylist())) == (100_000, 10_000, {3})
    assert few_bytes < all_bytes / 4


def test_row_groups_outside_of_the_entity_rows_times_are_not_read(tmp_path: Path) -> None:
    times = pa.array(np.arange(100_000)).view(UTC)
    file = history(tmp_path, k=pa.array(np.arange(100_000) % 7), ts=times, v=np.random.default_rng(0).random(100_000))
    _, all_bytes = rows_read(view_of(created=False), file)
    some, few_bytes = rows_read(view_of(created=False, low=25_000, high=35_000), file)
    assert some["ts"].to_pylist() == list(range(25_000, 35_001))
    assert few_bytes < all_bytes / 3


def passed_on(view: ViewSpec, file: Path, asked: EntityKeys | None, *, flush: int = 1 << 20) -> list[tuple[Any, ...]]:
    """The rows that leave a reading task, each as (keys…, ts, values…)."""
    view = dataclasses.replace(view, asked=asked)
    read = ReadBlocks((pieces(view.part, file, file),), {view.part: view}, 3, flush)
    found = []
    for batch in read(iter([pa.record_batch({"id": pa.array([0])})])):
        for block in batch.column(batch.schema.get_field_index("block")):
            found += [tuple(row.values()) for row in read_block(block, view.block_schema()).to_pylist()]
    return found


@pytest.mark.parametrize("flush", [1, 300_000, 1 << 30])
def test_readers_pass_on_only_rows_that_answer_an_entity_row(tmp_path: Path, flush: int) -> None:
    file = history(tmp_path)
    asked = EntityKeys([pa.array([3, 3, 3, 5, None, 99])], pa.array([20, 20, 77_000, 9_999, 5, 5])).distinct()
    assert len(passed_on(view_of(created=False), file, None, flush=flush)) == 200_000
    found = passed_on(view_of(created=False), file, asked, flush=flush)
    # The file is read twice: where both times meet in one part, one row of a tie is enough.
    assert {row[:2] for row in found} == {(3, 20), (3, 9_999), (5, 9_999)}
    assert len(found) <= 6
    found = passed_on(view_of(created=False, ttl=100), file, asked, flush=flush)
    assert {row[:2] for row in found} == {(3, 20), (5, 9_999)}


def test_readers_pass_on_all_rows_where_the_entity_rows_are_many_more(tmp_path: Path) -> None:
    file = history(tmp_path, k=[1, 1], ts=pa.array([1, 2]).view(UTC), v=[0.5, 1.5])
    asked = EntityKeys([pa.array([1] * 100)], pa.array(range(100))).distinct()
    assert len(passed_on(view_of(created=False), file, asked)) == 4


def test_a_file_read_in_pieces_gives_each_row_once(tmp_path: Path) -> None:
    file = history(tmp_path)
    view, size = view_of(created=False), file.stat().st_size
    found = []
    for start in range(0, size, 100_000):
        for rows in read_piece(Piece(0, str(file), start, start + 100_000, {}, plain), view):
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
    with pytest.raises(JoinError, match="before 1900"):
        rows_read(view_of(created=False), file)


def test_views_of_different_keys_are_joined_one_after_another(tmp_path: Path) -> None:
    one = history(tmp_path, "1", k=[1, 2], ts=pa.array([1, 1]).view(UTC), v=[10.0, 20.0])
    two = history(tmp_path, "2", k=["a", "b"], ts=pa.array([1, 1]).view(UTC), v=[0.1, 0.2])
    entities = entity_table({"e0": pa.array([1, 2, None, 3]), "e1": pa.array(["b", None, "a", "c"])}, [5] * 4)
    first, second = view_of(created=False), view_of([("k", TEXT, pa.string())], part=1, created=False)
    answer = run(
        entities,
        [
            (GroupSpec((first,), (("e0", WHOLE),), 3), (pieces(0, one),)),
            (GroupSpec((second,), (("e1", TEXT),), 5), (pieces(1, two),)),
        ],
    ).sort_by("row")
    assert answer["0.v"].to_pylist() == [10.0, 20.0, None, None]
    assert answer["1.v"].to_pylist() == [0.2, None, 0.1, None]


@pytest.mark.parametrize("buckets", [1, 2, 20, 300])
def test_each_bucket_gets_a_partition_of_its_own(buckets: int) -> None:
    numbers = labels(buckets)
    assert len(set(numbers)) == buckets
    # hash(0), hash(1) and hash(2) as Spark gives them
    assert blocks_module._spark_hash(np.arange(3)).tolist() == [933211791, -559580957, 1765031574]
    places = [int(place) % buckets for place in blocks_module._spark_hash(np.array(numbers))]
    assert sorted(places) == list(range(buckets))


@pytest.mark.parametrize(
    ("least_to_greatest", "kind"),
    [
        ([None, -2, 10], pa.int32()),
        ([None, "", "10", "9", "é"], pa.string()),
        ([None, -1.0, -0.0, 0.0, math.inf, math.nan], pa.float64()),
        ([None, False, True], pa.bool_()),
        ([None, Decimal("-1.50"), Decimal("2.25")], pa.decimal128(38, 2)),
        ([None, [], [None], [-0.0, 1.0], [0.0, 1.0], [1.0], [1.0, 0.0]], pa.list_(pa.float64())),
        ([None, {"a": None}, {"a": -0.0}, {"a": 0.0}], pa.struct([("a", pa.float64())])),
    ],
)
def test_ties_are_ranked(least_to_greatest: list[Any], kind: pa.DataType) -> None:
    for order in itertools.islice(itertools.permutations(range(len(least_to_greatest))), 24):
        codes = rank_codes(pa.array([least_to_greatest[n] for n in order], kind))
        assert np.argsort(codes).tolist() == np.argsort(order).tolist()


def test_a_struct_of_zeros_ranks_by_its_other_fields_first() -> None:
    kind = pa.struct([("a", pa.float64()), ("b", pa.int32())])
    codes = rank_codes(pa.array([{"a": 0.0, "b": 1}, {"a": -0.0, "b": 2}], kind))
    assert codes[0] < codes[1]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (pa.array(["a", None]).dictionary_encode(), pa.string()),
        (pa.array(["a", None], pa.large_string()), pa.string()),
        (pa.array([[1, None], None, []], pa.list_(pa.int32())), pa.list_(pa.field("element", pa.int64()))),
        (pa.array([[1], [2]], pa.list_(pa.int32(), 1)), pa.list_(pa.int32())),
        (pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])), pa.struct([("a", pa.int32())])),
        (pa.array([1, None], pa.uint32()), pa.int64()),
        (pa.array([Decimal("1.5")], pa.decimal128(5, 1)), pa.decimal128(9, 3)),
        (pa.nulls(2), pa.date32()),
    ],
)
def test_values_are_the_same_in_the_frames_type(found: pa.Array, kind: pa.DataType) -> None:
    for array in (found, found.slice(1), found.slice(0, 1)):
        shown = convert_for_reading(array, kind)
        assert shown.type == kind
        assert shown.to_pylist() == array.to_pylist()


def test_a_field_that_a_struct_lacks_is_null() -> None:
    kind = pa.struct([("b", pa.string()), ("A", pa.int64())])
    shown = convert_for_reading(pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])), kind)
    assert shown.to_pylist() == [{"b": None, "A": 1}, None]


def test_nanoseconds_are_cut_towards_the_past() -> None:
    found = convert_for_reading(pa.array([-1, 1, None, 1999], pa.int64()).view(pa.timestamp("ns")), UTC)
    assert found.view(pa.int64()).to_pylist() == [-1, 0, None, 1]


@pytest.mark.parametrize(("size", "cores", "tasks"), [(1 << 10, 8, 1), (100 << 20, 2, 4), (10 << 30, 4, 20)])
def test_tasks_share_the_bytes_and_read_a_bounded_piece_at_a_time(size: int, cores: int, tasks: int) -> None:
    scan = Scan(files=(ScanFile("a", size), ScanFile("b", size)), open=plain)
    history: Any = SimpleNamespace(view=SimpleNamespace(scan=scan))
    whole = ColumnarView(history, view_of(), Measure(1, size, size, 0.5), scan.files)
    found = tasks_of([whole], cores)
    assert len(found) == tasks
    read = [piece for task in found for piece in task]
    assert max(piece.end - piece.start for piece in read) * 0.5 <= 64 << 20
    for name in ("a", "b"):
        ends = [(piece.start, piece.end) for piece in read if piece.path == name]
        assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
        assert ends[-1][1] >= size


@pytest.mark.parametrize(
    ("size", "parallelism", "expected"),
    [
        (0, 8, 1),
        (BUCKET_BYTES // 2, 8, 4),  # the least for which a task is worth its start
        (BUCKET_BYTES, 8, 8),
        (3 * BUCKET_BYTES, 8, 8),
        (3 * BUCKET_BYTES, 2, 2),  # three would be two rounds, the second of one
        (4 * BUCKET_BYTES, 2, 4),
        (21 * BUCKET_BYTES, 4, 20),
        (10**15, 8, 4096),
    ],
)
def test_buckets_fit_into_memory_and_keep_all_cores_busy(size: int, parallelism: int, expected: int) -> None:
    assert buckets(size, parallelism) == expected
