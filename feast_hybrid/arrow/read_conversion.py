"""A file's columns in the types that the view's frame has, as Spark's Parquet reader gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": -1_000}


def conform(array: Any, kind: pa.DataType) -> pa.Array:
    """The array's values in another type that holds them all: wider numbers, more fields, another layout.

    Raises:
        SchemaError: The type does not hold them; Spark's own reader refuses such a file too.
    """
    import pyarrow as pa

    kinds = pa.types
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return conform(array.chunk(0), kind)
        return pa.concat_arrays([conform(chunk, kind) for chunk in array.chunks] or [pa.nulls(0, kind)])
    found = array.type
    if found == kind:
        return array
    if kinds.is_null(found):
        return pa.nulls(len(array), kind)
    if isinstance(array, pa.ExtensionArray):
        return conform(array.storage, kind)
    if kinds.is_dictionary(found):
        return conform(array.dictionary_decode(), kind)
    if kinds.is_struct(kind) and kinds.is_struct(found):
        return _struct(array, kind)
    if kinds.is_list(kind) and "list" in type(found).__name__.lower():
        return _list(array, kind)
    if kinds.is_map(kind) and kinds.is_map(found):
        return array.cast(kind)
    if kinds.is_timestamp(kind) and kinds.is_timestamp(found):
        return _timestamp(array, kind)
    if not _holds(found, kind):
        raise SchemaError(f"it is {found} in the file, and {kind} in the view's frame")
    return array.cast(kind)


def _holds(found: pa.DataType, kind: pa.DataType) -> bool:
    import pyarrow as pa

    kinds = pa.types
    text = (kinds.is_string, kinds.is_large_string, kinds.is_binary, kinds.is_large_binary)
    if kinds.is_string(kind) or kinds.is_binary(kind):
        views = str(found) in ("string_view", "binary_view")
        return bool(views or kinds.is_fixed_size_binary(found) or any(is_text(found) for is_text in text))
    if kinds.is_integer(kind):
        return bool(kinds.is_duration(found) or (kinds.is_integer(found) and found.bit_width <= kind.bit_width))
    if kinds.is_floating(kind):
        number = kinds.is_floating(found) or kinds.is_integer(found)
        return bool(number and found.bit_width <= kind.bit_width)
    if kinds.is_decimal(kind):
        return bool(kinds.is_integer(found) or kinds.is_decimal(found))
    if kinds.is_timestamp(kind):
        return bool(kind.tz is None and kinds.is_date(found))
    return bool(kinds.is_date(kind) and kinds.is_date(found))


def _timestamp(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Another unit or another zone: the instant stays, nanoseconds are cut towards the past."""
    import numpy as np
    import pyarrow as pa

    factor = _UNITS[array.type.unit]
    if factor == 1:
        return array.view(pa.int64()).view(kind)
    if factor > 0:
        return array.cast(pa.timestamp("us", array.type.tz)).view(pa.int64()).view(kind)
    mask = np.asarray(array.is_null()) if array.null_count else None
    floored = np.floor_divide(array.view(pa.int64()).fill_null(0).to_numpy(), -factor)
    return pa.array(floored, pa.int64(), mask=mask).view(kind)


def _struct(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    names = [field.name for field in array.type]
    lower = [name.lower() for name in names]
    children = []
    for field in kind:
        if field.name in names:
            children.append(conform(array.field(names.index(field.name)), field.type))
        elif field.name.lower() in lower:
            children.append(conform(array.field(lower.index(field.name.lower())), field.type))
        else:
            children.append(pa.nulls(len(array), field.type))
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).fill_null(0).to_numpy()
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    values = conform(array.flatten(), kind.value_type)
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=kind, mask=mask)
