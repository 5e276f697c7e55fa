"""Whether two sets of rows are the same, each as often, in any order: by a sum over hashes of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_ODD = np.uint64(0x9E3779B97F4A7C15)
_NULL = np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class RowSums:
    """How many rows there are, and two sums over 64-bit hashes of all their values.

    That rows which differ have the same sums happens by chance once in 2 ** 128.
    """

    rows: int = 0
    first: int = 0
    second: int = 0

    def plus(self, table: pa.Table | pa.RecordBatch) -> RowSums:
        """With further rows, whose columns are the same in the same order."""
        with np.errstate(over="ignore"):
            hashes = np.zeros(table.num_rows, dtype=np.uint64)
            for column in table.columns:
                hashes = _mixed(hashes * _ODD + _hashes(column))
            first = int(hashes.sum(dtype=np.uint64))
            second = int(_mixed(hashes ^ _NULL).sum(dtype=np.uint64))
        limit = 1 << 64
        return RowSums(self.rows + table.num_rows, (self.first + first) % limit, (self.second + second) % limit)


def _mixed(words: Any) -> Any:
    """Each word spread over all its bits (splitmix64)."""
    words = words + _ODD
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _hashes(column: pa.ChunkedArray | pa.Array) -> Any:
    """A word for each value; null has one of its own."""
    if isinstance(column, pa.ChunkedArray):
        parts = [_hashes(chunk) for chunk in column.chunks]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.uint64)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    words = _words(column)
    if not column.null_count:
        return words
    return np.where(np.asarray(column.is_null()), _NULL, words)


def _words(array: pa.Array) -> Any:
    is_, data_type = pa.types, array.type
    if is_.is_null(data_type) or not len(array):
        return np.zeros(len(array), dtype=np.uint64)
    if is_.is_boolean(data_type):
        return np.asarray(array.fill_null(False)).astype(np.uint64)
    if is_.is_primitive(data_type) and data_type.bit_width in (8, 16, 32, 64):
        integer = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[data_type.bit_width]
        plain = array.view(integer)  # by its bits: -0.0 is not 0.0 here
        return np.asarray(plain.fill_null(0)).astype(np.uint64)
    if is_.is_string(data_type) or is_.is_binary(data_type):
        return _of_bytes(array.view(pa.binary()))  # a text may be no UTF-8
    if is_.is_large_string(data_type) or is_.is_large_binary(data_type):
        return _of_bytes(array.view(pa.large_binary()))
    if is_.is_struct(data_type):
        words = np.zeros(len(array), dtype=np.uint64)
        for part in array.flatten():
            words = _mixed(words * _ODD + _hashes(part))
        return words
    if is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_map(data_type):
        return _of_lists(array)
    # All else by how Python writes it, which tells values of one type apart.
    return pd.util.hash_array(np.array([repr(value) for value in array.to_pylist()], dtype=object))


def _of_bytes(array: pa.Array) -> Any:
    return pd.util.hash_array(pc.fill_null(array, b"").to_numpy(zero_copy_only=False))


def _of_lists(array: pa.Array) -> Any:
    """A word for each list, or map, by its values and their places: Python has not all values that are nested."""
    offsets = np.asarray(array.offsets).astype(np.int64)
    starts, lengths = offsets - offsets[0], np.diff(offsets)
    values = _hashes(array.values.slice(int(offsets[0]), int(starts[-1])))  # noqa: PD011  # of Arrow
    places = np.arange(len(values)) - np.repeat(starts[:-1], lengths)
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(_mixed(values + _mixed(places.astype(np.uint64))), out=sums[1:])
    return _mixed((sums[starts[1:]] - sums[starts[:-1]]) * _ODD + lengths.astype(np.uint64))
