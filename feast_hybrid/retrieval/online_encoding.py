"""Feature values in the forms that Feast takes when it makes online values of them.

Feast reads an Arrow column through NumPy, in which a map is a list of pairs and a list in a struct is an array: it
takes neither for what it is. It does take JSON text for maps and structs.
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
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegralType,
    MapType,
    StringType,
    StructType,
)

from feast_hybrid.spark.columns import quoted


def encode_for_online(
    frame: DataFrame, features: Sequence[str], declared: Mapping[str, pa.DataType] | None = None
) -> DataFrame:
    """The frame with those features as text or times that Feast could not take as they are.

    Whole numbers that are declared as text become text here: with a null beside them, Feast makes ``7.0`` of 7.

    Maps and structs with values that JSON has no type for stay as they are: Feast refuses them, where text would be
    another value than the historical one.

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
    if isinstance(data_type, ArrayType) and isinstance(data_type.elementType, DateType):
        return column.cast("array<timestamp_ntz>")  # midnight in UTC, as a date by itself
    if _is_lost_in_numpy(data_type) and _fits_json(data_type):
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
    """Whether it is a map, or a list or struct with one in it."""
    if isinstance(data_type, ArrayType):
        return _holds_maps(data_type.elementType)
    if isinstance(data_type, StructType):
        return any(_holds_maps(field.dataType) for field in data_type.fields)
    return isinstance(data_type, MapType)


def _is_lost_in_numpy(data_type: DataType) -> bool:
    """Whether it is a map, or a struct with a map or a list in it."""
    if isinstance(data_type, MapType):
        return True
    if isinstance(data_type, ArrayType):
        return _is_lost_in_numpy(data_type.elementType)
    if isinstance(data_type, StructType):
        types = [field.dataType for field in data_type.fields]
        return any(isinstance(inner, ArrayType) or _is_lost_in_numpy(inner) for inner in types)
    return False


def _fits_json(data_type: DataType) -> bool:
    if isinstance(data_type, MapType):
        return isinstance(data_type.keyType, StringType) and _fits_json(data_type.valueType)
    if isinstance(data_type, ArrayType):
        return _fits_json(data_type.elementType)
    if isinstance(data_type, StructType):
        return all(_fits_json(field.dataType) for field in data_type.fields)
    return isinstance(data_type, (BooleanType, DoubleType, FloatType, IntegralType, StringType))
