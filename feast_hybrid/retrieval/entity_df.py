"""From ``entity_df``, in whatever form a caller gives it, to entity rows and the session that they are read in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from feast_hybrid.arrow.types import without_views
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_columns import plain_column, refuse_values_of, without_pandas_type
from feast_hybrid.retrieval.entity_rows import EntityRows, SparkRows
from feast_hybrid.retrieval.history_rows import rows_of_histories
from feast_hybrid.retrieval.pandas_rows import PandasRows
from feast_hybrid.sources.reader import Reader, reader_beside, reader_for
from feast_hybrid.sources.resolve import is_read, source_spec
from feast_hybrid.sources.table_folders import refuse_unread_tables
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.sql import columns_read, single_select, tables_read
from feast_hybrid.spark.sql_plans import refuse_unsafe_plan
from feast_hybrid.spark.sql_rules import refuse_unsafe

if TYPE_CHECKING:
    from feast.infra.registry.base_registry import BaseRegistry
    from pyspark.sql import DataFrame

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.spec import SourceSpec


#: The names of sources in SQL text are found by a parser that knows less than Spark's own.
_UNPARSED_HINT = (
    " Where Spark takes this text, it has syntax that the parser which looks for sources' names (SQLGlot) does not "
    "know: give a Spark frame instead, entity_df=spark.sql(...)."
)


def open_reader(
    store: HybridSparkOfflineStoreConfig, views: Sequence[RequestedView], entity_df: Any
) -> tuple[Reader, Any]:
    """A reader in the session of the call: a Spark frame's own, a child for SQL text, else the one to work in.

    Returns:
        The reader, and ``entity_df`` as it can be used in its session.
    """
    sources = [view.source for view in views]
    if _is_spark_frame(entity_df):
        return reader_beside(entity_df, store.router, sources)
    reader = reader_for(store.spark, store.router, sources)
    return (reader.in_child() if isinstance(entity_df, str) else reader), entity_df


def entity_rows_of(
    entity_df: Any,
    views: Sequence[RequestedView],
    reader: Reader,
    registry: BaseRegistry,
    project: str,
    dates: tuple[datetime | None, datetime | None],
) -> EntityRows:
    """The entity rows of a request.

    Args:
        entity_df: a pandas frame, whatever exports an Arrow stream, a Spark frame, SQL text, or None for the rows of
            the views themselves.
        views: what is asked for.
        reader: reads sources, in the session of the call.
        registry: knows the sources that SQL text may name.
        project: the project in the registry.
        dates: start and end, used where ``entity_df`` is None.

    Raises:
        EntityFrameError: it has another type, or lacks a column.
    """
    if isinstance(entity_df, pd.DataFrame):
        return PandasRows.of(entity_df)
    if isinstance(entity_df, str):
        return SparkRows.of(_run_sql(entity_df, views, reader, registry, project))
    if entity_df is None:
        return rows_of_histories(views, reader, dates)
    if _is_spark_frame(entity_df):
        return SparkRows.of(entity_df)
    _refuse_lazy(entity_df)
    if hasattr(entity_df, "__arrow_c_stream__"):
        return PandasRows.of(_frame_of_arrow(entity_df), of_arrow=True)
    raise EntityFrameError(
        f"entity_df is a {_class_of(entity_df)}, which exports no Arrow stream (__arrow_c_stream__). What is taken: "
        "a pandas or Spark frame, whatever exports one (pyarrow, Polars, DuckDB), SQL text, or None with start_date "
        "and end_date."
    )


def _frame_of_arrow(entity_df: Any) -> pd.DataFrame:
    """What exports an Arrow stream, as a frame whose columns keep their Arrow types.

    Raises:
        EntityFrameError: Arrow cannot read it, pandas has no type for a column, or a value is none of its column's
            type.
    """
    _refuse_objects_of_polars(entity_df)
    try:
        table = pa.table(entity_df)
    except (pa.ArrowException, TypeError) as fault:
        raise EntityFrameError(
            f"entity_df is a {_class_of(entity_df)}, of whose columns one has a type that pyarrow {pa.__version__} "
            f"cannot read ({fault}): its columns are {', '.join(_columns_with_types(entity_df))}."
        ) from None
    columns = [plain_column(column, name) for name, column in zip(table.column_names, table.columns, strict=True)]
    table = pa.table(columns, table.column_names)
    refuse_values_of(table)
    table = pa.table([_with_signed_indices(column) for column in table.columns], table.column_names)
    try:
        return _in_pandas(table)
    except NotImplementedError:
        for position, name in enumerate(table.column_names):
            try:
                _in_pandas(table.select([position]))
            except NotImplementedError:
                raise without_pandas_type(name, table.column(position).type) from None
        raise


def _in_pandas(table: pa.Table) -> pd.DataFrame:
    table = table.cast(pa.schema([(field.name, without_views(field.type)) for field in table.schema]))
    for data_type in table.schema.types:
        _ = pd.ArrowDtype(data_type).type  # raises where pandas has none, which it may say only when it is asked
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _refuse_objects_of_polars(entity_df: Any) -> None:
    """Polars exports Python's objects as their addresses in memory, which Arrow takes for bytes.

    Raises:
        EntityFrameError: it names the column.
    """
    if not type(entity_df).__module__.startswith("polars."):
        return
    for name, data_type in zip(getattr(entity_df, "columns", ()), getattr(entity_df, "dtypes", ()), strict=False):
        if str(data_type).startswith("Object"):
            raise EntityFrameError(
                f"entity_df column {name!r} is {data_type} in Polars, of which Arrow sees addresses in memory alone: "
                "cast it, or map its elements to a type of their own."
            )


def _with_signed_indices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Polars' categories count from zero without a sign, of which older pyarrow makes no pandas column."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_unsigned_integer(column.type.index_type):
        return column
    values = without_views(column.type.value_type)
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices.cast(pa.int64()), chunk.dictionary.cast(values), ordered=column.type.ordered
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.dictionary(pa.int64(), values, column.type.ordered))


def _columns_with_types(entity_df: Any) -> list[str]:
    names = [str(name) for name in getattr(entity_df, "columns", ())]
    types = [str(data_type) for data_type in getattr(entity_df, "dtypes", ())]
    return [f"{name} ({data_type})" for name, data_type in zip(names, types, strict=False)] or ["not known"]


def _class_of(entity_df: Any) -> str:
    return f"{type(entity_df).__module__}.{type(entity_df).__qualname__}"


def _refuse_lazy(entity_df: Any) -> None:
    """Name what to call of frames whose rows are elsewhere, whether or not they export Arrow.

    Raises:
        EntityFrameError: it is one of pandas-on-Spark, Dask, or lazily of Polars.
    """
    module = type(entity_df).__module__
    for library, method in (("pyspark.pandas", "to_spark"), ("dask", "compute"), ("polars", "collect")):
        if f"{module}.".startswith(f"{library}.") and hasattr(entity_df, method):
            raise EntityFrameError(
                f"entity_df is a {_class_of(entity_df)}, which is not taken as it is: give entity_df.{method}()."
            )


def _is_spark_frame(entity_df: Any) -> bool:
    """Whether it is a frame of Spark's, Classic or Connect."""
    return hasattr(entity_df, "sparkSession")


def _run_sql(
    query: str, views: Sequence[RequestedView], reader: Reader, registry: BaseRegistry, project: str
) -> DataFrame:
    """Run SQL in which a source's name stands for its rows; the names are seen by this call alone."""
    select = single_select(query, what="entity_df", error=EntityFrameError, unparsed_hint=_UNPARSED_HINT)
    allowed = reader.router.allowed.functions
    refuse_unsafe(query, select, what="entity_df", error=EntityFrameError, more_functions=allowed)
    names = tables_read(select)
    sources = _sources_called(names, views, reader, registry, project)
    # Read in the call's own session, where alone the views can be seen; all of them under names of their own before
    # the first gets its source's name, which may be that of a table that another source reads.
    own_names = {source.name: f"__fh_{uuid.uuid4().hex}" for source in sources}
    named = columns_read(select)
    columns = None if named is None else sorted(named)
    for source in sources:
        reader.read(source, columns, session=reader.spark).createOrReplaceTempView(own_names[source.name])
    for name, own_name in own_names.items():
        reader.spark.table(own_name).createOrReplaceTempView(quoted(name))
    with translate_spark_errors("entity_df", "SQL text"):
        refuse_unsafe_plan(reader.spark, query, what="entity_df", error=EntityFrameError, more_functions=allowed)
        rows = analysed(reader.spark.sql(query))
        refuse_unread_tables(rows, reader.router, "entity_df")
        return rows


def _sources_called(
    names: set[str], views: Sequence[RequestedView], reader: Reader, registry: BaseRegistry, project: str
) -> list[SourceSpec]:
    """The sources of the registry, and of the views, that have one of the names; case does not count."""
    called = {
        source.name: source_spec(source, reader.router)
        for source in registry.list_data_sources(project, allow_cache=True)
        if source.name.lower() in names and is_read(source)
    }
    called.update({view.source.name: view.source for view in views if view.source.name.lower() in names})
    return list(called.values())
