"""Feast's verbs, each a few steps of what the other modules do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView

from feast_hybrid.asof import asof_join
from feast_hybrid.asof.latest import latest_rows
from feast_hybrid.asof.names import quoted
from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.entity_rows import PandasRows, require_keys
from feast_hybrid.errors import ConfigError, SchemaError, SourceError
from feast_hybrid.historical import RequestedView, entity_rows, requested_views
from feast_hybrid.pruning import between
from feast_hybrid.reading import Reader, reader_for
from feast_hybrid.retrieval import FrameRows, HybridSparkRetrievalJob, JoinedPandasRows, Rows, SourceRows
from feast_hybrid.source import HybridSparkSource

if TYPE_CHECKING:
    import pandas as pd
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from pyspark.sql import DataFrame


class HybridSparkOfflineStore(OfflineStore):
    """Features from HDFS and from Azure Data Lake Gen2, joined as of a time by Spark.

    ``offline_store: {type: feast_hybrid.HybridSparkOfflineStore}`` in ``feature_store.yaml``.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **kwargs: Any,
    ) -> HybridSparkRetrievalJob:
        """Join entity rows with the features that were true at their times, across both lakes, lazily.

        What counts as true is in :func:`feast_hybrid.asof.asof_join`: times are instants, naive ones UTC.

        Args:
            config: the repository's configuration.
            feature_views: the views that are referred to.
            feature_refs: ``view:feature`` each.
            entity_df: rows with join keys and a time column, ``event_timestamp`` or the only one: a pandas frame,
                a Spark frame, or SQL text in which a source's name stands for its rows. None for the distinct
                (join keys, event time) of the views' own rows between ``start_date`` and ``end_date``.
            registry: the registry.
            project: the project.
            full_feature_names: whether features are called ``view__feature``.
            kwargs: ``start_date``, ``end_date`` (naive ones are UTC), ``filter_by_created_timestamp``.

        Raises:
            EntityFrameError: the entity rows lack a column or have no time.
            SourceError, SourceNotFoundError, RoutingError: a source cannot be read.
            SchemaError, JoinError: columns or types do not go together.
        """
        store = _store_config(config)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        views = requested_views(feature_views, feature_refs, on_demand, full_feature_names)
        reader = _reader(store, views, entity_df)
        dates = (kwargs.get("start_date"), kwargs.get("end_date"))
        rows = entity_rows(entity_df, views, reader, registry, project, dates)
        keys = list(dict.fromkeys(key for view in views for key, _ in view.keys))
        require_keys(keys, rows.columns)

        bounds = rows.bounds() if isinstance(rows, PandasRows) else rows.known_bounds
        as_of_views = [view.as_of_view(reader, bounds) for view in views]

        def join(entities: DataFrame) -> DataFrame:
            return asof_join(
                entities,
                as_of_views,
                timestamp=rows.timestamp,
                filter_by_created_timestamp=bool(kwargs.get("filter_by_created_timestamp")),
                strategy=store.join.strategy,
            )

        def metadata() -> RetrievalMetadata:
            low, high = rows.bounds() or (None, None)
            return RetrievalMetadata(
                features=list(feature_refs),
                keys=[name for name in rows.columns if name != rows.timestamp],
                min_event_timestamp=low,
                max_event_timestamp=high,
            )

        joined: Rows
        if isinstance(rows, PandasRows):
            joined = JoinedPandasRows(rows, join, reader.spark, keys)
        else:
            joined = FrameRows(join(rows.frame), "historical features")
        return HybridSparkRetrievalJob(
            joined,
            router=store.router,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            feature_refs=feature_refs,
            metadata=metadata,
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> HybridSparkRetrievalJob:
        """The latest row of each entity with start ≤ event time ≤ end, ranked as in the as-of join.

        Rows with a null join key are left out. Without join keys the result is one row, with Feast's dummy key.
        Without features it has every column: what a transformation reads is not known.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or lacks a column.
        """
        frame, store = _pulled(config, data_source, timestamp_field, start_date, end_date)
        latest = latest_rows(
            frame,
            keys=join_key_columns,
            timestamp=timestamp_field,
            created=created_timestamp_column or None,
            values=feature_name_columns or frame.columns,
        )
        return _job_of(latest, data_source, join_key_columns, store)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> HybridSparkRetrievalJob:
        """Every row with start ≤ event time ≤ end, duplicates included.

        Without join keys the rows have Feast's dummy key. Without features they have every column: what a
        transformation reads is not known.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or lacks a column.
        """
        frame, store = _pulled(config, data_source, timestamp_field, start_date, end_date)
        wanted = [*join_key_columns, *feature_name_columns, timestamp_field]
        if created_timestamp_column:
            wanted.append(created_timestamp_column)
        wanted = list(dict.fromkeys(wanted))
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise SchemaError(
                f"source {data_source.name!r} lacks {', '.join(missing)}; it has {', '.join(frame.columns)}."
            )
        selected = frame.select(*map(quoted, wanted)) if feature_name_columns else frame
        return _job_of(selected, data_source, join_key_columns, store)


def _store_config(config: RepoConfig) -> HybridSparkOfflineStoreConfig:
    store = config.offline_store
    if not isinstance(store, HybridSparkOfflineStoreConfig):
        raise ConfigError(f"offline_store.type is {store.type!r}, not feast_hybrid.HybridSparkOfflineStore.")
    return store


def _reader(store: HybridSparkOfflineStoreConfig, views: Sequence[RequestedView], entity_df: Any) -> Reader:
    """Reads in the session of the call: the Spark frame's own, a child for SQL text, else the one to work in."""
    if hasattr(entity_df, "sparkSession"):
        from feast_hybrid.session import keep_secrets_out_of_plans

        keep_secrets_out_of_plans(entity_df.sparkSession)
        return Reader(entity_df.sparkSession, store.router)
    reader = reader_for(store, [view.source for view in views])
    if isinstance(entity_df, str):
        return Reader(reader.child(), store.router)
    return reader


def _job_of(
    frame: DataFrame, source: DataSource, join_keys: list[str], store: HybridSparkOfflineStoreConfig
) -> HybridSparkRetrievalJob:
    """The job of a source's rows, with Feast's dummy key where there is no join key."""
    from pyspark.sql import functions as F

    if not join_keys:
        frame = frame.withColumn(DUMMY_ENTITY_ID, F.lit(DUMMY_ENTITY_VAL))
    rows = SourceRows(frame, f"source {source.name!r}", source.field_mapping or {}, join_keys)
    return HybridSparkRetrievalJob(rows, router=store.router)


def _pulled(
    config: RepoConfig,
    data_source: DataSource,
    timestamp_field: str,
    start: datetime | None,
    end: datetime | None,
) -> tuple[DataFrame, HybridSparkOfflineStoreConfig]:
    if not isinstance(data_source, HybridSparkSource):
        raise SourceError(
            f"source {data_source.name!r} is a {type(data_source).__name__}; this offline store reads "
            "HybridSparkSource."
        )
    store = _store_config(config)
    frame = reader_for(store, [data_source]).read(data_source)
    if timestamp_field not in frame.columns:
        raise SchemaError(
            f"source {data_source.name!r} lacks the event time {timestamp_field!r}; "
            f"it has {', '.join(frame.columns)}."
        )
    return between(frame, data_source, timestamp_field, start, end), store
