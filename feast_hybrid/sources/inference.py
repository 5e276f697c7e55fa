"""A source's columns and what it says of them; for Parquet and ORC paths without a JVM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import SchemaError
from feast_hybrid.sources.file_schema import file_schema, ineligibility_reason

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from feast_hybrid.files.resolved import ResolvedSchema
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
    if (resolved := _resolved_files(source, router)) is not None:
        return [(column.name, spark_type_of_arrow(column.data_type)) for column in resolved.columns]
    from feast_hybrid.sources.reader import reader_for  # a footer needs no Spark

    return columns_of(reader_for(spark, router, [source]).read(source).schema)


def columns_of(schema: StructType) -> list[tuple[str, str]]:
    """Names and Spark type names of a schema's columns."""
    return [(field.name, field.dataType.simpleString()) for field in schema.fields]


def validate_source(
    source: SourceSpec,
    spark: SparkConfig,
    router: Router,
    *,
    keys: Collection[str] = (),
    check: Callable[[Sequence[str]], None] | None = None,
) -> None:
    """Check that a source's rows are there and have the columns that it and its views name.

    Args:
        source: where the rows are, and what its views declare.
        spark: the session to start, for sources whose columns only Spark can tell.
        router: knows the sites whose settings that session gets.
        keys: the join keys of its views, by the source's names.
        check: gets the source's columns, to refuse views that they do not fit.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: a column that the source names is missing, or its event time is missing in a file.
        SourceError: a file is damaged, or of another format.
    """
    resolved = _resolved_files(source, router)
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
    if check is not None:
        check(columns)
    if resolved is not None:
        what = f"{source.label} ({source.describe()})"
        # What views declare and the files do not hold so.
        resolved.require([name for name in source.declared if name in resolved.unreadable], what=what)
        if source.timestamp_field:
            # A file without its time or its key would lose its rows.
            resolved.require([source.timestamp, *keys], what=what, in_each_file=True)


def _resolved_files(source: SourceSpec, router: Router) -> ResolvedSchema | None:
    """What a source's files hold; None where Spark reads them."""
    return file_schema(source, router) if ineligibility_reason(source) is None else None
