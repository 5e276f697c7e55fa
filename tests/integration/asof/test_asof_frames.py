"""The columnar strategy over rows by Spark: what Spark is left to read, what travels, and what goes to the window."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from feast_hybrid.asof import AsOfView, EntityStats, Ineligible, asof_join, planner
from tests.integration.asof.scanned import plan, scan_of, scanned
from tests.integration.places import classic_only

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.matrix

TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"


def rows_on_disk(spark: SparkSession, folder: Path, rows: int = 1000) -> DataFrame:
    """Rows of a few days in Parquet, whose files a view does not know of."""
    made = spark.range(rows).selectExpr(
        "id % 50 AS id",
        "concat('c', id % 5) AS city",
        f"{TIME} + make_dt_interval(0, 0, CAST(id AS int)) AS ts",
        "CAST(id AS double) AS f",
        "id AS unwanted",
        "CAST(id % 3 AS int) AS part",
    )
    made.coalesce(1).write.partitionBy("part").parquet(str(folder))
    return spark.read.parquet(str(folder))


def entities_of(spark: SparkSession, rows: int, keys: int, minutes: int = 60) -> DataFrame:
    return spark.range(rows).selectExpr(
        f"id % {keys} AS k", "concat('c', id % 5) AS city", f"{TIME} + make_dt_interval(0, 0, {minutes}) AS t"
    )


def by_id(frame: DataFrame, **more: Any) -> AsOfView:
    view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("f", "f")])
    return dataclasses.replace(view, **more)


def in_order(frame: DataFrame) -> list[str]:
    return sorted(map(str, frame.collect()))


@pytest.fixture
def explained(capsys: pytest.CaptureFixture[str]) -> Callable[[DataFrame], str]:
    def explain(frame: DataFrame) -> str:
        capsys.readouterr()
        frame.explain(mode="formatted")  # other modes cut what is pushed down after some letters
        return capsys.readouterr().out

    return explain


def test_spark_reads_the_columns_times_and_keys_that_are_wanted(
    spark: SparkSession, tmp_path: Path, explained: Callable[[DataFrame], str]
) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows")
    entities = entities_of(spark, 3, 3)
    view = by_id(frame, ttl=timedelta(minutes=30))
    joined = asof_join(entities, [view], timestamp="t", strategy="columnar")
    physical = explained(joined)
    assert "ReadSchema: struct<id:bigint,ts:timestamp,f:double>" in physical
    for pushed in ("In(id, [0,1,2])", "GreaterThanOrEqual(ts,", "LessThanOrEqual(ts,"):
        assert pushed in physical
    assert "Join" not in physical
    assert in_order(joined) == in_order(asof_join(entities, [view], timestamp="t", strategy="window"))
    assert [row["f"] for row in joined.orderBy("k").collect()] == [50.0, 51.0, 52.0]


@pytest.mark.parametrize("keys", [[("k", "id")], [("k", "id"), ("city", "city")]])
def test_many_keys_are_cut_by_a_join_with_them(
    spark: SparkSession, tmp_path: Path, explained: Callable[[DataFrame], str], keys: list[tuple[str, str]]
) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows")
    entities, view = entities_of(spark, 300, 300), by_id(frame, keys=keys)
    joined = asof_join(entities, [view], timestamp="t", strategy="columnar")
    physical = explained(joined)
    assert "BroadcastHashJoin LeftSemi" in physical
    assert in_order(joined) == in_order(asof_join(entities, [view], timestamp="t", strategy="window"))
    assert joined.where("f IS NOT NULL").count() == 50


def test_where_a_caller_knows_more_of_times_he_is_asked(
    spark: SparkSession, tmp_path: Path, explained: Callable[[DataFrame], str]
) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows")
    asked = []

    def within(low: int | None, high: int | None) -> DataFrame:
        asked.append((low, high))
        return frame if high is None else frame.where("part = 1")

    view = by_id(frame, ttl=timedelta(seconds=1), within=within)
    joined = asof_join(entities_of(spark, 3, 3), [view], timestamp="t", strategy="columnar")
    time = 1_704_067_200_000_000 + 3600 * 1_000_000
    assert (time - 1_000_000, time) in asked
    assert "PartitionFilters: [isnotnull(part" in explained(joined)


def test_files_and_frames_of_the_same_keys_share_one_shuffle(
    spark: SparkSession, tmp_path: Path, explained: Callable[[DataFrame], str]
) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows").drop("part")
    files = scanned(by_id(frame, name="files"), tmp_path / "files")
    views = [
        files,
        by_id(frame, name="frame", features=[("f", "g"), ("city", "of it")]),
        by_id(frame, name="other", keys=[("city", "city")], features=[("f", "h")]),
    ]
    entities = entities_of(spark, 100, 60)
    silent = EntityStats(may_collect=False)
    joined = asof_join(entities, views[:2], timestamp="t", strategy="columnar", stats=silent)
    assert explained(joined).count("- Exchange (") == 1
    lines = plan(entities, views, timestamp="t", strategy="columnar").describe().splitlines()
    assert lines[0].startswith(
        "view 'files': columnar (asked for); reads 3 columns of 2 files on local files, about "
    )
    by_spark = "columnar (asked for; rows by Spark: its files are not known); reads"
    assert lines[1].startswith(f"view 'frame': {by_spark} 4 columns, about ")
    assert lines[2].startswith(f"view 'other': {by_spark} 3 columns, about ")
    found = [
        in_order(asof_join(entities, views, timestamp="t", strategy=strategy)) for strategy in ("window", "columnar")
    ]
    assert found[0] == found[1]


def test_files_that_tasks_cannot_read_come_as_rows_by_spark(spark: SparkSession, tmp_path: Path) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows").drop("part")
    view = scanned(by_id(frame), tmp_path / "files")
    entities = entities_of(spark, 100, 60)
    (tmp_path / "files" / "part-0.parquet").write_bytes(b"canary" * 10_000)
    description = plan(entities, [view], timestamp="t", strategy="columnar").describe()
    reason = "a footer cannot be read from local files: ArrowInvalid"
    assert description.startswith(f"view 'v': columnar (asked for; rows by Spark: {reason}); reads 3 columns, about ")
    assert "canary" not in description
    joined = asof_join(entities, [view], timestamp="t", strategy="columnar")
    assert in_order(joined) == in_order(asof_join(entities, [view], timestamp="t", strategy="window"))


def test_a_python_that_lacks_the_package_leaves_them_to_the_window(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "check_python", lambda *_: Ineligible("the workers' Python has no module 'numpy'"))
    frame = spark.range(3).selectExpr("id", f"{TIME} AS ts", "id AS f")
    chosen = plan(entities_of(spark, 3, 3), [by_id(frame)], timestamp="t", strategy="columnar")
    assert chosen.describe() == "view 'v': window (not columnar: the workers' Python has no module 'numpy')"


@pytest.mark.parametrize("large", ["false", "true"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_types_come_back_as_they_went_in(spark: SparkSession, large: str, zone: str) -> None:
    before = {name: spark.conf.get(name, None) for name in ("spark.sql.session.timeZone",)}
    wide = "spark.sql.execution.arrow.useLargeVarTypes"
    spark.conf.set("spark.sql.session.timeZone", zone)
    spark.conf.set(wide, large)
    try:
        entities = spark.sql(f"SELECT 'ü' AS k, {TIME} AS t, X'00FF' AS bytes, DATE'0001-01-01' AS day")
        features = {
            "text": "'ñ'", "bytes": "X'00'", "day": "DATE'1582-10-04'", "instant": "TIMESTAMP'0001-01-03 00:00:00Z'",
            "naive": "TIMESTAMP_NTZ'2024-03-10 02:30:00.000001'", "small": "2Y", "money": "1.50BD",
            "wide": "CAST(1 AS decimal(38,20))", "real": "CAST(0.1 AS float)",
            "list": "array('a', NULL)", "times": "array(TIMESTAMP'2024-03-10 02:30:00Z', NULL)",
            "nested": "named_struct('a', array(named_struct('b', 'x', 'c', 1.5BD)), 'd', DATE'2024-01-01')",
            "nothing": "CAST(NULL AS struct<a:string>)",
        }  # fmt: skip
        columns = ", ".join(f"{sql} AS `{name}`" for name, sql in features.items())
        frame = spark.sql(f"SELECT 'ü' AS id, {TIME} AS ts, {columns}")
        view = by_id(frame, features=[(name, f"of {name}") for name in features])
        found = {}
        for strategy in ("window", "columnar"):
            assert [step.strategy for step in plan(entities, [view], timestamp="t", strategy=strategy).steps] == [
                strategy
            ]
            joined = asof_join(entities, [view], timestamp="t", strategy=strategy)
            found[strategy] = ([field.dataType for field in joined.schema], str(joined.collect()))
        assert found["window"] == found["columnar"]
        assert "'ñ'" in found["window"][1]
    finally:
        spark.conf.unset(wide)
        for name, value in before.items():
            spark.conf.set(name, value) if value is not None else spark.conf.unset(name)


@classic_only("a table of a catalog of its own")
def test_a_key_of_fixed_length_is_compared_without_its_padding(spark: SparkSession) -> None:
    spark.sql("DROP TABLE IF EXISTS padded_keys")
    spark.sql("CREATE TABLE padded_keys (id CHAR(5), ts TIMESTAMP, f BIGINT) USING parquet")
    try:
        spark.sql(f"INSERT INTO padded_keys VALUES ('a', {TIME}, 1), ('b ', {TIME}, 2)")
        entities = spark.sql(f"SELECT *, {TIME} AS t FROM VALUES ('a'), ('b'), ('b '), ('c') AS e(k)")
        view = by_id(spark.table("padded_keys"))
        (step,) = plan(entities, [view], timestamp="t", strategy="columnar").steps
        assert step.strategy == "columnar"
        joined = asof_join(entities, [view], timestamp="t", strategy="columnar")
        assert in_order(joined) == in_order(asof_join(entities, [view], timestamp="t", strategy="window"))
    finally:
        spark.sql("DROP TABLE padded_keys")


def test_statistics_decide_whether_entity_rows_of_unknown_number_are_counted(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = spark.range(10_000).selectExpr("id", f"{TIME} AS ts", "id AS f")
    entities = entities_of(spark, 10, 10)
    description = plan(entities, [by_id(frame)], timestamp="t").describe()
    assert "window (not columnar: little to read for entity rows that may be many)" in description
    monkeypatch.setattr(planner, "SMALL", 1000)
    description = plan(entities, [by_id(frame)], timestamp="t").describe()
    assert "columnar (blocks of columns are the cheapest; rows by Spark: its files are not known)" in description
    assert "entity rows: 10, counted by a pass over them" in description
    as_it_is = spark.range(10).mapInArrow(lambda batches: batches, "id bigint")
    unknown = as_it_is.selectExpr("id", f"{TIME} AS ts", "id AS f")
    monkeypatch.undo()
    description = plan(entities, [by_id(unknown)], timestamp="t").describe()
    assert "view 'v': columnar (" in description
    assert "; reads 3 columns, rows within" in description


def test_many_buckets_blocks_and_tasks_give_the_windows_answer(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_hybrid.asof.columnar import plan as columnar_plan

    monkeypatch.setattr(columnar_plan, "bucket_count", lambda *_: 7)
    monkeypatch.setattr(columnar_plan, "_MAX_FLUSH", 1 << 10)
    monkeypatch.setattr(columnar_plan, "_MIN_FLUSH", 1 << 10)
    entities = spark.range(5000).selectExpr(
        "CASE WHEN id % 97 = 1 THEN NULL ELSE pmod(hash(id), 500) END AS k",
        "concat('c', pmod(hash(id, 1), 5)) AS city",
        "timestamp_micros(pmod(xxhash64(id, 2), 1000)) AS t",
    )
    frame = spark.range(20_000, numPartitions=5).selectExpr(
        "CASE WHEN id % 10 = 0 THEN NULL ELSE pmod(xxhash64(id, 3), 500) END AS id",
        "concat('c', pmod(hash(id, 4), 5)) AS city",
        "CASE WHEN id % 11 > 0 THEN timestamp_micros(pmod(xxhash64(id, 5), 1000)) END AS ts",
        "CASE WHEN id % 7 > 0 THEN timestamp_micros(pmod(xxhash64(id, 6), 1200)) END AS c",
        "id AS f",
    )
    views = [
        by_id(frame, created="c", features=[("f", "1"), ("city", "2")]),
        by_id(frame, created="c", keys=[("k", "id"), ("city", "city")], ttl=timedelta(microseconds=50)),
    ]
    for by_created in (False, True):
        for stats in (None, EntityStats(may_collect=False)):
            found = [
                in_order(
                    asof_join(
                        entities, views, timestamp="t", filter_by_created_timestamp=by_created, strategy=strategy,
                        stats=stats,
                    )
                )
                for strategy in ("window", "columnar")
            ]  # fmt: skip
            assert found[0] == found[1]
            assert sum("f=None" not in row for row in found[0]) > 500


def test_a_frame_without_rows_gives_nulls(spark: SparkSession) -> None:
    frame = spark.range(0).selectExpr("id", f"{TIME} AS ts", "id AS f")
    entities = entities_of(spark, 3, 3)
    joined = asof_join(entities, [by_id(frame)], timestamp="t", strategy="columnar")
    assert [row["f"] for row in joined.collect()] == [None] * 3
    nobody = asof_join(entities.limit(0), [by_id(frame)], timestamp="t", strategy="columnar")
    assert nobody.collect() == []


def test_keys_that_are_no_text_are_no_literals(spark: SparkSession) -> None:
    bad = "CAST(X'FF41' AS string)"
    entities = spark.sql(f"SELECT {bad} AS k, {TIME} AS t UNION ALL SELECT 'a', {TIME}")
    frame = spark.sql(f"SELECT {bad} AS id, {TIME} AS ts, 1 AS f UNION ALL SELECT 'a', {TIME}, 2")
    joined = asof_join(entities, [by_id(frame)], timestamp="t", strategy="columnar")
    assert sorted(row["f"] for row in joined.select("f").collect()) == [1, 2]


def test_keys_at_hand_are_used_without_a_pass(
    spark: SparkSession, tmp_path: Path, explained: Callable[[DataFrame], str]
) -> None:
    frame = rows_on_disk(spark, tmp_path / "rows")
    entities = entities_of(spark, 2, 2)
    stats = EntityStats(rows=2, table=pa.table({"k": pa.array([0, 1], pa.int64())}), may_collect=False)
    joined = asof_join(entities, [by_id(frame)], timestamp="t", stats=stats)
    assert "In(id, [0,1])" in explained(joined)
    assert [row["f"] for row in joined.orderBy("k").collect()] == [50.0, 51.0]


def test_files_of_orc_and_settings_of_sparks_reader_come_as_rows(spark: SparkSession, tmp_path: Path) -> None:
    session = spark.newSession()
    session.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    frame = rows_on_disk(session, tmp_path / "rows")
    view = by_id(frame, scan=scan_of(tmp_path / "rows"))
    description = plan(entities_of(session, 3, 3), [view], timestamp="t", strategy="columnar").describe()
    assert "rows by Spark: spark.sql.files.ignoreMissingFiles is true, which only Spark's reader knows" in description


def test_where_spark_weighs_each_batch_of_small_rows_the_plan_says_so(spark: SparkSession) -> None:
    name = "spark.sql.execution.arrow.maxBytesPerBatch"
    columns = ["id", "timestamp_seconds(id) AS ts", "id * 0.5D AS f", "cast(id AS string) AS s"]
    rows = spark.range(10).selectExpr(*columns)
    entities = rows.selectExpr("id", "ts AS t")
    small, text = (
        AsOfView(name="v", frame=rows, keys=[("id", "id")], timestamp="ts", features=[(column, "feature")])
        for column in ("f", "s")
    )

    def noted(view: AsOfView) -> bool:
        return f"{name}=2147483647" in plan(entities, [view], timestamp="t", strategy="columnar").describe()

    assert noted(small)
    assert not noted(text)
    spark.conf.set(name, "2147483647")
    try:
        assert not noted(small)
    finally:
        spark.conf.unset(name)
