"""Data source creators: where the suite's tables are put, for each of three configurations.

They have the interface of the suite's ``DataSourceCreator`` without deriving from it, so that this module can be
imported where Feast's repository is not.
"""

from __future__ import annotations

import functools
import itertools
import os
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid import (
    HybridSparkLoggingDestination,
    HybridSparkOfflineStoreConfig,
    HybridSparkSource,
    SavedDatasetHybridSparkStorage,
)
from feast_hybrid.spark.installed import find_pyspark
from feast_hybrid.testing import Lakes, running_lakes, session_conf, start_adls, start_connect, start_hdfs
from feast_hybrid.testing.universal.runs import BY_LOCAL_ENGINE, SPARK_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from feast_hybrid.testing import AdlsLake, HdfsLake, SparkConnectServer


#: Small tables: what more partitions cost is all that more would show.
SMALL = {"spark.sql.shuffle.partitions": "4", "spark.default.parallelism": "4"}


@functools.cache
def session_lakes() -> Lakes:
    """Both lakes: those that run already, or started at the first call and ended with the process."""
    return running_lakes() or Lakes(start_hdfs(), start_adls())


@functools.cache
def session_connect() -> SparkConnectServer:
    """A Spark Connect server for both lakes, started at the first call and ended with the process."""
    return start_connect(conf=SMALL, memory="2g")


class LakeDataSourceCreator:
    """Puts each table of a test as a Parquet folder on one of the lakes.

    Args:
        project_name: the test's project, which names its folder.
        args: what else the suite passes; unused.
        kwargs: what else the suite passes; unused.
    """

    #: Positions in :class:`Lakes`, taken in turn from table to table.
    turns: ClassVar[tuple[int, ...]]

    def __init__(self, project_name: str, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self.project_name = project_name
        self._lakes = session_lakes()
        self._next: Iterator[HdfsLake | AdlsLake] = itertools.cycle(self._lakes[turn] for turn in self.turns)
        self._written: list[tuple[HdfsLake | AdlsLake, str]] = []

    def setup(self, registry: Any) -> None:
        """Nothing to prepare: the lakes are up."""

    def create_data_source(
        self,
        df: pd.DataFrame,
        destination_name: str,
        created_timestamp_column: str | None = "created_ts",
        field_mapping: dict[str, str] | None = None,
        timestamp_field: str | None = "ts",
    ) -> HybridSparkSource:
        """Write a table and give the source that reads it."""
        uri, lake, folder = self._place(destination_name)
        filesystem = lake.filesystem()
        filesystem.makedirs(folder, exist_ok=True)
        table = pa.Table.from_pandas(arrow_ready(df), preserve_index=False)
        with filesystem.open(f"{folder}/part-00000.parquet", "wb") as file:
            pq.write_table(table, file, coerce_timestamps="us", allow_truncated_timestamps=True)
        return HybridSparkSource(
            name=f"{self.project_name}_{destination_name}",
            path=uri,
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=field_mapping or {"ts_1": "ts"},
        )

    def create_offline_store_config(self) -> HybridSparkOfflineStoreConfig:
        """Both lakes as sites, and a session that can read them, or the local engine."""
        kind = os.environ.get(SPARK_VARIABLE)
        spark: dict[str, Any] = {}
        if kind == "connect":
            spark = {"remote": session_connect().uri}
        elif find_pyspark() is not None:  # the local engine needs it for SQL text alone
            spark = {"master": "local[2]", "conf": {**session_conf(), **SMALL}}
        return HybridSparkOfflineStoreConfig(
            sites=self._lakes.sites(),
            spark=spark,
            engine="auto" if kind in BY_LOCAL_ENGINE else "spark",
            staging_location=self._lakes[self.turns[0]].uri + "/_staging",
        )

    def create_saved_dataset_destination(self) -> SavedDatasetHybridSparkStorage:
        """A folder that is not there yet."""
        return SavedDatasetHybridSparkStorage(path=self._place("saved_dataset")[0])

    def create_logged_features_destination(self) -> HybridSparkLoggingDestination:
        """A folder that is not there yet."""
        return HybridSparkLoggingDestination(path=self._place("logged_features")[0])

    def get_prefixed_table_name(self, suffix: str) -> str:
        """The name of a table of this project."""
        return f"{self.project_name}_{suffix}"

    def teardown(self) -> None:
        """Delete what was written."""
        for lake, folder in self._written:
            filesystem = lake.filesystem()
            if filesystem.exists(folder):
                filesystem.rm(folder, recursive=True)

    @staticmethod
    def xdist_groups() -> list[str]:
        """Tests may run in any worker."""
        return []

    @staticmethod
    def test_markers() -> list[Any]:
        """No marks are added, so nothing is skipped."""
        return []

    def _place(self, name: str) -> tuple[str, HdfsLake | AdlsLake, str]:
        """The URI of a table on the lake whose turn it is, and its folder as fsspec wants it."""
        lake = next(self._next)
        path = f"/{self.project_name}/{name}"
        container = getattr(lake, "container", "")
        folder = f"{container}{path}" if container else path
        self._written.append((lake, folder))
        return lake.uri + path, lake, folder


class HdfsDataSourceCreator(LakeDataSourceCreator):
    """Every table on HDFS."""

    turns = (0,)


class AdlsDataSourceCreator(LakeDataSourceCreator):
    """Every table on Azure Data Lake Gen2."""

    turns = (1,)


class HybridDataSourceCreator(LakeDataSourceCreator):
    """Tables on HDFS and on ADLS in turn."""

    turns = (0, 1)


def arrow_ready(df: pd.DataFrame) -> pd.DataFrame:
    """The frame as a lake keeps it: sets as lists, which Arrow can hold, and 32-bit floats as doubles.

    The suite writes 0.1 into such a column and wants exactly 0.1 back, which no column of 32 bits can give. Stores
    that know doubles alone keep its tables in the same way.
    """
    columns = {
        str(name): column.map(lambda value: sorted(value) if isinstance(value, set) else value)
        for name, column in df.items()
        if column.map(lambda value: isinstance(value, set)).any()
    }
    columns |= {str(name): column.astype("float64") for name, column in df.items() if column.dtype == "float32"}
    return df.assign(**columns) if columns else df
