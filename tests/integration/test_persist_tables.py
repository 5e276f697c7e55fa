"""Saved datasets that are tables of Spark's catalog."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import (
    WriteError,
)
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from tests.integration.places import Place, format_jars, retrieve

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
from tests.integration.datasets import ROWS, saved, trips_store

pytestmark = pytest.mark.connect


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    return trips_store(make_store, write, onprem)


def test_a_dataset_is_saved_as_a_table(store: FeatureStore, spark: SparkSession) -> None:
    storage = SavedDatasetHybridSparkStorage(table="saved_trips", site="onprem")
    try:
        store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "as_table", storage)
        assert saved(store, "as_table") == [(1, 10), (2, 20)]
    finally:
        spark.sql("DROP TABLE IF EXISTS saved_trips")


def test_a_table_is_replaced_and_keeps_its_rows_when_that_fails(store: FeatureStore, spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    router = store.config.offline_store.router
    storage = SavedDatasetHybridSparkStorage(table="replaced_trips", site="onprem")
    try:
        store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "as_table", storage)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage)
        failing = spark.range(3).select(F.when(F.col("id") == 2, F.raise_error(F.lit("no"))).alias("never"))
        with pytest.raises(WriteError, match="nothing was changed"):
            HybridSparkRetrievalJob(FrameRows(failing, "rows"), router=router).persist(storage, allow_overwrite=True)
        assert saved(store, "as_table") == [(1, 10), (2, 20)]
        retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage, allow_overwrite=True)
        assert saved(store, "as_table") == [(2, 20)]
        assert [table.name for table in spark.catalog.listTables() if "replaced_trips" in table.name] == [
            "replaced_trips"
        ]
    finally:
        for table in spark.catalog.listTables():
            if "replaced_trips" in table.name:
                spark.sql(f"DROP TABLE {table.name}")


@pytest.mark.matrix
@pytest.mark.parametrize(
    "file_format",
    [
        "orc",
        pytest.param(
            "delta",
            marks=pytest.mark.skipif(not format_jars("delta"), reason="no release of delta runs on this PySpark"),
        ),
    ],
)
def test_a_table_that_is_replaced_keeps_its_format_partitions_properties_and_comments(
    store: FeatureStore, spark: SparkSession, file_format: str
) -> None:
    storage = SavedDatasetHybridSparkStorage(table="kept_trips", site="onprem")
    spark.sql(
        "CREATE TABLE kept_trips "
        "(driver_id BIGINT COMMENT 'whose', trips BIGINT, event_timestamp TIMESTAMP, gone INT) "
        f"USING {file_format} PARTITIONED BY (driver_id, gone) COMMENT 'it\\'s a \\\\ set' "
        "TBLPROPERTIES ('owned.by' = 'the \\'team\\'', 'retention' = '7')"
    )
    try:
        retrieve(store, ROWS, ["stats:trips"]).persist(storage, allow_overwrite=True)
        columns = {column.name: column for column in spark.catalog.listColumns("kept_trips")}
        assert [name for name, column in columns.items() if column.isPartition] == ["driver_id"]
        assert columns["driver_id"].description == "whose"
        assert spark.catalog.getTable("kept_trips").description == "it's a \\ set"
        properties = {row.key: row.value for row in spark.sql("SHOW TBLPROPERTIES kept_trips").collect()}
        assert properties.items() >= {"owned.by": "the 'team'", "retention": "7"}.items()
        described = spark.sql("DESCRIBE TABLE EXTENDED kept_trips").where("col_name = 'Provider'").collect()
        assert [row.data_type.lower() for row in described] == [file_format]
        rows = spark.table("kept_trips").select("driver_id", "trips").collect()
        assert sorted(map(tuple, rows)) == [(1, 10), (2, 20)]
        assert [table.name for table in spark.catalog.listTables() if "kept_trips" in table.name] == ["kept_trips"]
    finally:
        spark.sql("DROP TABLE IF EXISTS kept_trips")


def test_an_external_table_is_not_replaced_for_its_files_are_somebody_elses(
    store: FeatureStore, spark: SparkSession, tmp_path: Path
) -> None:
    storage = SavedDatasetHybridSparkStorage(table="theirs", site="onprem")
    spark.range(3).write.parquet(f"{tmp_path}/rows")
    spark.sql(f"CREATE TABLE theirs USING parquet LOCATION '{tmp_path}/rows'")
    try:
        with pytest.raises(WriteError, match=r"table theirs: it is external, .*by path="):
            retrieve(store, ROWS, ["stats:trips"]).persist(storage, allow_overwrite=True)
        assert spark.table("theirs").count() == 3
    finally:
        spark.sql("DROP TABLE IF EXISTS theirs")
