"""Column types: from Arrow to Spark's names for them, and from those to Feast's value types."""

from __future__ import annotations

import pyarrow as pa
import pytest
from feast.value_type import ValueType
from pyspark.sql import types as T
from pyspark.sql.pandas.types import from_arrow_type

from feast_hybrid.arrow.types import arrow_type_of_spark, spark_type_of_arrow
from feast_hybrid.arrow.unify import resolve_type, spark_form
from feast_hybrid.errors import SchemaError
from feast_hybrid.sources.feast_types import value_type_of_spark
from feast_hybrid.sources.inference import columns_of

STRUCT = pa.struct([("x", pa.int32()), ("y z", pa.list_(pa.string()))])

ARROW: list[tuple[pa.DataType, str]] = [
    (pa.bool_(), "boolean"),
    (pa.int8(), "tinyint"),
    (pa.int16(), "smallint"),
    (pa.int32(), "int"),
    (pa.int64(), "bigint"),
    (pa.float32(), "float"),
    (pa.float64(), "double"),
    (pa.string(), "string"),
    (pa.large_string(), "string"),
    (pa.binary(), "binary"),
    (pa.large_binary(), "binary"),
    (pa.binary(16), "binary"),
    (pa.date32(), "date"),
    (pa.timestamp("us", tz="UTC"), "timestamp"),
    (pa.timestamp("us", tz="Asia/Tokyo"), "timestamp"),
    (pa.timestamp("us"), "timestamp_ntz"),
    (pa.decimal128(38, 10), "decimal(38,10)"),
    (pa.decimal128(5, 0), "decimal(5,0)"),
    (pa.dictionary(pa.int32(), pa.string()), "string"),
    (pa.list_(pa.float64()), "array<double>"),
    (pa.list_(pa.list_(pa.int64())), "array<array<bigint>>"),
    (pa.large_list(pa.string()), "array<string>"),
    (pa.list_(pa.int8(), 3), "array<tinyint>"),
    (STRUCT, "struct<x:int,y z:array<string>>"),
    (pa.list_(STRUCT), "array<struct<x:int,y z:array<string>>>"),
    (pa.map_(pa.string(), pa.list_(pa.float64())), "map<string,array<double>>"),
]

#: Where a Parquet column is another type than it is in Arrow.
PARQUET: list[tuple[pa.DataType, str]] = [
    (pa.null(), "int"),
    (pa.float16(), "float"),
    (pa.timestamp("ns"), "timestamp_ntz"),
    (pa.uint8(), "smallint"),
    (pa.uint16(), "int"),
    (pa.uint32(), "bigint"),
    (pa.uint64(), "decimal(20,0)"),
    (pa.date64(), "date"),
    (pa.timestamp("ms", tz="UTC"), "timestamp"),
    (pa.timestamp("s"), "timestamp_ntz"),
    (pa.duration("us"), "bigint"),
    (pa.dictionary(pa.int8(), pa.int64()), "bigint"),
    (pa.decimal256(20, 2), "decimal(20,2)"),
    *([(pa.json_(), "string")] if hasattr(pa, "json_") else []),  # since PyArrow 19
    (pa.bool8(), "tinyint"),
]


def name_in_spark(arrow: pa.DataType, *, naive_is_instant: bool = False) -> str:
    return spark_type_of_arrow(resolve_type([spark_form(arrow, naive_is_instant=naive_is_instant)], None))


@pytest.mark.parametrize(("arrow", "spark"), ARROW + PARQUET, ids=str)
def test_sparks_name_of_an_arrow_type(arrow: pa.DataType, spark: str) -> None:
    assert name_in_spark(arrow) == spark


@pytest.mark.parametrize(("arrow", "spark"), ARROW, ids=str)
def test_pyspark_agrees_where_it_has_an_answer(arrow: pa.DataType, spark: str) -> None:
    if pa.types.is_dictionary(arrow):
        arrow = arrow.value_type  # pyspark knows no dictionaries before they are decoded
    assert from_arrow_type(arrow, prefer_timestamp_ntz=True).simpleString() == spark


@pytest.mark.parametrize(
    "arrow",
    [
        pa.time32("ms"),
        pa.time64("us"),
        pa.decimal256(50, 2),
        pa.decimal128(5, -2),
        pa.month_day_nano_interval(),
        pa.list_(pa.time64("us")),
    ],
    ids=str,
)
def test_what_spark_cannot_read_is_refused(arrow: pa.DataType) -> None:
    with pytest.raises(SchemaError, match="Spark has no type for Arrow's "):
        name_in_spark(arrow)


def test_a_type_that_is_none_of_sparks_has_no_name_there() -> None:
    with pytest.raises(SchemaError, match="Spark has no type for Arrow's uint8"):
        spark_type_of_arrow(pa.list_(pa.uint8()))


def test_uuids_of_parquet_are_refused_saying_what_to_write() -> None:
    with pytest.raises(SchemaError, match="write UUIDs as text"):
        name_in_spark(pa.uuid())


@pytest.mark.parametrize(
    ("arrow", "spark"),
    [
        (pa.timestamp("ns"), "timestamp"),
        (pa.list_(pa.timestamp("ns")), "array<timestamp>"),
        (pa.struct([("t", pa.timestamp("ns"))]), "struct<t:timestamp>"),
        (pa.map_(pa.string(), pa.timestamp("ns")), "map<string,timestamp>"),
    ],
)
def test_int96_has_no_zone_in_arrow_but_is_an_instant_to_spark(arrow: pa.DataType, spark: str) -> None:
    assert name_in_spark(arrow, naive_is_instant=True) == spark


HELD: list[tuple[T.DataType, pa.DataType]] = [
    (T.BooleanType(), pa.bool_()),
    (T.ByteType(), pa.int8()),
    (T.ShortType(), pa.int16()),
    (T.IntegerType(), pa.int32()),
    (T.LongType(), pa.int64()),
    (T.FloatType(), pa.float32()),
    (T.DoubleType(), pa.float64()),
    (T.StringType(), pa.string()),
    (T.BinaryType(), pa.binary()),
    (T.DateType(), pa.date32()),
    (T.TimestampType(), pa.timestamp("us", tz="UTC")),
    (T.TimestampNTZType(), pa.timestamp("us")),
    (T.DecimalType(38, 10), pa.decimal128(38, 10)),
    (T.ArrayType(T.LongType(), containsNull=False), pa.list_(pa.field("element", pa.int64(), nullable=False))),
    (T.MapType(T.StringType(), T.LongType()), pa.map_(pa.string(), pa.int64())),
    (
        T.StructType().add("a b", T.LongType(), nullable=False).add("c", T.ArrayType(T.StringType())),
        pa.struct([pa.field("a b", pa.int64(), nullable=False), ("c", pa.list_(pa.string()))]),
    ),
]


@pytest.mark.parametrize(("spark", "arrow"), HELD, ids=str)
def test_the_arrow_type_that_carries_a_spark_type(spark: T.DataType, arrow: pa.DataType) -> None:
    assert arrow_type_of_spark(spark) == arrow


@pytest.mark.parametrize(
    "spark",
    [
        T.NullType(),
        T.CharType(3),
        T.VarcharType(3),
        T.StringType("UTF8_LCASE"),
        T.DayTimeIntervalType(),
        T.VariantType(),
        T.StructType(),
        T.StructType().add("a", T.LongType()).add("a", T.LongType()),
        T.ArrayType(T.CharType(3)),
        T.MapType(T.StringType(), T.NullType()),
        T.StructType().add("a", T.DayTimeIntervalType()),
    ],
    ids=str,
)
def test_what_arrow_does_not_carry_unchanged_has_no_type(spark: T.DataType) -> None:
    assert arrow_type_of_spark(spark) is None


@pytest.mark.parametrize(
    ("spark", "feast"),
    [
        ("boolean", ValueType.BOOL),
        ("tinyint", ValueType.INT32),
        ("smallint", ValueType.INT32),
        ("int", ValueType.INT32),
        ("bigint", ValueType.INT64),
        ("float", ValueType.FLOAT),
        ("double", ValueType.DOUBLE),
        ("string", ValueType.STRING),
        ("char(3)", ValueType.STRING),
        ("varchar(20)", ValueType.STRING),
        ("binary", ValueType.BYTES),
        ("date", ValueType.UNIX_TIMESTAMP),
        ("timestamp", ValueType.UNIX_TIMESTAMP),
        ("timestamp_ntz", ValueType.UNIX_TIMESTAMP),
        ("decimal(38,10)", ValueType.DECIMAL),
        ("void", ValueType.NULL),
        ("variant", ValueType.JSON),
        ("array<string>", ValueType.STRING_LIST),
        ("array<smallint>", ValueType.INT32_LIST),
        ("array<bigint>", ValueType.INT64_LIST),
        ("array<double>", ValueType.DOUBLE_LIST),
        ("array<boolean>", ValueType.BOOL_LIST),
        ("array<binary>", ValueType.BYTES_LIST),
        ("array<timestamp>", ValueType.UNIX_TIMESTAMP_LIST),
        ("array<decimal(5,2)>", ValueType.DECIMAL_LIST),
        ("array<array<bigint>>", ValueType.VALUE_LIST),
        ("array<map<string,int>>", ValueType.MAP_LIST),
        ("array<struct<a:int>>", ValueType.STRUCT_LIST),
        ("map<string,array<double>>", ValueType.MAP),
        ("struct<x:int,y:array<string>>", ValueType.STRUCT),
        ("array<void>", ValueType.UNKNOWN),
        ("interval day to second", ValueType.UNKNOWN),
        ("geography", ValueType.UNKNOWN),
        (" BIGINT ", ValueType.INT64),
    ],
)
def test_feasts_value_type_of_a_spark_type(spark: str, feast: ValueType) -> None:
    assert value_type_of_spark(spark) == feast


def test_the_same_feature_is_inferred_with_and_without_a_jvm() -> None:
    for arrow, _ in ARROW:
        by_footer = value_type_of_spark(name_in_spark(arrow))
        plain = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
        assert by_footer == value_type_of_spark(from_arrow_type(plain, prefer_timestamp_ntz=True).simpleString())


def test_the_columns_of_a_spark_schema() -> None:
    schema = T.StructType().add("a b", T.LongType()).add("c.d", T.ArrayType(T.StringType())).add("e", T.CharType(3))
    assert columns_of(schema) == [("a b", "bigint"), ("c.d", "array<string>"), ("e", "char(3)")]
