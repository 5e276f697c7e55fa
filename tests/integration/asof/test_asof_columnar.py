"""The columnar strategy in Spark: the same answers and types as the others, what it is chosen for, what it leaves."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feast_hybrid.asof import AsOfView, EntityStats, Ineligible, asof_join, planner, prepare
from tests.integration.asof.scanned import plan, scan_of, scanned

pytestmark = pytest.mark.matrix

TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"


def entities_of(spark: SparkSession, rows: int = 20_000) -> DataFrame:
    """Two keys, one of which is often the same: a hot key; nulls; ties; a time."""
    return spark.range(rows).selectExpr(
        "id AS row",
        "CASE WHEN id % 10 = 0 THEN 7 WHEN id % 97 = 1 THEN NULL ELSE pmod(hash(id), 2000) END AS k",
        "concat('c', pmod(hash(id, 1), 5)) AS city",
        "timestamp_micros(pmod(xxhash64(id, 2), 1000)) AS t",
        "array(id, NULL) AS carried",
    )


def history_of(spark: SparkSession, rows: int = 20_000) -> DataFrame:
    return (
        spark.range(rows)
        .selectExpr(
            "CASE WHEN id % 10 = 0 THEN 7 ELSE pmod(xxhash64(id, 3), 2000) END AS id",
            "concat('c', pmod(hash(id, 4), 5)) AS city",
            "timestamp_micros(pmod(xxhash64(id, 5), 1000)) AS ts",
            "CASE WHEN id % 7 > 0 THEN timestamp_micros(pmod(xxhash64(id, 6), 1200)) END AS c",
            "id AS f",
            "array(CAST(id AS double), NULL) AS embedding",
            "CAST(id AS decimal(30, 3)) AS money",
            "named_struct('a', concat('x', id), 'b', CAST(id % 3 AS float)) AS nested",
            "CAST(CAST(id % 1000 AS string) AS date) AS nothing",
        )
        .drop("nothing")
    )


def views_of(frame: DataFrame, folder: Path) -> list[AsOfView]:
    """Three views of one history, by one key, by another and by both."""
    view = AsOfView(
        name="by k", frame=frame, keys=[("k", "id")], timestamp="ts", created="c",
        features=[(name, f"1 {name}") for name in ("f", "embedding", "money", "nested", "city")],
    )  # fmt: skip
    view = scanned(view, folder)
    both = dataclasses.replace(
        view, name="by both", keys=[("k", "id"), ("city", "city")], ttl=timedelta(microseconds=100),
        features=[("f", "2 f")],
    )  # fmt: skip
    turned = dataclasses.replace(both, name="by both, turned", keys=both.keys[::-1], features=[("money", "3 money")])
    return [view, both, turned]


@pytest.mark.parametrize("by_created", [False, True])
def test_it_answers_as_the_window_does_in_the_same_types(
    spark: SparkSession, tmp_path: Path, by_created: bool
) -> None:
    entities, views = entities_of(spark), views_of(history_of(spark), tmp_path)
    by_spark = [dataclasses.replace(view, scan=Ineligible("rows by Spark")) for view in views]
    shown = []
    for strategy, some in (("window", views), ("columnar", views), ("columnar", by_spark)):
        joined = asof_join(entities, some, timestamp="t", filter_by_created_timestamp=by_created, strategy=strategy)
        columns = [(field.name, field.dataType) for field in joined.schema]
        digest = F.xxhash64(F.to_json(F.struct(*joined.columns))).cast("decimal(38,0)")
        found = joined.agg(F.count(F.lit(1)), F.count("1 f"), F.count("2 f"), F.count("3 money"), F.sum(digest))
        shown.append((columns, tuple(found.collect()[0])))
    assert shown[0] == shown[1] == shown[2]
    assert shown[0][1][1] > 5000


def test_the_plan_says_that_it_is_used_what_is_read_and_what_was_asked(spark: SparkSession, tmp_path: Path) -> None:
    entities, views = entities_of(spark, 100), views_of(history_of(spark, 100), tmp_path)
    description = plan(entities, views, timestamp="t", strategy="columnar").describe().splitlines()
    assert description[0].startswith(
        "view 'by k': columnar (asked for); reads 8 columns of 2 files on local files, about "
    )
    assert description[0].endswith(", rows of their keys, passes on what answers one of them")
    assert description[-1] == "entity rows: 100, counted by a pass over them"
    silent = plan(
        entities, views, timestamp="t", strategy="columnar", stats=EntityStats(may_collect=False)
    ).describe()
    assert "their keys" not in silent
    assert "entity rows" not in silent


def test_it_is_taken_but_for_few_views_of_a_little_history_and_entity_rows_of_unknown_number(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entities, views = entities_of(spark, 100), views_of(history_of(spark, 100), tmp_path)
    known = plan(entities, views, timestamp="t", stats=EntityStats(rows=100, may_collect=False))
    assert [step.strategy for step in known.steps] == ["columnar"] * 3
    description = plan(entities, views[:2], timestamp="t").describe()
    assert description.count("window (not columnar: little to read for entity rows that may be many)") == 2
    description = plan(entities, views, timestamp="t").describe()
    assert description.count(": columnar (") == 3
    assert "entity rows: 100, counted by a pass over them" in description
    monkeypatch.setattr(planner, "SMALL", 1)
    description = plan(entities, views[:2], timestamp="t").describe()
    assert description.count(": columnar (") == 2
    assert "entity rows: 100, counted by a pass over them" in description


def test_views_of_the_same_keys_share_one_shuffle(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entities, views = entities_of(spark, 100), views_of(history_of(spark, 100), tmp_path)
    stats = EntityStats(may_collect=False)
    for some, shuffles in ((views[:1], 1), (views[1:], 1), (views, 2)):
        asof_join(entities, some, timestamp="t", strategy="columnar", stats=stats).explain()
        assert capsys.readouterr().out.count("Exchange ") == shuffles


def test_no_frame_is_made_of_a_history_that_is_read_without_it(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[AsOfView] = []

    def frame(of_view: AsOfView, *more: Any) -> DataFrame:
        made.append(of_view)
        return make(of_view, *more)

    make = prepare._history_frame
    monkeypatch.setattr(prepare, "_history_frame", frame)
    entities, views = entities_of(spark, 10), views_of(history_of(spark, 10), tmp_path)
    for strategy, frames in (("columnar", 0), ("window", len(views))):
        asof_join(entities, views, timestamp="t", strategy=strategy)
        assert len(made) == frames


@pytest.mark.parametrize(
    ("feature", "entity", "keys", "reason"),
    [
        ("map('a', 1)", "1", [("k", "k")], "feature column 'f' is map<string,int>: ties in it are ranked by Spark"),
        ("parse_json('1')", "1", [("k", "k")], "column 'f' is variant, which blocks do not hold"),
        ("1", "INTERVAL '1' DAY", [("k", "k")], "entity column 'x' is interval day, which blocks do not hold"),
        ("1", "1", [], "no keys: all of it would be one bucket"),
    ],
)
def test_what_it_cannot_do_is_left_to_the_window_and_said(
    spark: SparkSession, tmp_path: Path, feature: str, entity: str, keys: list[tuple[str, str]], reason: str
) -> None:
    entities = spark.range(3).selectExpr("id AS k", f"{TIME} AS t", f"{entity} AS x")
    frame = spark.range(3).selectExpr("id AS k", f"{TIME} AS ts", f"{feature} AS f")
    view = AsOfView(name="v", frame=frame, keys=keys, timestamp="ts", features=[("f", "f")], scan=scan_of(tmp_path))
    chosen = plan(entities, [view], timestamp="t", strategy="columnar")
    assert chosen.describe() == f"view 'v': window (not columnar: {reason})"
    assert asof_join(entities, [view], timestamp="t", strategy="columnar").where("f IS NOT NULL").count() == 3


def test_a_setting_of_sparks_reader_is_left_to_it(spark: SparkSession, tmp_path: Path) -> None:
    session = spark.newSession()
    session.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    entities, views = entities_of(session, 10), views_of(history_of(session, 10), tmp_path)
    description = plan(entities, views, timestamp="t", strategy="columnar").describe()
    assert "spark.sql.files.ignoreMissingFiles is true, which only Spark's reader knows" in description


def test_a_file_that_is_no_parquet_is_left_to_spark(spark: SparkSession, tmp_path: Path) -> None:
    entities, views = entities_of(spark, 10), views_of(history_of(spark, 10), tmp_path)
    for file in tmp_path.glob("*.parquet"):
        file.write_bytes(b"canary" * 100)
    description = plan(entities, views, timestamp="t", strategy="columnar").describe()
    assert "a footer cannot be read from local files: ArrowInvalid" in description
    assert "canary" not in description


def test_files_of_other_schemas_are_read_as_spark_reads_them(spark: SparkSession, tmp_path: Path) -> None:
    ts = pa.array([0, 1], pa.int64()).cast(pa.timestamp("us", "UTC"))
    nested = pa.array([{"a": 1, "b": "x"}] * 2)
    pq.write_table(
        pa.table({"k": pa.array([1, 2], pa.int64()), "ts": ts, "f": [1.0, 2.0], "n": nested}), tmp_path / "a.parquet"
    )
    older = pa.array([{"a": 5}] * 2, pa.struct([("a", pa.int64())]))
    pq.write_table(pa.table({"n": older, "TS": ts, "K": pa.array([3, 4], pa.int32())}), tmp_path / "b.parquet")
    frame = spark.read.schema("k bigint, ts timestamp, f double, n struct<a:bigint,b:string>").parquet(str(tmp_path))
    view = AsOfView(
        name="v", frame=frame, keys=[("k", "k")], timestamp="ts", features=[("f", "f"), ("n", "n")],
        scan=scan_of(tmp_path),
    )  # fmt: skip
    entities = spark.range(1, 5).selectExpr("id AS k", f"{TIME} AS t")
    found = [
        sorted(map(str, asof_join(entities, [view], timestamp="t", strategy=strategy).collect()))
        for strategy in ("window", "columnar")
    ]
    assert found[0] == found[1]
    assert "Row(a=5, b=None)" in found[0][2]


def test_keys_at_hand_cut_the_history_that_spark_joins(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    entities, frame = entities_of(spark, 100), history_of(spark, 1000).withColumn("m", F.create_map("city", "f"))
    features = [("f", "f"), ("m", "a map, which blocks do not hold")]
    view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=features)
    stats = EntityStats(rows=100, may_collect=False)
    cut = asof_join(entities, [view], timestamp="t", stats=stats)
    cut.explain()
    assert "LeftSemi" in capsys.readouterr().out
    whole = asof_join(entities, [view], timestamp="t", strategy="window")
    assert sorted(map(str, cut.collect())) == sorted(map(str, whole.collect()))


def test_sparks_hash_is_what_bucket_numbers_are_chosen_for(spark: SparkSession) -> None:
    from feast_hybrid.asof.columnar.blocks import bucket_ids

    numbers = spark.createDataFrame([(number,) for number in bucket_ids(17)], "bucket int")
    spread = numbers.repartition(17, "bucket").select(F.spark_partition_id()).distinct().count()
    assert spread == len(np.unique(bucket_ids(17))) == 17
