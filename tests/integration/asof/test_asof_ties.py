"""Rows that tie on keys, time and created: the same one wins on every run, strategy and partitioning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from feast_hybrid.asof import AsOfView
from tests.integration.asof.scanned import join

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.asof.conftest import Settings

pytestmark = pytest.mark.matrix

# column type, from the least to the greatest
ORDERS = [
    ("int", ["NULL", "-2", "10"]),
    ("string", ["NULL", "''", "'10'", "'9'", "'é'"]),
    ("double", ["NULL", "-1D", "-0.0D", "0.0D", "CAST('Infinity' AS double)", "CAST('NaN' AS double)"]),
    ("float", ["CAST(-0.0 AS float) * -0.0F - 0.0F", "1F"]),
    ("boolean", ["NULL", "FALSE", "TRUE"]),
    ("binary", ["NULL", "X''", "X'7F'", "X'FF'"]),
    ("array<double>", ["NULL", "array()", "array(-0.0D, 1D)", "array(0.0D, 1D)", "array(1D)"]),
    ("struct<a:double>", ["NULL", "named_struct('a', -0.0D)", "named_struct('a', 0.0D)"]),
    ("map<string,int>", ["NULL", "map('a', 1)", "map('a', 2)", "map('b', 0)"]),
    ("map<string,int>", ["map('a', NULL)", "map()"]),
    ("variant", ["NULL", "parse_json('1')", "parse_json('{\"a\": 1}')"]),
    ("array<map<string,int>>", ["array()", "array(map('a', 1))"]),
    ("timestamp", ["NULL", "TIMESTAMP'2024-11-03 05:30:00Z'", "TIMESTAMP'2024-11-03 06:30:00Z'"]),
    ("string collate UTF8_LCASE", ["'A'", "'a'"]),
    ("interval day to second", ["NULL", "INTERVAL '1' SECOND", "INTERVAL '1' DAY"]),
]
TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"


def test_the_greatest_value_wins_whatever_the_order_of_the_rows(
    spark: SparkSession, settings: Settings, strategy: str
) -> None:
    """Each third of the types with another answer to whether rows are left out by their created time: none is."""
    with settings(zone="America/New_York"):
        entities = spark.range(1).selectExpr("id AS k", f"{TIME} AS t")
        views, wanted = [], []
        for n, (data_type, ranked) in enumerate(ORDERS):
            for turn in (1, -1):
                frame = spark.sql(
                    " UNION ALL ".join(
                        f"SELECT id AS k, {TIME} AS ts, {TIME} AS c, CAST({sql} AS {data_type}) AS v FROM range(1)"
                        for sql in ranked[::turn]
                    )
                )
                name = f"{data_type} {n} {turn}"
                views.append(
                    AsOfView(
                        name=name,
                        frame=frame,
                        keys=[("k", "k")],
                        timestamp="ts",
                        created="c",
                        features=[("v", name)],
                    )
                )
                wanted.append(ranked[-1])
        for start in range(0, len(views), 10):
            some, want = views[start : start + 10], wanted[start : start + 10]
            by_created = start == 10
            joined = join(entities, some, timestamp="t", filter_by_created_timestamp=by_created, strategy=strategy)
            shown = joined.select(*(f"`{view.name}`" for view in some)).toDF(*(f"c{i}" for i in range(len(some))))
            as_text = [
                f"to_json(struct(CAST({sql} AS {ORDERS[(start + i) // 2][0]}) AS v)) = "
                f"to_json(struct(c{i} AS v)) AS c{i}"
                for i, sql in enumerate(want)
            ]
            (row,) = shown.selectExpr(*as_text).collect()
            wrong = [view.name for view, right in zip(some, row, strict=True) if right is not True]
            assert not wrong


def test_all_features_of_a_view_come_from_one_row(spark: SparkSession, strategy: str) -> None:
    frame = spark.sql(
        f"SELECT *, {TIME} AS ts FROM VALUES (1, 1, 'z', CAST(NULL AS int)), (1, 2, 'a', NULL), (1, 2, NULL, 9) "
        "AS t(k, a, b, c)"
    )
    view = AsOfView(
        name="v", frame=frame, keys=[("k", "k")], timestamp="ts",
        features=[("c", "c"), ("b", "b"), ("a", "a")],
    )  # fmt: skip
    entities = spark.sql(f"SELECT 1 AS k, {TIME} AS t FROM range(1)")
    (row,) = join(entities, [view], timestamp="t", strategy=strategy).select("a", "b", "c").collect()
    assert tuple(row) == (2, "a", None)  # a first, by its name, then b; the order of request does not count


def test_a_feature_may_be_asked_for_twice(spark: SparkSession, strategy: str) -> None:
    frame = spark.sql(f"SELECT 1 AS k, {TIME} AS ts, 'x' AS f FROM range(1)")
    view = AsOfView(
        name="v", frame=frame, keys=[("k", "k")], timestamp="ts",
        features=[("f", "f"), ("f", "again"), ("ts", "when"), ("k", "key")],
    )  # fmt: skip
    entities = spark.sql(f"SELECT 1 AS k, {TIME} AS t FROM range(1)")
    joined = join(entities, [view], timestamp="t", strategy=strategy)
    (row,) = joined.selectExpr("f", "again", "when = t AS same_time", "key").collect()
    assert tuple(row) == ("x", "x", True, 1)
