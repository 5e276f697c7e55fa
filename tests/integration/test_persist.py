"""Saved datasets on either lake: whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import RetrievalTimeoutError, WriteError
from tests.integration.places import Place, Places, at, entity, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write

ROWS = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [at(1), at(2)]})


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    driver = entity("driver", join_key="driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [at(0), at(0)], "trips": [10, 20]}
    return make_store(driver, view("stats", source("stats_rows", write(onprem, "stats", rows)), driver))


def saved(store: FeatureStore, name: str) -> list[tuple[Any, ...]]:
    frame = store.get_saved_dataset(name).to_df()
    return sorted(zip(frame["driver_id"], frame["trips"], strict=True))


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_dataset_is_saved_read_back_and_replaced(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/out/set")
    job = retrieve(store, ROWS, ["stats:trips"])
    store.create_saved_dataset(job, "set", storage)
    assert saved(store, "set") == [(1, 10), (2, 20)]

    fewer = retrieve(store, ROWS[:1], ["stats:trips"])
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="allow_overwrite=True"):
        fewer.persist(storage)
    assert saved(store, "set") == [(1, 10), (2, 20)]

    fewer.persist(storage, allow_overwrite=True)
    assert saved(store, "set") == [(2, 20)]
    assert place.names(f"{place.uri}{folder}/out") == ["set"]


def test_a_dataset_is_saved_as_a_table(store: FeatureStore, spark: SparkSession) -> None:
    storage = SavedDatasetHybridSparkStorage(table="saved_trips", site="onprem")
    try:
        store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "as_table", storage)
        assert saved(store, "as_table") == [(1, 10), (2, 20)]
    finally:
        spark.sql("DROP TABLE IF EXISTS saved_trips")


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_write_that_fails_leaves_what_was_there(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str, spark: SparkSession
) -> None:
    from pyspark.sql import functions as F

    from feast_hybrid.retrieval import FrameRows, HybridSparkRetrievalJob

    place: Place = getattr(lakes_to_test, role)
    storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/out/set")
    store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "set", storage)

    failing = spark.range(3).select(F.when(F.col("id") == 2, F.raise_error(F.lit("no"))).alias("never"))
    job = HybridSparkRetrievalJob(FrameRows(failing, "rows"), router=store.config.offline_store.router)
    with pytest.raises(WriteError, match="nothing was changed"):
        job.persist(storage, allow_overwrite=True)
    assert saved(store, "set") == [(1, 10), (2, 20)]
    assert place.names(f"{place.uri}{folder}/out") == ["set"]


def test_a_timeout_cancels_the_job_and_the_session_goes_on(store: FeatureStore, spark: SparkSession) -> None:
    import time

    from feast_hybrid.retrieval import FrameRows, HybridSparkRetrievalJob

    # Two tasks of some minutes. The second call runs anew: it does not report that the first was cancelled.
    slow = spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7)")
    job = HybridSparkRetrievalJob(FrameRows(slow, "a slow sum"), router=store.config.offline_store.router)
    for collect in (job.to_df, job.to_arrow):
        began = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match="a slow sum did not end within 1 s"):
            collect(timeout=1)
        assert time.monotonic() - began < 20
    tracker = spark.sparkContext.statusTracker()
    deadline = time.monotonic() + 20
    while tracker.getActiveJobsIds() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert tracker.getActiveJobsIds() == []
    assert len(retrieve(store, ROWS, ["stats:trips"]).to_df(timeout=60)) == 2
