"""The views of a request as Spark reads and joins them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.arrow.utc import datetime_of
from feast_hybrid.asof import AsOfView, Ineligible
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.entity_rows import require_keys
from feast_hybrid.retrieval.join import RetrievalJoin
from feast_hybrid.sources.files_frame import SourceFrame
from feast_hybrid.sources.time_filter import filter_time_range
from feast_hybrid.spark.runtime import parallelism

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame

    from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.reader import Reader


def view_rows(
    view: RequestedView,
    reader: Reader,
    columns: Sequence[str],
    required: Sequence[str],
    between: tuple[datetime | None, datetime | None],
    *,
    scan: bool = False,
) -> SourceFrame:
    """A view's rows between two times.

    Args:
        view: whose rows they are.
        reader: reads the source.
        columns: that will be used.
        required: those without which a row is no answer.
        between: the first and the last time; None for no bound.
        scan: see :meth:`Reader.open`.

    Raises:
        SourceError, SourceNotFoundError, StorageError: the source cannot be read.
        SchemaError: a column is missing.
        RetrievalError: the view's transformation failed.
    """
    start, end = between
    if view.transformed is not None:
        frame = view.transformed.frame(reader, end)
        _require_made(view, frame, columns)
        made = SourceFrame(frame, Ineligible("a transformation makes its rows"))
        return replace(made, frame=_between(view, made, start, end))
    rows = reader.open(view.source, columns, required=required, between=(start, end), scan=scan)
    return replace(rows, frame=_between(view, rows, start, end))


def _between(view: RequestedView, rows: SourceFrame, start: datetime | None, end: datetime | None) -> DataFrame:
    """Of the view's rows those between two times."""
    # What partitions the source need not be a column any more of what a transformation makes.
    source = view.source if view.transformed is None else replace(view.source, date_partition_column=None)
    return filter_time_range(rows.frame, source, view.timestamp, start, end, rows.partitions)


def as_of_view(view: RequestedView, reader: Reader, bounds: Bounds | None, *, scan: bool = True) -> AsOfView:
    """A view for the as-of join, its history cut to what entity rows within the bounds can see.

    Args:
        view: what is asked for.
        reader: reads the source.
        bounds: the first and last time of the entity rows, where they are known.
        scan: whether to look for the source's files, for joins that read them themselves.
    """
    rows = view_rows(view, reader, view.columns, view.required, view.between(bounds), scan=scan)
    view.refuse_aggregations(rows.frame.columns)
    return AsOfView(
        name=view.name,
        frame=rows.frame,
        keys=view.keys,
        timestamp=view.timestamp,
        created=view.created(rows.frame.columns),
        ttl=view.view.ttl,
        features=view.features,
        scan=rows.scan if scan else Ineligible("the strategy is 'window'"),
        within=lambda low, high: _between(view, rows, datetime_of(low), datetime_of(high)),
        where=view.source.describe(),
        notes=rows.notes,
    )


def _require_made(view: RequestedView, frame: DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in dict.fromkeys(columns) if not positions_of(name, frame.columns)]
    if missing:
        raise SchemaError(
            f"view {view.name!r}: its transformation gives no column {', '.join(missing)}; it gives "
            f"{', '.join(frame.columns)}."
        )


def plan_join(
    rows: EntityRows,
    views: Sequence[RequestedView],
    reader: Reader,
    *,
    strategy: str,
    filter_by_created_timestamp: bool,
    what: str,
    engine: str = "",
) -> RetrievalJoin:
    """What is joined to the entity rows, with no more of each history than they can see.

    Args:
        rows: the entity rows.
        views: what is asked for.
        reader: reads the views' sources.
        strategy: ``auto``, or one that the configuration asks for.
        filter_by_created_timestamp: whether a row only counts from its created time on.
        what: how errors and Spark's UI call the result.
        engine: why Spark is taken, for plans.

    Raises:
        EntityFrameError: the rows lack a join key.
        SourceError, SourceNotFoundError, StorageError: a source cannot be read.
        SchemaError: a source lacks a join key or an aggregation, or a transformation a column.
        RetrievalError: a transformation failed.
    """
    keys = list(dict.fromkeys(key for view in views for key, _ in view.keys))
    for view in views:
        view.require_keys_of_source(partial(_columns_of, view, reader), rows.columns)
    require_keys(keys, rows.columns)
    # What a transformation makes can depend on which rows it sees: it is the same for all forms of entity rows. And
    # of a table by days only the partitions within the times are asked of its catalog.
    needs_bounds = any(view.transformed or view.source.is_table_by_days for view in views)
    bounds = rows.bounds() if needs_bounds else rows.known_bounds
    reads_files = strategy in ("auto", "columnar")
    return RetrievalJoin(
        spark=reader.spark,
        views=[as_of_view(view, reader, bounds, scan=reads_files) for view in views],
        keys=keys,
        timestamp=rows.timestamp,
        stats=rows.stats(keys),
        filter_by_created_timestamp=filter_by_created_timestamp,
        strategy=strategy,
        parallelism=parallelism(reader.spark),
        what=what,
        engine=engine,
    )


def _columns_of(view: RequestedView, reader: Reader, column: str) -> Sequence[str]:
    return reader.open(view.source, [column]).frame.columns
