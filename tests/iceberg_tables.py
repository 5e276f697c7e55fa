"""Iceberg tables at a path, made by pyiceberg: its catalog writes them, and is left behind."""

from __future__ import annotations

import json
import os
import pickle
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    read_manifest_list,
    write_manifest_list,
)
from pyiceberg.typedef import Record

from feast_hybrid.asof.columnar.file_batches import read_columns
from feast_hybrid.asof.columnar.spec import FileSplit, SourceColumn, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

    from feast_hybrid.files.iceberg_table import IcebergTable


def catalog_table(folder: Path, schema: Schema | Any, **more: Any) -> Table:
    """An empty table of a catalog's, whose folder is ``folder / "table"``.

    Args:
        folder: of this machine.
        schema: Iceberg's, or Arrow's.
        more: see :meth:`pyiceberg.catalog.Catalog.create_table`.
    """
    folder.mkdir(exist_ok=True, parents=True)
    catalog = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace_if_not_exists("db")
    return catalog.create_table("db.table", schema, location=f"file://{folder}/table", **more)


def without_catalog(table: Table, folder: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """Have a table's last version be known by its path alone.

    Args:
        table: of :func:`catalog_table`.
        folder: likewise.
        change: changes the metadata.

    Returns:
        The table's folder.
    """
    there = folder / "table"
    raw = json.loads(table.metadata.model_dump_json())
    if change is not None:
        change(raw)
    for file in (there / "metadata").glob("*.metadata.json"):
        file.unlink()
    (there / "metadata" / "v1.metadata.json").write_text(json.dumps(raw))
    (there / "metadata" / "version-hint.text").write_text("1")
    return there


class _OfVersion3(ManifestWriterV2):
    @property
    def version(self) -> Any:
        return 3

    def _with_partition(self, _: Any) -> Any:  # whatever the version that is read
        return super()._with_partition(3)


def with_deletes(
    table: Table,
    folder: Path,
    files: list[DataFile],
    *,
    content: int = 1,
    older: bool = False,
    sequence: int | None = None,
    spec: PartitionSpec | None = None,
    version: Literal[2, 3] = 2,
) -> Path:
    """A table's last version with files of deletes, as no other writer of Python's makes them.

    Args:
        table: of a catalog's, of version 2 or 3.
        folder: the tests'.
        files: of deletes.
        content: 0 for files of data.
        older: whether they count from the commit before the first one.
        sequence: the number of the commit that they count from; by default the next one.
        spec: their partitioning; by default the table's.
        version: of the format that their manifest has.
    """
    current = table.current_snapshot()
    assert current is not None
    assert current.sequence_number is not None
    number = 4711
    if sequence is None:
        sequence = 0 if older else current.sequence_number + 1
    base = f"file://{folder}/table/metadata"
    output = table.io.new_output(f"{base}/deletes.avro")
    writer_of = _OfVersion3 if version == 3 else ManifestWriterV2
    with writer_of(spec or table.spec(), table.schema(), output, number, "deflate") as writer:
        for file in files:
            entry = ManifestEntry.from_args(
                version,
                status=ManifestEntryStatus.ADDED,
                snapshot_id=number,
                sequence_number=sequence,
                data_file=file,
            )
            writer.add(entry)
    written = folder / "table" / "metadata" / "deletes.avro"
    by_pyiceberg = written.read_bytes()
    # pyiceberg calls the numbers of columns longs, which is int to the format; in Avro both are written alike.
    as_specified = by_pyiceberg.replace(b'"element-id": 136, "items": "long"', b'"element-id": 136, "items":  "int"')
    assert as_specified != by_pyiceberg
    written.write_bytes(as_specified)
    manifest = writer.to_manifest_file()
    manifest[3] = content  # which this writer has for data alone
    listed = list(read_manifest_list(table.io.new_input(current.manifest_list)))
    output = table.io.new_output(f"{base}/snap.avro")
    after = current.sequence_number + 1
    with write_manifest_list(2, output, number, current.snapshot_id, after, "deflate") as lists:
        lists.add_manifests([manifest, *listed])

    def change(raw: dict[str, Any]) -> None:
        last = raw["snapshots"][-1]
        raw["snapshots"].append(
            {
                **last,
                "snapshot-id": number,
                "sequence-number": last["sequence-number"] + 1,
                "manifest-list": f"{base}/snap.avro",
            }
        )
        raw["current-snapshot-id"] = number
        raw["refs"]["main"]["snapshot-id"] = number
        raw["last-sequence-number"] += 1

    return without_catalog(table, folder, change)


def deletes(path: Path, found: list[tuple[str, int]], **more: Any) -> DataFile:
    """A file of positions that are deleted."""
    numbers = {"file_path": b"2147483546", "pos": b"2147483545"}
    schema = pa.schema(
        [
            pa.field("file_path", pa.string(), metadata={b"PARQUET:field_id": numbers["file_path"]}),
            pa.field("pos", pa.int64(), metadata={b"PARQUET:field_id": numbers["pos"]}),
        ]
    )
    held = pa.table([[uri for uri, _ in found], [position for _, position in found]], schema=schema)
    pq.write_table(held, path, row_group_size=2)
    given = {
        "content": DataFileContent.POSITION_DELETES,
        "file_format": FileFormat.PARQUET,
        "partition": Record(),
        "record_count": len(found),
        "file_size_in_bytes": path.stat().st_size,
        **more,
    }
    return DataFile.from_args(file_path=f"file://{path}", **given)


def equality_deletes(path: Path, rows: pa.Table, columns: dict[str, int], **more: Any) -> DataFile:
    """A file of values whose rows are deleted.

    Args:
        path: of it.
        rows: the values.
        columns: name in the file → number; also in the file may be others.
        more: of what the manifest says of it.
    """
    fields = [
        field.with_metadata({b"PARQUET:field_id": str(columns[field.name]).encode()})
        if field.name in columns
        else field
        for field in rows.schema
    ]
    pq.write_table(pa.Table.from_arrays(rows.columns, schema=pa.schema(fields)), path)
    given = {
        "content": DataFileContent.EQUALITY_DELETES,
        "file_format": FileFormat.PARQUET,
        "partition": Record(),
        "record_count": rows.num_rows,
        "file_size_in_bytes": path.stat().st_size,
        "equality_ids": list(columns.values()),
        **more,
    }
    return DataFile.from_args(file_path=f"file://{path}", **given)


def rows_of(of: IcebergTable, *, names: Collection[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a table as tasks read them, with all columns unless some are named."""
    resolved = of.resolve()
    found_columns = [column for column in resolved.columns if names is None or column.name in names]
    columns = tuple(SourceColumn(column.name, column.data_type) for column in found_columns)
    view = ViewSpec(
        view_id=0,
        what="the table",
        keys=(),
        timestamp=columns[0],
        created=None,
        by_created=False,
        ttl=None,
        values=columns,
        ranked=(),
        outputs=(),
    )
    found = []
    for file in resolved.files:
        split = FileSplit(
            0,
            file.path,
            0,
            file.version.size,
            file.partitions,
            os.fspath,
            stored=resolved.stored,
            deleted=pickle.loads(pickle.dumps(file.deleted)),  # as it comes to tasks
        )
        for of_file, batch, count in read_columns(split, view, columns, {columns[0].name}):
            arrays = [of_file.get(column, batch, count) for column in columns]
            found += pa.RecordBatch.from_arrays(arrays, [column.name for column in columns]).to_pylist()
    return sorted(found, key=repr)
