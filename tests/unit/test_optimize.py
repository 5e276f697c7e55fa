"""``feast-hybrid optimize``: fewer, sorted files with the same rows; on this machine's disk."""

from __future__ import annotations

import io
import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner, Result
from feast import Entity, FeatureStore, FeatureView, Field, ValueType
from feast.types import Float64

from feast_hybrid import HybridSparkOfflineStoreConfig, HybridSparkSource
from feast_hybrid.cli.main import main
from feast_hybrid.errors import WriteError
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router
from feast_hybrid.lakes.markers import ReplacementRecord
from feast_hybrid.lakes.replace import Exchange
from feast_hybrid.writing import optimize as optimizing
from feast_hybrid.writing.optimize import Budget, optimize
from feast_hybrid.writing.parquet_layout import encoded, is_sorted_by, sort_columns, sorted_rows
from feast_hybrid.writing.row_sums import RowSums

START = datetime(2026, 1, 10, tzinfo=UTC)
DRIVER = Entity(name="speeding_driver", join_keys=["driver_id"], value_type=ValueType.INT64)
INSTANT = pa.timestamp("us", tz="UTC")


def rows(numbers: list[int], /, **more: Any) -> pa.Table:
    times = [START + timedelta(minutes=number * 7 % 100) for number in numbers]
    columns = {
        "driver_id": pa.array([number * 13 % 7 for number in numbers], pa.int64()),
        "event_timestamp": pa.array(times, INSTANT),
        "speed": pa.array([number / 3 for number in numbers], pa.float64()),
    }
    return pa.table(columns | more)


def put(folder: Path, name: str, table: pa.Table, **options: Any) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / name, **options)


def view_of(path: str | Path, /, **source: Any) -> FeatureView:
    given = source or {"path": f"file://{path}"}
    return FeatureView(
        name="speeds",
        entities=[DRIVER],
        schema=[Field(name="speed", dtype=Float64)],
        source=HybridSparkSource(name="speeds", timestamp_field="event_timestamp", **given),
    )


STORE = HybridSparkOfflineStoreConfig()


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def content(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of each folder, in one order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in files(folder):
        found.setdefault(str(file.parent), []).extend(pq.ParquetFile(file).read().to_pylist())
    return {name: sorted(each, key=repr) for name, each in found.items()}


def sums(folder: Path) -> RowSums:
    found = RowSums()
    for file in files(folder):
        found = found.plus(pq.ParquetFile(file).read())
    return found


def assert_times_of_their_own(found: list[Path]) -> None:
    ranges = [pc.min_max(pq.ParquetFile(file).read()["event_timestamp"]).as_py() for file in found]
    bounds = sorted((each["min"], each["max"]) for each in ranges)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(bounds))


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Two days of 20 small files each."""
    folder = tmp_path / "set"
    for number in range(40):
        put(folder, f"day=2026-01-{10 + number % 2}/batch-{number}.parquet", rows(list(range(number, number + 5))))
    (folder / "_SUCCESS").touch()
    return folder


@pytest.fixture
def repo(history: Path, tmp_path: Path) -> Path:
    config = {
        "project": "unit",
        "provider": "local",
        "registry": str(tmp_path / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(tmp_path / "online.db")},
        "offline_store": {"type": "feast_hybrid.HybridSparkOfflineStore"},
        "entity_key_serialization_version": 3,
    }
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
    FeatureStore(repo_path=str(tmp_path)).apply([DRIVER, view_of(history)])
    return tmp_path


def run(repo: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["optimize", "-c", str(repo), *arguments])


def test_a_dry_run_says_what_the_run_then_does(repo: Path, history: Path) -> None:
    before = content(history)
    planned = run(repo, "speeds", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert len(files(history)) == 40
    assert "sorted by driver_id, event_timestamp" in planned.output
    done = run(repo, "speeds")
    assert done.exit_code == 0, done.output
    assert content(history) == before
    assert len(files(history)) == 2
    for output in (planned.output, done.output):
        assert [line.split()[:2] for line in output.splitlines()[2:4]] == [["before", "40"], ["after", "2"]]
    assert "2 folders would be rewritten." in planned.output
    assert "2 folders rewritten." in done.output
    for file in files(history):
        assert is_sorted_by(pq.read_metadata(file), ["driver_id", "event_timestamp"])
        found = pq.ParquetFile(file).read()
        assert found == sorted_rows(found, ["driver_id", "event_timestamp"])
        assert found.schema == rows([]).schema
    assert {path.name for path in history.iterdir()} == {"_SUCCESS", "day=2026-01-10", "day=2026-01-11"}
    assert "There is nothing to gain." in run(repo, "speeds").output


def test_one_partition_can_be_named(repo: Path, history: Path) -> None:
    assert run(repo, "speeds", "--partition", "day=2026-01-11").exit_code == 0
    assert [len(list((history / f"day=2026-01-{day}").iterdir())) for day in (10, 11)] == [20, 1]


def test_a_view_that_is_not_there_is_named(repo: Path) -> None:
    result = run(repo, "speed")
    assert result.exit_code == 1
    assert "there is no feature view 'speed'" in result.output
    assert "speeds" in result.output


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ({"table": "db.speeds"}, "is a table"),
        ({"query": "SELECT 1 AS speed"}, "is a query"),
        ({"path": "file:///x", "file_format": "delta"}, "use its own OPTIMIZE"),
        ({"path": "file:///x", "file_format": "iceberg"}, "use its own rewrite_data_files"),
        ({"path": "file:///x", "file_format": "orc"}, "only Parquet files are rewritten"),
        ({"path": "file:///x", "file_format": "csv"}, "only Parquet files are rewritten"),
        ({"path": "file:///x/*"}, "is a pattern"),
        ({"path": "file:///x", "options": {"pathGlobFilter": "a*"}}, "has options .*: pathGlobFilter"),
        ({"path": "file:///not/there"}, "nothing is at"),
    ],
)
def test_what_is_not_plain_parquet_is_refused_by_name(source: dict[str, Any], text: str) -> None:
    with pytest.raises(Exception, match=f"view 'speeds': source 'speeds'.*{text}"):
        optimize(STORE, view_of("", **source))


def test_one_file_and_a_table_of_delta_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "one.parquet", rows([1]))
    with pytest.raises(Exception, match="it is one file"):
        optimize(STORE, view_of(tmp_path / "one.parquet"))
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / f"{0:020}.json").touch()
    with pytest.raises(Exception, match="delta"):
        optimize(STORE, view_of(tmp_path))


def test_files_that_differ_in_their_columns_stay_apart_and_mean_the_same(tmp_path: Path) -> None:
    narrow = pa.array([1, 2], pa.int32())
    for number in range(3):
        put(tmp_path, f"a{number}.parquet", rows([1, 2]))
        put(tmp_path, f"b{number}.parquet", rows([3, 4]).set_column(0, "driver_id", narrow))
        put(tmp_path, f"c{number}.parquet", rows([5, 6], more=["x", None]))
    location = Router().locate(f"file://{tmp_path}")

    def resolved() -> Any:
        found = resolve_schema(location, "parquet")
        assert found is not None
        return set(found.columns)

    before, schema = content(tmp_path), resolved()
    outcome = optimize(STORE, view_of(tmp_path))
    assert outcome.after.files == len(files(tmp_path)) == 3
    assert content(tmp_path) == before
    assert resolved() == schema


def test_values_of_all_kinds_stay_what_they_are(tmp_path: Path) -> None:
    count = 3
    table = rows(
        [1, 2, 3],
        text=["", None, "é"],
        raw=[b"", None, b"\xff"],
        amount=pa.array([Decimal("1.20"), None, Decimal("-3.00")], pa.decimal128(9, 2)),
        big=pa.array([Decimal(1), None, Decimal(10) ** 37], pa.decimal128(38, 0)),
        zero=[0.0, -0.0, float("nan")],
        flag=[True, None, False],
        small=pa.array([1, None, -1], pa.int8()),
        day=pa.array([0, None, -700000], pa.date32()),
        naive=pa.array([0, None, -(10**15)], pa.timestamp("us")),
        nanos=pa.array([1, None, -1], pa.timestamp("ns")),
        numbers=[[1, None], None, []],
        nested=pa.array([{"a": [{"b": 1}]}, None, {"a": None}]),
        pairs=pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        words=pa.array(["x", None, "x"]).dictionary_encode(),
    )
    for number in range(count):
        put(tmp_path, f"{number}.parquet", table.slice(number), store_schema=number < 3)
    expected = sums(tmp_path)
    optimize(STORE, view_of(tmp_path))
    (new,) = files(tmp_path)
    found = pq.ParquetFile(new)
    assert found.schema_arrow.remove_metadata() == table.schema
    assert RowSums().plus(found.read()) == expected


def test_values_that_python_has_not_stay_what_they_are(tmp_path: Path) -> None:
    """Text that is no UTF-8, and times before the year 1 within others."""
    text = pa.array([b"\xff\xfe", None], pa.binary()).view(pa.string())
    far = pa.array([-(10**17), 10**18], pa.timestamp("us"))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2], pa.int32()), far)
    structs = pa.StructArray.from_arrays([text, far], ["text", "far"])
    pairs = pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), pa.array(["a", "b"]), far)
    table = rows([1, 2], text=text, lists=lists, structs=structs, pairs=pairs)
    for number in range(2):
        put(tmp_path, f"{number}.parquet", table)
    expected = sums(tmp_path)
    optimize(STORE, view_of(tmp_path))
    (new,) = files(tmp_path)
    assert sums(tmp_path) == expected
    assert pq.ParquetFile(new).read()["text"].cast(pa.binary()).to_pylist().count(b"\xff\xfe") == 2


def test_files_whose_columns_have_other_notes_at_their_end_stay_apart(tmp_path: Path) -> None:
    for number in range(4):
        note = {b"comment": b"x" * 500 + bytes([65 + number % 2])}
        table = rows([number])
        schema = pa.schema([column.with_metadata(note) for column in table.schema])
        put(tmp_path, f"{number}.parquet", table.cast(schema))
    optimize(STORE, view_of(tmp_path))
    notes = {pq.read_schema(file).field("speed").metadata[b"comment"][-1:] for file in files(tmp_path)}
    assert notes == {b"A", b"B"}


def test_many_files_without_rows_become_one(tmp_path: Path) -> None:
    for number in range(20):
        put(tmp_path, f"{number}.parquet", rows([]))
    optimize(STORE, view_of(tmp_path), budget=Budget(file_bytes=2_000))
    (new,) = files(tmp_path)
    assert pq.read_schema(new) == rows([]).schema


def test_no_more_rows_are_held_than_a_column_of_text_can_have() -> None:
    assert Budget(memory_bytes=64 << 30).rows_bytes == 2**31 - 1


def test_times_in_int96_stay_so(tmp_path: Path) -> None:
    times = pa.array([datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999)], pa.timestamp("us"))
    table = rows([1, 2]).set_column(1, "event_timestamp", times)
    for number in range(2):
        put(tmp_path, f"{number}.parquet", table, use_deprecated_int96_timestamps=True)
    optimize(STORE, view_of(tmp_path))
    (new,) = files(tmp_path)
    with pq.ParquetFile(new, coerce_int96_timestamp_unit="us") as file:
        assert file.schema.column(1).physical_type == "INT96"
        assert pc.value_counts(file.read()["event_timestamp"]).to_pylist() == [
            {"values": time, "counts": 2} for time in times.to_pylist()
        ]


def test_files_are_written_as_the_sources_options_say(tmp_path: Path) -> None:
    options = {"Compression": "snappy", "parquet.writer.version": "v1"}
    for place, given in (("plain", {}), ("old", options)):
        for number in range(2):
            put(tmp_path / place, f"{number}.parquet", rows([*range(number, 60 + number)]))
        optimize(STORE, view_of("", path=f"file://{tmp_path / place}", options=given))
    found = {}
    for place in ("plain", "old"):
        (new,) = files(tmp_path / place)
        times = pq.read_metadata(new).row_group(0).column(1)
        found[place] = times.compression, "DELTA_BINARY_PACKED" in times.encodings
    assert found == {"plain": ("ZSTD", True), "old": ("SNAPPY", False)}


def test_what_spark_notes_of_its_files_is_kept_and_not_mixed(tmp_path: Path) -> None:
    notes = {b"org.apache.spark.version": b"2.4.8", b"org.apache.spark.legacyDateTime": b""}
    for number in range(2):
        put(tmp_path, f"a{number}.parquet", rows([1, 2]).replace_schema_metadata(notes))
        put(tmp_path, f"b{number}.parquet", rows([3, 4]))
    optimize(STORE, view_of(tmp_path))
    found = [pq.read_metadata(file).metadata for file in files(tmp_path)]
    assert [notes.items() <= each.items() for each in found] == [True, False]


@pytest.mark.parametrize("kind", ["variant", "twice", "views"])
def test_files_that_arrow_would_write_otherwise_are_left_as_they_are(tmp_path: Path, kind: str) -> None:
    table = rows([1, 2])
    if kind == "variant":
        noted = b'{"type":"struct","fields":[{"name":"v","type":"variant","nullable":true,"metadata":{}}]}'
        table = table.replace_schema_metadata({b"org.apache.spark.sql.parquet.row.metadata": noted})
    elif kind == "views":
        table = table.append_column("text", pa.array(["x", None], pa.string_view()))
    else:
        table = table.append_column("speed", table["speed"])
    for number in range(2):
        put(tmp_path, f"{number}.parquet", table)
    before = {file: file.read_bytes() for file in files(tmp_path)}
    outcome = optimize(STORE, view_of(tmp_path))
    assert len(outcome.left) == 2
    assert {file: file.read_bytes() for file in files(tmp_path)} == before


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A folder is done in parts, each with times of its own, and a file that is too large stays."""
    for number in range(6):
        times = pa.array([START + timedelta(days=number)] * 20_000, INSTANT)
        put(tmp_path, f"{5 - number}.parquet", rows(list(range(20_000))).set_column(1, "event_timestamp", times))
    put(tmp_path, "large.parquet", rows(list(range(200_000))))
    before = sums(tmp_path)
    outcome = optimize(STORE, view_of(tmp_path), budget=Budget(128 << 20, 4 * (1 << 20)))
    assert sums(tmp_path) == before
    assert [Path(path).name for path in outcome.left] == ["large.parquet"]
    new = [file for file in files(tmp_path) if "optimized" in file.name]
    assert len(new) > 1
    assert_times_of_their_own(new)


def test_files_of_a_size_are_aimed_at_and_each_has_times_of_its_own(tmp_path: Path) -> None:
    for number in range(10):
        put(tmp_path, f"{number}.parquet", rows(list(range(number * 5_000, number * 5_000 + 5_000))))
    optimize(STORE, view_of(tmp_path), budget=Budget(file_bytes=100_000))
    new = files(tmp_path)
    assert 1 < len(new) < 10
    assert_times_of_their_own(new)
    assert optimize(STORE, view_of(tmp_path), budget=Budget(file_bytes=100_000)).folders == 0


def test_a_file_that_a_task_may_write_again_stays(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path, f"{number}.parquet", rows([number]))
    put(tmp_path, "part-00012-00003-00000-app-20260110.parquet", rows([9]))
    outcome = optimize(STORE, view_of(tmp_path))
    assert len(files(tmp_path)) == 2
    assert ["may write it again" in reason for reason in outcome.left.values()] == [True]


def test_files_of_a_bucketed_table_stay(tmp_path: Path) -> None:
    for number in range(3):
        put(
            tmp_path,
            f"part-00000-1e4e7c2e-5a2a-4d37-9f3e-3f5f0f6e9d11_{number:05d}.c000.snappy.parquet",
            rows([number]),
        )
        put(tmp_path, f"part-{number:05d}-1e4e7c2e-5a2a-4d37-9f3e-3f5f0f6e9d11-c000.snappy.parquet", rows([number]))
    outcome = optimize(STORE, view_of(tmp_path))
    assert len(files(tmp_path)) == 4
    assert ["which bucket" in reason for reason in outcome.left.values()] == [True] * 3


def test_a_batch_that_lands_meanwhile_stays(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sum(map(len, content(history).values()))
    sort = sorted_rows
    landed = iter(range(100))

    def land(table: pa.Table, columns: Any) -> pa.Table:
        put(history, f"day=2026-01-10/late-{next(landed)}.parquet", rows([7]))
        return sort(table, columns)

    monkeypatch.setattr(optimizing, "sorted_rows", land)
    optimize(STORE, view_of(history))
    assert sum(map(len, content(history).values())) == before + next(landed)


def test_a_folder_is_done_again_where_a_file_is_written_anew(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sort = sorted_rows
    changes = iter([rows([100, 101])])

    def change(table: pa.Table, columns: Any) -> pa.Table:
        if (new := next(changes, None)) is not None:
            put(history, "day=2026-01-10/batch-0.parquet", new)
        return sort(table, columns)

    monkeypatch.setattr(optimizing, "sorted_rows", change)
    optimize(STORE, view_of(history))
    found = content(history)[str(history / "day=2026-01-10")]
    assert all(found.count(row) == 1 for row in rows([100, 101]).to_pylist())
    assert len(found) == 20 * 5 - 5 + 2


def test_a_folder_is_done_again_where_a_file_gets_other_columns(
    history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = optimizing._Optimization._groups
    changes = iter([rows([100], more=["x"])])

    def change(self: Any, found: Any) -> Any:
        chosen = groups(self, found)
        if (new := next(changes, None)) is not None:
            put(history, "day=2026-01-10/batch-0.parquet", new)
        return chosen

    monkeypatch.setattr(optimizing._Optimization, "_groups", change)
    optimize(STORE, view_of(history))
    assert sum(map(len, content(history).values())) == 40 * 5 - 5 + 1
    assert len(files(history)) == 3


@pytest.mark.parametrize("name", ["part-being-replaced-now.gz", "part-being-replaced-others.gz"])
def test_a_folder_that_goes_on_being_replaced_is_left_alone(
    history: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Such as one within a folder of which another writer replaces all."""
    before = {file: file.read_bytes() for file in files(history)}
    record = ReplacementRecord("another", "", (), tuple(path.name for path in (history / "day=2026-01-10").iterdir()))
    (history / "day=2026-01-10" / name).write_bytes(record.to_bytes())
    monkeypatch.setattr(optimizing, "recover", lambda _: None)
    with pytest.raises(WriteError, match=name):
        optimize(STORE, view_of(history))
    assert {file: file.read_bytes() for file in files(history)} == before


def test_rows_that_would_not_be_the_same_are_not_put_in_place(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {file: file.read_bytes() for file in files(history)}
    monkeypatch.setattr(optimizing, "sorted_rows", lambda table, _: table.slice(1))
    with pytest.raises(WriteError, match="what was written is not what was read"):
        optimize(STORE, view_of(history))
    assert {file: file.read_bytes() for file in files(history)} == before
    assert not [path for path in history.rglob("*") if path.name.startswith(".")]


def test_who_may_not_write_there_is_told_so(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Exchange, "put_in_place", denied)
    before = {file: file.read_bytes() for file in files(history)}
    with pytest.raises(WriteError, match="optimizing view 'speeds'"):
        optimize(STORE, view_of(history))
    assert {file: file.read_bytes() for file in files(history)} == before


# The layout.


def test_columns_without_an_order_are_no_sort_keys() -> None:
    schema = pa.schema([("Key", pa.string()), ("tags", pa.list_(pa.string())), ("t", INSTANT)])
    assert sort_columns(schema, ["key", "tags", "t", "missing", None, "t"]) == ("Key", "t")


@pytest.mark.parametrize("name", [".key", "[0]", "a.b", "a[0]"])
def test_names_that_arrow_takes_for_paths_are_sorted_by(name: str) -> None:
    table = pa.table({name: [2, 1, 3], "t": [1, 2, 3]})
    assert sorted_rows(table, [name, "t"])["t"].to_pylist() == [2, 1, 3]


def test_a_file_says_how_it_is_sorted_and_has_what_readers_pass_over_rows_by() -> None:
    table = sorted_rows(rows(list(range(300_000))), ["driver_id", "event_timestamp"])
    metadata = pq.read_metadata(io.BytesIO(encoded(table, ["driver_id", "event_timestamp"]).to_pybytes()))
    assert is_sorted_by(metadata, ["driver_id", "event_timestamp"])
    assert not is_sorted_by(metadata, ["event_timestamp"])
    assert metadata.num_row_groups == 3
    column = metadata.row_group(0).column(0)
    assert (column.compression, column.has_column_index, column.statistics.has_min_max) == ("ZSTD", True, True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ([1], [1, 1]),
        ([], None),
        ([None], []),
        ([{"a": 1, "b": 2}], [{"a": 2, "b": 1}]),
        ([[1], [2]], [[1, 2], []]),
        ([[1], [2]], [[1, 2]]),
        ({"a": None}, None),
        ({"a": [0.0]}, {"a": [-0.0]}),
    ],
)
def test_sums_of_rows_tell_nested_values_apart(one: Any, other: Any) -> None:
    data_type = pa.array([one, other]).type
    values = pa.table({"v": pa.array([other, one, other, one], data_type)})
    of_one = RowSums().plus(pa.table({"v": pa.array([one], data_type)}))
    assert of_one == RowSums().plus(values.slice(1, 1)) == RowSums().plus(values.slice(3))
    assert of_one != RowSums().plus(values.slice(2, 1))
    assert RowSums().plus(values) == RowSums().plus(values.slice(0, 1)).plus(values.slice(1))


@pytest.mark.parametrize("change", ["lost", "twice", "other", "swapped", "null"])
def test_sums_of_rows_tell_sets_of_rows_apart(change: str) -> None:
    table = rows(list(range(100)), text=[str(number) for number in range(100)])
    changed = {
        "lost": table.slice(1),
        "twice": pa.concat_tables([table.slice(1), table.slice(1, 1)]),
        "other": table.set_column(2, "speed", pc.add(table["speed"], 1e-9)),
        "swapped": table.set_column(2, "speed", table["speed"].take(list(range(99, -1, -1)))),
        "null": table.set_column(3, "text", pa.array(["", *map(str, range(1, 100))])),
    }[change]
    assert RowSums().plus(changed) != RowSums().plus(table)
    order = list(range(99, -1, -1))
    parts = table.take(order)
    assert RowSums().plus(parts.slice(0, 30)).plus(parts.slice(30)) == RowSums().plus(table)
