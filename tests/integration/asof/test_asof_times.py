"""Times are instants: neither the session's zone nor the column's type changes an answer."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from feast_hybrid.asof import AsOfView, asof_join
from feast_hybrid.errors import SchemaError
from feast_hybrid.spark.times import micros
from tests.integration.asof.scanned import join

if TYPE_CHECKING:
    from tests.integration.asof.conftest import Settings

pytestmark = pytest.mark.matrix

ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Amsterdam", "Australia/Lord_Howe", "+14:00"]

TIME_TYPES = ["timestamp", "timestamp_ntz"]
INSTANTS = [
    "0001-01-01 00:00:00",
    "1582-10-04 23:59:59.5",
    "1582-10-15 00:00:00",
    "1883-11-18 12:03:57.999999",  # New York leaves local mean time
    "1969-12-31 23:59:59.999999",
    "1970-01-01 00:00:00",
    "2024-03-10 02:30:00.000001",  # skipped in New York
    "2024-03-31 02:30:00",  # skipped in Amsterdam
    "2024-11-03 01:30:00",  # twice in New York
    "9999-12-31 23:59:59.999999",
]


def literal(data_type: str, text: str) -> str:
    suffix = "Z" if data_type == "timestamp" else ""
    return f"CAST('{text[:10] if data_type == 'date' else text + suffix}' AS {data_type})"


def rows(spark: SparkSession, data_type: str, texts: list[str]) -> DataFrame:
    values = ", ".join(f"({n}, 1, {literal(data_type, text)})" for n, text in enumerate(texts))
    return spark.sql(f"SELECT * FROM VALUES {values} AS t(n, k, ts)")


@pytest.mark.parametrize("ansi", [True, False])
@pytest.mark.parametrize("zone", ZONES)
def test_naive_times_are_utc_in_every_session_zone(
    spark: SparkSession, settings: Settings, zone: str, ansi: bool
) -> None:
    with settings(zone=zone, ansi=ansi):
        aware, naive = rows(spark, "timestamp", INSTANTS), rows(spark, "timestamp_ntz", INSTANTS)
        both = aware.select("n", micros(F.col("ts"), T.TimestampType()).alias("aware")).join(
            naive.select("n", micros(F.col("ts"), T.TimestampNTZType()).alias("naive")), "n"
        )
        assert both.where("aware = naive").count() == len(INSTANTS)


@pytest.mark.parametrize("zone", ZONES)
def test_a_date_is_midnight_utc_in_every_session_zone(spark: SparkSession, settings: Settings, zone: str) -> None:
    midnights = [text[:10] + " 00:00:00" for text in INSTANTS]
    with settings(zone=zone):
        aware, days = rows(spark, "timestamp", midnights), rows(spark, "date", midnights)
        both = aware.select("n", micros(F.col("ts"), T.TimestampType()).alias("aware")).join(
            days.select("n", micros(F.col("ts"), T.DateType()).alias("day")), "n"
        )
        assert both.where("aware = day").count() == len(midnights)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("entity_type", TIME_TYPES)
def test_the_hours_around_a_change_of_clocks_keep_their_order_and_distance(
    spark: SparkSession, settings: Settings, strategy: str, entity_type: str, zone: str
) -> None:
    # 05:00Z and 06:00Z are both 01:00 in New York; a ttl of exactly one hour separates them.
    history = ["2024-11-03 04:30:00", "2024-11-03 05:30:00", "2024-11-03 06:30:00"]
    times = ["2024-11-03 05:29:59.999999", "2024-11-03 05:30:00", "2024-11-03 07:30:00", "2024-11-03 07:30:00.000001"]
    with settings(zone=zone):
        views = [
            AsOfView(
                name=source_type,
                frame=rows(spark, source_type, history).withColumnRenamed("n", "v"),
                keys=[("k", "k")],
                timestamp="ts",
                ttl=timedelta(hours=1),
                features=[("v", source_type)],
            )
            for source_type in TIME_TYPES
        ]
        joined = join(rows(spark, entity_type, times), views, timestamp="ts", strategy=strategy)
        found = joined.orderBy("n").select(*TIME_TYPES).collect()
        assert [tuple(row) for row in found] == [(0, 0), (1, 1), (2, 2), (None, None)]


@pytest.mark.parametrize("ansi", [True, False])
def test_the_longest_ttl_and_the_first_of_times_do_not_overflow(
    spark: SparkSession, settings: Settings, strategy: str, ansi: bool
) -> None:
    ttls = {"a day": timedelta(days=1), "long": timedelta(days=4_000_000), "longest": timedelta.max}
    with settings(ansi=ansi):
        frame = spark.sql(
            "SELECT 1 AS k, CAST(x AS timestamp) AS ts, x AS v FROM VALUES ('0001-01-01 00:00:00Z') AS t(x)"
        )
        far = spark.sql("SELECT 1 AS k, timestamp_micros(-9223372036854775807L) AS ts, 'far' AS v")
        views = [
            AsOfView(
                name=name,
                frame=frame.union(far),
                keys=[("k", "k")],
                timestamp="ts",
                ttl=ttl,
                features=[("v", name)],
            )
            for name, ttl in ttls.items()
        ]
        entities = spark.sql(
            "SELECT 1 AS n, 1 AS k, timestamp_micros(-9223372036854775806L) AS t "
            "UNION ALL SELECT 2, 1, CAST('0001-01-01 12:00:00Z' AS timestamp)"
        )
        found = join(entities, views, timestamp="t", strategy=strategy).select("n", *ttls).collect()
        assert sorted(map(tuple, found)) == [(1, *["far"] * 3), (2, *["0001-01-01 00:00:00Z"] * 3)]


@pytest.mark.parametrize("data_type", ["string", "bigint", "double", "boolean"])
def test_a_time_that_is_no_time_is_refused(spark: SparkSession, data_type: str) -> None:
    good = spark.sql("SELECT 1 AS k, current_timestamp() AS ts, 1 AS v")
    bad = spark.sql(f"SELECT 1 AS k, CAST(NULL AS {data_type}) AS ts, 1 AS v")

    def view(frame: DataFrame, created: str | None = None) -> AsOfView:
        return AsOfView(name="w", frame=frame, keys=[], timestamp="ts", created=created, features=[("v", "out")])

    with pytest.raises(SchemaError, match=f"entity frame: timestamp column 'ts' is {data_type}"):
        asof_join(bad, [view(good)], timestamp="ts")
    with pytest.raises(SchemaError, match=f"view 'w': timestamp column 'ts' is {data_type}"):
        asof_join(good, [view(bad)], timestamp="ts")
    with pytest.raises(SchemaError, match=f"view 'w': created timestamp column 'c' is {data_type}"):
        asof_join(good, [view(good.withColumn("c", F.lit(None).cast(data_type)), "c")], timestamp="ts")
