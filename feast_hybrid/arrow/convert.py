"""Columns in another type: one walk over nested types, and two policies for what stands in them.

Reading (:func:`convert_for_reading`) gives a file's column the type that all files of the source have together: it
widens numbers, cuts nanoseconds, fills in fields that a struct lacks, and takes one family of types for another where
each value is the same there. Writing (:func:`convert_for_writing`) puts rows into the columns that are there, and
refuses whatever would change a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.conversion import Conversion, is_bytes, is_text, list_offsets
from feast_hybrid.arrow.field_ids import positions_by_number
from feast_hybrid.arrow.types import fits_spark
from feast_hybrid.arrow.utc import epoch_micros_of_array, floor_to_micros
from feast_hybrid.errors import SchemaError

#: Where unsigned integers fit, by their width in bits: the next wider type of Spark.
_SPARK_OF_UNSIGNED = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}


def convert_for_reading(array: pa.Array | pa.ChunkedArray, data_type: pa.DataType) -> pa.Array:
    """The values in another type: wider numbers, more fields, another layout, microseconds.

    Whole numbers as doubles, doubles as whole numbers, whole numbers as text and dates as instants are had where each
    value is the same there, as :func:`feast_hybrid.arrow.unify.resolve_type` has it.

    Raises:
        SchemaError: no value of the one type is meant by the other, or a value does not fit; it shows the first.
    """
    if isinstance(array, pa.ChunkedArray):
        if array.num_chunks == 1:
            return convert_for_reading(array.chunk(0), data_type)
        converted = [convert_for_reading(chunk, data_type) for chunk in array.chunks]
        return pa.concat_arrays(converted or [pa.nulls(0, data_type)])
    return _READING.convert(array, data_type, "")


def convert_by_position(array: pa.Array, data_type: pa.DataType) -> pa.Array:
    """As :func:`convert_for_reading`, but a struct's fields are those at the same places, whatever their names.

    Raises:
        SchemaError: a struct has more fields than the other, or fewer; or see there.
    """
    return _BY_POSITION.convert(array, data_type, "")


def convert_by_number(array: pa.Array, data_type: pa.DataType, *, by_names: bool) -> pa.Array:
    """As :func:`convert_for_reading`, but a struct's fields are those of the same numbers, whatever their names.

    Args:
        array: of a file, whose type has the numbers of its parts.
        data_type: whose parts are of :func:`feast_hybrid.arrow.field_ids.numbered_field`.
        by_names: whether the file has no numbers, so that the names of the table's name mapping count.

    Raises:
        SchemaError: a part may be several of the file's; or see there.
    """
    return (_BY_MAPPED_NAME if by_names else _BY_NUMBER).convert(array, data_type, "")


def convert_for_writing(table: pa.Table, schema: pa.Schema, *, what: str) -> pa.Table:
    """The rows with a schema's columns, in its order and types.

    Values stay what they are: integers and decimals fit or are refused, a fraction is no integer. Two roundings are
    meant: a double becomes the nearest float where floats are kept, and nanoseconds are floored to microseconds. A
    naive time is UTC. A duration goes to durations, in their unit, and not to numbers, which do not say theirs; a
    number among durations counts their unit, as it does where they are read. A dictionary of Python's is a map where
    maps are kept; its nulls are left out.

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

    Unsigned integers become the next wider signed type, times are in microseconds, nanoseconds being floored,
    dictionaries are decoded, text and bytes are laid out plainly, half-precision numbers become floats, and decimals
    are in 128 bits where these hold their digits.

    Raises:
        pyarrow.ArrowInvalid: microseconds in 64 bits do not hold a time.
    """
    data_type = array.type
    if pa.types.is_dictionary(data_type):
        return spark_compatible(array.dictionary_decode())
    if pa.types.is_unsigned_integer(data_type):
        return array.cast(_SPARK_OF_UNSIGNED[data_type.bit_width])
    if pa.types.is_timestamp(data_type) and data_type.unit == "ns":
        return floor_to_micros(array)
    if pa.types.is_timestamp(data_type) and data_type.unit != "us":
        return array.cast(pa.timestamp("us", data_type.tz))
    if pa.types.is_large_string(data_type) or pa.types.is_string_view(data_type):
        return array.cast(pa.string())
    is_binary = (pa.types.is_binary_view, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if any(is_it(data_type) for is_it in is_binary):
        return array.cast(pa.binary())
    if pa.types.is_float16(data_type):
        return array.cast(pa.float32())
    if pa.types.is_decimal(data_type) and data_type.bit_width != 128 and fits_spark(data_type):
        return array.cast(pa.decimal128(data_type.precision, data_type.scale))
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


class _Reading(Conversion):
    """A file's column in the type of a view's frame."""

    checks_nulls = nulls_fit = False  # Spark's reader goes by the types alone

    def scalar(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        found, is_ = array.type, pa.types
        if is_.is_floating(wanted) and is_.is_integer(found):
            # Not by Arrow's own check, which does not say which value it is.
            return self._checked(array, wanted, path, "holds only smaller whole numbers", _is_exact)
        if is_.is_integer(wanted) and is_.is_floating(found):
            return self._checked(array, wanted, path, "holds only whole numbers of its size", _is_whole)
        if is_.is_integer(wanted) and is_.is_decimal(found):
            return self.cast(array, wanted, path)
        if is_.is_string(wanted) and (is_.is_integer(found) or (is_.is_decimal(found) and found.scale == 0)):
            return array.cast(wanted)
        if is_.is_timestamp(wanted) and is_.is_date(found):
            micros = epoch_micros_of_array(array.cast(pa.date32()))
            self._refuse_first(array, pc.invert(pc.is_valid(micros)), wanted, path, "holds no such day")
            return micros.view(pa.timestamp("us", tz=wanted.tz)).cast(wanted)
        if not _widens(found, wanted):
            part = f" (in {path})" if path else ""
            raise SchemaError(
                f"it is {found} in the file, and {wanted} in the other files or by what is declared{part}"
            )
        return self.cast(array, wanted, path)

    def map(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        if not pa.types.is_map(array.type):
            return self.scalar(array, wanted, path)
        same_keys = self.is_same(array.type.key_type, wanted.key_type)
        if same_keys and self.is_same(array.type.item_type, wanted.item_type):
            return array.cast(wanted)
        # As a list of entries, flatten() leaves out what null maps and slices hide.
        entries = array.cast(pa.list_(pa.struct([array.type.key_field, array.type.item_field])))
        keys, items = entries.flatten().flatten()
        return pa.MapArray.from_arrays(
            list_offsets(entries),
            self.convert(keys, wanted.key_type, f"{path}{{key}}"),
            self.convert(items, wanted.item_type, f"{path}{{value}}"),
            type=wanted,
            mask=array.is_null() if array.null_count else None,
        )

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

    def cast(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        try:
            return array.cast(wanted)
        except pa.ArrowInvalid:
            raise _refusal(_first_that_fails(array, wanted), wanted, path, "does not hold it") from None

    def _checked(
        self,
        array: pa.Array,
        wanted: pa.DataType,
        path: str,
        reason: str,
        fits: Callable[[pa.Array, pa.DataType], pa.Array],
    ) -> pa.Array:
        self._refuse_first(array, pc.invert(fits(array, wanted)), wanted, path, reason)
        return array.cast(wanted, safe=False)

    def _refuse_first(self, array: pa.Array, wrong: pa.Array, wanted: pa.DataType, path: str, reason: str) -> None:
        """Refuse the first value that is wrong; nulls never are."""
        place = pc.index(pc.and_(wrong, pc.is_valid(array)), True).as_py()
        if place >= 0:
            raise _refusal(array.slice(place, 1), wanted, path, reason)


class _Writing(Conversion):
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
        if pa.types.is_duration(wanted) and not pa.types.is_duration(found):
            array = self.cast(array, pa.int64(), path)
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


class _ByPosition(_Reading):
    """A column whose parts have other names than those that they shall have."""

    def fields(self, found: pa.DataType, wanted: pa.DataType, path: str) -> list[int | None]:
        if found.num_fields != wanted.num_fields:
            part = f" (in {path})" if path else ""
            raise SchemaError(f"it has {found.num_fields} fields, and {wanted.num_fields} are wanted{part}")
        return list(range(wanted.num_fields))


class _ByNumber(_Reading):
    """A column whose parts are known by their numbers, or by the names of a table's name mapping."""

    def __init__(self, *, by_names: bool) -> None:
        self._by_names = by_names

    def is_same(self, found: pa.DataType, wanted: pa.DataType) -> bool:
        # Types of equal names may have other numbers, which Arrow does not compare.
        return bool(found == wanted and not pa.types.is_nested(found))

    def fields(self, found: pa.DataType, wanted: pa.DataType, path: str) -> list[int | None]:
        chosen: list[int | None] = []
        for field in wanted:
            positions = positions_by_number(field, list(found), by_names=self._by_names)
            if len(positions) > 1:
                names = ", ".join(repr(found.field(position).name) for position in positions)
                part = f" (in {path})" if path else ""
                raise SchemaError(f"its part {field.name!r} may be {names} in the file{part}")
            chosen.append(positions[0] if positions else None)
        return chosen


_READING, _WRITING, _BY_POSITION = _Reading(), _Writing(), _ByPosition()
_BY_NUMBER, _BY_MAPPED_NAME = _ByNumber(by_names=False), _ByNumber(by_names=True)


def _is_exact(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Whether whole numbers are within those that a float tells from their neighbours."""
    bits = {16: 11, 32: 24, 64: 53}[wanted.bit_width]
    if array.type.bit_width <= bits:
        return pc.is_valid(array)
    limit = pa.scalar(2**bits, array.type)
    low = pa.scalar(-(2**bits) if pa.types.is_signed_integer(array.type) else 0, array.type)
    return pc.and_(pc.less_equal(array, limit), pc.greater_equal(array, low))


def _is_whole(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Whether floats are whole and within an integer's size; NaN and infinity are not."""
    limit = 2.0 ** (wanted.bit_width - 1)
    numbers = array.cast(pa.float64())
    fits = pc.and_(pc.less(numbers, limit), pc.greater_equal(numbers, -limit))
    return pc.and_(fits, pc.equal(pc.floor(numbers), numbers))


def _first_that_fails(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """The first value that Arrow does not cast, by itself."""
    while len(array) > 1:
        half = array.slice(0, len(array) // 2)
        try:
            half.cast(wanted)
        except pa.ArrowInvalid:
            array = half
        else:
            array = array.slice(len(array) // 2)
    return array


def _refusal(value: pa.Array, wanted: pa.DataType, path: str, reason: str) -> SchemaError:
    try:
        shown = repr(value[0].as_py()) if is_bytes(value.type) else str(value[0])
    except (ValueError, OverflowError):  # a time that Python has not
        shown = f"{value.view(pa.int64() if value.type.bit_width == 64 else pa.int32())[0]} as {value.type}"
    part = f" (in {path})" if path else ""
    return SchemaError(f"it has the value {shown} in the file{part}, and {wanted} {reason}")


def _widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a type of Spark's holds every value of a type in a file, as Spark's reader has it."""
    is_ = pa.types
    if is_.is_string(wanted) or is_.is_binary(wanted):
        return is_text(found) or is_bytes(found)
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
        (is_text, is_text),
        (is_bytes, is_bytes),
        (lambda t: is_.is_integer(t) or is_.is_floating(t), lambda t: is_.is_integer(t) or is_.is_floating(t)),
        (lambda t: is_.is_integer(t) or is_.is_decimal(t), is_.is_decimal),
        (lambda t: is_.is_date(t) or is_.is_timestamp(t), lambda t: is_.is_date(t) or is_.is_timestamp(t)),
        (is_.is_time, is_.is_time),
        (lambda t: is_.is_duration(t) or is_.is_integer(t) or is_.is_floating(t), is_.is_duration),
    )
    return any(one(found) and other(wanted) for one, other in families)
