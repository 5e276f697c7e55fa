"""From ``entity_df``, in whatever form a caller gives it, to entity rows and the session that they are read in."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_rows import EntityRows, SparkRows
from feast_hybrid.retrieval.history_rows import rows_of_histories
from feast_hybrid.retrieval.pandas_rows import PandasRows
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.reader import Reader, reader_beside, reader_for
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.sql import single_select, tables_read

if TYPE_CHECKING:
    from feast.infra.registry.base_registry import BaseRegistry
    from pyspark.sql import DataFrame

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.spec import SourceSpec


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
        entity_df: a pandas frame, a Spark frame, SQL text, or None for the rows of the views themselves.
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
    raise EntityFrameError(
        f"entity_df is a {type(entity_df).__name__}; give a pandas frame, a Spark frame, SQL text, or None with "
        "start_date and end_date."
    )


def _is_spark_frame(entity_df: Any) -> bool:
    """Whether it is a frame of Spark's, Classic or Connect."""
    return hasattr(entity_df, "sparkSession")


def _run_sql(
    query: str, views: Sequence[RequestedView], reader: Reader, registry: BaseRegistry, project: str
) -> DataFrame:
    """Run SQL in which a source's name stands for its rows; the names are seen by this call alone."""
    names = tables_read(single_select(query, what="entity_df", error=EntityFrameError))
    sources = _sources_called(names, views, reader, registry, project)
    # Read in the call's own session, where alone the views can be seen; all of them under names of their own before
    # the first gets its source's name, which may be that of a table that another source reads.
    own_names = {source.name: f"__fh_{uuid.uuid4().hex}" for source in sources}
    for source in sources:
        reader.read(source, session=reader.spark).createOrReplaceTempView(own_names[source.name])
    for name, own_name in own_names.items():
        reader.spark.table(own_name).createOrReplaceTempView(quoted(name))
    with translate_spark_errors("entity_df", "SQL text"):
        return analysed(reader.spark.sql(query))


def _sources_called(
    names: set[str], views: Sequence[RequestedView], reader: Reader, registry: BaseRegistry, project: str
) -> list[SourceSpec]:
    """The sources of the registry, and of the views, that have one of the names; case does not count."""
    called = {
        source.name: source_spec(source, reader.router)
        for source in registry.list_data_sources(project, allow_cache=True)
        if source.name.lower() in names and isinstance(source, HybridSparkSource)
    }
    called.update({view.source.name: view.source for view in views if view.source.name.lower() in names})
    return list(called.values())
