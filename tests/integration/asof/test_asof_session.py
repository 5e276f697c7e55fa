"""What the join does to the session, to other threads and to other sessions: nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feast_hybrid.asof import AsOfView, asof_join
from feast_hybrid.errors import JoinError
from tests.integration.asof.conftest import STRATEGIES
from tests.integration.asof.scanned import join, plan
from tests.integration.places import classic_only

pytestmark = pytest.mark.matrix

TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"


def view(frame: DataFrame, output: str = "f") -> AsOfView:
    return AsOfView(name="v", frame=frame, keys=[("k", "k")], timestamp="ts", features=[("f", output)])


def entities_of(spark: SparkSession, rows: int = 3) -> DataFrame:
    return spark.range(rows).selectExpr("id AS k", f"{TIME} AS t")


def history_of(spark: SparkSession, feature: str = "id * 10", rows: int = 3) -> DataFrame:
    return spark.range(rows).selectExpr("id AS k", f"{TIME} AS ts", f"{feature} AS f")


def test_threads_on_one_session_get_their_own_answers(spark: SparkSession) -> None:
    def join_in_thread(n: int) -> list[tuple[int, int]]:
        joined = join(
            entities_of(spark, 20),
            [view(history_of(spark, f"id * 100 + {n}", 20))],
            timestamp="t",
            strategy=STRATEGIES[n % len(STRATEGIES)],
        )
        return sorted(map(tuple, joined.select("k", "f").collect()))

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(join_in_thread, range(16)))
    assert answers == [[(k, k * 100 + n) for k in range(20)] for n in range(16)]


@classic_only("its sessions have settings and temp views of their own")
def test_the_sessions_settings_and_temp_views_stay(spark: SparkSession, strategy: str) -> None:
    session = spark.newSession()
    session.catalog.listTables()  # Delta's catalog sets two things when it is first used
    before = session.conf.getAll, session.catalog.listTables()
    joined = join(entities_of(session), [view(history_of(session))], timestamp="t", strategy=strategy)
    assert (session.conf.getAll, session.catalog.listTables()) == before
    assert sorted(row["f"] for row in joined.collect()) == [0, 10, 20]
    assert joined.where("f = 10").select("k").count() == 1


def test_nothing_runs_before_rows_are_asked_for(spark: SparkSession, strategy: str) -> None:
    trap = F.raise_error(F.lit("read too early")).cast("bigint")
    # Files cannot hold a trap: for them that of the entity rows has to do.
    frame = history_of(spark) if strategy == "columnar" else history_of(spark).withColumn("f", trap)
    entities = entities_of(spark).withColumn("x", trap)
    joined = join(entities, [view(frame)], timestamp="t", strategy=strategy)
    assert joined.columns == ["k", "t", "x", "f"]
    with pytest.raises(Exception, match="read too early"):
        joined.collect()


@classic_only("frames of two sessions cannot meet there")
def test_a_view_may_come_from_a_sibling_session(spark: SparkSession, strategy: str) -> None:
    sibling = spark.newSession()
    history_of(sibling).createOrReplaceTempView("only_there")
    frame = sibling.sql("SELECT * FROM only_there")
    joined = join(entities_of(spark), [view(frame)], timestamp="t", strategy=strategy)
    assert sorted(row["f"] for row in joined.collect()) == [0, 10, 20]


def test_entity_rows_and_views_may_be_the_same_frame(spark: SparkSession, strategy: str) -> None:
    frame = history_of(spark)
    joined = join(frame, [view(frame, "a"), view(frame, "b")], timestamp="ts", strategy=strategy)
    assert sorted(tuple(row)[2:] for row in joined.collect()) == [(0, 0, 0), (10, 10, 10), (20, 20, 20)]


def test_no_views_give_the_entity_rows(spark: SparkSession) -> None:
    assert asof_join(entities_of(spark), [], timestamp="t").collect() == entities_of(spark).collect()


def test_an_unknown_strategy_is_refused(spark: SparkSession) -> None:
    with pytest.raises(JoinError, match="'fast' is unknown; expected one of 'auto', 'columnar', 'window'"):
        asof_join(entities_of(spark), [], timestamp="t", strategy="fast")


def test_a_strategy_that_was_removed_is_refused_with_what_to_write(spark: SparkSession) -> None:
    with pytest.raises(JoinError, match=r"strategy 'native' was removed: .*; write 'auto' or 'window'"):
        asof_join(entities_of(spark), [view(history_of(spark))], timestamp="t", strategy="native")


def test_a_plan_says_what_is_done_and_why(spark: SparkSession) -> None:
    frame = history_of(spark)
    assert plan(entities_of(spark), [view(frame)], timestamp="t").describe().startswith("view 'v': window (")
    window_plan = plan(entities_of(spark), [view(frame)], timestamp="t", strategy="window")
    assert window_plan.describe() == "view 'v': window (asked for)"
    assert "no views" in plan(entities_of(spark), [], timestamp="t").describe()


def test_strategies_agree_on_a_larger_frame(spark: SparkSession) -> None:
    entities = spark.range(100_000).selectExpr(
        "id AS row", "pmod(hash(id), 5000) AS k", "timestamp_micros(pmod(xxhash64(id, 1), 1000)) AS t"
    )
    frame = spark.range(100_000).selectExpr(
        "pmod(xxhash64(id, 2), 5000) AS k",
        "timestamp_micros(pmod(xxhash64(id, 3), 1000)) AS ts",
        "timestamp_micros(pmod(xxhash64(id, 4), 1200)) AS c",
        "id AS f",
        "map(id, 'x') AS m",
    )
    both = AsOfView(
        name="v", frame=frame, keys=[("k", "k")], timestamp="ts", created="c",
        features=[("f", "f"), ("m", "m")],
    )  # fmt: skip
    for by_created in (False, True):
        sums = []
        for name in STRATEGIES:
            joined = join(entities, [both], timestamp="t", filter_by_created_timestamp=by_created, strategy=name)
            digest = F.xxhash64("row", "f", F.to_json("m")).cast("decimal(38,0)")
            sums.append(tuple(joined.agg(F.count("f"), F.count(F.lit(1)), F.sum(digest)).collect()[0]))
        assert sums[0] == sums[1]
        assert sums[0][0] > 90_000 * (0.5 if by_created else 1)
