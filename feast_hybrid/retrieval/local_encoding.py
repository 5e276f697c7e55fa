"""Feature values in the forms that Feast takes when it makes online values of them, in this process.

See :mod:`feast_hybrid.retrieval.online_rules`; in Spark it is :mod:`feast_hybrid.retrieval.online_encoding`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from feast_hybrid.arrow.maps import find_key_twice
from feast_hybrid.arrow.types import as_spark_returns
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.online_rules import holds_maps, is_given_as_text, is_list_of_dates


def encode_locally(
    table: pa.Table, features: Sequence[str], declared: Mapping[str, pa.DataType] | None = None, *, what: str
) -> pa.Table:
    """The rows with those features as text or times that Feast could not take as they are.

    Whole numbers that are declared as text become text here: with a null beside them, Feast makes ``7.0`` of 7.

    Args:
        table: rows of a source.
        features: the columns that go online.
        declared: the types that are declared for columns.
        what: names the rows, for errors.

    Raises:
        SchemaError: a map has a key twice, of which who reads its text would take one of the two values.
    """
    as_text = {name for name, data_type in (declared or {}).items() if pa.types.is_string(data_type)}
    for place, field in enumerate(table.schema):
        if field.name not in features:
            continue
        column = table.column(place)
        if field.name in as_text and pa.types.is_integer(field.type):
            column = column.cast(pa.string())
        elif is_list_of_dates(field.type):
            column = column.cast(as_spark_returns(pa.list_(pa.timestamp("us"))))
        elif is_given_as_text(field.type):
            column = pa.chunked_array([_json(chunk, field, what) for chunk in column.chunks], pa.string())
        else:
            continue
        table = table.set_column(place, field.name, column)
    return table


def _json(array: pa.Array, field: pa.Field, what: str) -> pa.Array:
    if holds_maps(field.type) and find_key_twice(array) is not None:
        raise SchemaError(
            f"{what}: column {field.name!r} has a map with a key twice; write it anew with each key once"
        )
    values = array.to_pylist(maps_as_pydicts="strict")
    return pa.array([None if value is None else _text(value, field.type) for value in values], pa.string())


def _text(value: Any, data_type: pa.DataType) -> str:
    return json.dumps(_for_json(value, data_type), ensure_ascii=False, separators=(",", ":"))


def _for_json(value: Any, data_type: pa.DataType) -> Any:
    """The value with texts for numbers that JSON has not, and short floats in their shortest digits, as in Spark."""
    if value is None:
        return None
    if pa.types.is_floating(data_type):
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return float(str(np.float32(value))) if pa.types.is_float32(data_type) else value
    if pa.types.is_list(data_type):
        return [_for_json(item, data_type.value_type) for item in value]
    if pa.types.is_map(data_type):
        return {key: _for_json(item, data_type.item_type) for key, item in value.items()}
    if pa.types.is_struct(data_type):
        return {field.name: _for_json(value[field.name], field.type) for field in data_type}
    return value
