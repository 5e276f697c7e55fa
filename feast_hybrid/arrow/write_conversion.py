"""Rows put into the columns that are there: their order, names and types, or an error that says what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import floor_to_micros
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa


class _Misfit(Exception):
    """A column, or a part of one, that cannot be had in the type that is there."""

    def __init__(self, place: str, found: Any, wanted: Any, why: str = "") -> None:
        super().__init__(f"column {place!r} is {found} in the rows and {wanted} there{f', and {why}' if why else ''}")


def conformed(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """The rows with a schema's columns, in its order and types.

    Values must keep their worth: integers and decimals fit or are refused, a fraction is no integer. Two roundings
    are meant: a double becomes the nearest float where floats are kept, and nanoseconds are floored to
    microseconds. A naive time is UTC. A dictionary is a map where maps are kept; its nulls are left out.

    Args:
        table: the rows.
        schema: what is there.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: columns are missing or too many, or a column does not fit; it names all of them, with both
            types.
    """
    import pyarrow as pa

    require_columns(table.column_names, schema.names, what=what)
    columns, misfits = [], []
    for field in schema:
        try:
            columns.append(_converted(_whole(table.column(field.name)), field.type, field.name))
        except _Misfit as misfit:
            misfits.append(str(misfit))
    if misfits:
        raise SchemaError(f"{what}: {'; '.join(misfits)}.")
    return pa.Table.from_arrays(columns, schema=schema)


def require_columns(found: Sequence[str], wanted: Sequence[str], *, what: str) -> None:
    """Refuse rows whose columns have other names than those that are there.

    Raises:
        SchemaError: it names what is missing, too much, or given twice.
    """
    faults = [
        f"{said} {', '.join(names)}"
        for said, names in (
            ("missing", [name for name in wanted if name not in found]),
            ("unknown", [name for name in found if name not in wanted]),
            ("given twice", sorted({name for name in found if list(found).count(name) > 1})),
        )
        if names
    ]
    if faults:
        raise SchemaError(f"{what}: columns {'; '.join(faults)}. There are {', '.join(wanted)}.")


def _whole(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _converted(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    import pyarrow as pa

    found, is_ = array.type, pa.types
    if found == kind:
        return array
    if is_.is_null(found) or array.null_count == len(array):
        return pa.nulls(len(array), kind)
    if is_.is_dictionary(found):
        return _converted(array.dictionary_decode(), kind, place)
    if isinstance(found, pa.BaseExtensionType):
        return _converted(array.storage, kind, place)
    if is_.is_map(kind):
        return _map(array, kind, place)
    if _is_list(kind):
        return _list(array, kind, place)
    if is_.is_struct(kind):
        return _struct(array, kind, place)
    if is_.is_timestamp(kind) and is_.is_timestamp(found):
        return _time(array, kind, place)
    if not _same_worth(found, kind):
        raise _Misfit(place, found, kind)
    if is_.is_floating(found) and is_.is_floating(kind):
        return _rounded(array, kind, place)
    if is_.is_integer(found) and is_.is_decimal(kind):  # Arrow asks for room for every integer of the type
        array = array.cast(pa.decimal256(20 + kind.scale, kind.scale))
    if is_.is_timestamp(found) and is_.is_date(kind):
        return _date(array, kind, place)
    return _cast(array, kind, place)


def _cast(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    import pyarrow as pa

    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _Misfit(place, array.type, kind, f"a value would change: {error}".rstrip(".")) from None


def _same_worth(found: pa.DataType, kind: pa.DataType) -> bool:
    """Whether every value of one type that fits into the other means the same there."""
    import pyarrow as pa

    is_ = pa.types
    families = (
        (_is_text, _is_text),
        (_is_bytes, _is_bytes),
        (lambda t: is_.is_integer(t) or is_.is_floating(t), lambda t: is_.is_integer(t) or is_.is_floating(t)),
        (lambda t: is_.is_integer(t) or is_.is_decimal(t), is_.is_decimal),
        (lambda t: is_.is_date(t) or is_.is_timestamp(t), lambda t: is_.is_date(t) or is_.is_timestamp(t)),
        (is_.is_time, is_.is_time),
        (is_.is_duration, lambda t: is_.is_duration(t) or is_.is_int64(t)),
    )
    return any(one(found) and other(kind) for one, other in families)


def _is_text(kind: pa.DataType) -> bool:
    return str(kind) in ("string", "large_string", "string_view")


def _is_bytes(kind: pa.DataType) -> bool:
    return str(kind) in ("binary", "large_binary", "binary_view") or str(kind).startswith("fixed_size_binary")


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _rounded(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    import pyarrow.compute as pc

    rounded = array.cast(kind, safe=False)
    if pc.any(pc.and_(pc.is_finite(array), pc.invert(pc.is_finite(rounded)))).as_py():
        raise _Misfit(place, array.type, kind, "a value is too great")
    return rounded


def _time(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    """Instants and naive times, which are UTC, in each other's type; nanoseconds floored, also before 1970."""
    import pyarrow as pa

    naive = array.cast(pa.timestamp(array.type.unit))  # the same number, counted in UTC
    if array.type.unit == "ns" and kind.unit != "ns":
        naive = floor_to_micros(naive)
    return _cast(naive, pa.timestamp(kind.unit), place).cast(kind)


def _date(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    """A time that is a midnight in UTC is a date; Arrow would drop the hour of another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    naive = array.cast(pa.timestamp(array.type.unit))
    if not pc.all(pc.equal(pc.floor_temporal(naive, unit="day"), naive)).as_py():
        raise _Misfit(place, array.type, kind, "a value has an hour")
    return naive.cast(kind)


def _list(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    import pyarrow as pa

    if not _is_list(array.type):
        raise _Misfit(place, array.type, kind)
    # flatten() and the lengths leave out what null lists and slices hide.
    lengths = array.value_lengths().fill_null(0)
    values = _converted(array.flatten(), kind.value_type, f"{place}[]")
    if pa.types.is_fixed_size_list(kind):
        return _cast(pa.ListArray.from_arrays(_offsets(lengths), values, mask=array.is_null()), kind, place)
    return pa.ListArray.from_arrays(_offsets(lengths), values, mask=array.is_null()).cast(kind)


def _offsets(lengths: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    return pa.concat_arrays([pa.array([0], pa.int32()), ends])


def _struct(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    import pyarrow as pa

    if not pa.types.is_struct(array.type):
        raise _Misfit(place, array.type, kind)
    names, wanted = [field.name for field in array.type], [field.name for field in kind]
    if sorted(names) != sorted(wanted):
        raise _Misfit(place, array.type, kind)
    parts = dict(zip(names, array.flatten(), strict=True))
    fields = [field.with_nullable(True) for field in kind]
    columns = [_converted(parts[field.name], field.type, f"{place}.{field.name}") for field in fields]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=array.is_null()).cast(kind)


def _map(array: pa.Array, kind: pa.DataType, place: str) -> pa.Array:
    """A map from a map, or from a struct, which is what Arrow makes of Python's dictionaries."""
    import pyarrow as pa

    if pa.types.is_struct(array.type):
        rows = [
            None if row is None else [(key, value) for key, value in row.items() if value is not None]
            for row in array.to_pylist()
        ]
        try:
            return pa.array(rows, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise _Misfit(place, array.type, kind) from None
    if not pa.types.is_map(array.type):
        raise _Misfit(place, array.type, kind)
    entries = pa.array(array.to_pylist(), array.type)  # as its own slice, from an offset of nought
    keys = _converted(entries.keys, kind.key_type, f"{place}.key")
    values = _converted(entries.items, kind.item_type, f"{place}.value")
    made = pa.MapArray.from_arrays(entries.offsets, keys, values)
    if not array.null_count:
        return made.cast(kind)
    return pa.array(
        [row if known else None for row, known in zip(made.to_pylist(), array.is_valid().to_pylist(), strict=True)],
        kind,
    )
