"""Who joins: ours, and Spark's peers. Each gets the same files and session, and gives a frame that is not yet run.

All that is in :meth:`SparkContender.answer` is in the measured time: reading the schemas, looking up the registry,
building the plan.
"""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.forms import as_uri, form

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore
    from feast.data_source import DataSource
    from pyspark.sql import DataFrame, SparkSession

    from benchmarks.data import Task, View
    from benchmarks.far import Lakes


class SparkContender(ABC):
    """A way to do the task in a Spark session."""

    def __init__(self, spark: SparkSession, task: Task, lakes: Lakes | None = None) -> None:
        self.spark = spark
        self.task = task
        self.lakes = lakes

    @abstractmethod
    def answer(self, entities: pd.DataFrame | DataFrame) -> DataFrame:
        """The entity rows with their features, as ``view__feature``."""

    def to_spark(self) -> DataFrame:
        """The answer for entity rows from a file, lazily."""
        return self.answer(self.spark.read.parquet(self.task.entities))

    def to_pandas(self, entities: pd.DataFrame) -> pd.DataFrame:
        """The answer for entity rows in a pandas frame, in one."""
        return self.answer(entities.copy()).toPandas()

    def frame(self, entities: pd.DataFrame | DataFrame) -> DataFrame:
        """The entity rows as Spark's."""
        import pandas as pd

        return self.spark.createDataFrame(entities) if isinstance(entities, pd.DataFrame) else entities


class _ByFeast(SparkContender):
    """A store of Feast's interface, through Feast."""

    def __init__(self, spark: SparkSession, task: Task, lakes: Lakes | None = None) -> None:
        super().__init__(spark, task, lakes)
        self._folder = tempfile.TemporaryDirectory()
        self._store = feature_store(Path(self._folder.name), self.store_config(), self.source, task)

    @abstractmethod
    def store_config(self) -> dict[str, Any]:
        """``offline_store`` in ``feature_store.yaml``."""

    @abstractmethod
    def source(self, view: View) -> DataSource:
        """The view's data source."""

    def job(self, entities: pd.DataFrame | DataFrame) -> Any:
        return self._store.get_historical_features(
            entity_df=entities,  # type: ignore[arg-type]  # Feast's annotation leaves Spark's frames out
            features=feature_references(self.task),
            full_feature_names=True,
        )

    def answer(self, entities: pd.DataFrame | DataFrame) -> DataFrame:
        frame: DataFrame = self.job(entities).to_spark_df()
        return frame

    def to_pandas(self, entities: pd.DataFrame) -> pd.DataFrame:
        frame: pd.DataFrame = self.job(entities.copy()).to_df()
        return frame


class Ours(_ByFeast):
    """This package in Spark; ``strategy`` as in ``join.strategy``."""

    strategy = "auto"

    def store_config(self) -> dict[str, Any]:
        sites = self.lakes.sites() if self.lakes else []
        return {
            "type": "feast_hybrid.HybridSparkOfflineStore",
            "engine": "spark",
            "join": {"strategy": self.strategy},
            "sites": sites,
        }

    def source(self, view: View) -> DataSource:
        return our_source(view)


class OursOnPaths(Ours):
    """This package over the Parquet files from which the shape's form was made."""

    def source(self, view: View) -> DataSource:
        return super().source(view.on_path)


class Feasts(_ByFeast):
    """Feast's own Spark store."""

    def store_config(self) -> dict[str, Any]:
        return {"type": "spark"}

    def source(self, view: View) -> DataSource:
        from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

        return SparkSource(name=f"{view.name}_rows", path=as_uri(view.path), file_format="parquet", **columns(view))


class Chain(SparkContender):
    """One of Spark 4.3's as-of joins after another, as one writes it by hand."""

    def answer(self, entities: pd.DataFrame | DataFrame) -> DataFrame:
        self.frame(entities).createOrReplaceTempView("e")
        for view in self.task.views:
            form(view).frame(self.spark, view).createOrReplaceTempView(view.name)
        return self.spark.sql(chain(self.task))


def chain(task: Task) -> str:
    """The SQL of the chain: only the columns that are asked for are read, the ttl is applied afterwards."""
    features, joins = [], []
    for view in task.views:
        key = view.history.key
        for feature in view.features:
            value = f"{view.name}.{feature}"
            if view.history.ttl is not None:
                fresh = f"{view.name}.ts >= e.event_timestamp - INTERVAL '{_seconds(view.history.ttl)}' SECOND"
                value = f"CASE WHEN {fresh} THEN {value} END"
            features.append(f"{value} AS {view.name}__{feature}")
        joins.append(
            f"LEFT ASOF JOIN (SELECT {key}, ts, {', '.join(view.features)} FROM {view.name}) {view.name} "
            f"MATCH_CONDITION (e.event_timestamp >= {view.name}.ts) ON e.{key} = {view.name}.{key}"
        )
    return f"SELECT e.*, {', '.join(features)} FROM e {' '.join(joins)}"


class Tempo(SparkContender):
    """``asofJoin`` of dbl-tempo, one view after another."""

    def answer(self, entities: pd.DataFrame | DataFrame) -> DataFrame:
        from tempo import TSDF

        rows = self.frame(entities)
        for view in self.task.views:
            key, ttl = view.history.key, view.history.ttl
            history = form(view).frame(self.spark, view).select(key, "ts", *view.features)
            # It wants one name for both times.
            history = history.withColumnRenamed("ts", "event_timestamp")
            left = TSDF(rows, ts_col="event_timestamp", partition_cols=[key])
            right = TSDF(history, ts_col="event_timestamp", partition_cols=[key])
            # It puts a further "_" between prefix and column.
            joined = left.asofJoin(
                right, right_prefix=f"{view.name}_", tolerance=None if ttl is None else _seconds(ttl)
            )
            rows = joined.df.drop(f"{view.name}__event_timestamp")
        return rows


def _strategy(name: str) -> type[Ours]:
    return type(f"Ours{name.title()}", (Ours,), {"strategy": name})


#: ``ours`` lets the planner choose; the others of ours are measured where they are asked for by name.
SPARK_CONTENDERS: dict[str, type[SparkContender]] = {
    "ours": Ours,
    "ours-path": OursOnPaths,
    "feast": Feasts,
    "chain": Chain,
    "tempo": Tempo,
    **{f"ours-{name}": _strategy(name) for name in ("columnar", "window")},
}


def feature_references(task: Task) -> list[str]:
    """What is asked of Feast."""
    return [f"{view.name}:{feature}" for view in task.views for feature in view.features]


def our_source(view: View) -> DataSource:
    """The view's data source of this package."""
    from feast_hybrid import HybridSparkSource

    return HybridSparkSource(name=f"{view.name}_rows", **form(view).source(view), **columns(view))


def columns(view: View) -> dict[str, Any]:
    """What both kinds of sources call their columns."""
    named = {"timestamp_field": "ts", "created_timestamp_column": "created"}
    if view.history.partitioned:
        named |= {"date_partition_column": "day", "date_partition_column_format": "%Y-%m-%d"}
    return named


def feature_store(
    folder: Path, offline_store: dict[str, Any], source: Callable[[View], DataSource], task: Task
) -> FeatureStore:
    """A repository of the task's views, applied; ``folder`` can be loaded as one."""
    import yaml
    from feast import Entity, FeatureStore, FeatureView, Field, ValueType
    from feast.types import Float64, Int64

    config = {
        "project": "benchmarks",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "offline_store": offline_store,
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config))
    store = FeatureStore(repo_path=str(folder))
    entities = {key: Entity(name=key, join_keys=[key], value_type=ValueType.INT64) for key in task.keys}
    views = [
        FeatureView(
            name=view.name,
            entities=[entities[view.history.key]],
            ttl=view.history.ttl or timedelta(0),
            schema=[
                Field(name=view.history.key, dtype=Int64),
                *(Field(name=f"f{i}", dtype=Float64) for i in range(view.history.features)),
            ],
            source=source(view),
            online=False,
        )
        for view in task.views
    ]
    store.apply([*entities.values(), *views])
    return store


def _seconds(ttl: timedelta) -> int:
    return ttl // timedelta(seconds=1)
