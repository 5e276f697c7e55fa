"""Batches of a feature view's rows, and what others read of them: shared by the tests of writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from feast import FeatureStore, Field
from feast.types import Int64

from feast_hybrid import HybridSparkOfflineStore
from tests.integration.places import Place, entity, hour, source, view

if TYPE_CHECKING:
    from feast import FeatureView
    from pyspark.sql import SparkSession


ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
DRIVER = entity("driver", join_key="driver_id")
SCHEMA = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
#: The folder of a format's versions.
LOGS = {"delta": "_delta_log", "iceberg": "metadata"}


def stats(uri: str, **more: Any) -> FeatureView:
    return view("stats", source("stats_rows", uri, **more), DRIVER, schema=SCHEMA)


def rows(*numbers: int, hours: float = 0) -> pa.Table:
    """One row for each number: driver and trips are the number."""
    instants = pa.array([hour(hours)] * len(numbers), pa.timestamp("us", tz="UTC"))
    return pa.table({"driver_id": list(numbers), "trips": list(numbers), "event_timestamp": instants})


def add(store: FeatureStore, of: FeatureView, table: pa.Table) -> None:
    HybridSparkOfflineStore.offline_write_batch(store.config, of, table, None)


def by_pyarrow(place: Place, uri: str, partitioning: str | None = "hive") -> pa.Table:
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    filesystem = PyFileSystem(FSSpecHandler(place.lake.filesystem()))
    return ds.dataset(place.inside(uri), filesystem=filesystem, partitioning=partitioning).to_table()


def by_spark(spark: SparkSession, place: Place, uri: str, file_format: str = "parquet", **options: str) -> Any:
    reader = spark.read.format(file_format).options(**options).options(**place.lake.hadoop_options())
    return reader.load(uri)


def partitions(place: Place, uri: str) -> set[str]:
    """The folders of partitions that hold files."""
    found = place.lake.filesystem().find(place.inside(uri))
    return {part for path in found for part in path.split("/") if "=" in part}
