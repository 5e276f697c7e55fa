"""A table of many partitions, and entity rows of a week: only theirs are asked for, listed and read.

In ``make test-faults`` they are 10,000, which takes a catalog some time to be told of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Field, ValueType
from feast.types import Float64, Int64

from feast_hybrid import HybridSparkSource
from feast_hybrid.files import plain_folders
from feast_hybrid.sources import table_scan
from feast_hybrid.spark.catalog import partition_entries
from tests.integration.faulty import SEEDS
from tests.integration.places import answers, entity, feature_store, hour, retrieve
from tests.integration.places import view as feature_view

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

PARTITIONS, AT_ONCE = 10_000 if len(SEEDS) > 1 else 1_000, 1_000
LAST = date(2026, 6, 30)
TABLE = "many_days"
DRIVER = entity("driver", ValueType.INT64, join_key="k")
#: A week from 2026-01-10 on, at noon. With a ttl of a day the day before can have rows, too; and days are compared
#: with a day to spare, as they may be those of a time zone.
WEEK = pd.DataFrame({"k": [1] * 7, "event_timestamp": [hour(24 * day + 12) for day in range(7)]})
DAYS = [f"2026-01-{day:02}" for day in range(8, 18)]


@pytest.fixture(scope="module")
def table(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A file in each of many folders, as the catalog knows them."""
    folder = tmp_path_factory.mktemp("table")
    days = [LAST - timedelta(days=number) for number in range(PARTITIONS)]
    shared = folder / "_one"
    wanted = {day: index for index, day in enumerate(DAYS)}
    pq.write_table(_rows(hour(0), -1.0), shared)
    for day in days:
        os.mkdir(folder / f"day={day}")
        if (index := wanted.get(str(day))) is None:
            os.link(shared, folder / f"day={day}" / "a.parquet")
        else:
            pq.write_table(_rows(hour(24 * (index - 2) + 6), float(index)), folder / f"day={day}" / "a.parquet")
    spark.sql(
        f"CREATE TABLE {TABLE} (k BIGINT, event_timestamp TIMESTAMP, v DOUBLE, day DATE) "
        f"USING parquet PARTITIONED BY (day) LOCATION 'file://{folder}'"
    ).collect()
    for start in range(0, PARTITIONS, AT_ONCE):
        some = " ".join(f"PARTITION (day = DATE'{day}')" for day in days[start : start + AT_ONCE])
        spark.sql(f"ALTER TABLE {TABLE} ADD {some}").collect()
    yield str(folder)
    spark.sql(f"DROP TABLE {TABLE}").collect()


ANSWERS = [(float(number),) for number in range(2, 9)]


def _rows(time: Any, value: float) -> pa.Table:
    return pa.table({"k": [1], "event_timestamp": pa.array([time], pa.timestamp("us", tz="UTC")), "v": [value]})


def store_of(tmp_path: Path, strategy: str) -> FeatureStore:
    rows = HybridSparkSource(name="rows", table=TABLE, timestamp_field="event_timestamp", date_partition_column="day")
    schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=Float64)]
    stats = feature_view("stats", rows, DRIVER, schema=schema, ttl=timedelta(days=1))
    disk = [{"name": "disk", "uri": "file:///"}]
    return feature_store(disk, tmp_path, DRIVER, stats, join={"strategy": strategy})


def test_by_columns_only_the_week_s_partitions_are_asked_for_listed_and_read(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    listed: list[str] = []
    entries, files = partition_entries, plain_folders._files_in

    def noted_entries(session: Any, name: str, partitions: Any, total: int) -> Any:
        asked.extend(partition["day"] for partition in partitions)
        return entries(session, name, partitions, total)

    def noted_files(folder: Any) -> Any:
        listed.append(folder.path)
        return files(folder)

    monkeypatch.setattr(table_scan, "partition_entries", noted_entries)
    monkeypatch.setattr(plain_folders, "_files_in", noted_files)
    job = retrieve(store_of(tmp_path, "columnar"), WEEK, ["stats:v"])
    plan = job.explain()
    assert "view 'stats': columnar" in plan
    assert f"of {len(DAYS)} files" in plan
    assert answers(job, "v") == ANSWERS
    assert sorted(set(asked)) == DAYS
    assert sorted(set(listed)) == [f"{table}/day={day}" for day in DAYS]


def test_by_spark_only_the_week_s_partitions_are_listed(table: str, tmp_path: Path, spark: SparkSession) -> None:
    jvm: Any = spark
    metrics = jvm._jvm.org.apache.spark.metrics.source.HiveCatalogMetrics
    metrics.reset()
    job = retrieve(store_of(tmp_path, "window"), WEEK, ["stats:v"])
    assert answers(job, "v") == ANSWERS
    # Once for the plan and once for the rows, at most.
    assert 0 < metrics.METRIC_FILES_DISCOVERED().getCount() <= 2 * len(DAYS)
