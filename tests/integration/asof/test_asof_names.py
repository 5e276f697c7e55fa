"""Column names are data, whatever they look like, and entity columns come back as they went in."""

from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from feast_hybrid.asof import AsOfView, asof_join
from feast_hybrid.errors import JoinError, SchemaError
from tests.integration.asof.scanned import join

pytestmark = pytest.mark.matrix

NAMES = [
    "a;b",
    "a.b",
    "val_.*",
    "`tick`",
    "two words",
    " ",
    'q"uote',
    "it's",
    "ключ",
    "SELECT",
    "--",
    "{l}",
    "%s",
    "__fh_k0",
    "new\nline",
    "a" * 300,
]
TIME = "TIMESTAMP'2024-01-01 00:00:00Z'"


def rows(spark: SparkSession, **columns: str) -> DataFrame:
    return spark.range(1).selectExpr(*(f"{sql} AS {name}" for name, sql in columns.items()))


def test_any_name_will_do_in_any_place(spark: SparkSession, strategy: str) -> None:
    names = NAMES
    entities = rows(spark, k="id", t=TIME, other="'kept'").toDF(names[0], names[1], names[2])
    frame = rows(spark, k="id", ts=TIME, c=TIME, v="7", w="'x'").toDF(*names[3:8])
    view = AsOfView(
        name="v; DROP TABLE x",
        frame=frame,
        keys=[(names[0], names[3])],
        timestamp=names[4],
        created=names[5],
        features=[(names[6], names[8]), (names[7], names[9])] + [(names[6], name) for name in names[10:]],
    )
    joined = join(entities, [view], timestamp=names[1], strategy=strategy)
    assert joined.columns == names[:3] + names[8:]
    assert tuple(joined.collect()[0])[2:] == ("kept", 7, "x", *[7] * len(names[10:]))


def test_entity_columns_of_any_type_come_back_unchanged(spark: SparkSession, strategy: str) -> None:
    entities = rows(
        spark,
        k="id",
        b="X'00FF'",
        m="map('x', array(1, NULL), 'a', NULL)",
        s="named_struct('a.b', -0.0D, 'n', CAST('NaN' AS double))",
        v="""parse_json('{"a": [1, null]}')""",
        d="CAST(1.10 AS decimal(9,4))",
        iv="INTERVAL '1 02' DAY TO HOUR",
        naive="TIMESTAMP_NTZ'2024-03-10 02:30:00'",
        day="DATE'1582-10-10'",
        none="NULL",
        c="CAST('x' AS char(1))",
        t=TIME,
    )
    view = AsOfView(
        name="v",
        frame=rows(spark, id="id", ts=TIME, f="1"),
        keys=[("k", "id")],
        timestamp="ts",
        features=[("f", "f")],
    )
    joined = join(entities, [view, view_of(view, "g")], timestamp="t", strategy=strategy)
    columns = [(field.name, field.dataType) for field in joined.schema.fields]
    assert columns[:-2] == [(field.name, field.dataType) for field in entities.schema.fields]
    assert repr(joined.drop("f", "g").collect()) == repr(entities.collect())


def view_of(view: AsOfView, output: str) -> AsOfView:
    return AsOfView(name=output, frame=view.frame, keys=view.keys, timestamp=view.timestamp, features=[("f", output)])


def test_entity_columns_that_differ_in_case_or_not_at_all_are_carried_by_position(
    spark: SparkSession, strategy: str
) -> None:
    entities = rows(spark, k="id", t=TIME, x="1", y="2", z="3").toDF("k", "t", "a", "A", "a")
    view = AsOfView(
        name="v", frame=rows(spark, id="id", ts=TIME, f="7"), keys=[("k", "id")], timestamp="ts",
        features=[("f", "f")],
    )  # fmt: skip
    joined = join(entities, [view], timestamp="t", strategy=strategy)
    assert joined.columns == ["k", "t", "a", "A", "a", "f"]
    assert tuple(joined.collect()[0])[2:] == (1, 2, 3, 7)


@pytest.mark.parametrize("clash", ["k", "T", "Label"])
def test_a_feature_that_would_take_an_entity_columns_name_is_refused(spark: SparkSession, clash: str) -> None:
    entities = rows(spark, k="id", t=TIME, label="1")
    frame = rows(spark, id="id", ts=TIME, f="7")
    view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("f", clash)])
    with pytest.raises(JoinError, match=f"feature column '{clash}' of view 'v' and entity column"):
        asof_join(entities, [view], timestamp="t")


def test_two_features_of_one_name_are_refused(spark: SparkSession) -> None:
    entities, frame = rows(spark, k="id", t=TIME), rows(spark, id="id", ts=TIME, f="7")
    one = AsOfView(name="one", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("f", "f")])
    two = AsOfView(name="two", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("f", "F")])
    with pytest.raises(JoinError, match=r"'F' of view 'two' and feature column 'f' of view 'one'"):
        asof_join(entities, [one, two], timestamp="t")


def test_names_in_results_differ_by_case_where_the_session_says_so(spark: SparkSession, strategy: str) -> None:
    before = spark.conf.get("spark.sql.caseSensitive") or "false"
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        entities = rows(spark, k="id", K="id + 1", t=TIME)
        frame = rows(spark, id="id", ts=TIME, f="'small'", F="'capital'")
        view = AsOfView(name="v", frame=frame, keys=[("k", "id")], timestamp="ts", features=[("f", "f"), ("F", "F")])
        joined = join(entities, [view], timestamp="t", strategy=strategy)
        assert tuple(joined.select("f", "F").collect()[0]) == ("small", "capital")
        in_capitals = AsOfView(
            name="v", frame=frame, keys=[("k", "ID")], timestamp="TS", features=[("F", "g"), ("f", "h")]
        )
        joined = join(entities, [in_capitals], timestamp="T", strategy=strategy)
        assert tuple(joined.select("g", "h").collect()[0]) == ("capital", "small")
    finally:
        spark.conf.set("spark.sql.caseSensitive", before)


def test_a_missing_column_is_named_with_what_there_is(spark: SparkSession) -> None:
    entities, frame = rows(spark, driver_id="id", t=TIME), rows(spark, driver="id", ts=TIME, f="7")
    view = AsOfView(name="rides", frame=frame, keys=[("driver_id", "drivr")], timestamp="ts", features=[("f", "f")])
    with pytest.raises(SchemaError, match=r"view 'rides': key column 'drivr'.*did you mean 'driver'\?"):
        asof_join(entities, [view], timestamp="t")


def test_a_row_written_in_python_comes_back(spark: SparkSession, strategy: str) -> None:
    when = dt.datetime(2024, 3, 10, 7, 30, tzinfo=dt.UTC)
    entities = spark.createDataFrame([(1, when, [b"x"])], "k int, t timestamp, blob array<binary>")
    view = AsOfView(
        name="v",
        frame=spark.createDataFrame([(1, when, {"a": 1.5})], "k bigint, ts timestamp, f map<string,double>"),
        keys=[("k", "k")],
        timestamp="ts",
        features=[("f", "f")],
    )
    joined = join(entities, [view], timestamp="t", strategy=strategy)
    row = joined.withColumn("t", F.unix_micros("t")).collect()[0]
    assert tuple(row) == (1, int(when.timestamp()) * 10**6, [b"x"], {"a": 1.5})
