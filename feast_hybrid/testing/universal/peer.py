"""Feast's own Spark offline store on local files, to be measured in the same way as this one."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.infra.offline_stores.contrib.spark_offline_store.spark import SparkOfflineStoreConfig
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import (
    SavedDatasetSparkStorage,
    SparkSource,
)

from feast_hybrid.testing import session_conf
from feast_hybrid.testing.universal.creators import SMALL, arrow_ready

if TYPE_CHECKING:
    import pandas as pd


class FeastSparkDataSourceCreator:
    """Puts each table of a test as a Parquet folder on this machine, as the other creators do on the lakes.

    Args:
        project_name: the test's project, which names its tables.
        args: what else the suite passes; unused.
        kwargs: what else the suite passes; unused.
    """

    def __init__(self, project_name: str, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        self.project_name = project_name
        self._folder = Path(tempfile.mkdtemp(prefix="feast-spark-"))

    def setup(self, registry: Any) -> None:
        """Nothing to prepare."""

    def create_data_source(
        self,
        df: pd.DataFrame,
        destination_name: str,
        created_timestamp_column: str | None = "created_ts",
        field_mapping: dict[str, str] | None = None,
        timestamp_field: str | None = "ts",
    ) -> SparkSource:
        """Write a table and give the source that reads it."""
        name = self.get_prefixed_table_name(destination_name)
        folder = self._folder / name
        folder.mkdir()
        table = pa.Table.from_pandas(arrow_ready(df), preserve_index=False)
        pq.write_table(table, folder / "part-00000.parquet", coerce_timestamps="us", allow_truncated_timestamps=True)
        return SparkSource(
            name=name,
            path=str(folder),
            file_format="parquet",
            timestamp_field=timestamp_field,
            created_timestamp_column=created_timestamp_column,
            field_mapping=field_mapping or {"ts_1": "ts"},
        )

    def create_offline_store_config(self) -> SparkOfflineStoreConfig:
        """A local session like the one that the other creators ask for."""
        # The last is what that store's queries need, and what Feast's own tests of it set.
        conf = {
            **session_conf(),
            **SMALL,
            "spark.master": "local[2]",
            "spark.sql.parser.quotedRegexColumnNames": "true",
        }
        return SparkOfflineStoreConfig(spark_conf=conf, staging_location=str(self._folder / "staging"))

    def create_saved_dataset_destination(self) -> SavedDatasetSparkStorage:
        """A table that is not there yet."""
        return SavedDatasetSparkStorage(table=f"saved_{uuid.uuid4().hex}")

    def create_logged_features_destination(self) -> None:
        """Feast's store has none."""

    def get_prefixed_table_name(self, suffix: str) -> str:
        """The name of a table of this project."""
        return f"{self.project_name}_{suffix}"

    def teardown(self) -> None:
        """Delete what was written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def xdist_groups() -> list[str]:
        """Tests may run in any worker."""
        return []

    @staticmethod
    def test_markers() -> list[Any]:
        """No marks are added, so nothing is skipped."""
        return []
