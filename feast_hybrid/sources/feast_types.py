"""Column types: from Spark's names to Feast's value types.

Sources speak Spark's type names (``bigint``, ``array<double>``), whatever read their schema, so that
``feast apply`` infers the same features with and without a JVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast.value_type import ValueType
    from pyspark.sql.types import StructType


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
