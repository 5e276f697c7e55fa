"""Types in Arrow, and the types of Spark that go with them.

Spark's types are taken as objects that say their own name (``typeName()``, ``simpleString()``) and never imported:
the tasks of the columnar join and an engine without a JVM use this module where there is no PySpark.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

#: What carries a Spark type in Arrow, by the name that Spark gives it.
_ARROW_OF_SPARK: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}

#: Of Spark's decimals.
MAX_DIGITS = 38

_SPARK_OF_ARROW = {data_type: name for name, data_type in _ARROW_OF_SPARK.items()}


def spark_type_of_arrow(data_type: pa.DataType) -> str:
    """Spark's name for a type of its own form, as :func:`feast_hybrid.arrow.unify.spark_form` gives it.

    Raises:
        SchemaError: it is none.
    """
    if (name := _SPARK_OF_ARROW.get(data_type)) is not None:
        return name
    if pa.types.is_decimal(data_type):
        return f"decimal({data_type.precision},{data_type.scale})"
    if pa.types.is_list(data_type):
        return f"array<{spark_type_of_arrow(data_type.value_type)}>"
    if pa.types.is_map(data_type):
        return f"map<{spark_type_of_arrow(data_type.key_type)},{spark_type_of_arrow(data_type.item_type)}>"
    if pa.types.is_struct(data_type):
        fields = (f"{field.name}:{spark_type_of_arrow(field.type)}" for field in data_type)
        return f"struct<{','.join(fields)}>"
    raise SchemaError(f"Spark has no type for Arrow's {data_type}.")


def arrow_type_of_spark(spark_type: DataType) -> pa.DataType | None:
    """The Arrow type that carries every value of a Spark type unchanged, timestamps in microseconds.

    Args:
        spark_type: a type object of PySpark.

    Returns:
        None for a type that has no such type in Arrow: intervals, variants, strings with a collation or a length,
        structs with two fields of one name.
    """
    parts: Any = spark_type  # which parts it has depends on its class, recognised by its name
    name = parts.typeName()
    if name == "decimal":
        return pa.decimal128(parts.precision, parts.scale)
    if name == "array":
        element = arrow_type_of_spark(parts.elementType)
        return None if element is None else pa.list_(pa.field("element", element, nullable=parts.containsNull))
    if name == "map":
        key, value = arrow_type_of_spark(parts.keyType), arrow_type_of_spark(parts.valueType)
        if key is None or value is None:
            return None
        value_field = pa.field("value", value, nullable=parts.valueContainsNull)
        return pa.map_(pa.field("key", key, nullable=False), value_field)
    if name == "struct":
        if not parts.fields or len(set(parts.names)) < len(parts.names):
            return None
        fields = [(field, arrow_type_of_spark(field.dataType)) for field in parts.fields]
        if any(inner is None for _, inner in fields):
            return None
        return pa.struct([pa.field(field.name, inner, nullable=field.nullable) for field, inner in fields])
    # Only the plain type has its plain name: a collation or a length stands behind it.
    return _ARROW_OF_SPARK.get(parts.simpleString())


def as_spark_returns(data_type: pa.DataType) -> pa.DataType:
    """The type with the parts of lists and maps called as Spark calls them where it returns rows."""
    if pa.types.is_list(data_type):
        return pa.list_(pa.field("element", as_spark_returns(data_type.value_type)))
    if pa.types.is_map(data_type):
        value = pa.field("value", as_spark_returns(data_type.item_type))
        return pa.map_(pa.field("key", as_spark_returns(data_type.key_type), nullable=False), value)
    if pa.types.is_struct(data_type):
        return pa.struct([pa.field(field.name, as_spark_returns(field.type)) for field in data_type])
    return data_type


def has_spark_type(data_type: pa.DataType) -> bool:
    """Whether Spark takes columns of this type as they are, in all of the versions that this package knows.

    Its client knows times of the day before its engine does.
    """
    is_ = pa.types
    if is_.is_dictionary(data_type):
        return has_spark_type(data_type.value_type)
    if is_.is_map(data_type):
        return has_spark_type(data_type.key_type) and has_spark_type(data_type.item_type)
    if is_.is_struct(data_type):
        return all(has_spark_type(field.type) for field in data_type)
    if is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_fixed_size_list(data_type):
        return has_spark_type(data_type.value_type)
    if is_.is_decimal(data_type):
        return fits_spark(data_type)
    plain = (
        is_.is_boolean, is_.is_signed_integer, is_.is_float32, is_.is_float64, is_.is_string,
        is_.is_large_string, is_.is_binary, is_.is_large_binary, is_.is_fixed_size_binary, is_.is_date32,
        is_.is_timestamp, is_.is_duration, is_.is_null,
    )  # fmt: skip
    return any(is_it(data_type) for is_it in plain)


def fits_spark(decimal: pa.DataType) -> bool:
    """Whether Spark has a decimal of so many digits, in however many bits Arrow has them."""
    return bool(0 <= decimal.scale <= decimal.precision <= MAX_DIGITS)


def is_any_list(data_type: pa.DataType) -> bool:
    """Whether it is a list in any of Arrow's layouts, of which older versions of pyarrow do not know all."""
    return "list" in type(data_type).__name__.lower()


def replace_leaf_types(data_type: pa.DataType, replace: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with each type within its lists, structs and maps replaced, or itself where it is none of these."""
    if pa.types.is_list(data_type):
        return pa.list_(_replaced(data_type.value_field, replace))
    if pa.types.is_struct(data_type):
        return pa.struct([_replaced(field, replace) for field in data_type])
    if pa.types.is_map(data_type):
        return pa.map_(_replaced(data_type.key_field, replace), _replaced(data_type.item_field, replace))
    return replace(data_type)


def without_views(data_type: pa.DataType) -> pa.DataType:
    """The type with text and bytes laid out in one buffer, not as views, which Arrow turns into no pandas column."""
    is_ = pa.types
    if is_.is_dictionary(data_type):
        return pa.dictionary(data_type.index_type, without_views(data_type.value_type), data_type.ordered)
    if is_.is_large_list(data_type):
        return pa.large_list(_replaced(data_type.value_field, without_views))
    if is_.is_list(data_type) or is_.is_struct(data_type) or is_.is_map(data_type):
        return replace_leaf_types(data_type, without_views)
    if is_.is_string_view(data_type):
        return pa.large_string()
    return pa.large_binary() if is_.is_binary_view(data_type) else data_type


def _replaced(field: pa.Field, replace: Callable[[pa.DataType], pa.DataType]) -> pa.Field:
    return field.with_type(replace_leaf_types(field.type, replace))
