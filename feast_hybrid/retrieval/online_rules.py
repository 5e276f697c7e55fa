"""Which feature values Feast could not take as they are when it makes online values of them.

Feast reads an Arrow column through NumPy, in which a map is a list of pairs and a list in a struct is an array: it
takes neither for what it is. It does take JSON text for maps and structs. Maps and structs with values that JSON has
no type for stay as they are: Feast refuses them, where text would be another value than the historical one.
"""

from __future__ import annotations

import pyarrow as pa


def is_given_as_text(data_type: pa.DataType) -> bool:
    """Whether values are given to Feast as JSON text."""
    return _is_lost_in_numpy(data_type) and _fits_json(data_type)


def holds_maps(data_type: pa.DataType) -> bool:
    """Whether it is a map, or a list or struct with one in it."""
    return bool(pa.types.is_map(data_type)) or any(holds_maps(part) for part in _parts(data_type))


def is_list_of_dates(data_type: pa.DataType) -> bool:
    """Whether values are given to Feast as lists of times, which are midnight in UTC, as a date by itself."""
    return bool(pa.types.is_list(data_type) and pa.types.is_date(data_type.value_type))


def _parts(data_type: pa.DataType) -> list[pa.DataType]:
    if pa.types.is_list(data_type):
        return [data_type.value_type]
    return [field.type for field in data_type] if pa.types.is_struct(data_type) else []


def _is_lost_in_numpy(data_type: pa.DataType) -> bool:
    """Whether it is a map, or a struct with a map or a list in it."""
    if pa.types.is_map(data_type):
        return True
    parts = _parts(data_type)
    if pa.types.is_struct(data_type) and any(pa.types.is_list(part) for part in parts):
        return True
    return any(map(_is_lost_in_numpy, parts))


def _fits_json(data_type: pa.DataType) -> bool:
    if pa.types.is_map(data_type):
        return bool(pa.types.is_string(data_type.key_type)) and _fits_json(data_type.item_type)
    if pa.types.is_list(data_type) or pa.types.is_struct(data_type):
        return all(map(_fits_json, _parts(data_type)))
    plain = (pa.types.is_boolean, pa.types.is_floating, pa.types.is_integer, pa.types.is_string)
    return any(is_it(data_type) for is_it in plain)
