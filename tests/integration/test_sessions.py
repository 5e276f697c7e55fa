"""What a call does to the session that it works in: nothing that anyone could notice afterwards."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from feast_hybrid import HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import RetrievalTimeoutError
from feast_hybrid.sources.reader import reader_for
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.config import SparkConfig
from feast_hybrid.spark.isolated import child_session
from feast_hybrid.spark.jobs import run
from feast_hybrid.spark.session import get_session
from tests.integration.jobs import Jobs, ended
from tests.integration.places import Place, classic_only, entity, hour, retrieve, source, view
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write, Zone

pytestmark = pytest.mark.connect

ENTITY_ROWS = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
FEATURES = ["stats:trips", "moods:mood"]


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place, cloud: Place) -> FeatureStore:
    driver = entity("driver", join_key="driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)]}
    stats = source("stats_rows", write(onprem, "stats", {**rows, "trips": [10, 20]}))
    moods = source("mood_rows", write(cloud, "moods", {**rows, "mood": ["a", "b"]}))
    return make_store(driver, view("stats", stats, driver), view("moods", moods, driver))


def test_a_call_leaves_the_session_as_it_was(
    store: FeatureStore, cloud: Place, folder: str, spark: SparkSession
) -> None:
    retrieve(store, ENTITY_ROWS, FEATURES)  # the first call of all has secrets redacted
    before = dict(spark.conf.getAll)
    retrieve(store, ENTITY_ROWS, FEATURES).to_df()
    in_sql = retrieve(store, "SELECT driver_id, event_timestamp FROM mood_rows", FEATURES)
    in_sql.persist(SavedDatasetHybridSparkStorage(path=f"{cloud.uri}{folder}/saved"))
    retrieve(store, None, FEATURES, start_date=hour(0), end_date=hour(1)).to_spark_df().collect()
    assert dict(spark.conf.getAll) == before
    assert [key for key in before if "fs.azure" in key] == []
    assert spark.catalog.listTables() == []
    active = type(spark).getActiveSession()
    assert active is not None
    assert dict(active.conf.getAll) == before


@reliability("Secrets", "Hadoop's own settings after a retrieval", "hold no key")
@classic_only("a client sees nothing of Hadoop's settings")
def test_hadoop_s_own_settings_hold_no_key(store: FeatureStore, cloud: Place, spark: SparkSession) -> None:
    retrieve(store, "SELECT driver_id, event_timestamp FROM mood_rows", FEATURES).to_df()
    of = HybridSparkSource(name="q", query="SELECT * FROM sessions", site="cloud", timestamp_field="t")
    config = store.config.offline_store
    assert reader_for(config.spark, config.router, [source_spec(of, config.router)]).child() is not spark
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    names = [entry.getKey() for entry in hadoop.iterator()]
    assert [name for name in names if name.startswith("fs.azure.account.key")] == []


def test_a_child_session_has_its_parent_s_settings_and_views_of_its_own(
    spark: SparkSession, session_zone: Zone
) -> None:
    with session_zone("Asia/Tokyo"):
        child = child_session(spark, {"fs.azure.some.setting": "x"})
    assert child.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
    assert spark.conf.get("fs.azure.some.setting", None) is None
    child.range(1).createOrReplaceTempView("mine")
    assert spark.catalog.listTables() == []


def test_a_timeout_that_strikes_while_spark_still_plans_cancels_what_begins_after_it(
    spark: SparkSession, jobs: Jobs
) -> None:
    slow = spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7)")

    def plan_and_collect() -> list[object]:
        time.sleep(1.5)
        return list(slow.collect())

    with pytest.raises(RetrievalTimeoutError, match=r"planning did not end within 0\.5 s"):
        run(spark, plan_and_collect, timeout=0.5, what="planning")
    assert ended(jobs)


def test_spark_s_ui_says_which_feature_views_a_job_is_for(store: FeatureStore, jobs: Jobs) -> None:
    last = jobs.last()
    retrieve(store, ENTITY_ROWS, FEATURES).to_df()
    assert re.search("feast-hybrid: historical features of stats[,;] moods", jobs.words_after(last))


@classic_only("a client sets no local properties there")
def test_a_caller_s_own_job_group_and_description_stay(store: FeatureStore, spark: SparkSession, jobs: Jobs) -> None:
    last = jobs.last()
    context = spark.sparkContext
    context.setJobGroup("mine", "my report")
    try:
        retrieve(store, ENTITY_ROWS, FEATURES).to_df()
        assert context.getLocalProperty("spark.jobGroup.id") == "mine"
    finally:
        context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]
        context.setLocalProperty("spark.job.description", None)  # type: ignore[arg-type]
    assert "my report mine" in jobs.words_after(last)
    assert "feast-hybrid: " not in jobs.words_after(last)
    retrieve(store, ENTITY_ROWS, FEATURES).to_df()
    assert context.getLocalProperty("spark.job.description") is None


def test_what_ends_in_time_gives_its_result_and_its_own_error(spark: SparkSession) -> None:
    assert run(spark, lambda: spark.range(3).count(), timeout=60, what="a count") == 3
    with pytest.raises(ZeroDivisionError):
        run(spark, lambda: 1 // 0, timeout=60, what="a division")


@classic_only("master and jars are the server's")
def test_settings_that_the_active_session_has_in_sparks_spelling_are_not_warned_of(spark: SparkSession) -> None:
    conf = spark.sparkContext.getConf()
    warehouse, jars = spark.conf.get("spark.sql.warehouse.dir"), conf.get("spark.jars")
    assert warehouse is not None
    assert jars is not None
    settings = {
        "master": "local[2]",
        "conf": {
            "spark.sql.warehouse.dir": warehouse.removeprefix("file:"),
            "spark.jars": jars.replace("file://", ""),
            "spark.sql.shuffle.partitions": 4,
        },
    }
    assert get_session(SparkConfig.model_validate(settings)) is spark


def test_a_setting_that_the_active_session_has_with_another_value_is_warned_of_by_name(spark: SparkSession) -> None:
    settings = {"conf": {"spark.sql.shuffle.partitions": "5", "spark.executor.memory": "77m"}}
    with pytest.warns(UserWarning, match="a Spark session with another value is active") as warned:
        get_session(SparkConfig.model_validate(settings))
    messages = [str(warning.message) for warning in warned]
    assert [message.split(",")[0] for message in messages] == [
        "offline_store.spark sets spark.sql.shuffle.partitions",
        "offline_store.spark sets spark.executor.memory",
    ]
    assert not any("77m" in message for message in messages)
