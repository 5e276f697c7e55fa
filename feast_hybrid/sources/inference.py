"""A source's columns and what it says of them; for Parquet and ORC paths without a JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import HybridError, SchemaError, SourceError, SourceNotFoundError
from feast_hybrid.files.schema import ResolvedSchema, resolve_schema
from feast_hybrid.lakes.errors import raise_from, redacted_summary, storage_error

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.spark.config import SparkConfig


def source_columns(source: SourceSpec, spark: SparkConfig, router: Router) -> list[tuple[str, str]]:
    """Names and Spark type names of a source's columns, partition columns last.

    Args:
        source: where the rows are.
        spark: the session to start, for sources whose columns only Spark can tell.
        router: knows the sites whose settings that session gets.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: its folders cannot be read as partitions.
        SourceError: a file is damaged, or of another format.
    """
    resolved = _resolved_files(source)
    if resolved is not None:
        return [(column.name, spark_type_of_arrow(column.data_type)) for column in resolved.columns]
    from feast_hybrid.sources.reader import reader_for  # a footer needs no Spark

    return columns_of(reader_for(spark, router, [source]).read(source).schema)


def columns_of(schema: StructType) -> list[tuple[str, str]]:
    """Names and Spark type names of a schema's columns."""
    return [(field.name, field.dataType.simpleString()) for field in schema.fields]


def validate_source(source: SourceSpec, spark: SparkConfig, router: Router) -> None:
    """Check that a source's rows are there and have the columns that it names.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: a column that the source names is missing, or its event time is missing in a file.
        SourceError: a file is damaged, or of another format.
    """
    resolved = _resolved_files(source)
    if resolved is not None:
        columns = [column.name for column in resolved.columns]
    else:
        columns = [name for name, _ in source_columns(source, spark, router)]
    named = {
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_field,
        "date_partition_column": source.date_partition_column,
    }
    for role, name in named.items():
        if name and name not in columns and source.column_of(name) not in columns:
            if resolved is not None and source.column_of(name) in resolved.unreadable:
                resolved.require([source.column_of(name)], what=f"source {source.name!r} ({source.describe()})")
            raise SchemaError(
                f"source {source.name!r} ({source.describe()}): {role} is {name!r}, but the columns are "
                f"{', '.join(columns)}."
            )
    for name in source.field_mapping:
        if name not in columns:
            raise SchemaError(
                f"source {source.name!r} ({source.describe()}): field_mapping names {name!r}, but the columns are "
                f"{', '.join(columns)}."
            )
    if resolved is not None and source.timestamp_field:
        what = f"source {source.name!r} ({source.describe()})"
        resolved.require([source.timestamp], what=what, in_each_file=True)


def _resolved_files(source: SourceSpec) -> ResolvedSchema | None:
    """What a source's files hold, with errors that name it and its place; None where Spark reads them."""
    location = source.location
    if location is None or source.file_format not in ("parquet", "orc") or source.options:
        return None
    what = f"source {source.name!r}"
    where = location.describe()
    try:
        resolved = resolve_schema(location, source.file_format or "parquet")
    except FileNotFoundError:
        raise SourceNotFoundError(f"{what}: nothing is at {where}.") from None
    except (SchemaError, SourceError) as error:
        raise type(error)(f"{what} ({where}): {error}") from None
    except HybridError:  # such as a secret that is not set
        raise
    except Exception as error:
        refused = storage_error(error, what=what, where=where, sites=[location.site])
        raise_from(refused or SourceError(f"{what}: {where} cannot be read: {redacted_summary(error)}"), error)
    if resolved is None:
        format_name = "ORC" if source.file_format == "orc" else "Parquet"
        raise SourceNotFoundError(f"{what}: {where} holds no {format_name} files.")
    return resolved
