"""The keys and times of entity rows as numbers, and a history's keys as the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Longs = NDArray[np.int64]

#: A table of codes by key is made where it has no more places than this, or than this many for each key.
_TABLE, _TABLE_PER_KEY = 1 << 20, 16
#: Distinct values are found by counting where there is room for no more than this many for each row.
_COUNTED_PER_ROW = 4


class EntityKeys:
    """The keys of some entity rows, each combination of them a number, its *code*.

    Args:
        keys: The key columns; where there are none, all rows have one and the same.
        timestamps: Times in microseconds.

    Attributes:
        codes: The code of each row's keys; -1 where a key or the time is null: nothing matches.
        timestamps: The time of each row, zero where it is null.
        count: How many codes there are.
    """

    codes: Longs
    timestamps: Longs
    count: int

    def __init__(self, keys: Sequence[pa.Array], timestamps: pa.Array) -> None:
        self._encoders: list[KeyEncoder] = []
        #: For each key but the first the pairs (code so far, code of this key) that there are, in order.
        self._combinations: list[Longs] = []
        codes: Longs | None = None
        for key in keys:
            encoder, of_key = KeyEncoder.of_rows(key)
            self._encoders.append(encoder)
            if codes is None:
                codes = of_key
                continue
            pairs, inverse = np.unique(_paired(codes, of_key, encoder.count), return_inverse=True)
            # -1 sorts first where there is one.
            first = 1 if len(pairs) and pairs[0] < 0 else 0
            self._combinations.append(pairs[first:])
            codes = inverse.astype(np.int64) - first
        if codes is None:
            codes, self.count = np.zeros(len(timestamps), np.int64), 1
        else:
            self.count = self._encoders[0].count if not self._combinations else len(self._combinations[-1])
        self.timestamps = timestamps.fill_null(0).to_numpy()
        if timestamps.null_count:
            codes = np.where(np.asarray(timestamps.is_null()), -1, codes)
        self.codes = codes

    def sort(self) -> Longs:
        """Sort the rows by key and time, so that their searches go forward through a history.

        Returns:
            For each place the row that is there now.
        """
        low, high = (int(self.timestamps.min()), int(self.timestamps.max())) if len(self.timestamps) else (0, 0)
        span = high - low + 1
        if span * (self.count + 1) < 2**62:
            # One sort of integers is faster than two.
            order: Longs = np.argsort(self.codes * span + (self.timestamps - low))
        else:
            order = np.lexsort([self.timestamps, self.codes])
        self.timestamps, self.codes = self.timestamps[order], self.codes[order]
        return order

    def some(self, places: Longs) -> EntityKeys:
        """Some of the rows, by their places; with the same codes."""
        found = copy(self)
        found.timestamps, found.codes = self.timestamps[places], self.codes[places]
        return found

    def distinct(self) -> EntityKeys:
        """The same keys and times, each pair once and in order, without those that match nothing."""
        found = copy(self)
        found.sort()
        is_new = found.codes >= 0
        is_new[1:] &= (found.codes[1:] != found.codes[:-1]) | (found.timestamps[1:] != found.timestamps[:-1])
        found.timestamps = np.ascontiguousarray(found.timestamps[is_new])
        found.codes = np.ascontiguousarray(found.codes[is_new])
        return found

    @property
    def nbytes(self) -> int:
        """About how many bytes they take."""
        encoders = sum(encoder.nbytes for encoder in self._encoders)
        return int(self.codes.nbytes + self.timestamps.nbytes + encoders + sum(c.nbytes for c in self._combinations))

    def distinct_keys(self) -> list[pa.Array]:
        """The key columns of each combination once, in the order of their codes."""
        codes = np.arange(self.count)
        columns: list[pa.Array] = []
        for encoder, pairs in zip(self._encoders[:0:-1], self._combinations[::-1], strict=True):
            codes, of_key = np.divmod(pairs[codes], max(encoder.count, 1))
            columns.append(encoder.values(of_key))
        columns.append(self._encoders[0].values(codes))
        return columns[::-1]

    @property
    def are_near(self) -> bool:
        """Whether there is one key, of integers near each other: then to look one up takes a few nanoseconds."""
        return len(self._encoders) == 1 and self._encoders[0].has_table

    def contain(self, key: pa.Array) -> NDArray[np.bool_]:
        """Which of a history's keys are among them, where :attr:`are_near`; false for null."""
        known = self._encoders[0].knows(key.fill_null(0) if key.null_count else key)
        return known & np.asarray(key.is_valid()) if key.null_count else known

    def encode(self, keys: Sequence[pa.Array], rows: int) -> Longs:
        """The codes of a history's keys, which are not null, in so many rows; -1 for keys that no entity row has."""
        if not keys:
            return np.zeros(rows, np.int64)
        codes = self._encoders[0].encode(keys[0])
        for encoder, pairs, key in zip(self._encoders[1:], self._combinations, keys[1:], strict=True):
            codes = positions_in(pairs, _paired(codes, encoder.encode(key), encoder.count))
        return codes


class KeyEncoder:
    """The distinct values of one key column, numbered from 0.

    Args:
        values: In the order of their codes; integers are sorted.
        integers: Whether they are a NumPy array of integers, or else an Arrow array.
    """

    def __init__(self, values: Any, *, integers: bool) -> None:
        self._values = values
        self._integers = integers
        self._table: _CodeTable | None = None
        self.count = len(values)

    @classmethod
    def of_rows(cls, keys: pa.Array) -> tuple[KeyEncoder, Longs]:
        """Of a column's values; and the code of each row, -1 for null."""
        if pa.types.is_int64(keys.type):
            values, codes = _numbered((keys.fill_null(0) if keys.null_count else keys).to_numpy())
            encoder = cls(values, integers=True)
        else:
            dictionary = keys.dictionary_encode()
            encoder = cls(dictionary.dictionary, integers=False)
            codes = dictionary.indices.fill_null(0).to_numpy()
        codes = codes.astype(np.int64)
        return encoder, np.where(np.asarray(keys.is_null()), -1, codes) if keys.null_count else codes

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(self._values.nbytes)

    @property
    def has_table(self) -> bool:
        """Whether the values are integers near each other, so that their codes stand in a table."""
        return self._code_table() is not None

    def values(self, codes: Longs) -> pa.Array:
        """The values of some codes, none below zero."""
        values = self._values[codes] if self._integers else self._values.take(pa.array(codes))
        return pa.array(values) if self._integers else values

    def __getstate__(self) -> dict[str, Any]:
        """A table is made again faster than it travels."""
        return {**self.__dict__, "_table": None}

    def encode(self, keys: pa.Array) -> Longs:
        """The codes of other rows, which are not null; -1 for values that are not among these."""
        if not self._integers:
            found = pc.index_in(keys, value_set=self._values)
            return np.asarray(found.fill_null(-1).to_numpy().astype(np.int64))
        table = self._code_table()
        return positions_in(self._values, keys.to_numpy()) if table is None else table.codes(keys.to_numpy())

    def knows(self, keys: pa.Array) -> NDArray[np.bool_]:
        """Which other rows, none of them null, have one of these values."""
        table = self._code_table()
        return self.encode(keys) >= 0 if table is None else table.knows(keys.to_numpy())

    def _code_table(self) -> _CodeTable | None:
        """The codes in the places of the values, where these are integers near each other."""
        if self._table is None and self._integers and self.count:
            span = int(self._values[-1]) - int(self._values[0]) + 1
            if span <= max(_TABLE, _TABLE_PER_KEY * self.count):
                self._table = _CodeTable(self._values)  # whole: other threads take it as it is
        return self._table


class _CodeTable:
    """The codes of integers near each other, in the places that these have from the first of them on.

    Args:
        values: Sorted, each once, one at the least.
    """

    def __init__(self, values: Longs) -> None:
        self._first = values[0]
        #: The place of all other integers, behind the last one.
        self._others = np.uint64(int(values[-1]) - int(values[0]) + 1)
        self._codes: Longs = np.full(int(self._others) + 1, -1, np.int64)
        self._codes[values - self._first] = np.arange(len(values))
        self._is_known = self._codes >= 0

    def codes(self, values: Longs) -> Longs:
        """The code of each value, -1 for those without one."""
        return np.asarray(self._codes[self._places(values)])

    def knows(self, values: Longs) -> NDArray[np.bool_]:
        """Which values have a code."""
        return np.asarray(self._is_known[self._places(values)])

    def _places(self, values: Longs) -> Longs:
        # Unsigned, all before the first one are far behind the last; a difference that wraps is right all the same.
        places = (values - self._first).view(np.uint64)
        np.minimum(places, self._others, out=places)
        return np.asarray(places.view(np.int64))


def _numbered(values: Longs) -> tuple[Longs, Longs]:
    """The distinct values in order, and for each value its place among them."""
    if len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < _COUNTED_PER_ROW * len(values):  # faster than to sort them
            places = values - low
            is_there = np.zeros(high - low + 1, bool)
            is_there[places] = True
            return np.flatnonzero(is_there) + low, (np.cumsum(is_there) - 1)[places]
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct, inverse


def _paired(codes: Longs, of_key: Longs, count: int) -> Longs:
    """One number for two codes, the second of which is below ``count``; -1 where one is -1."""
    return np.where((codes < 0) | (of_key < 0), -1, codes * max(count, 1) + of_key)


def positions_in(known: Longs, values: Longs) -> Longs:
    """Where each value stands in a sorted array; -1 where it does not."""
    if len(known) == 0:
        return np.full(len(values), -1, np.int64)
    positions = np.searchsorted(known, values)
    positions[positions == len(known)] = 0
    return np.where(known[positions] == values, positions, -1)
