"""From ``entity_df``, in whatever form a caller gives it, to entity rows and the session that they are read in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.history_rows import rows_of_histories
from feast_hybrid.retrieval.local_frames import is_spark_frame, rows_of_frame
from feast_hybrid.retrieval.spark_rows import SparkRows
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
    from feast_hybrid.retrieval.entity_rows import EntityRows
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
    if is_spark_frame(entity_df):
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
        entity_df: a pandas frame, whatever exports an Arrow stream, rows of one of these, a Spark frame, SQL text, or
            None for the rows of the views themselves.
        views: what is asked for.
        reader: reads sources, in the session of the call.
        registry: knows the sources that SQL text may name.
        project: the project in the registry.
        dates: start and end, used where ``entity_df`` is None.

    Raises:
        EntityFrameError: it has another type, or lacks a column.
    """
    if isinstance(entity_df, str):
        return SparkRows.of(_run_sql(entity_df, views, reader, registry, project))
    if entity_df is None:
        return rows_of_histories(views, reader, dates)
    return SparkRows.of(entity_df) if is_spark_frame(entity_df) else rows_of_frame(entity_df)


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
