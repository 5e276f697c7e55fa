"""Entity rows where a caller gives none: the distinct (join keys, event time) of the requested views' own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.dates import date_range, require_one_type_for_each_key
from feast_hybrid.retrieval.entity_times import EVENT_TIMESTAMP
from feast_hybrid.retrieval.spark_rows import SparkRows
from feast_hybrid.retrieval.spark_views import view_rows
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.times import micros, require_time

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

    from feast_hybrid.retrieval.entity_rows import Bounds
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.reader import Reader


@dataclass(frozen=True)
class _History:
    """A view's own rows within the dates."""

    view: RequestedView
    frame: DataFrame
    types: Mapping[str, DataType]


def rows_of_histories(
    views: Sequence[RequestedView], reader: Reader, dates: tuple[datetime | None, datetime | None]
) -> SparkRows:
    """The distinct (join keys, event time) of each view's rows within the dates; views of the same keys united.

    Args:
        views: what is asked for.
        reader: reads their sources.
        dates: start and end; Feast's defaults stand for None, naive times are UTC.

    Raises:
        EntityFrameError: the dates are in the wrong order.
        SchemaError: a source lacks a column, or a join key has types that cannot be united.
    """
    bounds = date_range(views, dates)
    histories = [_read(view, reader, bounds) for view in views]
    for history in histories:
        _require_columns(history)
    require_one_type_for_each_key(
        [
            (history.view, {name: data_type.simpleString() for name, data_type in history.types.items()})
            for history in histories
        ]
    )
    united = reduce(_unite, map(_keys_and_time, histories))
    keys = [column for column in united.columns if column != EVENT_TIMESTAMP]
    ordered = united.select(*map(quoted, [*keys, EVENT_TIMESTAMP]))
    return SparkRows(ordered.distinct(), EVENT_TIMESTAMP, bounds)


def _read(view: RequestedView, reader: Reader, bounds: Bounds) -> _History:
    columns = [*(column for _, column in view.keys), view.timestamp]
    frame = view_rows(view, reader, columns, columns, bounds).frame
    return _History(view, frame, {field.name: field.dataType for field in frame.schema.fields})


def _require_columns(history: _History) -> None:
    view, timestamp = history.view, history.view.timestamp
    missing = [name for name in (timestamp, *(column for _, column in view.keys)) if name not in history.types]
    if missing:
        raise SchemaError(
            f"view {view.name!r}: source {view.source.name!r} lacks {', '.join(map(repr, missing))}; "
            f"it has {', '.join(history.types)}."
        )
    require_time(history.types[timestamp], owner=f"view {view.name!r}", role="timestamp column", name=timestamp)


def _keys_and_time(history: _History) -> DataFrame:
    """The join keys in their own types, and the event time as an instant; rows without a time left out."""
    # By position: the source's columns may have any names.
    numbered = history.frame.toDF(*(f"c{position}" for position in range(len(history.types))))
    column_of = {name: F.col(f"c{position}") for position, name in enumerate(history.types)}
    timestamp = history.view.timestamp
    time = F.timestamp_micros(micros(column_of[timestamp], history.types[timestamp]))
    keys = [column_of[column].alias(key) for key, column in history.view.keys]
    return numbered.select(*keys, time.alias(EVENT_TIMESTAMP)).dropna(subset=[quoted(EVENT_TIMESTAMP)])


def _unite(rows: DataFrame, more: DataFrame) -> DataFrame:
    return rows.unionByName(more, allowMissingColumns=True)
