"""A program of its own with a Hive metastore. ``python -m tests.integration.hive_program FOLDER``.

It asks for histories in tables that Hive's own classes wrote, and prints in a line of JSON how each is joined and
what comes of it.
"""

from __future__ import annotations

import json
import shutil
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureView, Field, ValueType
from feast.types import FeastType, Float64, Int64, String, UnixTimestamp
from pyspark.sql import SparkSession

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import HybridError
from tests.integration.places import feature_store, hour, retrieve, rows_of

ROWS = """SELECT k, CAST(t AS TIMESTAMP), v, s, s, s, CAST(t AS TIMESTAMP), CAST(t AS DATE), d, h FROM VALUES
    (1L, '2026-01-10 01:00:00.000001', 0.5D, 'a', '2026-01-10', 1),
    (1L, '2026-01-11 05:00:00', 1.5D, 'b', NULL, 3),
    (2L, '2026-01-11 06:00:00', 2.5D, NULL, '2026-01-11', 2) AS r(k, t, v, s, d, h)"""
COLUMNS = (
    """k BIGINT, event_timestamp TIMESTAMP, v DOUBLE, s STRING, c CHAR(5), w VARCHAR(5), seen TIMESTAMP, d DATE"""
)
SERDE_OF_PARQUET = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
TYPES: dict[str, FeastType] = {
    "v": Float64,
    "s": String,
    "c": String,
    "w": String,
    "n": Int64,
    "seen": UnixTimestamp,
    "d": UnixTimestamp,
    "day": String,
    "hour": Int64,
}
DRIVER = Entity(name="driver", join_keys=["k"], value_type=ValueType.INT64)
ENTITY_ROWS = pd.DataFrame({"k": [1, 2, 1], "event_timestamp": [hour(30), hour(31), hour(2)]})


def main(folder: str) -> None:
    make_tables(session(folder), folder)
    in_folder = {"path": f"file://{folder}/a warehouse/of_orc", "file_format": "orc"}
    asked: dict[str, tuple[dict[str, Any], str]] = {
        "of_parquet": ({"table": "of_parquet"}, "v s w seen d day hour"),
        "of_orc": ({"table": "of_orc"}, "v s w seen d day hour"),
        "char": ({"table": "of_orc"}, "v c"),
        "mixed": ({"table": "mixed"}, "v"),
        "in_deltas": ({"table": "in_deltas"}, "v"),
        "path": (in_folder, "v c w"),
        "not_null": ({"table": "not_null"}, "v"),
        "grown": ({"table": "grown"}, "v n"),
        "elsewhere": ({"table": "elsewhere"}, "v"),
        "view": ({"table": "seen_orc"}, "v s"),
        "view_of_deltas": ({"table": "seen_deltas"}, "v"),
        "in_union": ({"table": "in_union"}, "v"),
        "by_hive": ({"table": "of_orc"}, "v s"),
    }
    found = {}
    spark = session(folder)
    alone = ("in_deltas", "view_of_deltas", "in_union", "by_hive")  # they are refused, or want another setting
    together = {name: of for name, of in asked.items() if name not in alone}
    for strategy in ("auto", "window"):
        for some in (together, *({name: asked[name]} for name in alone)):
            spark.conf.set("spark.sql.hive.convertMetastoreOrc", str("by_hive" not in some).lower())
            try:
                answers = answer(Path(folder), strategy, some)
            except HybridError as error:
                answers = dict.fromkeys(some, (str(error), []))
            found.update({f"{name} {strategy}": of for name, of in answers.items()})
    print(json.dumps(found), flush=True)


def session(folder: str) -> SparkSession:
    builder = SparkSession.builder.master("local[2]").enableHiveSupport()
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": f"{folder}/a warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:{folder}/metastore;create=true",
        "spark.hadoop.datanucleus.schema.autoCreateAll": "true",
        "spark.hadoop.hive.metastore.schema.verification": "false",
        "spark.hadoop.hive.exec.dynamic.partition.mode": "nonstrict",
    }
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def make_tables(spark: SparkSession, folder: str) -> None:
    """Tables that Hive's classes write, and not Spark's."""
    by_hive = ("convertMetastoreParquet", "convertMetastoreOrc", "convertInsertingPartitionedTable")
    for setting in by_hive:
        spark.conf.set(f"spark.sql.hive.{setting}", "false")
    for name in ("parquet", "orc"):
        spark.sql(f"CREATE TABLE of_{name} ({COLUMNS}) PARTITIONED BY (day STRING, hour INT) STORED AS {name}")
        spark.sql(f"INSERT INTO of_{name} {ROWS}")
        table = Path(folder, "a warehouse", f"of_{name}")
        shutil.copytree(table / "day=2026-01-11/hour=2", table / "day=2026-01-11/hour=7")
        spark.sql(f"MSCK REPAIR TABLE of_{name}")
    few = "k BIGINT, event_timestamp TIMESTAMP, v DOUBLE"
    in_deltas = "CLUSTERED BY (k) INTO 2 BUCKETS STORED AS orc TBLPROPERTIES ('transactional' = 'true')"
    spark.sql(f"CREATE TABLE in_deltas ({few}) {in_deltas}")
    spark.sql(f"CREATE TABLE mixed ({few}) PARTITIONED BY (day STRING) STORED AS orc")
    spark.sql("INSERT INTO mixed SELECT k, event_timestamp, v, '2026-01-10' FROM of_orc")
    spark.sql(f"ALTER TABLE mixed PARTITION (day = '2026-01-10') SET SERDE '{SERDE_OF_PARQUET}'")
    make_odd_tables(spark, Path(folder, "a warehouse"), few)
    for setting in by_hive:
        spark.conf.set(f"spark.sql.hive.{setting}", "true")


def make_odd_tables(spark: SparkSession, warehouse: Path, few: str) -> None:
    """Tables as years of ALTER TABLE leave them."""
    in_days = "PARTITIONED BY (day STRING) STORED AS orc"
    rows = "SELECT k, event_timestamp, v, day FROM of_orc WHERE hour <> 7"
    for name in ("grown", "elsewhere", "in_union"):
        spark.sql(f"CREATE TABLE {name} ({few}) {in_days}")
        spark.sql(f"INSERT INTO {name} {rows}")
    spark.sql("ALTER TABLE grown ADD COLUMNS (n BIGINT)")
    spark.sql("INSERT INTO grown SELECT k, event_timestamp + INTERVAL 1 SECOND, v, 7, day FROM of_orc WHERE hour = 2")
    spark.sql("INSERT INTO grown SELECT k, event_timestamp, v, 8, '2026-01-12' FROM of_orc WHERE hour = 3")
    spark.sql("ALTER TABLE grown ADD PARTITION (day = '2026-01-13')")  # without files, and without a folder
    shutil.rmtree(warehouse / "grown" / "day=2026-01-13")
    shutil.copytree(warehouse / "elsewhere" / "day=2026-01-10", warehouse / "moved")
    where = "ALTER TABLE elsewhere PARTITION (day = '2026-01-10') SET LOCATION"
    spark.sql(f"{where} 'file://{warehouse}/moved'")  # whose folder keeps its files
    day = warehouse / "in_union" / "day=2026-01-10"
    day.rename(warehouse / "half")
    day.mkdir()
    (warehouse / "half").rename(day / "HIVE_UNION_SUBDIR_1")
    spark.sql("CREATE VIEW seen_orc AS SELECT * FROM of_orc")
    spark.sql("CREATE VIEW seen_deltas AS SELECT * FROM in_deltas")
    never = few.replace("DOUBLE", "DOUBLE NOT NULL")
    spark.sql(f"CREATE TABLE not_null ({never}) {in_days}")
    spark.sql(f"INSERT INTO not_null {rows}")
    later = "SELECT k, event_timestamp + INTERVAL 1 HOUR AS event_timestamp, CAST(NULL AS DOUBLE) AS v FROM of_orc"
    nulls = spark.sql(later)
    nulls.coalesce(1).write.orc(f"file://{warehouse}/not_null/day=2026-01-11", mode="append")


def answer(
    folder: Path, strategy: str, asked: dict[str, tuple[dict[str, Any], str]]
) -> dict[str, tuple[str, list[list[str]]]]:
    """How each of some views is joined, all in one history, and its rows as text."""
    views = []
    for name, (of, features) in asked.items():
        rows = HybridSparkSource(name=name, timestamp_field="event_timestamp", **of)
        fields = [Field(name="k", dtype=Int64), *(Field(name=each, dtype=TYPES[each]) for each in features.split())]
        views.append(FeatureView(name=name, entities=[DRIVER], ttl=timedelta(days=1), source=rows, schema=fields))
    place = folder / f"{'_'.join(asked)}_{strategy}"
    place.mkdir()
    sites = [{"name": "here", "uri": f"file://{folder}"}]
    store = feature_store(sites, place, DRIVER, *views, join={"strategy": strategy})
    wanted = {name: features.split() for name, (_, features) in asked.items()}
    references = [f"{name}:{feature}" for name, features in wanted.items() for feature in features]
    job = retrieve(store, ENTITY_ROWS, references, full_feature_names=True)
    table, lines = job.to_arrow(), job.explain().splitlines()
    return {
        name: (
            next(line for line in lines if line.startswith(f"view '{name}': ")),
            [list(map(str, row)) for row in rows_of(table, *(f"{name}__{feature}" for feature in features))],
        )
        for name, features in wanted.items()
    }


if __name__ == "__main__":
    main(sys.argv[1])
