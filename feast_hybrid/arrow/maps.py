"""Maps with a key twice: files and Arrow carry them, and a dictionary would drop one of the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def find_key_twice(array: pa.Array) -> tuple[int, Any] | None:
    """The first row in which a map has a key twice, however deep within it, and the key.

    Args:
        array: maps, or lists, structs or maps of them; of other types nothing is looked at.
    """
    if not holds_maps(array.type):
        return None
    if array.null_count:  # what lies behind a null is nobody's
        rows = np.flatnonzero(np.asarray(array.is_valid()))
        found = find_key_twice(array.take(pa.array(rows)))
        return None if found is None else (int(rows[found[0]]), found[1])
    if pa.types.is_struct(array.type):
        return _first([find_key_twice(part) for part in array.flatten()])
    if pa.types.is_map(array.type):
        return _in_maps(array)
    inner = find_key_twice(array.flatten())
    return None if inner is None else (pc.list_parent_indices(array)[inner[0]].as_py(), inner[1])


def holds_maps(data_type: pa.DataType) -> bool:
    """Whether it is a map, or a list or struct with one in it."""
    if pa.types.is_map(data_type):
        return True
    parts = pa.types.is_struct(data_type) or _is_list(data_type)
    return parts and any(holds_maps(data_type.field(number).type) for number in range(data_type.num_fields))


def _is_list(data_type: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_fixed_size_list(data_type))


def _in_maps(array: pa.MapArray) -> tuple[int, Any] | None:
    offsets = np.asarray(array.offsets)
    rows = np.repeat(np.arange(len(array)), np.diff(offsets))
    keys, values = (part.slice(offsets[0], len(rows)) for part in (array.keys, array.items))
    inner = find_key_twice(values)
    return _first([_twice(rows, keys), None if inner is None else (int(rows[inner[0]]), inner[1])])


def _twice(rows: np.ndarray, keys: pa.Array) -> tuple[int, Any] | None:
    try:
        pairs = pa.table({"row": rows, "key": keys}).group_by(["row", "key"]).aggregate([([], "count_all")])
    except pa.ArrowNotImplementedError:  # of keys that Arrow does not compare
        return None
    twice = pairs.filter(pc.greater(pairs["count_all"], 1)).sort_by("row")
    return (twice["row"][0].as_py(), twice["key"][0].as_py()) if twice.num_rows else None


def _first(found: list[tuple[int, Any] | None]) -> tuple[int, Any] | None:
    return min((pair for pair in found if pair is not None), key=lambda pair: pair[0], default=None)
