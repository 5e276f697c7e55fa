"""Tables that Spark has bucketed by the join keys: they are not shuffled, and the answers are the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from pyspark.sql import DataFrame, SparkSession

from feast_hybrid.asof import AsOfView, Buckets, asof_join, plan

pytestmark = pytest.mark.matrix

TABLES = {"a": (["k"], 4), "b": (["k"], 4), "c": (["k"], 8), "d": (["city", "k"], 4), "e": (["narrow"], 4)}


@pytest.fixture(scope="module")
def database(spark: SparkSession) -> Iterator[str]:
    """A database with a table for each kind of buckets."""
    rows = spark.range(5_000).selectExpr(
        "pmod(xxhash64(id), 200) AS k",
        "concat('c', pmod(hash(id, 1), 5)) AS city",
        "CAST(pmod(xxhash64(id), 200) AS int) AS narrow",
        "timestamp_micros(pmod(xxhash64(id, 2), 1000)) AS ts",
        "id AS f",
    )
    spark.sql("CREATE DATABASE buckets")
    for name, (columns, number) in TABLES.items():
        rows.write.bucketBy(number, columns[0], *columns[1:]).saveAsTable(f"buckets.{name}")
    yield "buckets"
    spark.sql("DROP DATABASE buckets CASCADE")


@pytest.fixture
def entities(spark: SparkSession) -> DataFrame:
    return spark.range(2_000).selectExpr(
        "id AS row",
        "IF(id % 7 = 1, NULL, pmod(hash(id), 200)) AS k",
        "concat('c', pmod(hash(id, 5), 5)) AS city",
        "timestamp_micros(pmod(xxhash64(id, 6), 1000)) AS t",
    )


def view_of(spark: SparkSession, database: str, table: str, *keys: str) -> AsOfView:
    columns, number = TABLES[table]
    return AsOfView(
        name=table,
        frame=spark.table(f"{database}.{table}"),
        keys=[("k" if key == "narrow" else key, key) for key in keys or ("k",)],
        timestamp="ts",
        features=[("f", f"{table}_f")],
        buckets=lambda: Buckets(columns=tuple(columns), number=number),
    )


@pytest.mark.parametrize(
    ("asked", "shuffles"),
    [
        ([("a",)], 1),
        ([("a",), ("b",)], 1),  # entity rows lie in such buckets already
        ([("a",), ("c",)], 2),
        ([("d", "k", "city")], 1),  # whatever the order of the keys
        ([("a",), ("d", "k", "city"), ("b",)], 3),
    ],
)
def test_only_entity_rows_are_shuffled(
    spark: SparkSession, database: str, entities: DataFrame, asked: list[tuple[str, ...]], shuffles: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    views = [view_of(spark, database, *one) for one in asked]
    joined = asof_join(entities, views, timestamp="t")
    told = plan(entities, views, timestamp="t").describe()
    if spark.version < "4.1":
        assert "buckets" not in told
    else:
        joined.explain()
        assert capsys.readouterr().out.count("Exchange ") == shuffles
        assert told.count("entity rows are brought into its table's") == len(views)
    plain = [dataclasses.replace(view, buckets=lambda: None) for view in views]
    expected = asof_join(entities, plain, timestamp="t")
    assert sorted(map(str, joined.collect())) == sorted(map(str, expected.collect()))
    assert joined.where(" OR ".join(f"{view.name}_f IS NOT NULL" for view in views)).count() > 500


def test_fewer_buckets_than_cores_or_features_of_spark_switched_off_leave_the_shuffle(
    spark: SparkSession, database: str, entities: DataFrame
) -> None:
    view = view_of(spark, database, "a")
    assert "buckets" not in plan(entities, [view], timestamp="t", parallelism=5).describe()
    if spark.version >= "4.1":
        assert "buckets" in plan(entities, [view], timestamp="t", parallelism=4).describe()
    for name in ("spark.sql.sources.bucketing.enabled", "spark.sql.unionOutputPartitioning"):
        before = spark.conf.get(name, None)
        try:
            spark.conf.set(name, "false")
            assert "buckets" not in plan(entities, [view], timestamp="t").describe()
        finally:
            spark.conf.unset(name) if before is None else spark.conf.set(name, before)


def test_buckets_by_columns_that_are_not_there_are_passed_over(
    spark: SparkSession, database: str, entities: DataFrame
) -> None:
    replaced = dataclasses.replace(
        view_of(spark, database, "a"), buckets=lambda: Buckets(columns=("gone",), number=4)
    )
    assert "buckets" not in plan(entities, [replaced], timestamp="t").describe()


@pytest.mark.parametrize("asked", [("a", "k", "city"), ("d", "k"), ("d", "city"), ("e", "narrow")])
def test_buckets_that_are_not_the_keys_as_they_are_compared_do_not_help(
    spark: SparkSession, database: str, entities: DataFrame, asked: tuple[str, ...]
) -> None:
    told = plan(entities, [view_of(spark, database, *asked)], timestamp="t").describe()
    assert "buckets" not in told
