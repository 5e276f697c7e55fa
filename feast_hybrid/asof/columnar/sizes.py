"""How large values are, and columns of repeated values that are larger than one Arrow array can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import Longs

#: Bytes of a chunk, at the most, of a column whose values have no fixed width: Arrow counts them in 31 bits.
_MAX_CHUNK = 512 << 20


def value_sizes(array: pa.Array) -> NDArray[np.float64]:
    """About how many bytes each value takes; items of lists count as much as all items do on average."""
    of_type = array.type
    if pa.types.is_struct(of_type):
        fields = [value_sizes(array.field(n)) for n in range(of_type.num_fields)]
        return cast("NDArray[np.float64]", sum(fields, np.full(len(array), 1.0)))
    if pa.types.is_string(of_type) or pa.types.is_binary(of_type):
        return np.asarray(_lengths(pc.binary_length(array)) + 4.0)
    if pa.types.is_list(of_type) or pa.types.is_map(of_type):
        lengths = array.cast(pa.list_(of_type.field(0))) if pa.types.is_map(of_type) else array
        counts = _lengths(pc.list_value_length(lengths))
        return np.asarray(counts * (array.nbytes / max(float(counts.sum()), 1.0)) + 4.0)
    return np.full(len(array), array.nbytes / max(len(array), 1))


def take_in_pieces(
    column: pa.Array, places: Longs, counted: Callable[[int], None] = lambda _: None
) -> pa.ChunkedArray:
    """The values at some places, null where a place is below zero; in several chunks where one could not hold them.

    Args:
        column: Of them.
        places: In the order of the values.
        counted: Called before memory is taken, with about how many bytes the values have.
    """
    indices = pa.array(places, mask=places < 0)
    if _has_fixed_width(column.type):
        counted(len(places) * max(1, column.nbytes // max(len(column), 1)))
        return pa.chunked_array([column.take(indices)], column.type)
    own = value_sizes(column)
    sizes = (
        np.where(places >= 0, own[np.where(places >= 0, places, 0)], 4.0) if len(own) else np.full(len(places), 4.0)
    )
    ends = np.cumsum(sizes)
    counted(int(ends[-1]) if len(ends) else 0)
    chunks = []
    start, done = 0, 0.0
    while start < len(places):
        # A value that is larger than a chunk is one by itself.
        end = max(start + 1, int(np.searchsorted(ends, done + _MAX_CHUNK, side="right")))
        chunks.append(column.take(indices.slice(start, end - start)))
        start, done = end, float(ends[end - 1])
    return pa.chunked_array(chunks, column.type)


def _lengths(lengths: pa.Array) -> NDArray[np.float64]:
    return np.asarray(lengths.fill_null(0), np.float64)


def _has_fixed_width(data_type: pa.DataType) -> bool:
    try:
        return bool(data_type.bit_width)
    except ValueError:
        return False
