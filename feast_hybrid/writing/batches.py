"""Batches of a feature view's rows, added to its source."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import CommitUnknownError, SchemaError, SessionError, WriteError
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes.errors import raise_from
from feast_hybrid.sources.feast_types import arrow_type_of_feast
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.tables import is_delta, lists_its_files
from feast_hybrid.spark.formats import package_hint
from feast_hybrid.spark.installed import pyspark_version, require_pyspark
from feast_hybrid.writing.delta_batches import append_to_delta
from feast_hybrid.writing.iceberg_batches import append_to_iceberg
from feast_hybrid.writing.naming import in_spark_task
from feast_hybrid.writing.parquet_files import append_parquet

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.sources.spec import SourceSpec


def write_batch(
    store: HybridSparkOfflineStoreConfig,
    view: FeatureView,
    table: pa.Table,
    progress: Callable[[int], Any] | None,
) -> None:
    """See :meth:`feast_hybrid.HybridSparkOfflineStore.offline_write_batch`."""
    source = source_spec(view.batch_source, store.router, view=view)
    source = source.written_to or source
    what = f"feature view {view.name!r}"
    if source.query is not None:
        raise WriteError(f"{what}: source {source.name!r} is a query; rows are written to a path or a table.")
    what = f"writing rows of {what} to {source.describe()}"
    if table.num_rows:
        rows = in_source_names(_without_pandas_index(table), source, what)
        append(store, table=rows, source=source, view=view, what=what)
    if progress is not None:
        progress(table.num_rows)


def append(
    store: HybridSparkOfflineStoreConfig,
    *,
    table: pa.Table,
    source: SourceSpec,
    view: FeatureView,
    what: str,
) -> None:
    """Add rows in the source's names: by pyarrow to Parquet files, Delta and Iceberg tables, else by Spark."""
    if source.file_format == "parquet":
        order = key_and_time(view, source)
        append_parquet(table, source, lambda: source_schema(view, source), what=what, order=order)
        return
    refused: TableFeatureError | None = None
    if lists_its_files(source):
        add = append_to_delta if is_delta(source) else append_to_iceberg
        try:
            add(table, source, lambda: source_schema(view, source), what=what)
        except TableFeatureError as error:
            refused = error  # Spark's package may do it
        else:
            return
    if in_spark_task():
        found = refused or f"found {source.file_format or 'a table'}"
        raise WriteError(
            f"{what}: inside a Spark task only Parquet files, and Delta and Iceberg tables by path, can be written, "
            f"{found}."
        )
    require_pyspark(what if refused is None else f"{what} ({refused})")
    from feast_hybrid.writing.by_spark import append_by_spark  # files and tables by path need no Spark

    try:
        append_by_spark(table, source, store, lambda: source_schema(view, source), what=what)
    except CommitUnknownError:
        raise
    except (SessionError, WriteError) as by_spark:
        if refused is None:
            raise
        installed = pyspark_version()
        hint = "" if installed is None else f" ({package_hint(installed)})"
        raise_from(WriteError(f"{by_spark} {refused}, so Spark is asked to, by its package{hint}."), by_spark)


def key_and_time(view: FeatureView, source: SourceSpec) -> list[str]:
    """The source's columns by which rows of a view are looked for, in the order by which they are sorted."""
    keys = [source.column_of(column.name) for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    times = [source.timestamp] if source.timestamp_field else []
    return [*keys, *times, *filter(None, [source.created_timestamp])]


def _without_pandas_index(table: pa.Table) -> pa.Table:
    """The rows without the numbers of a pandas frame's rows: Feast's local engine adds them where it has sorted."""
    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    unnamed = [name for name in index if isinstance(name, str) and re.fullmatch(r"__index_level_\d+__", name)]
    return table.drop_columns([name for name in unnamed if name in table.column_names])


def in_source_names(table: pa.Table, source: SourceSpec, what: str) -> pa.Table:
    """The rows with the source's column names, where Feast has mapped them to its own; all at once, as Feast does.

    A column that has the source's name already keeps it, if that is no name of Feast's.

    Raises:
        SchemaError: two columns have one name of Feast's, since the source has a column of that name besides the one
            that is mapped to it: nothing tells which is which.
    """
    mapping, names = source.field_mapping, table.column_names
    feast_names = set(mapping.values())
    for name in feast_names:
        if names.count(name) > 1:
            raise SchemaError(
                f"{what}: two columns are called {name}: field_mapping gives that name to {source.column_of(name)}, "
                f"and the source has a column {name} as well. Give that one another name in field_mapping, or write "
                "by offline_write_batch with the source's own names."
            )
    reverse = {mapped: column for column, mapped in mapping.items() if column not in names or column in feast_names}
    return table.rename_columns([reverse.get(name, name) for name in names])


def source_schema(view: FeatureView, source: SourceSpec) -> pa.Schema:
    """The columns of a source that is still empty: what the view says of join keys, features and times.

    Raises:
        SchemaError: the view does not say what its columns are.
    """
    if not view.features:
        raise SchemaError(f"feature view {view.name!r} names no features and its source is empty; give it a schema.")
    columns: dict[str, pa.DataType] = {}
    for field in [*view.entity_columns, *view.features]:
        if field.name != DUMMY_ENTITY_ID:
            columns[field.name] = arrow_type_of_feast(field.dtype, f"{view.name}:{field.name}")
    for timestamp in (source.timestamp_field, source.created_timestamp_field):
        if timestamp:
            # Named as in Feast or as in the source; a name that is both is Feast's, as when it is read.
            is_feasts = timestamp in source.field_mapping.values()
            columns[timestamp if is_feasts else source.field_mapping.get(timestamp, timestamp)] = INSTANT
    in_source = {source.column_of(name): data_type for name, data_type in columns.items()}
    in_source.pop(source.date_partition_column or "", None)
    return pa.schema(list(in_source.items()))
