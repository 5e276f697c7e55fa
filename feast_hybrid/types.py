"""Column types: from Arrow to Spark's names, and from Spark's names to Feast's value types.

Sources speak Spark's type names (``bigint``, ``array<double>``), whatever read their schema, so that
``feast apply`` infers the same features with and without a JVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa
    from feast.value_type import ValueType
    from pyspark.sql.types import StructType


def spark_type_of_arrow(arrow_type: pa.DataType) -> str:
    """The name of the type that Spark gives to a Parquet column of this Arrow type.

    Unsigned integers become the next wider signed type, as in Spark's Parquet reader.

    Raises:
        SchemaError: Spark has no such type.
    """
    import pyarrow as pa

    simple = {
        pa.null(): "void",
        pa.bool_(): "boolean",
        pa.int8(): "tinyint",
        pa.int16(): "smallint",
        pa.int32(): "int",
        pa.int64(): "bigint",
        pa.uint8(): "smallint",
        pa.uint16(): "int",
        pa.uint32(): "bigint",
        pa.uint64(): "decimal(20,0)",
        pa.float16(): "float",
        pa.float32(): "float",
        pa.float64(): "double",
        pa.string(): "string",
        pa.large_string(): "string",
        pa.string_view(): "string",
        pa.binary(): "binary",
        pa.large_binary(): "binary",
        pa.binary_view(): "binary",
        pa.date32(): "date",
        pa.date64(): "date",
    }
    if arrow_type in simple:
        return simple[arrow_type]
    kinds = pa.types
    if kinds.is_timestamp(arrow_type):
        return "timestamp" if arrow_type.tz else "timestamp_ntz"
    if kinds.is_decimal(arrow_type):
        return f"decimal({arrow_type.precision},{arrow_type.scale})"
    if kinds.is_fixed_size_binary(arrow_type):
        return "binary"
    if kinds.is_dictionary(arrow_type):
        return spark_type_of_arrow(arrow_type.value_type)
    if kinds.is_list(arrow_type) or kinds.is_large_list(arrow_type) or kinds.is_fixed_size_list(arrow_type):
        return f"array<{spark_type_of_arrow(arrow_type.value_type)}>"
    if kinds.is_map(arrow_type):
        key, item = spark_type_of_arrow(arrow_type.key_type), spark_type_of_arrow(arrow_type.item_type)
        return f"map<{key},{item}>"
    if kinds.is_struct(arrow_type):
        fields = (f"{field.name}:{spark_type_of_arrow(field.type)}" for field in arrow_type)
        return f"struct<{','.join(fields)}>"
    raise SchemaError(f"Arrow type {arrow_type} has no counterpart in Spark.")


def value_type_of_spark(spark_type: str) -> ValueType:
    """The Feast value type of a Spark type, given by its ``simpleString``.

    Unlike Feast's own table this knows ``binary``, ``timestamp_ntz`` and decimals. A type that Feast cannot hold
    is ``UNKNOWN``, and a feature of it must be declared by hand.
    """
    from feast.value_type import ValueType

    name = spark_type.strip().lower()
    if name.startswith("array<") and name.endswith(">"):
        inner = name[len("array<") : -1]
        if inner.startswith("array<"):
            return ValueType.VALUE_LIST
        scalar = value_type_of_spark(inner)
        return ValueType.__members__.get(f"{scalar.name}_LIST", ValueType.UNKNOWN)
    for prefix, value_type in (
        ("map<", ValueType.MAP),
        ("struct<", ValueType.STRUCT),
        ("decimal", ValueType.DECIMAL),
        ("char", ValueType.STRING),
        ("varchar", ValueType.STRING),
        ("string", ValueType.STRING),
        ("timestamp", ValueType.UNIX_TIMESTAMP),
    ):
        if name.startswith(prefix):
            return value_type
    return {
        "boolean": ValueType.BOOL,
        "tinyint": ValueType.INT32,
        "smallint": ValueType.INT32,
        "int": ValueType.INT32,
        "bigint": ValueType.INT64,
        "float": ValueType.FLOAT,
        "double": ValueType.DOUBLE,
        "binary": ValueType.BYTES,
        "date": ValueType.UNIX_TIMESTAMP,
        "void": ValueType.NULL,
        "variant": ValueType.JSON,
    }.get(name, ValueType.UNKNOWN)


def columns_of(schema: StructType) -> list[tuple[str, str]]:
    """Names and Spark type names of a schema's columns."""
    return [(field.name, field.dataType.simpleString()) for field in schema.fields]
