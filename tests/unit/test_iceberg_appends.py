"""Batches that are added to Iceberg tables: what another reader of the format finds, and what is refused."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import StaticTable
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IcebergType, ListType, LongType, NestedField, PrimitiveType, UUIDType

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import CommitUnknownError, HybridError, SchemaError, SourceError, WriteError
from feast_hybrid.files.iceberg_commit import BATCH, Addition, IcebergFeatureError, first_metadata, manifests_of
from feast_hybrid.files.iceberg_places import TableFiles
from feast_hybrid.files.iceberg_types import iceberg_schema
from feast_hybrid.lakes import Router
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.create_once import create_once
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.writing.iceberg_batches import append_to_iceberg
from feast_hybrid.writing.naming import BatchName
from tests.integration.format_limits import Limit, format_limit

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
ROWS = pa.table({"ts": pa.array([NOON, None], INSTANT), "n": [1, 2]})
CREATE = "feast_hybrid.writing.iceberg_batches.create_once"
PUBLISH = "feast_hybrid.writing.iceberg_batches.publish"


def source(folder: Path, **more: Any) -> SourceSpec:
    location = Router([]).locate(f"file://{folder}")
    return SourceSpec(name="rows", location=location, file_format="iceberg", timestamp_field="ts", **more)


def add(folder: Path, rows: pa.Table = ROWS, *, schema: pa.Schema | None = None, **more: Any) -> None:
    append_to_iceberg(rows, source(folder, **more), lambda: schema or rows.schema, what="writing rows")


def metadata_files(folder: Path) -> list[Path]:
    """The versions of a table, in their order."""
    return sorted(folder.glob("metadata/v*.metadata.json"), key=lambda file: int(file.name[1:].partition(".")[0]))


def last(folder: Path) -> dict[str, Any]:
    content = metadata_files(folder)[-1].read_bytes()
    return dict(json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content))


def table(folder: Path) -> StaticTable:
    return StaticTable.from_metadata(str(metadata_files(folder)[-1]))


def found(folder: Path) -> list[dict[str, Any]]:
    """The rows that pyiceberg finds, in the order of their numbers."""
    return sorted(table(folder).scan().to_arrow().to_pylist(), key=lambda row: row["n"])


def data_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.parquet"))


def leftovers(folder: Path) -> set[str]:
    """Files of metadata that no snapshot names, and those that were written aside."""
    named = {HINT_NAME, *(file.name for file in metadata_files(folder))}
    at = table(folder)
    for snapshot in at.metadata.snapshots:
        named.add(snapshot.manifest_list.rpartition("/")[2])
        named |= {manifest.manifest_path.rpartition("/")[2] for manifest in snapshot.manifests(at.io)}
    return {path.name for path in (folder / "metadata").iterdir()} - named


HINT_NAME = "version-hint.text"


def make(
    folder: Path,
    schema: pa.Schema | Schema,
    *partitions: tuple[int, str],
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    properties: dict[str, str] | None = None,
) -> None:
    """Make an empty table as another writer would.

    Args:
        folder: of the table.
        schema: its columns.
        partitions: the number of a column and what is done to it, for each field of the partitioning.
        change: of the metadata.
        properties: its properties.
    """
    in_iceberg = schema if isinstance(schema, Schema) else iceberg_schema(schema)
    raw = first_metadata(in_iceberg, None, f"file://{folder}")
    fields = [
        PartitionField(number, 1000 + place, parse_transform(transform), f"p{place}")
        for place, (number, transform) in enumerate(partitions)
    ]
    raw["partition-specs"] = [json.loads(PartitionSpec(*fields, spec_id=0).model_dump_json())]
    raw["last-partition-id"] = 999 + len(fields)
    raw["properties"] = properties or {}
    change(raw)
    (folder / "metadata").mkdir(parents=True)
    (folder / "metadata" / "v1.metadata.json").write_text(json.dumps(raw))
    (folder / "metadata" / HINT_NAME).write_text("1")


def test_a_first_batch_makes_a_table_and_the_next_ones_are_commits_of_it(tmp_path: Path) -> None:
    add(tmp_path)
    add(tmp_path, ROWS.slice(0, 1))
    assert found(tmp_path) == [{"ts": NOON, "n": 1}, {"ts": NOON, "n": 1}, {"ts": None, "n": 2}]
    at = table(tmp_path)
    assert [snapshot.sequence_number for snapshot in at.metadata.snapshots] == [1, 2]
    assert at.metadata.snapshots[1].parent_snapshot_id == at.metadata.snapshots[0].snapshot_id
    assert at.metadata.format_version == 2
    summary = last(tmp_path)["snapshots"][1]["summary"]
    assert (summary["added-records"], summary["total-records"], summary["total-data-files"]) == ("1", "3", "2")
    assert (tmp_path / "metadata" / HINT_NAME).read_text() == "2"
    assert [entry["metadata-file"] for entry in last(tmp_path)["metadata-log"]] == [
        f"file://{tmp_path}/metadata/v1.metadata.json"
    ]
    assert not leftovers(tmp_path)


TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "text": (pa.string(), "ü"),
    "bytes": (pa.binary(), b"\0\xff"),
    "bool": (pa.bool_(), True),
    "small": (pa.int8(), -3),
    "float": (pa.float32(), 0.5),
    "double": (pa.float64(), float("inf")),
    "day": (pa.date32(), date(1, 1, 1)),
    "naive": (pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999_999)),
    "decimal": (pa.decimal128(38, 4), Decimal("-1.5000")),
    "short decimal": (pa.decimal128(7, 2), Decimal("-1.50")),
    "list": (pa.list_(pa.int64()), [1, None]),
    "map": (pa.map_(pa.string(), pa.float64()), [("a", 0.5)]),
    "struct": (pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))]), {"a": 1, "b": ["x"]}),
    "structs": (pa.list_(pa.struct([("a", pa.map_(pa.string(), pa.date32()))])), [{"a": [("k", date(2026, 1, 1))]}]),
}


@pytest.mark.parametrize("name", TYPES)
def test_each_type_makes_a_table_and_is_added_to_it(tmp_path: Path, name: str) -> None:
    data_type, value = TYPES[name]
    rows = pa.table({"n": [1, 2], "v": pa.array([value, None], data_type)})
    add(tmp_path, rows)
    add(tmp_path, rows)
    if name != "structs":  # where pyiceberg gives empty lists for null ones
        assert [row["v"] for row in found(tmp_path)] == [value, value, None, None]
    for file in data_files(tmp_path):
        assert pq.read_table(tmp_path / file)["v"].to_pylist() == [value, None]
    numbers = [
        pq.read_schema(tmp_path / file).field("v").metadata[b"PARQUET:field_id"] for file in data_files(tmp_path)
    ]
    assert numbers == [b"2", b"2"]


def bounds(folder: Path) -> dict[str, tuple[Any, Any]]:
    """The bounds that the last manifest has of each column, as values."""
    at = table(folder)
    manifest = at.current_snapshot().manifests(at.io)[0]  # type: ignore[union-attr]
    (entry,) = manifest.fetch_manifest_entry(at.io)
    values = {}
    for column in at.schema().fields:
        low, high = (
            each.get(column.field_id) for each in (entry.data_file.lower_bounds, entry.data_file.upper_bounds)
        )
        values[column.name] = tuple(
            None if value is None else of_bytes(column.field_type, value) for value in (low, high)
        )
    return values  # type: ignore[return-value]


def of_bytes(data_type: IcebergType, value: bytes) -> Any:
    assert isinstance(data_type, PrimitiveType)
    return from_bytes(data_type, value)


NAN, MICROS = float("nan"), pa.timestamp("us")
COLUMNS: dict[str, tuple[pa.DataType, list[Any], tuple[Any, Any]]] = {
    "whole numbers": (pa.int64(), [-(2**63), 2**63 - 1, None], (-(2**63), 2**63 - 1)),
    "small numbers": (pa.int16(), [-5, 7], (-5, 7)),
    "nothing": (pa.int64(), [None, None], (None, None)),
    "booleans": (pa.bool_(), [True, False], (False, True)),
    "days before 1970": (pa.date32(), [date(1582, 1, 1), date(1969, 12, 31)], (-141714, -1)),
    "times": (INSTANT, [datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), NOON], (-1, 1768046400000000)),
    "times that Python has not": (MICROS, [2**62, -(2**62)], (-(2**62), 2**62)),
    "zeros": (pa.float64(), [0.0, 0.0], (-0.0, 0.0)),
    "NaN among numbers": (pa.float64(), [NAN, 1.0], (None, None)),
    "NaN": (pa.float32(), [NAN], (None, None)),
    "floats": (pa.float32(), [-1.5, 2.5, float("inf")], (-1.5, float("inf"))),
    "texts": (pa.string(), ["", "ä", "z" * 16], ("", "ä")),
    "long texts": (pa.string(), ["b" * 20, "c" * 17], ("b" * 16, "c" * 15 + "d")),
    "texts of the last letter": (pa.string(), ["\U0010ffff" * 20], ("\U0010ffff" * 16, None)),
    "texts before a gap of letters": (pa.string(), ["\ud7ff" * 20], ("\ud7ff" * 16, None)),
    "texts beyond 4096 bytes": (pa.string(), ["x" * 9000], ("x" * 16, "x" * 15 + "y")),
    "bytes": (pa.binary(), [b"\xff" * 20, b"\x00"], (b"\x00", None)),
    "decimals": (pa.decimal128(20, 2), [Decimal("-12.34"), Decimal("0.05")], (Decimal("-12.34"), Decimal("0.05"))),
    "long decimals": (
        pa.decimal128(38, 0),
        [Decimal(10**37), Decimal(-(10**37))],
        (Decimal(-(10**37)), Decimal(10**37)),
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_the_bounds_of_a_column_are_those_of_its_values(tmp_path: Path, name: str) -> None:
    data_type, values, expected = COLUMNS[name]
    add(tmp_path, pa.table({"v": pa.array(values, data_type)}))
    low, high = bounds(tmp_path)["v"]
    assert repr((low, high)) == repr(expected)


def test_counts_are_told_and_of_nan_that_there_is_none(tmp_path: Path) -> None:
    columns = {"v": pa.array([0.5, None, None, 1.0]), "l": pa.array([[1], None, [], [None]]), "w": [NAN] * 4}
    add(tmp_path, pa.table(columns))
    (file,) = table(tmp_path).inspect.files().to_pylist()
    assert file["value_counts"] == [(1, 4), (3, 4)]
    assert file["null_value_counts"] == [(1, 2), (3, 0)]
    assert file["nan_value_counts"] == [(1, 0)]
    assert dict(file["column_sizes"]).keys() == {1, 3, 4}
    assert file["file_size_in_bytes"] == (tmp_path / data_files(tmp_path)[0]).stat().st_size


def test_a_table_says_how_much_is_kept_of_its_columns(tmp_path: Path) -> None:
    columns = pa.schema([("a", pa.string()), ("b", pa.string()), ("c", pa.int64()), ("d", pa.int64())])
    modes = {"default": "counts", "column.a": "truncate(2)", "column.b": "full", "column.d": "none"}
    make(tmp_path, columns, properties={f"write.metadata.metrics.{name}": mode for name, mode in modes.items()})
    add(tmp_path, pa.table({"a": ["xyz"], "b": ["y" * 30], "c": [1], "d": [1]}))
    assert bounds(tmp_path) == {"a": ("xy", "xz"), "b": ("y" * 30,) * 2, "c": (None, None), "d": (None, None)}
    assert dict(table(tmp_path).inspect.files().to_pylist()[0]["value_counts"]).keys() == {1, 2, 3}


def test_readers_leave_files_out_by_what_is_told_and_lose_nothing(tmp_path: Path) -> None:
    for hours in range(3):
        add(tmp_path, pa.table({"ts": pa.array([NOON + timedelta(hours=hours)], INSTANT), "n": [hours]}))
    scan = table(tmp_path).scan(row_filter=f"ts >= '{(NOON + timedelta(hours=1)).isoformat()}'")
    assert len(list(scan.plan_files())) == 2
    assert sorted(scan.to_arrow()["n"].to_pylist()) == [1, 2]


PARTITIONS: dict[str, tuple[str, pa.DataType, list[Any], list[Any]]] = {
    "texts": ("identity", pa.string(), ["a/b c", "100%", "", None], ["a/b c", "100%", "", None]),
    "days": ("identity", pa.date32(), [date(1969, 1, 1), None], [-365, None]),
    "booleans": ("identity", pa.bool_(), [True, False, True], [True, False]),
    "decimals": (
        "identity",
        pa.decimal128(9, 2),
        [Decimal("-1.50"), Decimal("1.50")],
        [Decimal("-1.50"), Decimal("1.50")],
    ),
    "instants": ("identity", INSTANT, [NOON, None], [1768046400000000, None]),
    "zeros": ("identity", pa.float64(), [0.0, -0.0, 1.5], [0.0, -0.0, 1.5]),
    "years": ("year", INSTANT, [datetime(1969, 12, 31, 23, tzinfo=UTC), NOON], [-1, 56]),
    "months": ("month", INSTANT, [datetime(1969, 12, 31, 23, tzinfo=UTC), NOON], [-1, 672]),
    "days of instants": ("day", INSTANT, [datetime(1969, 12, 31, 23, tzinfo=UTC), NOON, None], [-1, 20463, None]),
    "hours": ("hour", MICROS, [datetime(1969, 12, 31, 23, 30), datetime(1970, 1, 1)], [-1, 0]),
    "months of days": ("month", pa.date32(), [date(1969, 12, 31), date(1970, 2, 1)], [-1, 1]),
    "buckets of numbers": ("bucket[16]", pa.int64(), [34, None], [2017239379 % 16, None]),
    "buckets of texts": ("bucket[100]", pa.string(), ["iceberg"], [1210000089 % 100]),
    "cut numbers": ("truncate[10]", pa.int32(), [-1, 9, 10], [-10, 0, 10]),
    "cut texts": ("truncate[2]", pa.string(), ["iceberg", "i", "ice"], ["ic", "i"]),
}  # numbers of days, months, years since 1970 and hashes: of the format's specification, appendices B and D


@pytest.mark.parametrize("name", PARTITIONS)
def test_rows_go_to_the_partitions_that_the_table_says(tmp_path: Path, name: str) -> None:
    transform, data_type, values, expected = PARTITIONS[name]
    rows = pa.table({"n": range(len(values)), "v": pa.array(values, data_type)})
    make(tmp_path, rows.schema, (2, transform))
    add(tmp_path, rows)
    assert [row["v"] for row in found(tmp_path)] == rows["v"].to_pylist()
    at = table(tmp_path)
    (manifest,) = at.current_snapshot().manifests(at.io)  # type: ignore[union-attr]
    entries = manifest.fetch_manifest_entry(at.io)
    assert {repr(entry.data_file.partition[0]) for entry in entries} == set(map(repr, expected))
    assert sum(entry.data_file.record_count for entry in entries) == len(values)


def test_partitions_of_several_fields_hold_each_row_once_and_are_found(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "n": range(100),
            "v": [f"t{n % 3}" for n in range(100)],
            "ts": [NOON + timedelta(hours=n) for n in range(100)],
        }
    )
    rows = rows.set_column(2, "ts", rows["ts"].cast(INSTANT))
    make(tmp_path, rows.schema, (3, "day"), (2, "identity"), (1, "bucket[2]"))
    add(tmp_path, rows)
    assert [row["n"] for row in found(tmp_path)] == list(range(100))
    scan = table(tmp_path).scan(row_filter="v = 't1'")
    assert sorted(scan.to_arrow()["n"].to_pylist()) == list(range(1, 100, 3))
    assert len(list(scan.plan_files())) < len(data_files(tmp_path))


@format_limit("Iceberg, adding a batch", "NaN in a column that the table is partitioned by", "refused", "holds NaN")
@format_limit(
    "Iceberg, adding a batch",
    "a time that is in no partition which the table can have",
    "refused",
    "the partition year of the table takes not",
)
def test_what_no_partition_takes_is_refused(tmp_path: Path, limit: Limit) -> None:
    make(tmp_path / "nan", pa.schema([("v", pa.float64())]), (1, "identity"))
    with pytest.raises(SchemaError, match=f"'v', which the table is partitioned by, {limit('holds NaN')}"):
        add(tmp_path / "nan", pa.table({"v": [1.0, NAN]}))
    make(tmp_path / "year", pa.schema([("v", MICROS)]), (1, "year"))
    with pytest.raises(SchemaError, match=limit("the partition year of the table takes not")):
        add(tmp_path / "year", pa.table({"v": pa.array([2**62], MICROS)}))
    assert not data_files(tmp_path)


def test_a_new_table_is_partitioned_by_the_day_of_the_source(tmp_path: Path) -> None:
    rows = pa.table({"ts": pa.array([NOON, datetime(2026, 1, 11, tzinfo=UTC)], INSTANT), "n": [1, 2]})
    add(tmp_path, rows, date_partition_column="dt")
    add(tmp_path, rows, date_partition_column="dt")
    assert [row["dt"] for row in found(tmp_path)] == ["2026-01-10"] * 2 + ["2026-01-11"] * 2
    assert [field.name for field in table(tmp_path).spec().fields] == ["dt"]
    with pytest.raises(WriteError, match="its time belongs to '2026-01-10'"):
        add(tmp_path, ROWS.slice(0, 1).append_column("dt", [["2026-01-09"]]), date_partition_column="dt")


def test_a_table_of_another_writer_keeps_its_columns_and_types(tmp_path: Path) -> None:
    make(
        tmp_path,
        pa.schema([("n", pa.int32()), ("v", pa.float32()), ("odd name ü.", pa.struct([("a b", pa.int64())]))]),
    )
    odd = [{"a b": 7}]
    add(tmp_path, pa.table({"odd name ü.": odd, "v": [0.1], "n": pa.array([3], pa.int64())}))
    (row,) = found(tmp_path)
    assert (row["n"], row["odd name ü."]) == (3, odd[0])
    assert table(tmp_path).scan().to_arrow().schema.field("n").type == pa.int32()
    with pytest.raises(SchemaError, match="columns missing n"):
        add(tmp_path, pa.table({"v": [0.1], "odd name ü.": odd}))
    with pytest.raises(SchemaError, match="unknown more"):
        add(tmp_path, pa.table({"n": [1], "v": [0.1], "odd name ü.": odd, "more": [1]}))
    with pytest.raises(SchemaError, match="column 'n' is int64 in the rows and int32 there"):
        add(tmp_path, pa.table({"n": [2**40], "v": [0.1], "odd name ü.": odd}))
    assert len(data_files(tmp_path)) == 1


def test_a_column_that_is_never_null_takes_none(tmp_path: Path) -> None:
    column = NestedField(1, "n", LongType(), required=True)
    make(tmp_path, Schema(column, identifier_field_ids=[1]))
    add(tmp_path, pa.table({"n": [2]}))
    with pytest.raises(SchemaError, match="column 'n' has nulls"):
        add(tmp_path, pa.table({"n": pa.array([None], pa.int64())}))
    assert found(tmp_path) == [{"n": 2}]


def as_version_1(raw: dict[str, Any]) -> None:
    raw |= {"format-version": 1, "schema": raw["schemas"][0], "partition-spec": raw["partition-specs"][0]["fields"]}
    del raw["last-sequence-number"], raw["refs"]


def test_a_table_of_version_1_stays_one(tmp_path: Path) -> None:
    make(tmp_path, ROWS.schema, change=as_version_1)
    add(tmp_path)
    add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 2, 2]
    assert last(tmp_path)["format-version"] == 1
    assert not any("sequence-number" in snapshot for snapshot in last(tmp_path)["snapshots"])
    raw = last(tmp_path) | {"format-version": 2, "last-sequence-number": 0}  # as another writer raises it
    (tmp_path / "metadata" / "v4.metadata.json").write_text(json.dumps(raw))
    add(tmp_path, ROWS.slice(0, 1))
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 1, 2, 2]
    at = table(tmp_path)
    assert [each.sequence_number for each in at.current_snapshot().manifests(at.io)] == [1, 0, 0]  # type: ignore[union-attr]


def test_what_this_package_does_not_know_of_a_tables_metadata_stays(tmp_path: Path) -> None:
    def unknown(raw: dict[str, Any]) -> None:
        raw["of-a-later-version"] = {"a": [1]}
        raw["refs"] = {"main": {"snapshot-id": 1, "type": "branch", "min-snapshots-to-keep": 7}}

    make(tmp_path, ROWS.schema, change=unknown)
    raw = json.loads((tmp_path / "metadata" / "v1.metadata.json").read_text())
    add(tmp_path)
    assert last(tmp_path)["of-a-later-version"] == {"a": [1]}
    assert last(tmp_path)["refs"]["main"]["min-snapshots-to-keep"] == 7
    assert last(tmp_path)["table-uuid"] == raw["table-uuid"]


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "there"])
def test_writers_at_once_add_each_their_rows_once(tmp_path: Path, is_new: bool) -> None:
    if not is_new:
        make(tmp_path, pa.schema([("n", pa.int64())]))
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: add(tmp_path, pa.table({"n": [n]})), range(16)))
    assert [row["n"] for row in found(tmp_path)] == list(range(16))
    assert len(data_files(tmp_path)) == 16
    assert not leftovers(tmp_path)
    assert (tmp_path / "metadata" / HINT_NAME).read_text() == str(len(metadata_files(tmp_path)))


def test_a_batch_that_another_changes_the_table_under_is_written_for_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, pa.table({"n": [1]}))
    more = {"id": 9, "name": "more", "type": "long", "required": False}

    def after_another(file: Any, content: bytes) -> bool:
        raw = last(tmp_path)
        if len(raw["schemas"]) == 1:
            raw["schemas"].append(
                {**raw["schemas"][0], "fields": [*raw["schemas"][0]["fields"], more], "schema-id": 1}
            )
            raw |= {"current-schema-id": 1, "last-column-id": 9}
            (tmp_path / "metadata" / "v2.metadata.json").write_text(json.dumps(raw))
        return create_once(file, content)

    monkeypatch.setattr(CREATE, after_another)
    with pytest.raises(SchemaError, match="columns missing more"):
        add(tmp_path, pa.table({"n": [3]}))
    assert len(data_files(tmp_path)) == 1
    assert not leftovers(tmp_path)


def test_a_batch_of_a_task_that_is_run_again_is_added_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = iter(
        [BatchName("part-7", replaces=True), BatchName("x", replaces=False), BatchName("part-7", replaces=True)]
    )
    monkeypatch.setattr("feast_hybrid.writing.iceberg_batches.batch_name", lambda _: next(names))
    for _ in range(3):
        add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 2, 2]
    assert len(data_files(tmp_path)) == 2
    assert [snapshot["summary"].get(BATCH) for snapshot in last(tmp_path)["snapshots"]] == ["part-7", None]


def test_two_attempts_of_a_task_at_once_add_its_batch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, pa.schema([("n", pa.int64())]))
    name = BatchName("part-7", replaces=True)
    monkeypatch.setattr("feast_hybrid.writing.iceberg_batches.batch_name", lambda _: name)
    both = threading.Barrier(2)

    def at_once(file: Any, content: bytes) -> bool:
        if file.name == "v2.metadata.json":
            both.wait(10)
        return create_once(file, content)

    monkeypatch.setattr(CREATE, at_once)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: add(tmp_path, pa.table({"n": [5]})), range(2)))
    assert found(tmp_path) == [{"n": 5}]
    assert len(data_files(tmp_path)) == 1
    assert not leftovers(tmp_path)


def test_where_the_answer_to_a_commit_is_lost_the_files_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(file: Any, content: bytes) -> bool:
        create_once(file, content)
        raise CommitUnknownError("lost")

    monkeypatch.setattr(CREATE, lost)
    with pytest.raises(CommitUnknownError):
        add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 2]

    def interrupted(file: Any, content: bytes) -> bool:
        create_once(file, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(CREATE, interrupted)
    with pytest.raises(KeyboardInterrupt):
        add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 2, 2]

    def refused(file: Any, content: bytes) -> bool:
        raise PermissionError(13, "no")

    monkeypatch.setattr(CREATE, refused)
    with pytest.raises(HybridError, match="writing rows: the lake denies access"):
        add(tmp_path)
    assert len(data_files(tmp_path)) == 2
    assert not leftovers(tmp_path)


def test_a_writer_that_does_not_know_its_own_commit_again_does_not_add_it_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said_to_be_anothers(file: Any, content: bytes) -> bool:
        create_once(file, content)
        return False

    monkeypatch.setattr(CREATE, said_to_be_anothers)
    add(tmp_path)
    assert [row["n"] for row in found(tmp_path)] == [1, 2]
    assert len(data_files(tmp_path)) == 1


@pytest.mark.parametrize(
    "hint", ["1", None, "", "no number", "0"], ids=["late", "missing", "empty", "damaged", "older"]
)
def test_a_hint_that_is_late_or_missing_hides_no_rows(tmp_path: Path, hint: str | None) -> None:
    for _ in range(3):
        add(tmp_path, ROWS.slice(0, 1))
    at = tmp_path / "metadata" / HINT_NAME
    at.unlink() if hint is None else at.write_text(hint)
    add(tmp_path, ROWS.slice(0, 1))
    assert len(found(tmp_path)) == 4
    assert [file.name for file in metadata_files(tmp_path)][-1] == "v4.metadata.json"
    assert at.read_text() == "4"


def test_a_hint_goes_on_to_the_version_that_a_faster_writer_has_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)

    def slow(file: Any, content: bytes) -> bool:
        created = create_once(file, content)
        monkeypatch.setattr(CREATE, create_once)
        add(tmp_path)
        (tmp_path / "metadata" / HINT_NAME).write_text("1")  # so that the slow one names its own version last
        return created

    monkeypatch.setattr(CREATE, slow)
    add(tmp_path)
    assert (tmp_path / "metadata" / HINT_NAME).read_text() == "3"
    assert len(found(tmp_path)) == 6


def test_earlier_metadata_is_forgotten_and_deleted_as_the_table_says(tmp_path: Path) -> None:
    kept = {"write.metadata.previous-versions-max": "2", "write.metadata.delete-after-commit.enabled": "true"}
    make(tmp_path, ROWS.schema, properties=kept)
    for _ in range(5):
        add(tmp_path, ROWS.slice(0, 1))
    assert [file.name for file in metadata_files(tmp_path)] == [f"v{number}.metadata.json" for number in (4, 5, 6)]
    assert len(last(tmp_path)["metadata-log"]) == 2
    assert len(found(tmp_path)) == 5


def test_a_slow_writer_does_not_take_the_place_of_a_version_that_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"write.metadata.previous-versions-max": "1", "write.metadata.delete-after-commit.enabled": "true"}
    make(tmp_path, ROWS.schema, properties=kept)

    def slow(file: Any, content: bytes) -> bool:
        monkeypatch.setattr(CREATE, create_once)
        for _ in range(4):
            add(tmp_path, ROWS.slice(0, 1))
        return create_once(file, content)

    monkeypatch.setattr(CREATE, slow)
    add(tmp_path, ROWS.slice(1, 1))
    assert [row["n"] for row in found(tmp_path)] == [1, 1, 1, 1, 2]
    assert [file.name for file in metadata_files(tmp_path)] == ["v5.metadata.json", "v6.metadata.json"]
    assert (tmp_path / "metadata" / HINT_NAME).read_text() == "6"


def test_properties_of_the_table_are_kept_to(tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    properties = {
        "write.metadata.compression-codec": "gzip",
        "write.avro.compression-codec": "zstd",
        "write.parquet.compression-codec": "snappy",
        "write.data.path": f"file://{data}",
        "write.object-storage.enabled": "true",
        "write.summary.partition-limit": "5",
    }
    make(tmp_path / "table", ROWS.schema, (2, "identity"), properties=properties)
    add(tmp_path / "table")
    add(tmp_path / "table", options={"compression-codec": "gzip"})
    assert [file.name for file in metadata_files(tmp_path / "table")][1:] == [
        "v2.gz.metadata.json",
        "v3.gz.metadata.json",
    ]
    assert [row["n"] for row in found(tmp_path / "table")] == [1, 1, 2, 2]
    files = [path for path in data.rglob("*.parquet") if len(path.relative_to(data).parts) == 6]
    assert {pq.read_metadata(path).row_group(0).column(0).compression for path in files} == {"SNAPPY", "GZIP"}
    assert len(files) == 4
    assert not (tmp_path / "table" / "data").exists()
    summary = last(tmp_path / "table")["snapshots"][-1]["summary"]
    assert summary["partitions.p0=1"].startswith("added-files-size=")


def with_properties(name: str, value: str) -> Callable[[Path], None]:
    return lambda folder: make(folder, ROWS.schema, properties={name: value})


def by_zorder(raw: dict[str, Any]) -> None:
    raw["partition-specs"][0]["fields"][0]["transform"] = "zorder"


def of_version_3(raw: dict[str, Any]) -> None:
    raw |= {"format-version": 3, "next-row-id": 0}
    raw["schemas"][0]["fields"][1]["type"] = "variant"  # which pyiceberg has not


def without_lists(raw: dict[str, Any]) -> None:
    as_version_1(raw)
    raw |= {"snapshots": [{"snapshot-id": 1, "timestamp-ms": 1, "manifests": ["m.avro"]}], "current-snapshot-id": 1}


def by_a_part(raw: dict[str, Any]) -> None:
    part = {"id": 8, "name": "part", "required": False, "type": "long"}
    raw["schemas"][0]["fields"].append(
        {"id": 7, "name": "s", "required": False, "type": {"type": "struct", "fields": [part]}}
    )
    raw["last-column-id"] = 8
    raw["partition-specs"][0]["fields"][0]["source-id"] = 8


@pytest.mark.parametrize(
    "prepare",
    [
        pytest.param(
            lambda folder: make(folder, ROWS.schema, change=of_version_3),
            marks=format_limit(
                "Iceberg, adding a batch",
                "format version 3",
                "left to Spark's package, else refused",
                "version 3 of the format in what is written",
            ),
            id="version 3",
        ),
        pytest.param(
            lambda folder: make(folder, ROWS.schema, change=without_lists),
            marks=format_limit(
                "Iceberg, adding a batch",
                "snapshots whose manifests no file lists",
                "left to Spark's package, else refused",
                "snapshots without a list of manifests",
            ),
            id="manifests",
        ),
        pytest.param(
            with_properties("write.metadata.path", "file:///x"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "`write.metadata.path`",
                "left to Spark's package, else refused",
                "metadata elsewhere than in its folder",
            ),
            id="metadata",
        ),
        pytest.param(
            with_properties("write.format.default", "orc"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "data files that are to be ORC or Avro",
                "left to Spark's package, else refused",
                "data files of orc",
            ),
            id="ORC",
        ),
        pytest.param(
            with_properties("write.py-location-provider.impl", "os.Path"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "a class of Python that names the files",
                "left to Spark's package, else refused",
                "a class that names its files (write.py-location-provider.impl)",
            ),
            id="provider",
        ),
        pytest.param(
            with_properties("write.location-provider.impl", "org.X"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "a class of Java that names the files",
                "left to Spark's package, else refused",
                "a class that names its files (write.location-provider.impl)",
            ),
            id="Java",
        ),
        pytest.param(
            with_properties("write.metadata.compression-codec", "zstd"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "a compression that the format does not name",
                "left to Spark's package, else refused",
                "the compression zstd",
            ),
            id="codec",
        ),
        pytest.param(
            with_properties("encryption.key-id", "k"),
            marks=format_limit(
                "Iceberg, adding a batch",
                "encryption",
                "left to Spark's package, else refused",
                "encryption (encryption.key-id)",
            ),
            id="encryption",
        ),
        pytest.param(
            lambda folder: make(folder, Schema(NestedField(1, "n", UUIDType()))),
            marks=format_limit(
                "Iceberg, adding a batch",
                "a column of `uuid`",
                "left to Spark's package, else refused",
                "column 'n' is uuid",
            ),
            id="UUID",
        ),
        pytest.param(
            lambda folder: make(folder, Schema(NestedField(1, "n", ListType(2, LongType(), element_required=True)))),
            marks=format_limit(
                "Iceberg, adding a batch",
                "a part of a column that is never null",
                "left to Spark's package, else refused",
                "a part of a column that is never null ('n.element') to be checked",
            ),
            id="part",
        ),
        pytest.param(
            lambda folder: make(folder, ROWS.schema, (2, "identity"), change=by_zorder),
            marks=format_limit(
                "Iceberg, adding a batch",
                "partitions by functions that the format does not have",
                "left to Spark's package, else refused",
                "partitions by zorder",
            ),
            id="partition",
        ),
        pytest.param(
            lambda folder: make(folder, ROWS.schema, (2, "identity"), change=by_a_part),
            marks=format_limit(
                "Iceberg, adding a batch",
                "partitions by a part of a column",
                "left to Spark's package, else refused",
                "partitions from a part of a column",
            ),
            id="part of a column",
        ),
    ],
)
def test_what_a_table_asks_of_writers_is_done_or_refused_by_name(
    tmp_path: Path, prepare: Callable[[Path], None], limit: Limit
) -> None:
    prepare(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IcebergFeatureError, match=re.escape(limit())):
        add(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


@format_limit(
    "Iceberg, adding a batch",
    "a table whose versions a catalog counts: beside the catalog there would be two truths",
    "refused",
    "is a table that a catalog keeps",
)
def test_the_table_of_a_catalog_is_never_written_by_its_path(tmp_path: Path, limit: Limit) -> None:
    add(tmp_path)
    name = "00002-7f2c9e9e-3b1a-4a4e-9d0c-2d9a3f6b7c8d.metadata.json"
    (tmp_path / "metadata" / name).write_text("{}")
    with pytest.raises(SourceError, match=rf"{limit()} \(metadata/{name}\).* Name the table by table="):
        add(tmp_path)
    assert len(data_files(tmp_path)) == 1


@format_limit(
    "Iceberg, adding a batch",
    "a copy of a table, which says of itself that it lies elsewhere",
    "refused",
    "says of itself that it lies at",
)
@format_limit(
    "Iceberg, adding a batch", "an option that reads another version", "refused", "would not be read back. Leave out"
)
@format_limit(
    "Iceberg, adding a batch",
    "writer options other than `compression-codec` and `compression-level`",
    "left to Spark's package, else refused",
    "the option write-format is not one",
)
@format_limit(
    "Iceberg, adding a batch", "a version of the metadata that is missing", "refused", "readers end before it"
)
@format_limit("Iceberg, adding a batch", "metadata that is damaged", "refused", ".metadata.json is damaged")
def test_rows_go_to_no_copy_of_a_table_to_no_earlier_version_and_to_no_broken_table(
    tmp_path: Path, limit: Limit
) -> None:
    add(tmp_path / "table")
    (tmp_path / "table").rename(tmp_path / "moved")
    with pytest.raises(SourceError, match=f"{limit('says of itself that it lies at')} file://{tmp_path}/table"):
        add(tmp_path / "moved")
    (tmp_path / "moved").rename(tmp_path / "table")
    with pytest.raises(WriteError, match=f"{re.escape(limit('would not be read back. Leave out'))} snapshot-id"):
        add(tmp_path / "table", options={"snapshot-id": "1"})
    with pytest.raises(IcebergFeatureError, match=limit("the option write-format is not one")):
        add(tmp_path / "table", options={"write-format": "orc"})
    (tmp_path / "table" / "metadata" / "v3.metadata.json").write_text("{}")
    with pytest.raises(
        SourceError, match=f"version 2 of the table .* is missing, .*: {limit('readers end before it')}"
    ):
        add(tmp_path / "table")
    (tmp_path / "table" / "metadata" / "v2.metadata.json").write_text("{")
    (tmp_path / "table" / "metadata" / "v3.metadata.json").unlink()
    with pytest.raises(SourceError, match=f"v2{re.escape(limit('.metadata.json is damaged'))}"):
        add(tmp_path / "table")
    assert len(data_files(tmp_path)) == 1


def test_a_folder_of_another_format_becomes_no_table(tmp_path: Path) -> None:
    (tmp_path / "_delta_log").mkdir()
    with pytest.raises(SourceError, match="is a table of Delta"):
        add(tmp_path)
    (tmp_path / "gone" / "metadata").mkdir(parents=True)
    (tmp_path / "gone" / "metadata" / HINT_NAME).write_text("4")
    with pytest.raises(SourceError, match="its metadata is gone"):
        add(tmp_path / "gone")


def test_manifests_of_deleted_rows_stay_in_the_list(tmp_path: Path) -> None:
    add(tmp_path)
    at = table(tmp_path)
    raw = last(tmp_path)
    files = TableFiles(source(tmp_path).location, raw["location"])  # type: ignore[arg-type]
    (manifest,) = manifests_of(raw, files)
    deletes = ManifestFile(*[manifest[place] for place in range(15)])
    deletes[0], deletes[3] = f"{tmp_path}/metadata/deletes.avro", 1
    addition = Addition(at.metadata, [], None, 7)
    commit = addition.commit(raw, "file:///v1", [manifest, deletes], manifest)
    (tmp_path / "list.avro").write_bytes(commit.list_content)
    raw = dict(
        commit.raw, snapshots=[{**commit.raw["snapshots"][-1], "manifest-list": f"file://{tmp_path}/list.avro"}]
    )
    assert [(each.manifest_path, each.content) for each in manifests_of(raw, files)][2] == (deletes[0], 1)


def test_nothing_is_added_where_what_is_there_would_be_lost(tmp_path: Path) -> None:
    add(tmp_path)
    raw = last(tmp_path)
    listed = Path(raw["snapshots"][0]["manifest-list"].removeprefix("file://"))
    content = listed.read_bytes()
    listed.write_bytes(content[:-20])
    with pytest.raises(SourceError, match=rf"{listed.name} is damaged: "):
        add(tmp_path)
    listed.write_bytes(content)
    (tmp_path / "metadata" / "v1.metadata.json").write_text(json.dumps({**raw, "current-snapshot-id": 77}))
    with pytest.raises(SourceError, match="damaged: it has no snapshot 77, which is its current one"):
        add(tmp_path)
    assert len(data_files(tmp_path)) == 1
    assert len(metadata_files(tmp_path)) == 1


def test_a_version_that_another_writer_has_compressed_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, ROWS.slice(0, 1))

    def faster(contents: dict[Any, Any], **more: Any) -> None:
        publish(contents, **more)
        monkeypatch.setattr(PUBLISH, publish)
        changed = {**last(tmp_path), "properties": {"write.metadata.compression-codec": "gzip"}}
        (tmp_path / "metadata" / "v2.gz.metadata.json").write_bytes(gzip.compress(json.dumps(changed).encode()))

    monkeypatch.setattr(PUBLISH, faster)
    add(tmp_path, ROWS.slice(1, 1))
    names = {path.name for path in (tmp_path / "metadata").glob("v*")} - {HINT_NAME}
    assert names == {"v1.metadata.json", "v2.gz.metadata.json", "v3.gz.metadata.json"}


def test_rows_count_from_the_commit_that_succeeded_and_not_from_an_earlier_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path)

    def slow(file: Any, content: bytes) -> bool:
        monkeypatch.setattr(CREATE, create_once)
        for _ in range(2):
            add(tmp_path)
        return create_once(file, content)

    monkeypatch.setattr(CREATE, slow)
    add(tmp_path)
    at = table(tmp_path)
    assert [snapshot.sequence_number for snapshot in at.metadata.snapshots] == [1, 2, 3, 4]
    manifests = at.current_snapshot().manifests(at.io)  # type: ignore[union-attr]
    assert [(each.sequence_number, each.min_sequence_number) for each in manifests] == [(n, n) for n in (4, 3, 2, 1)]
