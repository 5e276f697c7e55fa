"""Feast's verbs, each a few steps of what the other modules do.

Each verb imports what it needs when it is called: ``feast apply`` and an executor that writes start no Spark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast.infra.offline_stores.offline_store import OfflineStore

from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, SourceNotFoundError
from feast_hybrid.spark.installed import require_pyspark

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast.data_source import DataSource
    from feast.feature_logging import LoggingConfig, LoggingSource
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.repo_config import RepoConfig
    from pyspark.sql import DataFrame

    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
    from feast_hybrid.retrieval.pulled import Pull


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
                whatever exports an Arrow stream (pyarrow, Polars, DuckDB), a Spark frame, or SQL text in which a
                source's name stands for its rows. None for the distinct (join keys, event time) of the views' own
                rows between ``start_date`` and ``end_date``.
            registry: the registry.
            project: the project.
            full_feature_names: whether features are called ``view__feature``.
            kwargs: ``start_date``, ``end_date`` (naive ones are UTC), ``filter_by_created_timestamp``.

        Raises:
            EntityFrameError: the entity rows lack a column or have no time.
            SourceError, SourceNotFoundError, RoutingError: a source cannot be read.
            SchemaError, JoinError: columns or types do not go together.
        """
        from feast.on_demand_feature_view import OnDemandFeatureView

        from feast_hybrid.retrieval.engine import history_of
        from feast_hybrid.retrieval.history import HistoryRequest
        from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
        from feast_hybrid.retrieval.request import requested_views

        store = _store_config(config)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        views = requested_views(feature_views, feature_refs, on_demand, full_feature_names, config, registry, project)
        # Nothing more runs before the caller asks for rows.
        history = history_of(
            HistoryRequest(
                store=store,
                views=views,
                feature_refs=feature_refs,
                entity_df=entity_df,
                dates=(kwargs.get("start_date"), kwargs.get("end_date")),
                by_created=bool(kwargs.get("filter_by_created_timestamp")),
                on_demand=on_demand,
                registry=registry,
                project=project,
            )
        )
        return HybridSparkRetrievalJob(
            history.rows,
            router=store.router,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            feature_refs=feature_refs,
            metadata=history.metadata,
            staging_location=store.staging_location,
            order=history.order,
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
        Maps, and structs with maps or lists in them, are JSON text, which is what Feast's engines take for them.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or lacks a column.
        """
        pull = _pull(config, data_source, join_key_columns, feature_name_columns, (start_date, end_date))
        return _pulled(
            replace(pull, timestamp=timestamp_field, created=created_timestamp_column or None, latest=True)
        )

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

        Without features the rows have every column: what a transformation reads is not known.

        Feast calls this for its engines, with the source of a feature view, and for saved datasets and logs, whose
        storage has no ``timestamp_field`` of its own. Only for the engines maps, and structs with maps or lists in
        them, are JSON text, and rows without join keys have Feast's dummy key.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or lacks a column.
        """
        pull = _pull(config, data_source, join_key_columns, feature_name_columns, (start_date, end_date))
        return _pulled(replace(pull, timestamp=timestamp_field, created=created_timestamp_column or None))

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Ask the site whether a source's rows are there and have the columns that it and its views name.

        See :func:`feast_hybrid.sources.feast_hooks.validate`.
        """
        from feast_hybrid.sources.feast_hooks import validate

        _store_config(config)
        validate(data_source, config)

    def get_table_column_names_and_types_from_data_source(
        self, config: RepoConfig, data_source: DataSource
    ) -> Iterable[tuple[str, str]]:
        """Names and types of a source's columns, as the source's own class calls types.

        See :func:`feast_hybrid.sources.feast_hooks.columns`.
        """
        from feast_hybrid.sources.feast_hooks import columns

        _store_config(config)
        return columns(data_source, config)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Add rows to a feature view's source, seen whole or not at all.

        Parquet and Delta paths are written by pyarrow without a JVM, also inside a Spark task, where a retried or
        speculative task adds nothing twice; everything else by Spark. docs/writing.md says what is promised where.

        Args:
            config: the repository's configuration.
            feature_view: its batch source is where the rows go.
            table: join keys, features and times, in Feast's names or the source's, in any order.
            progress: called with the number of rows that were written.

        Raises:
            SchemaError: the rows do not fit what is there: it names the columns, with both types.
            WriteError: they could not be written, nothing of them is there.
        """
        from feast_hybrid.writing.batches import write_batch

        write_batch(_store_config(config), feature_view, table, progress)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add logs of served features to their destination, seen whole or not at all.

        On Parquet paths they may have other columns than earlier ones, as when a feature was added to the service.

        Args:
            config: the repository's configuration.
            data: rows with the columns of ``source``, or a local folder or file of them in Parquet.
            source: says which columns logs have.
            logging_config: its destination is a :class:`~feast_hybrid.HybridSparkLoggingDestination`, or Feast's
                ``FileLoggingDestination``.
            registry: the registry.

        Raises:
            SchemaError: the logs do not fit: it names the columns, with both types.
            WriteError: they could not be read or written, nothing of them is there.
        """
        from feast_hybrid.writing.logs import write_logs

        write_logs(_store_config(config), data, source, logging_config, registry)

    @staticmethod
    def compute_monitoring_metrics(
        config: RepoConfig,
        data_source: DataSource,
        feature_columns: list[tuple[str, str]],
        timestamp_field: str,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
        histogram_bins: int = 20,
        top_n: int = 10,
    ) -> list[dict[str, Any]]:
        """Measure features over the rows with start ≤ event time ≤ end; see :mod:`feast_hybrid.monitoring`.

        Args:
            config: the repository's configuration.
            data_source: the rows.
            feature_columns: pairs of (feature, ``numeric`` or ``categorical``).
            timestamp_field: the event time, by Feast's name or the source's.
            start_date: None for no bound; naive times are UTC.
            end_date: None for no bound; naive times are UTC.
            histogram_bins: bins of a numeric feature's histogram.
            top_n: named values of a categorical feature.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or has no event time.
        """
        require_pyspark("compute_monitoring_metrics")
        from feast_hybrid.monitoring.distribution import distributions
        from feast_hybrid.retrieval.pull import rows_between
        from feast_hybrid.sources.resolve import pulled_source_spec

        store = _store_config(config)
        source = pulled_source_spec(data_source, store.router)
        frame = rows_between(store, source, source.column_of(timestamp_field), start_date, end_date)
        features = [(name, feature_type, source.column_of(name)) for name, feature_type in feature_columns]
        what = f"source {data_source.name!r}"
        return distributions(frame, features, bins=histogram_bins, top=top_n, what=what)

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """The latest event time of a source, in UTC; None where it has no rows, or none were ever written.

        Raises:
            SourceError, SourceNotFoundError, SchemaError: the source cannot be read, or has no event time.
        """
        require_pyspark("get_monitoring_max_timestamp")
        from feast_hybrid.monitoring.distribution import latest_time
        from feast_hybrid.retrieval.pull import rows_between
        from feast_hybrid.sources.moved_rows import is_missing
        from feast_hybrid.sources.resolve import pulled_source_spec

        store = _store_config(config)
        source = pulled_source_spec(data_source, store.router)
        timestamp = source.column_of(timestamp_field)
        try:
            frame = rows_between(store, source, timestamp, None, None)
        except SourceNotFoundError:
            if is_missing(source):
                return None
            raise
        return latest_time(frame, timestamp, what=f"source {data_source.name!r}")

    @staticmethod
    def ensure_monitoring_tables(config: RepoConfig) -> None:
        """Check that ``monitoring_location`` is set; what is kept there needs no preparation.

        Raises:
            ConfigError: it is not.
        """
        from feast_hybrid.monitoring.metrics_store import check_location

        check_location(_store_config(config))

    @staticmethod
    def save_monitoring_metrics(config: RepoConfig, metric_type: str, metrics: list[dict[str, Any]]) -> None:
        """Keep metrics on the lake; those of the same key are replaced.

        See :func:`feast_hybrid.monitoring.metrics_store.save_metrics`.
        """
        from feast_hybrid.monitoring.metrics_store import save_metrics

        save_metrics(_store_config(config), metric_type, metrics)

    @staticmethod
    def query_monitoring_metrics(
        config: RepoConfig,
        project: str,
        metric_type: str,
        filters: dict[str, Any] | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
    ) -> list[dict[str, Any]]:
        """The metrics that are kept, by date. See :func:`feast_hybrid.monitoring.metrics_store.query_metrics`."""
        from feast_hybrid.monitoring.metrics_store import query_metrics

        return query_metrics(_store_config(config), project, metric_type, filters, start_date, end_date)

    @staticmethod
    def clear_monitoring_baseline(
        config: RepoConfig,
        project: str,
        feature_view_name: str | None = None,
        feature_name: str | None = None,
        data_source_type: str | None = None,
    ) -> None:
        """Take back the baselines that are kept. See :func:`feast_hybrid.monitoring.metrics_store.clear_baseline`."""
        from feast_hybrid.monitoring.metrics_store import clear_baseline

        clear_baseline(_store_config(config), project, feature_view_name, feature_name, data_source_type)


def _store_config(config: RepoConfig) -> HybridSparkOfflineStoreConfig:
    from feast_hybrid.sources.resolve import router_of

    store = config.offline_store
    if not isinstance(store, HybridSparkOfflineStoreConfig):
        raise ConfigError(f"offline_store.type is {store.type!r}, not feast_hybrid.HybridSparkOfflineStore.")
    router_of(config)
    return store


def _pull(
    config: RepoConfig,
    data_source: DataSource,
    keys: Sequence[str],
    features: Sequence[str],
    between: tuple[datetime | None, datetime | None],
) -> Pull:
    from feast_hybrid.retrieval.pulled import Pull
    from feast_hybrid.sources.resolve import engine_is_spark, engine_source_spec

    store = _store_config(config)
    start, end = between
    return Pull(
        store=store,
        source=engine_source_spec(data_source, config),
        keys=keys,
        features=features,
        timestamp="",
        created=None,
        start=start,
        end=end,
        latest=False,
        for_spark=engine_is_spark(config),
    )


def _pulled(pull: Pull) -> HybridSparkRetrievalJob:
    from feast_hybrid.retrieval.engine import pull_of
    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob

    store = pull.store
    return HybridSparkRetrievalJob(
        pull_of(pull), router=store.router, staging_location=store.staging_location, order=pull.order
    )
