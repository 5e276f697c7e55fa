"""What an Iceberg table's metadata says of its columns and files, and what readers of Parquet files make of it."""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
import zlib
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from feast_hybrid.arrow.utc import INSTANT, to_epoch_micros
from feast_hybrid.errors import SchemaError, SourceError, SourceNotFoundError
from feast_hybrid.files.iceberg_table import IcebergTable, SnapshotChoice, read_table
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.inference import source_columns
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.sources.tables import open_table_version
from feast_hybrid.spark.config import SparkConfig
from tests.iceberg_tables import catalog_table, deletes, rows_of, with_deletes, without_catalog
from tests.integration.format_limits import Limit, format_limit

if TYPE_CHECKING:
    from pyiceberg.table import Table

LONGS = Schema(NestedField(1, "k", LongType()), NestedField(2, "n", LongType()))


def at(folder: Path, **choice: Any) -> IcebergTable:
    return read_table(Router([]).locate(f"file://{folder}"), SnapshotChoice(**choice))


def by_pyiceberg(table: Table) -> list[dict[str, Any]]:
    return sorted(table.scan().to_arrow().to_pylist(), key=repr)


def spec(folder: Path, **options: str) -> SourceSpec:
    location = Router([]).locate(f"file://{folder}")
    return SourceSpec(name="rows", location=location, file_format="iceberg", options=options)


EVERYTHING = pa.table(
    {
        "t": ["a", None],
        "l": pa.array([1, None], pa.int64()),
        "i": pa.array([1, -2], pa.int32()),
        "f": pa.array([1.5, float("inf")], pa.float32()),
        "d": pa.array([1.5, None], pa.float64()),
        "o": [True, None],
        "x": pa.array([b"\x00\xff", None], pa.binary()),
        "day": pa.array([date(2026, 1, 10), date(1, 1, 1)]),
        "ts": pa.array([datetime(2026, 1, 10, 1, 2, 3, 4, UTC), None], INSTANT),
        "ntz": pa.array([datetime(2026, 1, 10, 1, 2, 3), None], pa.timestamp("us")),
        "n": pa.array([Decimal("1.25"), None], pa.decimal128(12, 2)),
        "s": pa.array(
            [{"a": 1, "b": ["x", None]}, None], pa.struct([("a", pa.int32()), ("b", pa.list_(pa.string()))])
        ),
        "m": pa.array([[("k", {"z": 1})], []], pa.map_(pa.string(), pa.struct([("z", pa.int64())]))),
    }
)


@pytest.mark.parametrize("version", ["1", "2"])
def test_rows_of_each_type_are_those_that_pyiceberg_finds(tmp_path: Path, version: str) -> None:
    table = catalog_table(tmp_path, EVERYTHING.schema, properties={"format-version": version})
    table.append(EVERYTHING)
    table.append(EVERYTHING.slice(1))
    found = at(without_catalog(table, tmp_path))
    assert rows_of(found) == by_pyiceberg(table)
    assert {column.name: column.data_type for column in found.resolve().columns} == {
        field.name: field.type for field in EVERYTHING.schema
    }


def test_columns_are_found_by_their_numbers_whatever_they_were_called(tmp_path: Path) -> None:
    nested = pa.struct([("x", pa.int64()), ("y", pa.int64())])
    first = pa.table(
        {
            "k": [1, 2],
            "a": [10, 20],
            "b": [30, 40],
            "s": pa.array([{"x": 1, "y": 2}, None], nested),
            "l": pa.array([[{"x": 5, "y": 6}], []], pa.list_(nested)),
            "m": pa.array([[("q", {"x": 7, "y": 8})], None], pa.map_(pa.string(), nested)),
            "gone": [0, 0],
        }
    )
    table = catalog_table(tmp_path, first.schema)
    table.append(first)
    with table.update_schema() as change:
        change.rename_column("a", "c")
        change.rename_column("b", "a")
        change.rename_column("s.x", "z")
        change.rename_column("s.y", "x")
        change.rename_column("l.element.x", "z")
        change.rename_column("l.element.y", "x")
        change.rename_column("m.value.x", "z")
        change.rename_column("m.value.y", "x")
        change.delete_column("gone")
    with table.update_schema() as change:
        change.add_column("gone", StringType())
        change.move_first("a")
    table.append(table.scan().to_arrow().slice(0, 1))
    found = rows_of(at(without_catalog(table, tmp_path)))
    assert found == by_pyiceberg(table)
    assert found[0]["a"] == 30
    assert found[0]["s"] == {"z": 1, "x": 2}
    assert {row["gone"] for row in found} == {None}


def test_types_that_were_widened_since(tmp_path: Path) -> None:
    first = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "f": pa.array([1.5, None], pa.float32()),
            "d": pa.array([Decimal("1.25"), None], pa.decimal128(5, 2)),
        }
    )
    table = catalog_table(tmp_path, first.schema)
    table.append(first)
    with table.update_schema() as change:
        change.update_column("i", LongType())
        change.update_column("f", field_type=parse("double"))
        change.update_column("d", field_type=parse("decimal(9, 2)"))
    found = at(without_catalog(table, tmp_path))
    assert rows_of(found) == by_pyiceberg(table)
    assert [str(column.data_type) for column in found.resolve().columns] == ["int64", "double", "decimal128(9, 2)"]


def parse(text: str) -> Any:
    return NestedField(1, "x", text).field_type


def without_numbers(table: Table, rows: pa.Table, folder: Path, **more: Any) -> None:
    """Add a file that was written by somebody who knows nothing of the table."""
    path = folder / f"{len(list(folder.iterdir()))}.parquet"
    pq.write_table(rows, path)
    table.add_files([f"file://{path}"], **more)


@format_limit(
    "Iceberg",
    "a data file without numbers of its columns, of a table that has no `schema.name-mapping.default`",
    "refused",
    "the file has no numbers",
)
def test_files_without_numbers_are_read_by_the_names_that_the_table_gives(tmp_path: Path, limit: Limit) -> None:
    first = pa.table({"k": [1], "s": pa.array([{"x": 1, "y": 2}])})
    table = catalog_table(tmp_path, first.schema)
    without_numbers(table, first, tmp_path)
    with table.update_schema() as change:
        change.rename_column("k", "key")
        change.rename_column("s.x", "z")
    folder = without_catalog(table, tmp_path)
    assert rows_of(at(folder)) == [{"key": 1, "s": {"z": 1, "y": 2}}]
    without_catalog(table, tmp_path, lambda raw: raw["properties"].pop("schema.name-mapping.default"))
    with pytest.raises(SchemaError, match=rf"column 'key' of .*{limit()}.*schema.name-mapping.default"):
        rows_of(at(folder))


@format_limit(
    "Iceberg",
    "a column without a number in a data file that has some",
    "refused",
    "the file has numbers of columns, but none for",
)
@pytest.mark.parametrize("numbered", ["k", "k.x"])
def test_a_column_without_a_number_beside_others_is_not_taken_for_null(
    tmp_path: Path, numbered: str, limit: Limit
) -> None:
    parts = pa.struct([("x", pa.int64()), ("y", pa.int64())])
    table = catalog_table(tmp_path, pa.schema([("k", parts), ("n", pa.int64())]))
    table.append(pa.table({"k": pa.array([{"x": 1, "y": 2}], parts), "n": [1]}))
    folder = without_catalog(table, tmp_path)
    (file,) = at(folder).resolve().files
    held = pq.read_table(file.path)
    k, n = held.schema
    if numbered == "k":  # and not its parts
        k = k.with_type(parts)
    else:
        n = n.remove_metadata()
    pq.write_table(held.cast(pa.schema([k, n])), file.path)
    missing = "x" if numbered == "k" else "n"
    with pytest.raises(SchemaError, match=f"{limit()} '{missing}'"):
        rows_of(at(folder))


def test_the_partition_says_what_a_file_lacks(tmp_path: Path) -> None:
    fields = [
        NestedField(1, "k", LongType()),
        NestedField(2, "day", parse("date")),
        NestedField(3, "town", StringType()),
        NestedField(4, "ts", TimestamptzType()),
        NestedField(5, "n", parse("decimal(5, 2)")),
    ]
    identities = [PartitionField(n, 1000 + n, IdentityTransform(), fields[n - 1].name) for n in (2, 3, 4, 5)]
    table = catalog_table(tmp_path, Schema(*fields), partition_spec=PartitionSpec(*identities))
    held = pa.table(
        {
            "k": [1, 2],
            "day": pa.array([date(2026, 1, 10), None]),
            "town": ["Zürich/West", None],
            "ts": pa.array([datetime(2026, 1, 10, 1, 2, 3, 4, UTC), None], INSTANT),
            "n": pa.array([Decimal("1.25"), None], pa.decimal128(5, 2)),
        }
    )
    table.append(held)
    with table.update_spec() as change:
        change.remove_field("town")
    table.append(held)
    folder = without_catalog(table, tmp_path)
    found = at(folder)
    assert rows_of(found) == by_pyiceberg(table)
    assert found.resolve().partition_columns == ("day", "town", "ts", "n")
    for file in found.resolve().files:  # whoever wrote them left out what the partition says
        alone = pq.read_table(file.path, partitioning=None)
        pq.write_table(alone.drop_columns(list(file.partitions)), file.path)
    assert rows_of(at(folder)) == sorted([*held.to_pylist(), *held.to_pylist()], key=repr)


def test_times_are_bounded_by_what_manifests_say(tmp_path: Path) -> None:
    times = [datetime(2026, 1, 10, tzinfo=UTC), datetime(2026, 1, 11, 0, 0, 0, 1, UTC), None]
    days = [date(2026, 1, 10), date(1969, 12, 31), None]
    held = pa.table(
        {"k": [1, 2, 3], "ts": pa.array(times, INSTANT), "day": days, "no": pa.array([None] * 3, INSTANT)}
    )
    table = catalog_table(tmp_path, held.schema)
    table.append(held)
    (file,) = at(without_catalog(table, tmp_path)).resolve().files
    assert file.times is not None
    assert file.times.between("ts") == (to_epoch_micros(times[0]), to_epoch_micros(times[1]))  # type: ignore[arg-type]
    assert file.times.between("day") == (-86_400_000_000, to_epoch_micros(times[0]))  # type: ignore[arg-type]
    assert [file.times.between(name) for name in ("no", "k", "other")] == [None] * 3


@format_limit("Iceberg", "a snapshot that was expired, or never was", "refused", "the table has no snapshot")
@format_limit("Iceberg", "a branch that is not there", "refused", "the table has no branch")
@format_limit("Iceberg", "a tag that is not there", "refused", "the table has no tag")
@format_limit(
    "Iceberg", "a time before the first snapshot that is known", "refused", "the table has no snapshot as old as"
)
def test_an_earlier_snapshot_is_read_by_its_own_schema(tmp_path: Path, limit: Limit) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    first = table.current_snapshot()
    assert first is not None
    table.manage_snapshots().create_tag(first.snapshot_id, "month").create_branch(first.snapshot_id, "dev").commit()
    with table.update_schema() as change:
        change.rename_column("n", "m")
    table.append(pa.table({"k": [2], "m": [2]}))
    last = table.current_snapshot()
    assert last is not None
    folder = without_catalog(table, tmp_path)
    old, both = [{"k": 1, "n": 1}], [{"k": 1, "m": 1}, {"k": 2, "m": 2}]
    assert (
        rows_of(at(folder))
        == rows_of(at(folder, branch="main"))
        == rows_of(at(folder, as_of=last.timestamp_ms))
        == both
    )
    assert rows_of(at(folder, snapshot_id=first.snapshot_id)) == rows_of(at(folder, tag="month")) == old
    assert rows_of(at(folder, as_of=last.timestamp_ms - 1)) == old
    assert rows_of(at(folder, branch="dev")) == [{"k": 1, "m": 1}]  # a branch has the table's schema
    for choice, message in (
        ({"snapshot_id": 7}, f"{limit('the table has no snapshot')} 7: .*{last.snapshot_id}"),
        ({"branch": "month"}, rf"{limit('the table has no branch')} 'month'\. There are: dev, main"),
        ({"tag": "dev"}, rf"{limit('the table has no tag')} 'dev'\. There are: month"),
        ({"as_of": 5}, limit("the table has no snapshot as old as")),
    ):
        with pytest.raises(SourceError, match=message):
            at(folder, **choice)
    time = datetime.fromtimestamp(last.timestamp_ms / 1000, UTC)
    assert at(folder).note == f"snapshot {last.snapshot_id} of {time:%Y-%m-%dT%H:%M:%SZ} of the Iceberg table"


def test_a_table_without_a_snapshot_has_its_columns_and_no_rows(tmp_path: Path) -> None:
    folder = without_catalog(catalog_table(tmp_path, LONGS), tmp_path)
    assert at(folder).resolve().to_arrow() == pa.schema([("k", pa.int64()), ("n", pa.int64())])
    assert rows_of(at(folder)) == []
    assert at(folder).note == "no snapshot of the Iceberg table, which is empty"


def test_a_table_that_was_moved_is_read_where_it_is(tmp_path: Path) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    moved = without_catalog(table, tmp_path).rename(tmp_path / "moved")
    assert rows_of(at(moved)) == [{"k": 1, "n": 1}]


@format_limit(
    "Iceberg",
    "a folder whose versions a catalog counts (`00012-….metadata.json`): it alone knows the last one",
    "refused",
    "is a table that a catalog keeps",
)
def test_a_metadata_file_is_a_version_of_its_table(tmp_path: Path, limit: Limit) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    before = Path(table.metadata_location.removeprefix("file://"))
    table.append(pa.table({"k": [2], "n": [2]}))
    assert rows_of(at(before)) == [{"k": 1, "n": 1}]
    with pytest.raises(SourceError, match=limit()):
        at(tmp_path / "table")


def numbered(tmp_path: Path, **more: Any) -> tuple[Table, list[str]]:
    """A table of two files of five rows, and their URIs."""
    table = catalog_table(tmp_path, LONGS, **more)
    table.append(pa.table({"k": [1] * 5, "n": range(5)}))
    table.append(pa.table({"k": [2] * 5, "n": range(5)}))
    uris = {task.file.file_path for task in table.scan(row_filter="k = 1").plan_files()}
    all_uris = {task.file.file_path for task in table.scan().plan_files()}
    return table, [*uris, *(all_uris - uris)]


@format_limit(
    "Iceberg",
    "a file of deletes that is gone, where rows are read",
    "refused",
    "was there when the plan was made, and",
)
def test_rows_whose_positions_are_deleted_are_not_read(tmp_path: Path, limit: Limit) -> None:
    table, (one, two) = numbered(tmp_path)
    both = sorted([(one, 0), (one, 4), (one, 1), (two, 2)])
    file = deletes(tmp_path / "table" / "d1.parquet", both)
    again = deletes(tmp_path / "table" / "d2.parquet", [(one, 4), (one, 3)], lower_bounds={2147483546: one.encode()})
    found = at(with_deletes(table, tmp_path, [file, again]))
    assert [(row["k"], row["n"]) for row in rows_of(found)] == [(1, 2), (2, 0), (2, 1), (2, 3), (2, 4)]
    (tmp_path / "table" / "d1.parquet").unlink()
    with pytest.raises(SourceNotFoundError, match=rf"d1\.parquet {limit()} is gone"):
        rows_of(found)


def test_positions_of_later_files_than_the_deletes_stay(tmp_path: Path) -> None:
    table, (one, two) = numbered(tmp_path)
    file = deletes(tmp_path / "table" / "d1.parquet", [(one, 0), (two, 0)])
    assert len(rows_of(at(with_deletes(table, tmp_path, [file], older=True)))) == 10


@pytest.mark.parametrize(
    ("content", "file_format"),
    [
        pytest.param(
            DataFileContent.DATA,
            FileFormat.AVRO,
            marks=format_limit(
                "Iceberg",
                "data files of Avro",
                "left to Spark's package, else refused",
                "needs files of data in Avro",
            ),
        ),
        pytest.param(
            DataFileContent.DATA,
            FileFormat.ORC,
            marks=format_limit(
                "Iceberg", "data files of ORC", "left to Spark's package, else refused", "needs files of data in Orc"
            ),
        ),
        pytest.param(
            DataFileContent.POSITION_DELETES,
            FileFormat.AVRO,
            marks=format_limit(
                "Iceberg",
                "files of deletes of Avro",
                "left to Spark's package, else refused",
                "needs files of deletes in Avro",
            ),
        ),
        pytest.param(
            DataFileContent.POSITION_DELETES,
            FileFormat.ORC,
            marks=format_limit(
                "Iceberg",
                "files of deletes of ORC",
                "left to Spark's package, else refused",
                "needs files of deletes in Orc",
            ),
        ),
    ],
)
def test_files_of_other_formats_are_left_to_sparks_package(
    tmp_path: Path, content: DataFileContent, file_format: FileFormat, limit: Limit
) -> None:
    table, _ = numbered(tmp_path)
    file = deletes(tmp_path / "table" / "d1", [], content=content, file_format=file_format)
    with pytest.raises(TableFeatureError, match=limit()):
        at(with_deletes(table, tmp_path, [file], content=min(content.value, 1)))


@format_limit(
    "Iceberg",
    "files that are encrypted by themselves",
    "left to Spark's package, else refused",
    "needs files that are encrypted",
)
@format_limit(
    "Iceberg",
    "a value of a partition that is none of its column's type",
    "refused",
    "for the partition column 'k', which is no",
)
@format_limit(
    "Iceberg", "a deletion vector whose place in its file is not said", "refused", "the table does not say where in"
)
def test_what_a_manifest_says_of_a_file_that_is_not_read(tmp_path: Path, limit: Limit) -> None:
    by_key = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "k"))
    table, (one, _) = numbered(tmp_path, partition_spec=by_key)
    file = deletes(tmp_path / "table" / "d1.parquet", [(one, 0)], partition=Record(1), key_metadata=b"key")
    with pytest.raises(TableFeatureError, match=limit("needs files that are encrypted")):
        at(with_deletes(table, tmp_path, [file]))
    lost = vector(tmp_path / "table" / "v1.puffin", one, [0], partition=Record(1), content_offset=None)
    with pytest.raises(SourceError, match=limit("the table does not say where in")):
        at(with_deletes(table, tmp_path, [lost], version=3))
    folder = without_catalog(table, tmp_path, lambda raw: raw["schemas"][0]["fields"][0].update(type="string"))
    with pytest.raises(SourceError, match=limit("for the partition column 'k', which is no")):
        at(folder).resolve()


def vector(path: Path, data_file: str, rows: list[int], **more: Any) -> DataFile:
    """A deletion vector as the format's version 3 has it, in a file with something in front of it."""
    keys = struct.pack("<HH", 0, len(rows) - 1)
    bitmap = struct.pack("<II", 12346, 1) + keys + struct.pack("<I", 16) + struct.pack(f"<{len(rows)}H", *rows)
    content = b"\xd1\xd3\x39\x64" + struct.pack("<qI", 1, 0) + bitmap
    blob = struct.pack(">i", len(content)) + content + struct.pack(">I", zlib.crc32(content))
    path.write_bytes(b"PFA1" + blob + b"footer")
    given = {
        "content": DataFileContent.POSITION_DELETES,
        "file_format": FileFormat.PUFFIN,
        "partition": Record(),
        "record_count": len(rows),
        "file_size_in_bytes": path.stat().st_size,
        "referenced_data_file": data_file,
        "content_offset": 4,
        "content_size_in_bytes": len(blob),
        **more,
    }
    return DataFile.from_args(3, file_path=f"file://{path}", **given)


def test_rows_of_a_deletion_vector_are_not_read(tmp_path: Path) -> None:
    table, (one, two) = numbered(tmp_path)
    files = [
        vector(tmp_path / "table" / "v1.puffin", one, [0, 3, 4]),
        vector(tmp_path / "table" / "v2.puffin", two, [1]),
    ]
    found = at(with_deletes(table, tmp_path, files, version=3))
    assert [(row["k"], row["n"]) for row in rows_of(found)] == [(1, 1), (1, 2), (2, 0), (2, 2), (2, 3), (2, 4)]
    assert len(rows_of(at(with_deletes(table, tmp_path, files, version=3, older=True)))) == 10


@format_limit("Iceberg", "two deletion vectors of one file", "refused", "the table has two deletion vectors of")
def test_two_deletion_vectors_of_one_file_are_refused(tmp_path: Path, limit: Limit) -> None:
    table, (one, _) = numbered(tmp_path)
    files = [vector(tmp_path / "table" / f"v{n}.puffin", one, [n]) for n in range(2)]
    with pytest.raises(SourceError, match=limit()):
        at(with_deletes(table, tmp_path, files, version=3))


def test_deletes_of_one_partition_are_none_of_another(tmp_path: Path) -> None:
    by_key = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "k"))
    table, (one, two) = numbered(tmp_path, partition_spec=by_key)
    file = deletes(tmp_path / "table" / "d1.parquet", [(one, 0), (two, 0)], partition=Record(1))
    found = rows_of(at(with_deletes(table, tmp_path, [file])))
    assert [(row["k"], row["n"]) for row in found if row["n"] == 0] == [(2, 0)]


@format_limit("Iceberg", "a column of `variant`, asked for", "refused", "is of the type variant")
@format_limit("Iceberg", "a column of `uuid`, asked for", "refused", "is of the type uuid")
@format_limit("Iceberg", "a column of `time`, asked for", "refused", "Spark has no type for Arrow's time64[us]")
@format_limit("Iceberg", "a column of `geometry`, asked for", "refused", "is of the type geometry")
@format_limit("Iceberg", "a column of `geography`, asked for", "refused", "is of the type geography")
@format_limit("Iceberg", "a column of `unknown`, asked for", "refused", "is of the type unknown")
@format_limit(
    "Iceberg",
    "a column with a default for earlier rows, asked for",
    "refused",
    "has a default value for rows that were",
)
def test_columns_that_are_not_read_are_refused_to_who_asks_for_them(tmp_path: Path, limit: Limit) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))

    def change(raw: dict[str, Any]) -> None:
        raw["format-version"] = 3
        raw["next-row-id"] = 0
        raw["schemas"][0]["fields"] += [
            {"id": 3, "name": "v", "required": False, "type": "variant"},
            {"id": 4, "name": "u", "required": False, "type": "uuid"},
            {"id": 5, "name": "d", "required": False, "type": "long", "initial-default": 7},
            {
                "id": 6,
                "name": "l",
                "required": False,
                "type": {"type": "list", "element-id": 7, "element": "variant", "element-required": False},
            },
            {"id": 8, "name": "ns", "required": False, "type": "timestamptz_ns"},
            {"id": 9, "name": "ti", "required": False, "type": "time"},
            {"id": 10, "name": "gm", "required": False, "type": "geometry"},
            {"id": 11, "name": "gg", "required": False, "type": "geography"},
            {"id": 12, "name": "un", "required": False, "type": "unknown"},
        ]
        raw["last-column-id"] = 12

    folder = without_catalog(table, tmp_path, change)
    found = at(folder).resolve()
    assert {column.name: column.data_type for column in found.columns} == {
        "k": pa.int64(),
        "n": pa.int64(),
        "ns": INSTANT,
    }
    assert (
        found.unreadable["v"]
        == f"cannot be read: {limit('is of the type variant')}, which feast-hybrid does not read"
    )
    assert "of the type variant" in found.unreadable["l"]
    assert limit("is of the type uuid") in found.unreadable["u"]
    assert limit("Spark has no type for Arrow's time64[us]") in found.unreadable["ti"]
    assert limit("is of the type geometry") in found.unreadable["gm"]
    assert limit("is of the type geography") in found.unreadable["gg"]
    assert limit("is of the type unknown") in found.unreadable["un"]
    assert limit("has a default value for rows that were") in found.unreadable["d"]
    assert rows_of(at(folder)) == [{"k": 1, "n": 1, "ns": None}]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            {"format-version": 4},
            marks=format_limit(
                "Iceberg",
                "format versions after 3",
                "left to Spark's package, else refused",
                "needs version 4 of the format",
            ),
            id="version",
        ),
        pytest.param(
            {"properties": {"encryption.key-id": "k"}},
            marks=format_limit(
                "Iceberg",
                "encryption",
                "left to Spark's package, else refused",
                "needs encryption (encryption.key-id)",
            ),
            id="encryption",
        ),
        pytest.param(
            {"format-version": 1, "manifests": ["file:///m.avro"]},
            marks=format_limit(
                "Iceberg",
                "a snapshot whose manifests no file lists, as writers of version 1 could have",
                "left to Spark's package, else refused",
                "needs snapshots without a list of manifests",
            ),
            id="manifests",
        ),
    ],
)
def test_tables_that_nobody_here_reads_are_left_to_sparks_package(
    tmp_path: Path, change: dict[str, Any], limit: Limit
) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))

    def changed(raw: dict[str, Any]) -> None:
        raw.update(change)
        if manifests := raw.pop("manifests", None):
            del raw["snapshots"][0]["manifest-list"]
            raw["snapshots"][0]["manifests"] = manifests

    folder = without_catalog(table, tmp_path, changed)
    with pytest.raises(TableFeatureError, match=re.escape(limit())):
        at(folder)


@format_limit(
    "Iceberg",
    "files outside of the table's site",
    "left to Spark's package, else refused",
    "needs a file that is not on the table's site",
)
def test_files_outside_of_the_site_are_left_to_sparks_package(tmp_path: Path, limit: Limit) -> None:
    table, (one, _) = numbered(tmp_path)
    file = deletes(tmp_path / "table" / "d1.parquet", [(one, 0)], content=DataFileContent.DATA)
    file[1] = "hdfs://elsewhere/table/d1.parquet"
    with pytest.raises(TableFeatureError, match=rf"{limit()} \(hdfs://elsewhere/"):
        at(with_deletes(table, tmp_path, [file], content=0))


@format_limit("Iceberg", "a manifest, or a list of them, that is damaged or cut off", "refused", "is damaged: ")
@format_limit(
    "Iceberg", "a manifest, or a list of them, that is gone", "refused", ", which the table's metadata names, is gone"
)
@pytest.mark.parametrize("name", ["snap-*.avro", "*-m0.avro"])
def test_metadata_that_is_gone_or_damaged_is_named(tmp_path: Path, name: str, limit: Limit) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    folder = without_catalog(table, tmp_path)
    (found,) = (folder / "metadata").glob(name)
    found.write_bytes(found.read_bytes()[:200])
    with pytest.raises(SourceError, match=rf"source 'rows'.*{found.name} {limit('is damaged: ')}"):
        open_table_version(spec(folder), Router([]))
    found.unlink()
    gone = limit(", which the table's metadata names, is gone")
    with pytest.raises(SourceError, match=rf"source 'rows'.*{found.name}{gone}"):
        open_table_version(spec(folder), Router([]))


@pytest.mark.parametrize("name", ["snap-*.avro", "*-m0.avro"])
def test_metadata_that_is_cut_off_anywhere_is_damaged_and_not_shorter(tmp_path: Path, name: str) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    folder = without_catalog(table, tmp_path)
    (found,) = (folder / "metadata").glob(name)
    content = found.read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 40, len(content) - 16, len(content) - 1):
        found.write_bytes(content[:size])
        with pytest.raises(SourceError, match=rf"{found.name} is damaged: "):
            at(folder)
    found.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(SourceError, match=rf"{found.name} is damaged: .*a block does not end where it says"):
        at(folder)
    found.write_bytes(content)
    assert rows_of(at(folder)) == [{"k": 1, "n": 1}]


@format_limit("Iceberg", "a current snapshot that the metadata does not have", "refused", "which is its current one")
def test_a_current_snapshot_that_is_missing_is_no_empty_table(tmp_path: Path, limit: Limit) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    folder = without_catalog(table, tmp_path, lambda raw: raw.update({"current-snapshot-id": 77, "refs": {}}))
    with pytest.raises(SourceError, match=f"damaged: it has no snapshot 77, {limit()}"):
        at(folder)


def test_of_a_version_that_is_there_plain_and_compressed_the_plain_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = catalog_table(tmp_path, LONGS)
    table.append(pa.table({"k": [1], "n": [1]}))
    folder = without_catalog(table, tmp_path)
    raw = json.loads((folder / "metadata" / "v1.metadata.json").read_text())
    empty = gzip.compress(json.dumps({**raw, "current-snapshot-id": -1, "refs": {}}).encode())
    for name in ("v1.gz.metadata.json", "v1.metadata.json.gz"):
        (folder / "metadata" / name).write_bytes(empty)
    names = os.listdir(folder / "metadata")
    for listed in (sorted(names), sorted(names, reverse=True)):
        monkeypatch.setattr(LocalFileSystem, "ls", lambda *_, listed=listed, **__: listed)
        assert rows_of(at(folder)) == [{"k": 1, "n": 1}]


@format_limit(
    "Iceberg",
    "reader options other than `snapshot-id`, `as-of-timestamp`, `branch` and `tag` that change what is read",
    "left to Spark's package, else refused",
    "needs the option start-snapshot-id",
)
def test_other_options_are_left_to_sparks_package(tmp_path: Path, limit: Limit) -> None:
    folder = without_catalog(catalog_table(tmp_path, LONGS), tmp_path)
    with pytest.raises(TableFeatureError, match=rf"source 'rows'.*{limit()}, which feast-hybrid does not read"):
        open_table_version(spec(folder, **{"start-snapshot-id": "1"}), Router([]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"snapshot-id": "last"}, "option snapshot-id is 'last'; it has to be the number of a snapshot"),
        ({"as-of-timestamp": "2026-01-10"}, "it has to be milliseconds since 1970"),
        ({"branch": "a", "TAG": "b"}, "the options branch and tag are given. Leave out all but one"),
    ],
)
def test_options_that_are_not_understood_are_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    folder = without_catalog(catalog_table(tmp_path, LONGS), tmp_path)
    with pytest.raises(SourceError, match=rf"source 'rows'.*{message}"):
        open_table_version(spec(folder, **options), Router([]))


@format_limit(
    "Iceberg", "a `schema.name-mapping.default` that is none", "refused", "schema.name-mapping.default cannot be read"
)
def test_a_name_mapping_that_is_none_is_refused(tmp_path: Path, limit: Limit) -> None:
    change = {"properties": {"schema.name-mapping.default": '[{"field-id": 1}]'}}
    folder = without_catalog(catalog_table(tmp_path, LONGS), tmp_path, lambda raw: raw.update(change))
    with pytest.raises(SourceError, match=limit()):
        at(folder).resolve()


@format_limit("Iceberg", "a version of the metadata that is missing", "refused", "readers end before it")
@format_limit(
    "Iceberg", "metadata that its `version-hint.text` names and that is gone", "refused", "its metadata is gone"
)
@format_limit("Iceberg", "a metadata file that is damaged", "refused", ".metadata.json is damaged: ")
@format_limit("Iceberg", "a metadata file that holds something else", "refused", "holds no metadata of Iceberg's")
def test_versions_that_are_missing_or_damaged_are_refused(tmp_path: Path, limit: Limit) -> None:
    folder = without_catalog(catalog_table(tmp_path, LONGS), tmp_path)
    first, third = (folder / "metadata" / f"v{number}.metadata.json" for number in (1, 3))
    content = first.read_text()
    third.write_text(content)
    with pytest.raises(
        SourceError, match=f"version 2 of the table .* is missing, .*{limit('readers end before it')}"
    ):
        at(folder)
    third.unlink()
    first.write_text(content[:-9])
    with pytest.raises(SourceError, match=f"v1{re.escape(limit('.metadata.json is damaged: '))}"):
        at(folder)
    first.write_text('{"format-version": 2}')
    with pytest.raises(SourceError, match=limit("holds no metadata of Iceberg's")):
        at(folder)
    first.unlink()
    with pytest.raises(SourceError, match=limit("its metadata is gone")):
        at(folder)


def test_where_there_is_no_table_the_error_says_what_is(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="nothing is at"):
        open_table_version(spec(tmp_path / "nowhere"), Router([]))
    with pytest.raises(SourceError, match=r"no Iceberg table is there: it has no v1\.metadata\.json"):
        open_table_version(spec(tmp_path), Router([]))


def test_feast_apply_reads_the_columns_without_spark(tmp_path: Path) -> None:
    folder = without_catalog(catalog_table(tmp_path, EVERYTHING.schema), tmp_path)
    found = dict(source_columns(spec(folder), SparkConfig(), Router([])))
    assert found["ts"] == "timestamp"
    assert found["n"] == "decimal(12,2)"
    assert found["s"] == "struct<a:int,b:array<string>>"
