"""A source's columns and what it says of them; for Parquet and ORC paths without a JVM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.names import find_name
from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import SchemaError, UnavailableError
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes.errors import was_reached
from feast_hybrid.sources.agreement import require_agreement
from feast_hybrid.sources.file_schema import ineligibility_reason, source_files
from feast_hybrid.sources.tables import lists_its_files, open_table_version
from feast_hybrid.spark.installed import require_pyspark

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.files.schema import Resolvable
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.spark.config import SparkConfig


def source_columns(
    source: SourceSpec, spark: SparkConfig, router: Router, *, views: Sequence[SourceSpec] = ()
) -> list[tuple[str, str]]:
    """Names and Spark type names of a source's columns, partition columns last.

    Args:
        source: where the rows are.
        spark: the session to start, for sources whose columns only Spark can tell.
        router: knows the sites whose settings that session gets.
        views: the source with what each of its views declares.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: its folders cannot be read as partitions; its views do not hold, or not all of them.
        SourceError: a file is damaged, or of another format.
    """
    files = _files(source, spark, router)
    require_agreement(views, files)
    if files is not None:
        columns = files.resolve(source.declared).columns
        return [(column.name, spark_type_of_arrow(column.data_type)) for column in columns]
    require_pyspark(f"{source.label} ({source.describe()})")
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
    views: Sequence[SourceSpec] = (),
    check: Callable[[Sequence[str]], None] | None = None,
) -> None:
    """Check that a source's rows are there and have the columns that it and its views name.

    Args:
        source: where the rows are, and what its views declare.
        spark: the session to start, for sources whose columns only Spark can tell.
        router: knows the sites whose settings that session gets.
        keys: the join keys of its views, by the source's names.
        views: the source with what each of its views declares.
        check: gets the source's columns, to refuse views that they do not fit.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: a column that the source names is missing, or its event time is missing in a file; its views do
            not hold, or not all of them.
        SourceError: a file is damaged, or of another format.
    """
    files = _files(source, spark, router)
    resolved = None if files is None else files.resolve(source.declared)
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
        if name and not any(find_name(each, columns) for each in (name, source.column_of(name))):
            if resolved is not None and source.column_of(name) in resolved.unreadable:
                resolved.require([source.column_of(name)], what=f"source {source.name!r} ({source.describe()})")
            raise SchemaError(
                f"source {source.name!r} ({source.describe()}): {role} is {name!r}, but the columns are "
                f"{', '.join(columns)}."
            )
    for name in source.field_mapping:
        if find_name(name, columns) is None:
            raise SchemaError(
                f"source {source.name!r} ({source.describe()}): field_mapping names {name!r}, but the columns are "
                f"{', '.join(columns)}."
            )
    if check is not None:
        check(columns)
    require_agreement(views, files)
    if resolved is not None and source.timestamp_field:
        # A file without its time or its key would lose its rows.
        what = f"{source.label} ({source.describe()})"
        resolved.require([source.timestamp, *keys], what=what, in_each_file=True)
        _require_time(source, resolved, what)


def _require_time(source: SourceSpec, resolved: ResolvedSchema, what: str) -> None:
    """Refuse an event time that is none, such as text: the join would."""
    name = find_name(source.timestamp, [column.name for column in resolved.columns])
    for column in resolved.columns:
        is_time = pa.types.is_timestamp(column.data_type) or pa.types.is_date(column.data_type)
        if column.name == name and not is_time:
            raise SchemaError(
                f"{what}: the event time {column.name!r} is {column.data_type}; it has to be a timestamp or a date. "
                "Write the files anew with times, or read the source by a query that makes them."
            )


def _files(source: SourceSpec, spark: SparkConfig, router: Router) -> Resolvable | None:
    """A source's files; None where Spark finds out what they hold."""
    if lists_its_files(source):
        try:
            return open_table_version(source, router)
        except TableFeatureError:  # Spark's package may read it
            return None
        except UnavailableError as error:  # but a server of Spark Connect may reach it
            if spark.remote is None or was_reached(error):
                raise
            return None
    return source_files(source, router) if ineligibility_reason(source) is None else None
