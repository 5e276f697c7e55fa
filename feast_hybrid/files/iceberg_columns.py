"""The columns of an Iceberg table for readers: their types in Arrow, and how files' columns are found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyiceberg.types import (
    DecimalType,
    FixedType,
    IcebergType,
    ListType,
    MapType,
    NestedField,
    StructType,
    TimestampNanoType,
    TimestamptzNanoType,
)

from feast_hybrid.arrow.field_ids import numbered_field
from feast_hybrid.arrow.unify import spark_form
from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.iceberg_types import ARROW_TYPES
from feast_hybrid.files.listed_tables import TableColumn
from feast_hybrid.files.resolved import StoredColumn

NAME_MAPPING = "schema.name-mapping.default"
_NANOS: dict[type[IcebergType], pa.DataType] = {
    TimestampNanoType: pa.timestamp("ns"),
    TimestamptzNanoType: pa.timestamp("ns", "UTC"),
}

#: A number of the table's → the names that files without numbers may have for it.
NameMapping = Mapping[int, list[str]]


def name_mapping(properties: Mapping[str, str]) -> NameMapping | None:
    """By which names the columns of files without numbers are found; None where a table does not say it.

    Raises:
        SourceError: what it says is no mapping.
    """
    text = properties.get(NAME_MAPPING)
    if text is None:
        return None
    found: dict[int, list[str]] = {}
    try:
        pending = list(json.loads(text))
        while pending:
            entry: dict[str, Any] = pending.pop()
            if (number := entry.get("field-id")) is not None:
                found[int(number)] = [str(name) for name in entry["names"]]
            pending += entry.get("fields") or ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"the table's property {NAME_MAPPING} cannot be read: {type(error).__name__}") from None
    return found


def table_column(column: NestedField, mapping: NameMapping | None, unknown: Mapping[int, str]) -> TableColumn:
    """A column of a table.

    Args:
        column: of its schema.
        mapping: by which names it is found in files without numbers.
        unknown: number of a column → its type, where pyiceberg has no such type.
    """
    try:
        numbered = _numbered(column, mapping, unknown)
        return TableColumn(column.name, spark_form(numbered.type), "", StoredColumn(column.name, None, numbered))
    except SchemaError as error:
        return TableColumn(column.name, None, str(error), StoredColumn(column.name))


def _numbered(field: NestedField, mapping: NameMapping | None, unknown: Mapping[int, str]) -> pa.Field:
    """A field with its number, and those of its parts.

    Raises:
        SchemaError: this package does not read it.
    """
    if field.initial_default is not None:
        raise SchemaError(
            f"{field.name!r} has a default value for rows that were there before it, by which feast-hybrid does not "
            "read"
        )
    names = None if mapping is None else mapping.get(field.field_id, [])
    return numbered_field(field.name, _data_type(field, mapping, unknown), field.field_id, names)


def _data_type(field: NestedField, mapping: NameMapping | None, unknown: Mapping[int, str]) -> pa.DataType:
    data_type: IcebergType = field.field_type
    if (found := {**ARROW_TYPES, **_NANOS}.get(type(data_type))) is not None:
        return found
    if isinstance(data_type, DecimalType):
        return pa.decimal128(data_type.precision, data_type.scale)
    if isinstance(data_type, FixedType):
        return pa.binary(len(data_type))
    if isinstance(data_type, ListType):
        return pa.list_(_numbered(data_type.element_field, mapping, unknown))
    if isinstance(data_type, MapType):
        key, value = (_numbered(part, mapping, unknown) for part in (data_type.key_field, data_type.value_field))
        return pa.map_(key.with_nullable(False), value)
    if isinstance(data_type, StructType):
        return pa.struct([_numbered(part, mapping, unknown) for part in data_type.fields])
    raise SchemaError(f"is of the type {unknown.get(field.field_id, data_type)}, which feast-hybrid does not read")
