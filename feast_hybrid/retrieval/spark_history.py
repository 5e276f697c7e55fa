"""Historical features by Spark."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from feast_hybrid.retrieval.entity_df import entity_rows_of, open_reader
from feast_hybrid.retrieval.history import History
from feast_hybrid.retrieval.request import retrieval_metadata
from feast_hybrid.retrieval.spark_views import plan_join

if TYPE_CHECKING:
    from feast_hybrid.retrieval.history import HistoryRequest


def spark_history(request: HistoryRequest, engine: str = "") -> History:
    """Plan the join of a request on Spark; nothing more runs before the caller asks for rows.

    Args:
        request: what is asked for.
        engine: why Spark is taken, for plans.

    Raises:
        EntityFrameError: the entity rows lack a column or have no time.
        SourceError, SourceNotFoundError, StorageError: a source cannot be read.
        SchemaError, JoinError: columns or types do not go together.
        RetrievalError: a transformation failed.
    """
    entity_df = request.entity_df if request.given_rows is None else request.given_rows
    # Resolve: in which session the views' sources are read.
    reader, entity_df = open_reader(request.store, request.views, entity_df)
    reader.tables = request.tables  # what another engine has opened is read in the same version
    # Collect: the entity rows, and what is known of them without running a job.
    rows = entity_rows_of(entity_df, request.views, reader, request.registry, request.project, request.dates)
    request.require_request_data(rows.columns)
    # Plan: each history cut to what the rows can see, and a way to join it.
    join = plan_join(
        rows,
        request.views,
        reader,
        strategy=request.store.join.strategy,
        filter_by_created_timestamp=request.by_created,
        what=request.what,
        engine=engine,
    )
    metadata = partial(retrieval_metadata, rows, request.feature_refs, reader.versions)
    return History(rows.join(join), metadata, (*join.keys, join.timestamp))
