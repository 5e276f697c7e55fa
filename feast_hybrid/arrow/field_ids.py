"""Columns that are known by numbers and not by their names, as in the Parquet files of Iceberg tables.

A table's column keeps its number whatever it is called, and so do the parts of it. Files that were written without
numbers are read by the names that the table's name mapping gives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pyarrow as pa

from feast_hybrid.errors import SchemaError

#: Where Arrow keeps the number of a column of a Parquet file.
FIELD_ID = b"PARQUET:field_id"
_NAMES = b"feast_hybrid:names"


def numbered_field(name: str, data_type: pa.DataType, number: int, names: Sequence[str] | None = None) -> pa.Field:
    """A field of a table's, by which :func:`positions_by_number` finds a file's.

    Args:
        name: in the table.
        data_type: whose parts are such fields too.
        number: in the table.
        names: what files without numbers may call it; None where the table does not say it.
    """
    metadata = {FIELD_ID: str(number).encode()}
    if names is not None:
        metadata[_NAMES] = json.dumps(list(names)).encode()
    return pa.field(name, data_type, metadata=metadata)


def number_of(field: pa.Field) -> int | None:
    """The number of a field; None where it has none."""
    text = (field.metadata or {}).get(FIELD_ID)
    return None if text is None else int(text)


def has_numbers(fields: Iterable[pa.Field]) -> bool:
    """Whether any field of a file has a number, or any part of one."""
    return any(number_of(field) is not None or has_numbers(_parts(field.type)) for field in fields)


def _parts(data_type: pa.DataType) -> list[pa.Field]:
    is_ = pa.types
    if is_.is_struct(data_type):
        return list(data_type)
    if is_.is_map(data_type):
        return [data_type.key_field, data_type.item_field]
    if is_.is_list(data_type) or is_.is_large_list(data_type) or is_.is_fixed_size_list(data_type):
        return [data_type.value_field]
    return []


def positions_by_number(wanted: pa.Field, fields: Sequence[pa.Field], *, by_names: bool) -> list[int]:
    """Where a file's fields stand that are the one that is wanted: none, one, or, where it is unclear, several.

    Args:
        wanted: of :func:`numbered_field`.
        fields: the file's.
        by_names: whether the file has no numbers, so that the names of the table's name mapping count.

    Raises:
        SchemaError: the file has numbers, but not for a field that has the name of the one that is wanted.
    """
    names = json.loads((wanted.metadata or {}).get(_NAMES, b"[]"))
    if by_names:
        return [position for position, field in enumerate(fields) if field.name in names]
    number = number_of(wanted)
    found = [position for position, field in enumerate(fields) if number_of(field) == number]
    for field in () if found else fields:
        if number_of(field) is None and field.name in (wanted.name, *names):
            raise SchemaError(
                f"the file has numbers of columns, but none for {field.name!r}, which may or may not be the one that "
                "the table has. Write the file anew by Iceberg"
            )
    return found


class NumberedColumns:
    """The columns of a file, for a table that knows its own by numbers.

    Args:
        fields: the file's.

    Attributes:
        by_names: whether the file has no numbers, so that the names of the table's name mapping count.
    """

    def __init__(self, fields: Iterable[pa.Field]) -> None:
        self._fields = list(fields)
        self.by_names = not has_numbers(self._fields)
        self._by_number: dict[int | None, list[str]] = {}
        for field in self._fields:
            self._by_number.setdefault(number_of(field), []).append(field.name)

    def names_of(self, wanted: pa.Field) -> list[str]:
        """How the file calls a column: one name, none, or, where it is unclear, several.

        Args:
            wanted: of :func:`numbered_field`.

        Raises:
            SchemaError: the file has no numbers, nor has the table names for such files; or the file has some, but
                none for a column that has the name of the one that is wanted.
        """
        if not self.by_names and (names := self._by_number.get(number_of(wanted))):
            return names
        if self.by_names and _NAMES not in (wanted.metadata or {}):
            raise SchemaError(
                "the file has no numbers of columns, by which the table knows them, and the table says not by which "
                "names they are found (schema.name-mapping.default). Give the table that property, or write the file "
                "anew by Iceberg"
            )
        return [
            self._fields[position].name
            for position in positions_by_number(wanted, self._fields, by_names=self.by_names)
        ]
