"""Arrow rows added by Spark: to tables, and to paths of formats that Spark keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql.pandas.types import to_arrow_schema

from feast_hybrid.arrow.convert import convert_for_writing, require_columns
from feast_hybrid.errors import UnavailableError, WriteError
from feast_hybrid.files.listing import is_hidden, list_files, partition_columns
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.lakes.replace import aside, remove
from feast_hybrid.sources.file_schema import reader_options, source_errors
from feast_hybrid.sources.iceberg_catalogs import require_warehouse
from feast_hybrid.sources.reader import reader_for
from feast_hybrid.sources.spec import sites_of
from feast_hybrid.spark.arrow_frames import frame_of
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.spark.iceberg_catalogs import warehouse_of
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.reader_settings import require_utc_for
from feast_hybrid.writing.commits import known_outcome
from feast_hybrid.writing.partitions import require_kept, with_date_partition
from feast_hybrid.writing.readable import require_readable
from feast_hybrid.writing.stragglers import remove_with_stragglers
from feast_hybrid.writing.table_formats import add_to_iceberg, has_log

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.reader import Reader
    from feast_hybrid.sources.spec import SourceSpec

#: Formats whose files say nothing of types: what Spark reads from them is guessed from the text.
_TYPELESS = ("csv", "json", "text", "xml")


def append_by_spark(
    table: pa.Table,
    source: SourceSpec,
    store: HybridSparkOfflineStoreConfig,
    first_schema: Callable[[], pa.Schema],
    *,
    what: str,
) -> None:
    """Add rows to a source's table or path as one file, seen whole or not at all.

    Args:
        table: the rows, in the source's names.
        source: where they go.
        store: the offline store.
        first_schema: the columns where nothing is yet, in the source's names.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: the rows do not fit what is there.
        WriteError: Spark could not write them; nothing of them is there.
        CommitUnknownError: the answer to the commit was lost.
        StorageError: what is there could not be read.
    """
    with translate_client_errors(
        WriteError, what, "failed; nothing was written", sites=sites_of(source, store.router)
    ):
        _append(table, source, store, first_schema, what=what)


def _append(
    table: pa.Table,
    source: SourceSpec,
    store: HybridSparkOfflineStoreConfig,
    first_schema: Callable[[], pa.Schema],
    *,
    what: str,
) -> None:
    require_readable(source, what=what)
    reader = reader_for(store.spark, store.router, [source])
    try:
        existing = _existing_schema(source, reader)
    except UnavailableError as error:  # as where the rows themselves do not get there
        raise WriteError(f"{what}: nothing was written: {error}") from error
    schema = first_schema() if existing is None else _arrow_schema(existing, table, source)
    date_column = source.date_partition_column or None
    if date_column:
        in_schema = date_column in schema.names
        data_type = schema.field(date_column).type if in_schema else None
        table = with_date_partition(table, source, data_type, what=what)
        schema = schema if in_schema else schema.append(pa.field(date_column, pa.string()))
    require_columns(table.column_names, schema.names, what=what)
    rows = convert_for_writing(table, schema, what=what)
    session = reader.child() if source.table is not None else reader.spark
    frame = frame_of(session, rows).coalesce(1)
    location = source.location
    if location is not None and source.file_format not in TABLE_FORMATS:
        partitions = list(filter(None, [date_column]))
        if existing is not None:
            partitions = list(partition_columns(location, reader_options(source).selection))
        require_kept(rows, [name for name in partitions if name in rows.column_names], what=what)
        _append_files(frame, source, location, partitions)
        return
    with known_outcome(what):  # what failed before has committed nothing
        _commit(frame, source, date_column, is_new=existing is None)


def _commit(frame: DataFrame, source: SourceSpec, partition: str | None, *, is_new: bool) -> None:
    """Add rows where a job of Spark's commits them itself: to a table, or to a path of a format with a log."""
    if source.table is not None:
        _append_to_table(frame, source.table, partition, is_new=is_new)
        return
    location = source.location
    assert location is not None
    if source.file_format == "iceberg":
        add_to_iceberg(frame, source, location, partition=partition, new=is_new)
    else:
        _write(frame, source, location, [partition] if partition and is_new else [], mode="append")


def _append_to_table(frame: DataFrame, table: str, partition: str | None, *, is_new: bool) -> None:
    if is_new:
        writer = frame.write.mode("error")
        (writer.partitionBy(partition) if partition else writer).saveAsTable(table)
    else:
        frame.write.insertInto(table)


def _append_files(frame: DataFrame, source: SourceSpec, location: Location, partitions: list[str]) -> None:
    """Add rows to a path of files.

    Spark's committer is one writer's alone: who ends first removes the folder in which others' files wait for their
    commit. So each batch is written aside, and then shown as batches of Parquet are.
    """
    require_utc_for(frame, source.file_format, f"writing to {source.describe()}")
    new = aside(location)
    try:
        _write(frame, source, new, partitions, mode="error")
        publish({location.child(name): new.fs.cat_file(new.child(name).path) for name in _files_in(new)})
    except BaseException:
        remove_with_stragglers(new)
        raise
    remove(new)


def _files_in(folder: Location) -> list[str]:
    """The names, below a folder, of the files in it that hold rows."""
    found = [str(path).removeprefix(f"{folder.path}/") for path in folder.fs.find(folder.path)]
    return [name for name in found if not any(map(is_hidden, name.split("/")))]


def _write(frame: DataFrame, source: SourceSpec, location: Location, partitions: list[str], *, mode: str) -> None:
    file_format = source.file_format or "parquet"
    path = spark_path(frame.sparkSession, location, file_format)
    writer = frame.write.format(file_format).options(**path.options(source.options)).mode(mode)
    (writer.partitionBy(*partitions) if partitions else writer).save(path.uri)


def _existing_schema(source: SourceSpec, reader: Reader) -> StructType | None:
    """The columns of the rows that are there already, as Spark reads them; None where there is nothing yet.

    Whether something is there is seen from here: what reading refuses is no empty place, and takes no rows either.
    """
    if source.table is not None:
        require_warehouse(source, warehouse_of(reader.child(), source.table))
        if not reader.child().catalog.tableExists(source.table):
            return None
    if source.location is not None and not _holds_rows(source, source.location):
        return None
    return reader.read(source).schema


def _holds_rows(source: SourceSpec, location: Location) -> bool:
    """Whether a path holds what Spark finds columns in.

    Raises:
        SourceError: it is, holds or lies in a table of another format.
        SchemaError: its folders cannot be read as partitions.
        StorageError: it could not be listed.
    """
    if source.file_format in TABLE_FORMATS:
        return has_log(location)  # without: an empty folder, or files of a writer that died before its first commit
    selection = reader_options(source).selection
    with source_errors(source):
        try:
            return bool(list_files(location, selection=selection).files)
        except FileNotFoundError:
            return False


def _arrow_schema(existing: StructType, table: pa.Table, source: SourceSpec) -> pa.Schema:
    """The columns in Arrow; those of a format without types have the types that the rows have."""
    # Up to PySpark 4.1 instants are UTC in Arrow as it is; since 4.2 their zone is the caller's to say.
    takes_zone = "timezone" in inspect.signature(to_arrow_schema).parameters
    zone: dict[str, Any] = {"timezone": "UTC"} if takes_zone else {}
    schema = to_arrow_schema(existing, **zone)
    if source.file_format not in _TYPELESS:
        return schema
    return pa.schema(
        [table.schema.field(field.name) if field.name in table.column_names else field for field in schema]
    )
