"""Features computed in Spark from what had happened: the contents of the two lakes.

Each row's ``event_timestamp`` is the instant at which the row became known, and its values use nothing later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import Column, DataFrame, SparkSession

_HOUR = 3600
_DAY = 24 * _HOUR


def to_spark(spark: SparkSession, frame: pd.DataFrame) -> DataFrame:
    """A pandas frame in Spark, with NaN as null."""
    return spark.createDataFrame(pa.Table.from_pandas(frame, preserve_index=False))


def weather(reports: DataFrame) -> DataFrame:
    """Airport weather by the hour, with the rain and the change of pressure of the last three hours."""
    by_airport = Window.partitionBy("origin").orderBy(_seconds("event_timestamp"))
    three_hours = by_airport.rangeBetween(-3 * _HOUR + 1, 0)
    return reports.select(
        "*",
        F.sum("precip").over(three_hours).alias("precip_3h"),
        (F.col("pressure") - F.first("pressure", ignorenulls=True).over(three_hours)).alias("pressure_change_3h"),
        F.col("event_timestamp").alias("created"),
        F.date_format("event_timestamp", "yyyy-MM").alias("month"),
    )


def carrier_delays(flights: DataFrame) -> DataFrame:
    """How late an airline's flights have been, at each of its arrivals. ``flights`` are those that have arrived."""
    return _by_instant(flights, "carrier").select(
        "carrier",
        _flights(_DAY, "carrier").alias("flights_24h"),
        _mean("minutes", 3 * _HOUR, "carrier").alias("mean_delay_3h"),
        _mean("minutes", _DAY, "carrier").alias("mean_delay_24h"),
        _mean("late", _DAY, "carrier").alias("late_share_24h"),
        _mean("late", 7 * _DAY, "carrier").alias("late_share_7d"),
        *_times(),
    )


def route_delays(flights: DataFrame) -> DataFrame:
    """How late the flights between two airports have been, at each arrival there."""
    keys = ("origin", "dest")
    return _by_instant(flights, *keys).select(
        *keys,
        _flights(7 * _DAY, *keys).alias("flights_7d"),
        _mean("minutes", _DAY, *keys).alias("mean_delay_24h"),
        _mean("minutes", 7 * _DAY, *keys).alias("mean_delay_7d"),
        _mean("late", 7 * _DAY, *keys).alias("late_share_7d"),
        *_times(),
    )


def aircraft_delays(flights: DataFrame, planes: DataFrame) -> DataFrame:
    """How late an aircraft has been, at each of its arrivals, and what kind of aircraft it is."""
    last_10 = Window.partitionBy("tailnum").orderBy(_seconds("arrived")).rowsBetween(-9, 0)
    arrivals = F.sum("flights").over(last_10)
    rows = _by_instant(flights.where(F.col("tailnum").isNotNull()), "tailnum").select(
        "tailnum",
        (F.col("minutes") / F.col("flights")).alias("last_delay"),
        (F.sum("minutes").over(last_10) / arrivals).alias("mean_delay_10"),
        (F.sum("late").over(last_10) / arrivals).alias("late_share_10"),
        _flights(7 * _DAY, "tailnum").alias("flights_7d"),
        *_times(),
    )
    return rows.join(F.broadcast(planes), "tailnum", "left")


def _by_instant(flights: DataFrame, *keys: str) -> DataFrame:
    """One row for each key and instant of arrival, so that no two rows of a key share their event time."""
    return flights.groupBy(*keys, "arrived").agg(
        F.count("*").alias("flights"),
        F.sum("arr_delay").cast("bigint").alias("minutes"),
        F.sum(F.col("late").cast("bigint")).alias("late"),
    )


def _seconds(column: str) -> Column:
    return F.unix_seconds(column)


def _within(column: str, seconds: int, *keys: str) -> Column:
    """The column's sum over the last so many seconds, this instant included.

    As a difference of two running sums, which is one pass whatever the span; Spark would add up a sliding window
    anew for each row. The sums are of whole numbers, so the difference is exact.
    """
    window = Window.partitionBy(*keys).orderBy(_seconds("arrived"))
    so_far = F.sum(column).over(window.rangeBetween(Window.unboundedPreceding, 0))
    before = F.sum(column).over(window.rangeBetween(Window.unboundedPreceding, -seconds))
    return so_far - F.coalesce(before, F.lit(0))


def _flights(seconds: int, *keys: str) -> Column:
    return _within("flights", seconds, *keys)


def _mean(column: str, seconds: int, *keys: str) -> Column:
    return _within(column, seconds, *keys) / _within("flights", seconds, *keys)


def _times() -> tuple[Column, Column]:
    """When a row became known, and when the lake had it: arrivals are loaded each full hour."""
    loaded = F.date_trunc("hour", F.col("arrived") + F.expr("INTERVAL 3599 SECONDS"))
    return F.col("arrived").alias("event_timestamp"), loaded.alias("created")
