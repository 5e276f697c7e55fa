"""Maps with a key twice: files and Arrow carry them, and a dictionary would drop one of the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def find_key_twice(array: pa.Array) -> tuple[int, Any] | None:
    """The first row in which a map has a key twice, and the key.

    Args:
        array: maps, or lists or structs of them; of other types nothing is looked at.
    """
    if pa.types.is_map(array.type):
        return _in_maps(array)
    if pa.types.is_struct(array.type):
        found = [find_key_twice(part) for part in array.flatten()]
        return min((pair for pair in found if pair is not None), key=lambda pair: pair[0], default=None)
    if pa.types.is_list(array.type) and (inner := find_key_twice(array.flatten())) is not None:
        return pc.list_parent_indices(array)[inner[0]].as_py(), inner[1]
    return None


def _in_maps(array: pa.Array) -> tuple[int, Any] | None:
    offsets = np.asarray(array.offsets)
    rows = np.repeat(np.arange(len(array)), np.diff(offsets))
    keys = array.keys.slice(offsets[0], len(rows))
    try:
        pairs = pa.table({"row": rows, "key": keys}).group_by(["row", "key"]).aggregate([([], "count_all")])
    except pa.ArrowNotImplementedError:  # of keys that Arrow does not compare
        return None
    twice = pairs.filter(pc.greater(pairs["count_all"], 1)).sort_by("row")
    return (twice["row"][0].as_py(), twice["key"][0].as_py()) if twice.num_rows else None
