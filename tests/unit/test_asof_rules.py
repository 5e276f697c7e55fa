"""The rules of the as-of join that need no Spark session: names, key types, ttl, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyspark.sql import types as T

from feast_hybrid.asof import AsOfView
from feast_hybrid.asof.keys import domain
from feast_hybrid.asof.latest import latest_rows
from feast_hybrid.errors import JoinError, SchemaError
from feast_hybrid.spark.columns import position, refuse_clashes


def test_the_latest_rows_name_what_lacks_a_column() -> None:
    frame: Any = SimpleNamespace(schema=T.StructType([]), columns=[])
    with pytest.raises(SchemaError, match=r"^source 'rides' \(hdfs://a/b\): column 'k' is not a column"):
        latest_rows(frame, what="source 'rides' (hdfs://a/b)", keys=["k"], timestamp="t")


def find(name: str, columns: list[str]) -> int:
    return position(name, columns, owner="view 'v'", role="feature column")


@pytest.mark.parametrize(
    ("name", "columns", "place"),
    [("b", ["a", "b"], 1), ("A", ["a", "b"], 0), ("A", ["a", "A"], 1), ("a.b", ["a", "a.b"], 1)],
)
def test_a_column_is_found_by_its_name_then_ignoring_case(name: str, columns: list[str], place: int) -> None:
    assert find(name, columns) == place


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("x", ["a", "b"], "view 'v': feature column 'x' is not a column; the frame has 'a', 'b'"),
        ("amout", ["amount"], "did you mean 'amount'"),
        ("AB", ["ab", "Ab"], "ambiguous: the frame has 'ab', 'Ab'"),
        ("a", ["a", "a"], "ambiguous"),
        ("a", [], "the frame has no columns"),
    ],
)
def test_a_column_that_cannot_be_found_is_refused(name: str, columns: list[str], message: str) -> None:
    with pytest.raises(SchemaError) as refusal:
        find(name, columns)
    assert message in str(refusal.value)


def test_case_counts_in_results_where_the_session_says_so() -> None:
    refuse_clashes(["a"], [("v", "A")], case_sensitive=True)
    with pytest.raises(JoinError):
        refuse_clashes(["a"], [("v", "A")], case_sensitive=False)


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        ("tinyint", "bigint", "bigint"),
        ("int", "double", "bigint"),
        ("float", "double", "double"),
        ("decimal(9,2)", "decimal(5,4)", "decimal(3,2)"),
        ("decimal(38,18)", "decimal(38,0)", "decimal(20,0)"),
        ("bigint", "decimal(38,38)", "decimal(1,0)"),
        ("varchar(3)", "string", "string"),
        ("timestamp", "timestamp_ntz", "bigint"),
        ("void", "string", "string"),
        ("bigint", "void", "bigint"),
        ("date", "date", "date"),
    ],
)
def test_keys_are_compared_in_a_common_type(left: str, right: str, common: str) -> None:
    def spark_type(name: str) -> T.DataType:
        simple = {"void": T.NullType(), "varchar(3)": T.VarcharType(3), "string": T.StringType()}
        if name.startswith("decimal"):
            precision, scale = name[8:-1].split(",")
            return T.DecimalType(int(precision), int(scale))
        others = {"tinyint": T.ByteType(), "int": T.IntegerType(), "bigint": T.LongType(),
                  "float": T.FloatType(), "double": T.DoubleType(), "timestamp": T.TimestampType(),
                  "timestamp_ntz": T.TimestampNTZType(), "date": T.DateType()}  # fmt: skip
        return {**simple, **others}[name]

    for one, other in ((left, right), (right, left)):
        found = domain(spark_type(one), spark_type(other), view="v", entity_column="e", source_column="s")
        assert found.type.simpleString() == common


def test_text_and_numbers_are_no_common_keys() -> None:
    with pytest.raises(SchemaError, match=r"view 'v': key column 's' is bigint and entity column 'e' is string"):
        domain(T.StringType(), T.LongType(), view="v", entity_column="e", source_column="s")


@pytest.mark.parametrize(
    ("ttl", "micros"),
    [
        (None, None),
        (timedelta(0), None),
        (timedelta(days=-1), None),
        (timedelta(microseconds=1), 1),
        (timedelta(days=1), 86_400_000_000),
        (timedelta.max, None),
    ],
)
def test_a_ttl_of_nothing_less_or_for_ever_limits_nothing(ttl: timedelta | None, micros: int | None) -> None:
    view = AsOfView(name="v", frame=cast("Any", None), keys=[], timestamp="ts", ttl=ttl, features=[])
    assert view.ttl_micros == micros


def test_importing_it_imports_neither_feast_nor_spark() -> None:
    code = "import sys, feast_hybrid.asof; print([m for m in ('feast', 'pyspark') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
