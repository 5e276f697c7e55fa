"""Feature values in the forms that Feast takes when it makes online values of them, in Spark.

See :mod:`feast_hybrid.retrieval.online_rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    IntegralType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.retrieval.online_rules import holds_maps, is_given_as_text, is_list_of_dates
from feast_hybrid.spark.columns import quoted


def encode_for_online(
    frame: DataFrame, features: Sequence[str], declared: Mapping[str, pa.DataType] | None = None
) -> DataFrame:
    """The frame with those features as text or times that Feast could not take as they are.

    Whole numbers that are declared as text become text here: with a null beside them, Feast makes ``7.0`` of 7.

    Args:
        frame: rows of a source.
        features: the columns that go online.
        declared: the types that are declared for columns.
    """
    as_text = {name for name, data_type in (declared or {}).items() if pa.types.is_string(data_type)}
    columns: list[Column] = []
    for field in frame.schema.fields:
        column = F.col(quoted(field.name))
        if field.name in features:
            is_text = field.name in as_text and isinstance(field.dataType, IntegralType)
            column = column.cast("string") if is_text else _online_value(column, field.dataType, field.name)
            column = column.alias(field.name)
        columns.append(column)
    return frame.select(*columns)


def _online_value(column: Column, data_type: DataType, name: str) -> Column:
    known = _arrow_type(data_type)
    if known is None:
        return column
    if is_list_of_dates(known):
        return column.cast("array<timestamp_ntz>")
    if is_given_as_text(known):
        text = F.to_json(column, {"ignoreNullFields": "false"})
        return _unless_a_key_is_twice(column, data_type, text, name) if _holds_maps(data_type) else text
    return column


def _unless_a_key_is_twice(column: Column, data_type: DataType, text: Column, name: str) -> Column:
    """The text, of which who reads it would take one of the two values."""
    fault = F.raise_error(F.lit(f"column {name!r} has a map with a key twice; write it anew with each key once"))
    return F.when(_has_a_key_twice(column, data_type), fault.cast("string")).otherwise(text)


def _has_a_key_twice(column: Column, data_type: DataType) -> Column:
    """Whether a value is or holds a map, however deep, with a key twice; false for a null."""
    found = [F.lit(False)]
    if isinstance(data_type, MapType):
        keys, of_values = F.map_keys(column), data_type.valueType
        found.append(F.size(F.array_distinct(keys)) < F.size(keys))
        if _holds_maps(of_values):
            found.append(F.exists(F.map_values(column), lambda value: _has_a_key_twice(value, of_values)))
    elif isinstance(data_type, ArrayType) and _holds_maps(of_elements := data_type.elementType):
        found.append(F.exists(column, lambda element: _has_a_key_twice(element, of_elements)))
    elif isinstance(data_type, StructType):
        fields = [field for field in data_type.fields if _holds_maps(field.dataType)]
        found += [_has_a_key_twice(column.getField(field.name), field.dataType) for field in fields]
    return F.coalesce(reduce(or_, found), F.lit(False))


def _holds_maps(data_type: DataType) -> bool:
    """Whether it is a map, or a list or struct with one in it, and nothing that Arrow has no type for."""
    known = _arrow_type(data_type)
    return known is not None and holds_maps(known)


def _arrow_type(data_type: DataType) -> pa.DataType | None:
    """The type in Arrow, text being text whatever its collation; None for what has none."""
    return arrow_type_of_spark(_plain(data_type))


def _plain(data_type: DataType) -> DataType:
    if isinstance(data_type, StringType):
        return StringType()
    if isinstance(data_type, ArrayType):
        return ArrayType(_plain(data_type.elementType), data_type.containsNull)
    if isinstance(data_type, MapType):
        return MapType(_plain(data_type.keyType), _plain(data_type.valueType), data_type.valueContainsNull)
    if isinstance(data_type, StructType):
        return StructType(
            [StructField(field.name, _plain(field.dataType), field.nullable) for field in data_type.fields]
        )
    return data_type
