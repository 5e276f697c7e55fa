"""Join keys in blocks: each as 64-bit integers or as bytes, equal exactly where the keys are; and their hash.

The forms are those of :mod:`feast_hybrid.asof.keys`, whose expressions bring Spark's columns to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.key_types import DECIMAL, FLOAT, INSTANT, TEXT, WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


#: Decimals of no more digits than this fit into 64 bits.
_SHORTDECIMAL = 18

#: Families of :mod:`feast_hybrid.asof.key_types` that blocks can hold: as integers, and as bytes.
_INTEGERS = (WHOLE, FLOAT, INSTANT, "boolean", "date")
_BYTES = (TEXT, "binary")
FAMILIES = frozenset((*_INTEGERS, *_BYTES, DECIMAL))


@dataclass(frozen=True)
class KeyForm:
    """How one key stands in blocks.

    Args:
        family: As in :class:`~feast_hybrid.asof.keys.Domain`.
        data_type: The domain's type in Arrow.
    """

    family: str
    data_type: pa.DataType

    @property
    def is_integer(self) -> bool:
        """Whether it is held as 64-bit integers."""
        return self.family in _INTEGERS or (self.family == DECIMAL and self.data_type.precision <= _SHORTDECIMAL)

    @property
    def stored(self) -> pa.DataType:
        """The type of a block's column."""
        if self.is_integer:
            return pa.int64()
        return pa.string() if self.family == TEXT else pa.binary()

    def source(self, array: pa.Array) -> pa.Array:
        """A source's key, in the type of the view's frame, as it stands in a block."""
        return self.encode(_to_domain(array, self))

    def encode(self, array: Any) -> pa.Array:
        """A key in the domain's type as it stands in a block; null where it is null."""
        array = convert_for_reading(array, self.data_type)
        if self.family == FLOAT:
            value = array.fill_null(0.0).to_numpy() if array.null_count else array.to_numpy()
            value = np.where(value == 0, 0.0, np.where(np.isnan(value), np.nan, value))
            return _masked(value.view(np.int64), array)
        if self.family == "boolean":
            return array.cast(pa.int64())
        if self.family == "date":
            return array.view(pa.int32()).cast(pa.int64())
        if self.family == DECIMAL:
            if not self.is_integer:
                return _fixed_bytes(array)
            words = np.frombuffer(array.buffers()[1], np.int64)[
                2 * array.offset : 2 * (array.offset + len(array)) : 2
            ]
            return _masked(words, array)
        return array


def key_filter_slot(words: NDArray[np.uint64], bits: int) -> NDArray[np.int64]:
    """The place of a hash in a filter of ``2 ** bits`` places."""
    return (words >> np.uint64(64 - bits)).astype(np.int64)


def _masked(values: NDArray[np.int64], like: pa.Array) -> pa.Array:
    mask = np.asarray(like.is_null()) if like.null_count else None
    return pa.array(np.ascontiguousarray(values), pa.int64(), mask=mask)


def _fixed_bytes(array: pa.Array) -> pa.Array:
    """The 16 bytes of each decimal."""
    raw = pa.Array.from_buffers(pa.binary(16), len(array), array.buffers(), offset=array.offset)
    return raw.cast(pa.binary())


def _to_domain(array: pa.Array, form: KeyForm) -> pa.Array:
    """As :meth:`feast_hybrid.asof.keys.Domain.of`: null where the value has no equal in the domain."""
    if form.family == INSTANT:
        return epoch_micros_of_array(array)
    if form.family == WHOLE and pa.types.is_floating(array.type):
        value = array.cast(pa.float64())
        number = value.fill_null(np.nan).to_numpy()
        with np.errstate(invalid="ignore"):
            whole = (np.trunc(number) == number) & (number >= -(2.0**63)) & (number < 2.0**63)
            return pa.array(np.where(whole, number, 0).astype(np.int64), mask=~whole)
    if form.family == WHOLE:
        return array.cast(pa.int64())
    if form.family == FLOAT:
        return array.cast(pa.float64())
    if form.family == DECIMAL and array.type != form.data_type:
        if pa.types.is_integer(array.type):
            array = array.cast(pa.int64()).cast(pa.decimal128(19, 0))
        scale = form.data_type.scale
        # Wide enough for both, so that cutting digits cannot fail; what changed by it has no equal.
        wide = array.cast(pa.decimal256(76, max(array.type.scale, scale)))
        cut = pc.round(wide, ndigits=scale, round_mode="towards_zero")
        most = Decimal((0, (9,) * form.data_type.precision, -scale))
        same = pc.and_(pc.equal(cut, wide), pc.less_equal(pc.abs(wide), pa.scalar(most, wide.type)))
        return pc.if_else(same, cut, pa.scalar(None, cut.type)).cast(form.data_type)
    return array


def hashed(columns: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """A hash of each row's keys, its upper bits well mixed; what a null gives is unspecified."""
    hashes: NDArray[np.uint64] | None = None
    for column in columns:
        words = (
            column.fill_null(0).to_numpy().view(np.uint64) if pa.types.is_int64(column.type) else _hash_bytes(column)
        )
        hashes = _mix(words) if hashes is None else _mix(hashes + words)
    assert hashes is not None
    return hashes


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = words ^ (words >> np.uint64(32))
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed


def _hash_bytes(column: pa.Array) -> NDArray[np.uint64]:
    """A polynomial over each value's bytes, reckoned once for each distinct value."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    values = column.dictionary.cast(pa.binary())
    if len(values) == 0:
        return np.zeros(len(column), np.uint64)
    if values.null_count:
        values = values.fill_null(b"")
    _, offsets_buffer, data = values.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[values.offset : values.offset + len(values) + 1].astype(
        np.int64
    )
    start, end = offsets[0], offsets[-1]
    content = np.frombuffer(data, np.uint8)[start:end] if end > start else np.zeros(0, np.uint8)
    offsets = offsets - start
    lengths = np.diff(offsets)
    with np.errstate(over="ignore"):
        powers = np.full(int(lengths.max(initial=0)) + 1, 0x100000001B3, np.uint64)
        powers[0] = 1
        powers = np.cumprod(powers, dtype=np.uint64)
        place = np.arange(len(content), dtype=np.int64) - np.repeat(offsets[:-1], lengths)
        terms = (content.astype(np.uint64) + np.uint64(1)) * powers[place]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])
        each = sums[offsets[1:]] - sums[offsets[:-1]]
    codes = column.indices.fill_null(0).to_numpy()
    return np.asarray(_mix(each)[codes])
