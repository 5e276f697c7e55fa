"""Column types: from Spark's names to Feast's value types, and from Feast's types to Arrow's.

Sources speak Spark's type names (``bigint``, ``array<double>``), whatever read their schema, so that
``feast apply`` infers the same features with and without a JVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from feast.type_map import feast_value_type_to_pa
from feast.types import Bytes, from_feast_to_pyarrow_type
from feast.value_type import ValueType

from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    from feast.types import FeastType


def value_type_of_spark(spark_type: str) -> ValueType:
    """The Feast value type of a Spark type, given by its ``simpleString``.

    Unlike Feast's own table this knows ``binary``, ``timestamp_ntz`` and decimals. A type that Feast cannot hold
    is ``UNKNOWN``, and a feature of it must be declared by hand.
    """
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


def as_spark_source_has_it(spark_type: str) -> str:
    """A Spark type in a word of Feast's own table for ``SparkSource`` that means the same, where it has one."""
    name = spark_type.strip().lower()
    if name.startswith("array<") and name.endswith(">"):
        return f"array<{as_spark_source_has_it(name[len('array<') : -1])}>"
    words = {"timestamp_ntz": "timestamp", "timestamp_ltz": "timestamp", "binary": "byte"}
    return "string" if name.startswith(("char(", "varchar(")) else words.get(name, spark_type)


def as_file_source_has_it(spark_type: str) -> str:
    """A Spark type in a word of Feast's own table for ``FileSource``, which are Arrow's, where it has one."""
    name = spark_type.strip().lower()
    if name.startswith("array<") and name.endswith(">"):
        return f"list<item: {as_file_source_has_it(name[len('array<') : -1])}>"
    words = {
        "boolean": "bool",
        "tinyint": "int8",
        "smallint": "int16",
        "int": "int32",
        "bigint": "int64",
        "timestamp": "timestamp[us, tz=UTC]",
        "timestamp_ntz": "timestamp[us]",
        "void": "null",
    }
    return "string" if name.startswith(("char(", "varchar(")) else words.get(name, spark_type)


def as_iceberg_source_has_it(spark_type: str) -> str:
    """A Spark type in a word of Feast's own table for ``IcebergSource``, which are Iceberg's, where it has one."""
    name = spark_type.strip().lower()
    words = {
        "tinyint": "int",
        "smallint": "int",
        "bigint": "long",
        "timestamp": "timestamptz",
        "timestamp_ntz": "timestamp",
    }
    return words.get(name, spark_type)


def arrow_type_of_feast(feast_type: FeastType, what: str) -> pa.DataType:
    """The Arrow type in which a source keeps a feature; times are instants in microseconds.

    Args:
        feast_type: of the feature.
        what: how an error names the feature.

    Raises:
        SchemaError: Feast does not say what its values are in Arrow.
    """
    if feast_type == Bytes:
        return pa.binary()
    try:
        arrow_type = from_feast_to_pyarrow_type(feast_type)
    except ValueError:
        try:
            arrow_type = feast_value_type_to_pa(feast_type.to_value_type())
        except (ValueError, KeyError):
            raise SchemaError(f"{what}: Feast has no Arrow type for {feast_type}.") from None
    return pa.string() if pa.types.is_large_string(arrow_type) else arrow_type
