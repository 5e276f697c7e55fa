"""Columns in another type: one walk over nested types, and two policies for what stands in them.

Reading (:func:`convert_for_reading`) gives a file's column the type of the view's frame, as Spark's Parquet reader
does: it widens numbers, cuts nanoseconds, and fills in fields that a struct lacks. Writing
(:func:`convert_for_writing`) puts rows into the columns that are there, and refuses whatever would change a value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.types import is_any_list
from feast_hybrid.arrow.utc import floor_to_micros
from feast_hybrid.errors import SchemaError

#: Where unsigned integers fit, by their width in bits: the next wider type of Spark.
_SPARK_OF_UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}


def convert_for_reading(array: pa.Array | pa.ChunkedArray, data_type: pa.DataType) -> pa.Array:
    """The values in another type that holds them all: wider numbers, more fields, another layout, microseconds.

    Raises:
        SchemaError: the type does not hold them; Spark's own reader refuses such a file too.
        pyarrow.ArrowInvalid: a value does not fit, as a time in seconds that no microseconds reach.
    """
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return convert_for_reading(array.chunk(0), data_type)
        converted = [convert_for_reading(chunk, data_type) for chunk in array.chunks]
        return pa.concat_arrays(converted or [pa.nulls(0, data_type)])
    return _READING.convert(array, data_type, "")


def convert_for_writing(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """The rows with a schema's columns, in its order and types.

    Values stay what they are: integers and decimals fit or are refused, a fraction is no integer. Two roundings are
    meant: a double becomes the nearest float where floats are kept, and nanoseconds are floored to microseconds. A
    naive time is UTC. A dictionary of Python's is a map where maps are kept; its nulls are left out.

    Args:
        table: the rows.
        schema: of the columns that are there.
        what: how an error names the rows and the place.

    Raises:
        SchemaError: columns are missing or too many, or a column does not fit; it names all of them, with both
            types.
    """
    require_columns(table.column_names, schema.names, what=what)
    columns, mismatches = [], []
    for field in schema:
        try:
            columns.append(_WRITING.convert(combined(table.column(field.name)), field.type, field.name))
        except _MismatchError as mismatch:
            mismatches.append(str(mismatch))
    if mismatches:
        raise SchemaError(f"{what}: {'; '.join(mismatches)}.")
    return pa.Table.from_arrays(columns, schema=schema)


def require_columns(names: Sequence[str], wanted: Sequence[str], *, what: str) -> None:
    """Refuse rows whose columns have other names than those that are there.

    Raises:
        SchemaError: it names what is missing, too much, or given twice.
    """
    faults = [
        f"{fault} {', '.join(columns)}"
        for fault, columns in (
            ("missing", [name for name in wanted if name not in names]),
            ("unknown", [name for name in names if name not in wanted]),
            ("given twice", sorted({name for name in names if list(names).count(name) > 1})),
        )
        if columns
    ]
    if faults:
        raise SchemaError(f"{what}: columns {'; '.join(faults)}. There are {', '.join(wanted)}.")


def spark_compatible(array: pa.Array) -> pa.Array:
    """The values in a type that Spark has, for local frames; other types stay, those too that Spark will refuse.

    Unsigned integers become the next wider signed type, nanoseconds are floored to microseconds, dictionaries are
    decoded, half-precision numbers become floats.
    """
    data_type = array.type
    if pa.types.is_dictionary(data_type):
        return spark_compatible(array.dictionary_decode())
    if pa.types.is_unsigned_integer(data_type):
        return array.cast(_SPARK_OF_UNSIGNED[data_type.bit_width])
    if pa.types.is_timestamp(data_type) and data_type.unit == "ns":
        return floor_to_micros(array)
    if pa.types.is_large_string(data_type):
        return array.cast(pa.string())
    if pa.types.is_float16(data_type):
        return array.cast(pa.float32())
    return array


def combined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in one piece; ``combine_chunks`` leaves several where they exceed the offsets of a type."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


class _MismatchError(Exception):
    """A column, or a part of one, that cannot be had in the type that is there."""

    def __init__(self, path: str, data_type: Any, wanted: Any, reason: str = "") -> None:
        because = f", and {reason}" if reason else ""
        super().__init__(f"column {path!r} is {data_type} in the rows and {wanted} there{because}")


class _Conversion(ABC):
    """Converts what is nested, part by part; subclasses say what values may become.

    ``path`` is the name of the column with the way to the part, for messages: ``c.field[]``.

    Attributes:
        checks_nulls: whether a null where a struct's field takes none is an error.
        nulls_fit: whether what holds nothing but nulls goes into any type.
    """

    checks_nulls: bool
    nulls_fit: bool

    def convert(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        found = array.type
        if found == wanted:
            return array
        if pa.types.is_null(found) or (self.nulls_fit and array.null_count == len(array)):
            return pa.nulls(len(array), wanted)
        if isinstance(found, pa.BaseExtensionType):
            return self.convert(array.storage, wanted, path)
        if pa.types.is_dictionary(found):
            return self.convert(array.dictionary_decode(), wanted, path)
        if pa.types.is_struct(wanted) and pa.types.is_struct(found):
            return self._struct(array, wanted, path)
        if _is_list(wanted) and is_any_list(found):
            return self._list(array, wanted, path)
        if pa.types.is_map(wanted) and (pa.types.is_map(found) or pa.types.is_struct(found)):
            return self.map(array, wanted, path)
        if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(found):
            return self._timestamp(array, wanted, path)
        return self.scalar(array, wanted, path)

    @abstractmethod
    def scalar(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """A type with no parts in another, or an error."""

    @abstractmethod
    def map(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """A map, or a struct, as a map."""

    @abstractmethod
    def fields(self, found: pa.DataType, wanted: pa.DataType, path: str) -> list[int | None]:
        """For each wanted field of a struct the position of the one that is there; None for nulls."""

    @abstractmethod
    def cast(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """Arrow's safe cast."""

    def _struct(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        positions = self.fields(array.type, wanted, path)
        parts = array.flatten()  # null where the struct is
        fields = [field.with_nullable(True) for field in wanted] if self.checks_nulls else list(wanted)
        columns = [
            pa.nulls(len(array), field.type)
            if position is None
            else self.convert(parts[position], field.type, f"{path}.{field.name}")
            for field, position in zip(fields, positions, strict=True)
        ]
        struct = pa.StructArray.from_arrays(columns, fields=fields, mask=array.is_null())
        return struct if struct.type == wanted else self.cast(struct, wanted, path)

    def _list(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        # flatten() and the lengths leave out what null lists and slices hide.
        lengths = pc.list_value_length(array).fill_null(0).to_numpy()
        offsets = np.zeros(len(array) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        values = self.convert(array.flatten(), wanted.value_type, f"{path}[]")
        mask = array.is_null() if array.null_count else None
        layout = pa.list_(wanted.value_field)
        converted = pa.ListArray.from_arrays(pa.array(offsets), values, type=layout, mask=mask)
        return converted if layout == wanted else self.cast(converted, wanted, path)

    def _timestamp(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """Another unit or another zone: the instant stays, a naive time is UTC, nanoseconds are floored."""
        if array.type.unit == "ns" and wanted.unit != "ns":
            array = floor_to_micros(array)
        if array.type.unit != wanted.unit:
            array = self.cast(array, pa.timestamp(wanted.unit, array.type.tz), path)
        return array.view(pa.int64()).view(wanted)  # the same numbers, which count in UTC whatever the zone


class _Reading(_Conversion):
    """A file's column in the type of a view's frame."""

    checks_nulls = nulls_fit = False  # Spark's reader goes by the types alone

    def scalar(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:  # noqa: ARG002
        if not _widens(array.type, wanted):
            raise SchemaError(f"it is {array.type} in the file, and {wanted} in the view's frame")
        return array.cast(wanted)

    def map(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        return array.cast(wanted) if pa.types.is_map(array.type) else self.scalar(array, wanted, path)

    def fields(self, found: pa.DataType, wanted: pa.DataType, path: str) -> list[int | None]:  # noqa: ARG002
        exact = [field.name for field in found]
        lower = [name.lower() for name in exact]
        return [
            exact.index(field.name)
            if field.name in exact
            else lower.index(field.name.lower())
            if field.name.lower() in lower
            else None
            for field in wanted
        ]

    def cast(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:  # noqa: ARG002
        return array.cast(wanted)


class _Writing(_Conversion):
    """Rows in the type of the columns that are there."""

    checks_nulls = nulls_fit = True

    def scalar(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        found = array.type
        if not _same_meaning(found, wanted):
            raise _MismatchError(path, found, wanted)
        if pa.types.is_floating(found) and pa.types.is_floating(wanted):
            rounded = array.cast(wanted, safe=False)
            if pc.any(pc.and_(pc.is_finite(array), pc.invert(pc.is_finite(rounded)))).as_py():
                raise _MismatchError(path, found, wanted, "a value is too great")
            return rounded
        if pa.types.is_integer(found) and pa.types.is_decimal(wanted):
            # Arrow asks for room for every integer of the type.
            array = array.cast(pa.decimal256(20 + wanted.scale, wanted.scale))
        if pa.types.is_timestamp(found) and pa.types.is_date(wanted):
            # A midnight in UTC is a date; Arrow would drop the hour of another time.
            naive = array.cast(pa.timestamp(found.unit))
            if not pc.all(pc.equal(pc.floor_temporal(naive, unit="day"), naive)).as_py():
                raise _MismatchError(path, found, wanted, "a value has an hour")
            return naive.cast(wanted)
        return self.cast(array, wanted, path)

    def map(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """A map from a map, or from a struct, which is what Arrow makes of Python's dictionaries."""
        if pa.types.is_struct(array.type):
            rows = [
                None if row is None else [(key, value) for key, value in row.items() if value is not None]
                for row in array.to_pylist()
            ]
            try:
                return pa.array(rows, wanted)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise _MismatchError(path, array.type, wanted) from None
        entries = pa.array(array.to_pylist(), array.type)  # as its own slice, from an offset of zero
        keys = self.convert(entries.keys, wanted.key_type, f"{path}.key")
        values = self.convert(entries.items, wanted.item_type, f"{path}.value")
        converted = pa.MapArray.from_arrays(entries.offsets, keys, values)
        if not array.null_count:
            return converted.cast(wanted)
        valid = array.is_valid().to_pylist()
        return pa.array(
            [row if is_valid else None for row, is_valid in zip(converted.to_pylist(), valid, strict=True)], wanted
        )

    def fields(self, found: pa.DataType, wanted: pa.DataType, path: str) -> list[int | None]:
        names = [field.name for field in found]
        if sorted(names) != sorted(field.name for field in wanted):
            raise _MismatchError(path, found, wanted)
        return [names.index(field.name) for field in wanted]

    def cast(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        try:
            return array.cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            reason = f"a value would change: {error}".rstrip(".")
            raise _MismatchError(path, array.type, wanted, reason) from None


_READING, _WRITING = _Reading(), _Writing()


def _widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type of Spark's holds every value of a type in a file, as Spark's reader has it."""
    is_ = pa.types
    if is_.is_string(wanted) or is_.is_binary(wanted):
        return _is_text(found) or _is_bytes(found)
    if is_.is_integer(wanted):
        return bool(is_.is_duration(found) or (is_.is_integer(found) and found.bit_width <= wanted.bit_width))
    if is_.is_floating(wanted):
        is_number = is_.is_floating(found) or is_.is_integer(found)
        return bool(is_number and found.bit_width <= wanted.bit_width)
    if is_.is_decimal(wanted):
        return bool(is_.is_integer(found) or is_.is_decimal(found))
    if is_.is_timestamp(wanted):
        return bool(wanted.tz is None and is_.is_date(found))
    return bool(is_.is_date(wanted) and is_.is_date(found))


def _same_meaning(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of one type that fits into the other means the same there."""
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
    return any(one(found) and other(wanted) for one, other in families)


def _is_text(data_type: pa.DataType) -> bool:
    return str(data_type) in ("string", "large_string", "string_view")


def _is_bytes(data_type: pa.DataType) -> bool:
    name = str(data_type)
    return name in ("binary", "large_binary", "binary_view") or name.startswith("fixed_size_binary")


def _is_list(data_type: pa.DataType) -> bool:
    """Whether it is a list in a layout that Parquet's schemas have in Arrow."""
    is_ = pa.types
    return bool(is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_fixed_size_list(data_type))
