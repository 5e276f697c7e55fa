"""The rows of one source within a time range, as Feast's engines, saved datasets, logs and monitoring take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from pyspark.sql import functions as F

from feast_hybrid.arrow.names import find_name
from feast_hybrid.asof.latest import latest_rows
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.frame_rows import FrameRows, SourceRows
from feast_hybrid.retrieval.online_encoding import encode_for_online
from feast_hybrid.retrieval.pulled import Pull, require_columns, visible_in_feast
from feast_hybrid.sources.reader import reader_for
from feast_hybrid.sources.time_filter import filter_time_range
from feast_hybrid.spark.columns import quoted

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.sources.spec import SourceSpec


def rows_between(
    store: HybridSparkOfflineStoreConfig,
    source: SourceSpec,
    timestamp: str,
    start: datetime | None,
    end: datetime | None,
    columns: Sequence[str] | None = None,
    keys: Sequence[str] = (),
) -> DataFrame:
    """A source's rows with start ≤ ``timestamp`` ≤ end, lazily.

    Args:
        store: says in which session to read.
        source: where the rows are.
        timestamp: the source's column of the event time.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.
        columns: the source's columns that will be used; None for all.
        keys: those by which its rows are found: each file has to have them.

    Raises:
        SourceError, SourceNotFoundError, StorageError: the source cannot be read.
        SchemaError: it lacks one of the columns, or its event time does not say when.
    """
    reader = reader_for(store.spark, store.router, [source])
    rows = reader.open(source, columns, required=[*keys, timestamp], between=(start, end))
    frame = rows.frame
    if timestamp not in frame.columns:
        raise SchemaError(
            f"source {source.name!r} lacks the event time {timestamp!r}; it has {', '.join(frame.columns)}."
        )
    require_columns(columns or [], frame.columns, source)
    return filter_time_range(frame, source, timestamp, start, end, rows.partitions)


def select_columns(frame: DataFrame, source: SourceSpec, columns: Sequence[str]) -> DataFrame:
    """The frame with those columns, each once.

    Raises:
        SchemaError: it lacks some of them.
    """
    columns = list(dict.fromkeys(columns))
    require_columns(columns, frame.columns, source)
    found = {name: find_name(name, frame.columns) for name in columns}
    return frame.select(*(F.col(quoted(column)).alias(name) for name, column in found.items() if column is not None))


def spark_pull(pull: Pull) -> FrameRows:
    """What is pulled, by Spark; in the forms of Feast's engines where a feature view can have the source.

    The source of a saved dataset or of logs has no event time of its own: no engine reads it.

    Raises:
        SourceError, SourceNotFoundError, StorageError: the source cannot be read.
        SchemaError: it lacks a column, or one has a type that does not do.
    """
    source = pull.source
    frame = rows_between(
        pull.store, source, pull.timestamp, pull.start, pull.end, columns=pull.columns, keys=pull.keys
    )
    require_columns(pull.named, frame.columns, source)
    if pull.latest:
        frame = latest_rows(
            frame,
            what=pull.place,
            keys=pull.keys,
            timestamp=pull.timestamp,
            created=pull.created,
            values=pull.features or frame.columns,
        )
    else:
        # Without features it has every column, and still has to have those that are named.
        selected = select_columns(frame, source, pull.named)
        frame = selected if pull.features else frame
    if not source.timestamp_field:
        return FrameRows(frame, pull.what, reads=source.describe())
    return engine_rows(source, frame, pull.keys, pull.features)


def engine_rows(
    source: SourceSpec, frame: DataFrame, join_keys: Sequence[str], features: Sequence[str]
) -> SourceRows:
    """A source's rows in the forms of Feast's engines.

    Args:
        source: what was read.
        frame: its rows.
        join_keys: by the source's names; none for a view without entities, which gets Feast's dummy key.
        features: by the source's names; none for rows that a transformation gets.
    """
    encoded = encode_for_online(_visible_in_feast(frame, source.field_mapping), features, source.declared)
    if not join_keys:
        encoded = encoded.withColumn(DUMMY_ENTITY_ID, F.lit(DUMMY_ENTITY_VAL))
    what = f"source {source.name!r}"
    return SourceRows(encoded, what, source.field_mapping, join_keys, kept=frame, reads=source.describe())


def _visible_in_feast(frame: DataFrame, field_mapping: Mapping[str, str]) -> DataFrame:
    """See :func:`feast_hybrid.retrieval.pulled.visible_in_feast`."""
    return frame.select(*map(quoted, visible_in_feast(frame.columns, field_mapping)))
