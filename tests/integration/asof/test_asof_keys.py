"""Keys compare by value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from feast_hybrid.asof import AsOfView, asof_join
from feast_hybrid.errors import SchemaError
from tests.integration.asof.scanned import join

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from tests.integration.asof.conftest import Settings

pytestmark = pytest.mark.matrix

TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"

# entity key, source key, whether they are the same key
PAIRS = [
    ("1Y", "1L", True),
    ("CAST(-7 AS smallint)", "-7", True),
    ("9223372036854775807L", "9223372036854775807BD", True),
    ("9223372036854775807L", "9223372036854775806L", False),
    ("1", "1.00BD", True),
    ("1", "1.01BD", False),
    ("1.50BD", "1.5BD", True),
    ("1.50BD", "1.51BD", False),
    ("1.5BD", "1.509BD", False),
    ("0.5BD", "CAST(0.5 AS decimal(38,38))", True),
    ("CAST(1 AS decimal(38,0))", "CAST(1 AS decimal(38,18))", True),
    ("99999999999999999999999999999999999999BD", "CAST(9 AS decimal(2,1))", False),
    ("2D", "2L", True),
    ("2.5D", "2L", False),
    ("CAST('NaN' AS double)", "0L", False),
    ("9007199254740993L", "9007199254740992D", False),
    ("9223372036854775807L", "9223372036854775808D", False),
    ("CAST('Infinity' AS double)", "9223372036854775807L", False),
    ("CAST(1.5 AS float)", "1.5D", True),
    ("CAST(0.1 AS float)", "0.1D", False),
    ("CAST('NaN' AS double)", "CAST('NaN' AS float)", True),
    ("-0.0D", "0.0D", True),
    ("'a'", "'a'", True),
    ("'a'", "'A'", False),
    ("'a'", "'a '", False),
    ("'01'", "'1'", False),
    ("TRUE", "TRUE", True),
    ("TRUE", "FALSE", False),
    ("DATE'2024-03-10'", "DATE'2024-03-10'", True),
    ("X'00FF'", "X'00FF'", True),
    ("X'00FF'", "X'00'", False),
    ("TIMESTAMP'2024-03-10 02:30:00Z'", "TIMESTAMP_NTZ'2024-03-10 02:30:00'", True),
    ("TIMESTAMP'2024-03-10 02:30:00-05:00'", "TIMESTAMP_NTZ'2024-03-10 02:30:00'", False),
    ("INTERVAL '1' DAY", "INTERVAL '1' DAY", True),
    ("'a' COLLATE UTF8_LCASE", "'A'", False),
    ("NULL", "1L", False),
    ("NULL", "'a'", False),
    ("NULL", "NULL", False),
    ("CAST(NULL AS int)", "CAST(NULL AS bigint)", False),
]


def _frames(spark: SparkSession, left: str, right: str) -> tuple[DataFrame, DataFrame]:
    return (
        spark.sql(f"SELECT {left} AS k, {TIME} AS t"),
        spark.sql(f"SELECT {right} AS id, {TIME} AS ts, 'hit' AS v"),
    )


@pytest.mark.parametrize("ansi", [True, False])
def test_pairs_of_key_types(spark: SparkSession, settings: Settings, strategy: str, ansi: bool) -> None:
    if strategy != "window" and not ansi:
        pytest.skip("what depends on it is the same expressions for all strategies")
    with settings(ansi=ansi, zone="America/New_York"):
        found = None
        for n, (left, right, _) in enumerate(PAIRS):
            entities, frame = _frames(spark, left, right)
            view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("v", "v")])
            one = join(entities, [view], timestamp="t", strategy=strategy)
            one = one.selectExpr(f"{n} AS n", "v IS NOT NULL AS hit")
            found = one if found is None else found.union(one)
        assert found is not None
        hits = {row["n"]: row["hit"] for row in found.collect()}
    wrong = [pair for n, pair in enumerate(PAIRS) if hits[n] != pair[2]]
    assert not wrong


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("'1'", "1"),
        ("1", "'1'"),
        ("1.5D", "1.5BD"),
        ("TRUE", "1"),
        ("'2024-01-01'", "DATE'2024-01-01'"),
        ("DATE'2024-01-01'", "TIMESTAMP'2024-01-01 00:00:00'"),
        ("'a'", "X'61'"),
    ],
)
def test_types_that_do_not_go_together_are_refused_by_name(spark: SparkSession, left: str, right: str) -> None:
    entities, frame = _frames(spark, left, right)
    data_types = entities.schema["k"].dataType.simpleString(), frame.schema["id"].dataType.simpleString()
    view = AsOfView(name="rides", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("v", "v")])
    with pytest.raises(SchemaError) as refusal:
        asof_join(entities, [view], timestamp="t")
    for part in ("view 'rides'", "'k'", "'id'", *data_types):
        assert part in str(refusal.value)


@pytest.mark.parametrize("key", ["array(1)", "named_struct('a', 1)", "map('a', 1)", "parse_json('1')"])
def test_what_is_no_scalar_is_no_key(spark: SparkSession, key: str) -> None:
    entities, frame = _frames(spark, key, key)
    view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("v", "v")])
    with pytest.raises(SchemaError, match="cannot be a join key"):
        asof_join(entities, [view], timestamp="t")


def test_composite_keys_are_not_concatenated(spark: SparkSession, strategy: str) -> None:
    entities = spark.sql(f"SELECT *, {TIME} AS t FROM VALUES (1, 11), (11, 1), (1, 1), (1, NULL) AS t(a, b)")
    frame = spark.sql(
        f"SELECT *, {TIME} AS ts FROM VALUES (1L, 11L, 'x'), (11L, 1L, 'y'), (1L, NULL, 'z') AS t(a, b, v)"
    )
    view = AsOfView(name="v", frame=frame, keys=[("a", "a"), ("b", "b")], timestamp="ts", features=[("v", "v")])
    found = join(entities, [view], timestamp="t", strategy=strategy).select("a", "b", "v").collect()
    assert set(map(tuple, found)) == {(1, 11, "x"), (11, 1, "y"), (1, 1, None), (1, None, None)}


def test_one_entity_column_may_be_two_keys_of_a_view(spark: SparkSession, strategy: str) -> None:
    entities = spark.sql(f"SELECT *, {TIME} AS t FROM VALUES (1), (2) AS t(k)")
    frame = spark.sql(f"SELECT *, {TIME} AS ts FROM VALUES (1, 1L, 'both'), (2, 1L, 'one') AS t(a, b, v)")
    view = AsOfView(name="v", frame=frame, keys=[("k", "a"), ("k", "b")], timestamp="ts", features=[("v", "v")])
    found = join(entities, [view], timestamp="t", strategy=strategy).select("k", "v").collect()
    assert dict(map(tuple, found)) == {1: "both", 2: None}


def test_without_keys_every_entity_row_matches(spark: SparkSession) -> None:
    entities = spark.sql(
        "SELECT * FROM VALUES (1, TIMESTAMP'2024-01-01 00:00:00'), (2, TIMESTAMP'2024-01-02 00:00:00'), "
        "(3, TIMESTAMP'2023-01-01 00:00:00'), (4, NULL) AS t(n, t)"
    )
    frame = spark.sql(
        "SELECT * FROM VALUES ('x', TIMESTAMP'2024-01-01 00:00:00'), ('y', TIMESTAMP'2024-01-02 00:00:00'), "
        "('z', NULL) AS t(v, ts)"
    )
    view = AsOfView(name="rate", frame=frame, keys=[], timestamp="ts", features=[("v", "v")])
    for by_created in (False, True):
        found = asof_join(entities, [view], timestamp="t", filter_by_created_timestamp=by_created)
        assert dict(map(tuple, found.select("n", "v").collect())) == {1: "x", 2: "y", 3: None, 4: None}


def test_one_entity_key_serves_views_of_different_types(spark: SparkSession, strategy: str) -> None:
    entities = spark.sql(f"SELECT *, {TIME} AS t FROM VALUES (1), (2) AS t(k)")
    views = [
        AsOfView(
            name=data_type,
            frame=spark.sql(f"SELECT CAST(1 AS {data_type}) AS id, {TIME} AS ts, '{data_type}' AS v"),
            keys=[("k", "id")],
            timestamp="ts",
            features=[("v", data_type)],
        )
        for data_type in ("bigint", "double", "decimal(9,2)", "tinyint")
    ]
    found = join(entities, views, timestamp="t", strategy=strategy).drop("t").collect()
    assert sorted(map(tuple, found)) == [
        (1, "bigint", "double", "decimal(9,2)", "tinyint"),
        (2, None, None, None, None),
    ]
