"""Which of several tied rows wins, in Arrow: the rule of :mod:`feast_hybrid.asof.ties`.

Only rows that tie are ranked, so what is slow here is slow for them alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOW_BITS = 0x7FFF_FFFF_FFFF_FFFF


def rank_codes(array: pa.Array) -> NDArray[np.int64]:
    """Integers that order the values as tied rows are ranked: null is the least, equal values have equal codes."""
    if pa.types.is_list(array.type) or pa.types.is_struct(array.type):
        values, zeros = _nested(array)
        places = {key: n for n, key in enumerate(sorted(set(zip(values, zeros, strict=True))))}
        return np.array([places[key] for key in zip(values, zeros, strict=True)], np.int64)
    if pa.types.is_floating(array.type):
        return _dense(_float_order(array), array)
    return _scalar_codes(array)


def _scalar_codes(array: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_boolean(array.type) or pa.types.is_integer(array.type):
        return _dense(array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False), array)
    if pa.types.is_timestamp(array.type):
        return _dense(array.view(pa.int64()).fill_null(0).to_numpy(), array)
    if pa.types.is_date(array.type):
        return _dense(array.view(pa.int32()).fill_null(0).to_numpy().astype(np.int64), array)
    encoded = array.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(1, len(order) + 1)
    if len(place) == 0:
        return np.zeros(len(array), np.int64)
    codes = place[encoded.indices.fill_null(0).to_numpy()]
    codes[np.asarray(array.is_null())] = 0
    return np.asarray(codes)


def _dense(values: NDArray[np.int64], array: pa.Array) -> NDArray[np.int64]:
    _, codes = np.unique(values, return_inverse=True)
    codes = codes.astype(np.int64) + 1
    if array.null_count:
        codes[np.asarray(array.is_null())] = 0
    return codes


def _float_order(array: pa.Array, *, one_zero: bool = False) -> NDArray[np.int64]:
    """Integers in the order of the numbers: -0.0 below 0.0, and NaN above all."""
    value = array.cast(pa.float64()).fill_null(0.0).to_numpy()
    value = np.where(np.isnan(value), np.nan, value)
    if one_zero:
        value = value + 0.0
    bits = value.view(np.int64)
    return np.asarray(bits ^ ((bits >> np.int64(63)) & np.int64(_LOW_BITS)))


def _nested(array: pa.Array) -> tuple[list[Any], list[Any]]:
    """For each value a key in Spark's order, which holds -0.0 equal to 0.0, and one that tells the zeros apart."""
    null = (0,)
    if pa.types.is_struct(array.type):
        parts = [_nested(array.field(n)) for n in range(array.type.num_fields)]
        valid = array.is_valid().to_pylist()
        rows = [
            [(1, *fields) if ok else null for ok, fields in zip(valid, zip(*columns, strict=True), strict=True)]
            for columns in ([values for values, _ in parts], [zeros for _, zeros in parts])
        ]
        return rows[0], rows[1]
    if pa.types.is_list(array.type):
        lengths = pc.list_value_length(array).to_pylist()
        values, zeros = _nested(array.flatten())
        found: tuple[list[Any], list[Any]] = ([], [])
        start = 0
        for length in lengths:
            for flat, rows_of in ((values, found[0]), (zeros, found[1])):
                rows_of.append(null if length is None else (1, tuple(flat[start : start + length])))
            start += length or 0
        return found
    if pa.types.is_floating(array.type):
        codes = _dense(_float_order(array, one_zero=True), array).tolist()
        value = array.cast(pa.float64()).fill_null(1.0).to_numpy()
        return codes, ((value == 0) & ~np.signbit(value)).tolist()
    return _scalar_codes(array).tolist(), [False] * len(array)
