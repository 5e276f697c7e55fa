"""Arrow rows added by Spark: to tables, and to paths of formats that Spark keeps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.write_conversion import conformed, require_columns
from feast_hybrid.errors import SchemaError, SourceError, SourceNotFoundError, WriteError
from feast_hybrid.files.footers import partition_columns
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.sources.reader import reader_for
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.spark.frames import frame_of
from feast_hybrid.writing.partitions import dates_of, with_dates
from feast_hybrid.writing.table_formats import add_to_iceberg, has_log

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
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
    """Add rows to a source's table or path as one file, which appears when the job is committed.

    Args:
        table: the rows, in the source's names.
        source: where they go.
        store: the offline store.
        first_schema: the columns where nothing is yet, in the source's names.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: the rows do not fit what is there.
        WriteError: Spark could not write them; nothing of them is there.
    """
    with translate_client_errors(WriteError, what, "failed; nothing was written"):
        _append(table, source, store, first_schema, what=what)


def _append(
    table: pa.Table,
    source: SourceSpec,
    store: HybridSparkOfflineStoreConfig,
    first_schema: Callable[[], pa.Schema],
    *,
    what: str,
) -> None:
    reader = reader_for(store, [source])
    there = _schema_there(source, reader)
    schema = _arrow_schema(there, table, source) if there is not None else first_schema()
    day = source.date_partition_column or None
    if day:
        time = source.timestamp
        if time not in table.column_names:
            raise SchemaError(f"{what}: columns missing {time}, the event time.")
        dates = dates_of(table.column(time), source.date_partition_format)
        table = with_dates(table, day, dates, what=what)
        if day in schema.names:
            kind = schema.field(day).type
            table = table.set_column(table.column_names.index(day), day, dates.cast(kind))
        else:
            schema = schema.append(_text(day))
    require_columns(table.column_names, schema.names, what=what)
    rows = conformed(table, schema, what=what)
    session = reader.child() if source.table is not None else reader.spark
    frame = frame_of(session, rows).coalesce(1)
    if source.table is not None:
        if there is not None:
            frame.write.insertInto(source.table)
        else:
            writer = frame.write.mode("error")
            (writer.partitionBy(day) if day else writer).saveAsTable(source.table)
        return
    location = source.location
    assert location is not None
    if source.file_format == "iceberg":
        add_to_iceberg(frame, source, location, partition=day, new=there is None)
        return
    writer = frame.write.format(source.file_format or "parquet").mode("append")
    writer = writer.options(**source.options).options(**location.hadoop_options)
    partitions = [day] if day else []
    if there is not None:
        # A format with a log knows itself how it is partitioned.
        logged = source.file_format in TABLE_FORMATS
        partitions = [] if logged else list(partition_columns(location.fs, location.path))
    (writer.partitionBy(*partitions) if partitions else writer).save(str(location))


def _schema_there(source: SourceSpec, reader: Reader) -> StructType | None:
    """What Spark reads there; None where there is nothing yet."""
    if source.table is not None and not reader.child().catalog.tableExists(source.table):
        return None
    if source.location is not None:
        if not source.location.exists():
            return None
        if source.file_format in TABLE_FORMATS and not has_log(source.location):
            return None  # an empty folder, or files of a writer that died before its first commit
    try:
        return reader.read(source).schema
    except SourceNotFoundError:
        raise
    except SourceError:  # a folder without files
        return None


def _arrow_schema(there: StructType, table: pa.Table, source: SourceSpec) -> pa.Schema:
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema

    # Up to PySpark 4.1 instants are UTC in Arrow as it is; since 4.2 their zone is the caller's to say.
    named = "timezone" in inspect.signature(to_arrow_schema).parameters
    zone: dict[str, Any] = {"timezone": "UTC"} if named else {}
    schema = to_arrow_schema(there, **zone)
    if source.file_format not in _TYPELESS:
        return schema
    return pa.schema(
        [table.schema.field(field.name) if field.name in table.column_names else field for field in schema]
    )


def _text(name: str) -> pa.Field:
    import pyarrow as pa

    return pa.field(name, pa.string())
