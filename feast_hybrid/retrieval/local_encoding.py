"""Feature values in the forms that Feast takes when it makes online values of them, in this process.

See :mod:`feast_hybrid.retrieval.online_rules`; in Spark it is :mod:`feast_hybrid.retrieval.online_encoding`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
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
    """A value as Spark's ``to_json`` writes it: the text is what goes online, and is the same of both engines."""
    if value is None:
        return "null"
    if pa.types.is_floating(data_type):
        return _number(value, data_type)
    if pa.types.is_list(data_type):
        return f"[{','.join(_text(item, data_type.value_type) for item in value)}]"
    if pa.types.is_map(data_type):
        return _object((key, _text(item, data_type.item_type)) for key, item in value.items())
    if pa.types.is_struct(data_type):
        return _object((field.name, _text(value[field.name], field.type)) for field in data_type)
    return _string(value) if isinstance(value, str) else json.dumps(value)


def _object(members: Iterable[tuple[str, str]]) -> str:
    return f"{{{','.join(f'{_string(name)}:{text}' for name, text in members)}}}"


def _string(text: str) -> str:
    """Control characters without a letter are in capital digits."""
    return re.sub(r"\\u00[01][0-9a-f]|\\.", _in_capitals, json.dumps(text, ensure_ascii=False))


def _in_capitals(escape: re.Match[str]) -> str:
    found = escape.group()
    return f"\\u{found[2:].upper()}" if found.startswith("\\u") else found


def _number(value: float, data_type: pa.DataType) -> str:
    """As Java writes it since 19, in the fewest digits; what JSON has no number for is text."""
    if not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    shortest = str(np.float32(value)) if pa.types.is_float32(data_type) else repr(value)
    sign, digits, exponent = Decimal(shortest).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = len(digits) + exponent - 1
    if value == 0 or -3 <= power < 7:
        text = f"{Decimal(shortest):f}"
        return text if "." in text else f"{text}.0"
    whole = "".join(map(str, digits))
    return f"{'-' * sign}{whole[0]}.{whole[1:] or '0'}E{power}"
