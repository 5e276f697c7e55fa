"""One walk over nested types for columns in another type; policies for what stands in them are subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.types import is_any_list
from feast_hybrid.arrow.utc import floor_to_micros


class Conversion(ABC):
    """Converts what is nested, part by part; subclasses say what values may become.

    ``path`` is the name of the column with the way to the part, for messages: ``c.field[]``.

    Attributes:
        checks_nulls: whether a null where a struct's field takes none is an error.
        nulls_fit: whether what holds nothing but nulls goes into any type.
    """

    checks_nulls: bool
    nulls_fit: bool

    def convert(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """The values in another type, or the error of the policy."""
        found = array.type
        if self.is_same(found, wanted):
            return array
        if pa.types.is_null(found) or (self.nulls_fit and array.null_count == len(array)):
            return pa.nulls(len(array), wanted)
        if isinstance(found, pa.BaseExtensionType):
            return self.convert(array.storage, wanted, path)
        if pa.types.is_dictionary(found):
            return self.convert(array.dictionary_decode(), wanted, path)
        if pa.types.is_struct(wanted) and pa.types.is_struct(found):
            return self._struct(array, wanted, path)
        if is_list(wanted) and is_any_list(found):
            return self._list(array, wanted, path)
        if pa.types.is_map(wanted) and (pa.types.is_map(found) or pa.types.is_struct(found)):
            return self.map(array, wanted, path)
        if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(found):
            return self._timestamp(array, wanted, path)
        return self.scalar(array, wanted, path)

    def is_same(self, found: pa.DataType, wanted: pa.DataType) -> bool:
        """Whether values of one type are those of the other as they stand."""
        return bool(found == wanted)

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
        # flatten() leaves out what null lists and slices hide.
        values = self.convert(array.flatten(), wanted.value_type, f"{path}[]")
        mask = array.is_null() if array.null_count else None
        layout = pa.list_(wanted.value_field)
        converted = pa.ListArray.from_arrays(list_offsets(array), values, type=layout, mask=mask)
        return converted if layout == wanted else self.cast(converted, wanted, path)

    def _timestamp(self, array: pa.Array, wanted: pa.DataType, path: str) -> pa.Array:
        """Another unit or another zone: the instant stays, a naive time is UTC, nanoseconds are floored."""
        if array.type.unit == "ns" and wanted.unit != "ns":
            array = floor_to_micros(array)
        if array.type.unit != wanted.unit:
            array = self.cast(array, pa.timestamp(wanted.unit, array.type.tz), path)
        return array.view(pa.int64()).view(wanted)  # the same numbers, which count in UTC whatever the zone


def list_offsets(array: pa.Array) -> pa.Array:
    """The offsets of lists in what ``flatten()`` gives, whatever null lists and slices hide."""
    lengths = pc.list_value_length(array).fill_null(0).to_numpy()
    offsets = np.zeros(len(array) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.array(offsets)


def is_text(data_type: pa.DataType) -> bool:
    """Whether it is text in any of Arrow's layouts."""
    return str(data_type) in ("string", "large_string", "string_view")


def is_bytes(data_type: pa.DataType) -> bool:
    """Whether it is bytes in any of Arrow's layouts."""
    name = str(data_type)
    return name in ("binary", "large_binary", "binary_view") or name.startswith("fixed_size_binary")


def is_list(data_type: pa.DataType) -> bool:
    """Whether it is a list in a layout that Parquet's schemas have in Arrow."""
    is_ = pa.types
    return bool(is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_fixed_size_list(data_type))
