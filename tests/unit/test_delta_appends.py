"""Batches that are added to Delta tables: what other readers of the format find, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import CommitUnknownError, HybridError, SchemaError, WriteError
from feast_hybrid.files.delta_table import DeltaFeatureError
from feast_hybrid.lakes import Router
from feast_hybrid.lakes.create_once import create_once
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.writing.delta_batches import append_to_delta
from feast_hybrid.writing.naming import BatchName
from tests.delta_tables import actions, append, deltalake, edit
from tests.integration.format_limits import Limit, format_limit

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
ROWS = pa.table({"ts": pa.array([NOON, None], INSTANT), "n": [1, 2]})


def source(folder: Path, **more: Any) -> SourceSpec:
    location = Router([]).locate(f"file://{folder}")
    return SourceSpec(name="rows", location=location, file_format="delta", timestamp_field="ts", **more)


def add(folder: Path, rows: pa.Table = ROWS, *, schema: pa.Schema | None = None, **more: Any) -> None:
    append_to_delta(rows, source(folder, **more), lambda: schema or rows.schema, what="writing rows")


def found(folder: Path) -> list[dict[str, Any]]:
    """The rows that deltalake finds, in the order of their numbers."""
    rows = pa.table(deltalake().QueryBuilder().register("t", deltalake().DeltaTable(str(folder))).execute(
        "select * from t"
    ).read_all()).to_pylist()  # fmt: skip
    return sorted(rows, key=lambda row: row["n"])


def data_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.parquet"))


def test_a_first_batch_makes_a_table_and_the_next_ones_are_commits_of_it(tmp_path: Path) -> None:
    add(tmp_path / "new")
    add(tmp_path / "new", ROWS.slice(0, 1))
    assert found(tmp_path / "new") == [{"ts": NOON, "n": 1}, {"ts": NOON, "n": 1}, {"ts": None, "n": 2}]
    table = deltalake().DeltaTable(str(tmp_path / "new"))
    assert table.version() == 1
    assert [commit["operation"] for commit in table.history()] == ["WRITE", "WRITE"]
    (stats,) = (json.loads(action["add"]["stats"]) for action in actions(tmp_path / "new", 0) if "add" in action)
    assert stats == {
        "numRecords": 2,
        "minValues": {"ts": "2026-01-10T12:00:00.000000Z", "n": 1},
        "maxValues": {"ts": "2026-01-10T12:00:00.000000Z", "n": 2},
        "nullCount": {"ts": 1, "n": 0},
    }


TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "text": (pa.string(), "ü"),
    "bytes": (pa.binary(), b"\0\xff"),
    "bool": (pa.bool_(), True),
    "small": (pa.int8(), -3),
    "double": (pa.float64(), float("inf")),
    "day": (pa.date32(), date(1, 1, 1)),
    "naive": (pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    "decimal": (pa.decimal128(38, 4), None),
    "list": (pa.list_(pa.int64()), [1, None]),
    "map": (pa.map_(pa.string(), pa.float64()), [("a", 0.5)]),
    "struct": (pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x"]}),
}


@pytest.mark.parametrize("name", TYPES)
def test_each_type_makes_a_table_and_is_added_to_it(tmp_path: Path, name: str) -> None:
    data_type, value = TYPES[name]
    rows = pa.table({"n": [1, 2], "v": pa.array([value, None], data_type)})
    add(tmp_path, rows)
    add(tmp_path, rows)
    assert [row["v"] for row in found(tmp_path)] == [value, value, None, None]


def test_a_table_of_another_writer_keeps_its_columns_types_and_partitions(tmp_path: Path) -> None:
    towns = ["a/b c", "100%"]
    append(tmp_path, pa.table({"n": pa.array([1], pa.int32()), "town": ["x"]}), partition_by=["town"])
    add(tmp_path, pa.table({"town": towns, "n": pa.array([3, 4], pa.int64())}))
    add(tmp_path, pa.table({"n": [5], "town": pa.array([None], pa.string())}))
    assert found(tmp_path) == [
        {"n": 1, "town": "x"},
        {"n": 3, "town": towns[0]},
        {"n": 4, "town": towns[1]},
        {"n": 5, "town": None},
    ]
    assert found(tmp_path)[0].keys() == {"n", "town"}
    assert pa.schema(deltalake().DeltaTable(str(tmp_path)).schema().to_arrow()).field("n").type == pa.int32()
    with pytest.raises(SchemaError, match="empty text, which a Delta table does not tell from null"):
        add(tmp_path, pa.table({"n": [5, 6], "town": [None, ""]}))
    with pytest.raises(SchemaError, match="columns missing n"):
        add(tmp_path, pa.table({"town": ["x"]}))
    with pytest.raises(SchemaError, match="column 'n' is int64 in the rows and int32 there"):
        add(tmp_path, pa.table({"n": [2**40], "town": ["x"]}))
    assert len(data_files(tmp_path)) == 4


def test_a_new_table_is_partitioned_by_the_day_of_the_source(tmp_path: Path) -> None:
    rows = pa.table({"ts": pa.array([NOON, datetime(2026, 1, 11, tzinfo=UTC)], INSTANT), "n": [1, 2]})
    add(tmp_path, rows, date_partition_column="dt")
    assert [row["dt"] for row in found(tmp_path)] == ["2026-01-10", "2026-01-11"]
    assert deltalake().DeltaTable(str(tmp_path)).metadata().partition_columns == ["dt"]


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "there"])
def test_writers_at_once_add_each_their_rows_once(tmp_path: Path, is_new: bool) -> None:
    if not is_new:
        append(tmp_path, pa.table({"n": pa.array([], pa.int64())}))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: add(tmp_path, pa.table({"n": [n]})), range(24)))
    assert [row["n"] for row in found(tmp_path)] == list(range(24))
    assert len(data_files(tmp_path)) == 24
    assert not list(tmp_path.rglob(".*.writing"))


def test_a_batch_that_another_changes_the_table_under_is_written_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path, pa.table({"n": [1]}))
    seen: list[int] = []

    def after_another(file: Any, content: bytes) -> bool:
        if not seen:
            append(tmp_path, pa.table({"n": [2], "more": ["x"]}), schema_mode="merge")
        seen.append(1)
        return create_once(file, content)

    monkeypatch.setattr("feast_hybrid.writing.delta_batches.create_once", after_another)
    with pytest.raises(SchemaError, match="columns missing more"):
        add(tmp_path, pa.table({"n": [3]}))
    assert len(data_files(tmp_path)) == 2


def test_a_batch_of_a_task_that_is_run_again_is_added_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feast_hybrid.writing.delta_batches.batch_name", lambda _: BatchName("part-7", replaces=True))
    add(tmp_path)
    deltalake().DeltaTable(str(tmp_path)).create_checkpoint()
    append(tmp_path, ROWS)
    add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 2, 2]
    assert len([name for name in data_files(tmp_path) if "checkpoint" not in name]) == 2


def test_where_the_answer_to_a_commit_is_lost_the_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(file: Any, content: bytes) -> bool:
        create_once(file, content)
        raise CommitUnknownError("lost")

    monkeypatch.setattr("feast_hybrid.writing.delta_batches.create_once", lost)
    with pytest.raises(CommitUnknownError):
        add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 2]

    def interrupted(file: Any, content: bytes) -> bool:
        create_once(file, content)
        raise KeyboardInterrupt

    monkeypatch.setattr("feast_hybrid.writing.delta_batches.create_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 2, 2]

    def refused(file: Any, content: bytes) -> bool:
        raise PermissionError(13, "no")

    monkeypatch.setattr("feast_hybrid.writing.delta_batches.create_once", refused)
    with pytest.raises(HybridError, match="writing rows: the lake denies access"):
        add(tmp_path)
    assert len(data_files(tmp_path)) == 2


def with_metadata(key: str, value: str, **properties: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(action: dict[str, Any]) -> dict[str, Any]:
        if "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            if key:
                schema["fields"][0]["metadata"] = {key: value}
            action["metaData"]["schemaString"] = json.dumps(schema)
            action["metaData"]["configuration"] = properties
        return action

    return change


def with_writer_feature(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(action: dict[str, Any]) -> dict[str, Any]:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [name]}
        return action

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            with_metadata("delta.invariants", "{}"),
            marks=format_limit(
                "Delta, adding a batch",
                "invariants",
                "left to Spark's package, else refused",
                "an invariant",
            ),
            id="an invariant",
        ),
        pytest.param(
            with_metadata("delta.generationExpression", "1"),
            marks=format_limit(
                "Delta, adding a batch",
                "generated columns",
                "left to Spark's package, else refused",
                "a generated column",
            ),
            id="a generated column",
        ),
        pytest.param(
            with_metadata("delta.identity.start", "1"),
            marks=format_limit(
                "Delta, adding a batch",
                "identity columns",
                "left to Spark's package, else refused",
                "an identity column",
            ),
            id="an identity column",
        ),
        pytest.param(
            with_metadata("", "", **{"delta.constraints.positive": "n > 0"}),
            marks=format_limit(
                "Delta, adding a batch",
                "constraints",
                "left to Spark's package, else refused",
                "a constraint to be checked",
            ),
            id="a constraint to be checked",
        ),
        pytest.param(
            with_metadata("", "", **{"delta.enableInCommitTimestamps": "true"}),
            marks=format_limit(
                "Delta, adding a batch",
                "in-commit timestamps",
                "left to Spark's package, else refused",
                "in-commit timestamps",
            ),
            id="in-commit timestamps",
        ),
        pytest.param(
            with_metadata("__CHAR_VARCHAR_TYPE_STRING", "char(3)"),
            marks=format_limit(
                "Delta, adding a batch",
                "columns of text of a given length",
                "left to Spark's package, else refused",
                "a column of text of a given length",
            ),
            id="a column of text of a given length",
        ),
        pytest.param(
            with_metadata("", "", **{"delta.columnMapping.mode": "name"}),
            marks=format_limit(
                "Delta, adding a batch",
                "column mapping",
                "left to Spark's package, else refused",
                "column mapping in what is written",
            ),
            id="column mapping in what is written",
        ),
        pytest.param(
            with_writer_feature("rowTracking"),
            marks=format_limit(
                "Delta, adding a batch",
                "row tracking, and other features of writers that are not known here",
                "left to Spark's package, else refused",
                "the writer feature",
            ),
            id="the writer feature",
        ),
    ],
)
def test_what_a_table_asks_of_writers_is_done_or_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], limit: Limit
) -> None:
    append(tmp_path, pa.table({"n": [1]}))
    edit(tmp_path, change)
    with pytest.raises(DeltaFeatureError, match=f"needs {limit()}"):
        add(tmp_path, pa.table({"n": [2]}))
    assert len(data_files(tmp_path)) == 1


def test_a_column_that_is_never_null_takes_none(tmp_path: Path) -> None:
    append(tmp_path, pa.table({"n": [1]}, schema=pa.schema([pa.field("n", pa.int64(), nullable=False)])))
    add(tmp_path, pa.table({"n": [2]}))
    with pytest.raises(SchemaError, match="column 'n' has nulls"):
        add(tmp_path, pa.table({"n": pa.array([None], pa.int64())}))


def test_rows_go_to_no_earlier_version_and_to_no_broken_table(tmp_path: Path) -> None:
    append(tmp_path, pa.table({"n": [1]}))
    with pytest.raises(WriteError, match=r"would not be read back\. Leave out versionAsOf"):
        add(tmp_path, pa.table({"n": [2]}), options={"versionAsOf": "0"})
    (tmp_path / "_delta_log" / f"{1:020}.json").write_text("")
    with pytest.raises(HybridError, match="of the log is empty"):
        add(tmp_path, pa.table({"n": [2]}))
    assert len(data_files(tmp_path)) == 1


def test_a_file_is_created_by_one_writer_alone(tmp_path: Path) -> None:
    location = Router([]).locate(f"file://{tmp_path}/log/1.json")
    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(lambda n: create_once(location, f"writer {n}".encode()), range(20)))
    assert created.count(True) == 1
    assert (tmp_path / "log" / "1.json").read_text() == f"writer {created.index(True)}"
    assert [path.name for path in (tmp_path / "log").iterdir()] == ["1.json"]
    assert create_once(location, f"writer {created.index(True)}".encode())  # whose answer was lost
