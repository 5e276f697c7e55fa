"""The columns of a Delta table, as its log has them: their types in Arrow, and their names in the table's files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from feast_hybrid.arrow.unify import NoCommonTypeError, spark_form, unify
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.delta_log import BrokenLogError
from feast_hybrid.files.listed_tables import TableColumn
from feast_hybrid.files.resolved import StoredColumn

_PRIMITIVES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "long": pa.int64(),
    "integer": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": INSTANT,
    "timestamp_ntz": pa.timestamp("us"),
    "void": pa.null(),
}
_DECIMAL = re.compile(r"decimal\((\d+), *(\d+)\)")

#: What a field's metadata may say of it, by which readers have to go.
_PHYSICAL_NAME = "delta.columnMapping.physicalName"
_TYPE_CHANGES = "delta.typeChanges"
#: Keys of a field's metadata that give its values another meaning, and what that is.
_UNREAD = {
    "EXISTS_DEFAULT": "a default value for rows that were there before it",
    "__COLLATIONS": "a collation",
}


def table_columns(schema_text: str, *, mapped: bool) -> list[TableColumn]:
    """The columns that a table's log has.

    Args:
        schema_text: ``metaData.schemaString``.
        mapped: whether files have other names.

    Raises:
        BrokenLogError: it is no schema.
    """
    try:
        return [_column(field, mapped) for field in json.loads(schema_text)["fields"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenLogError(f"the log's schema cannot be read: {type(error).__name__}") from None


def _column(field: Mapping[str, Any], mapped: bool) -> TableColumn:
    name = field["name"]
    physical_name = _name_in_files(field) if mapped else name
    try:
        for each in _fields_within(field):
            _refuse_metadata(each)
        data_type = spark_form(_arrow_type(field["type"], mapped=False))
        physical = spark_form(_arrow_type(field["type"], mapped=True)) if mapped else data_type
    except SchemaError as error:
        return TableColumn(name, None, str(error), StoredColumn(physical_name))
    stored = StoredColumn(physical_name, None if physical == data_type else physical)
    return TableColumn(name, data_type, "", stored)


def _name_in_files(field: Mapping[str, Any]) -> str:
    name: str = field["metadata"][_PHYSICAL_NAME]
    return name


def _fields_within(field: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A field, and those of the structs in it."""
    yield field
    parts = [field["type"]]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            parts += [part[key] for key in ("elementType", "keyType", "valueType") if key in part]
            for inner in part.get("fields", ()):
                yield from _fields_within(inner)


def _refuse_metadata(field: Mapping[str, Any]) -> None:
    metadata = field.get("metadata") or {}
    for key, what in _UNREAD.items():
        if key in metadata:
            raise SchemaError(f"{field['name']!r} has {what}, by which feast-hybrid does not read")
    for change in metadata.get(_TYPE_CHANGES) or ():
        before, after = (_arrow_type(change[key], mapped=False) for key in ("fromType", "toType"))
        try:
            widens = unify(before, after) == after
        except NoCommonTypeError:
            widens = False
        if not widens:
            raise SchemaError(
                f"{field['name']!r} was {change['fromType']} and is {change['toType']} now, which feast-hybrid does "
                "not read as the other"
            )


def _arrow_type(data_type: Any, *, mapped: bool) -> pa.DataType:
    """A type of the log in Arrow; with the names that files have for its parts, where it is mapped.

    Raises:
        SchemaError: there is no such type.
    """
    if isinstance(data_type, str):
        if (found := _PRIMITIVES.get(data_type)) is not None:
            return found
        if decimal := _DECIMAL.fullmatch(data_type):
            return pa.decimal128(int(decimal[1]), int(decimal[2]))
        raise SchemaError(f"is of the type {data_type}, which feast-hybrid does not read")
    if data_type["type"] == "array":
        return pa.list_(_arrow_type(data_type["elementType"], mapped=mapped))
    if data_type["type"] == "map":
        key, value = (_arrow_type(data_type[part], mapped=mapped) for part in ("keyType", "valueType"))
        return pa.map_(key, value)
    if data_type["type"] == "struct":
        return pa.struct(
            [
                (_name_in_files(field) if mapped else field["name"], _arrow_type(field["type"], mapped=mapped))
                for field in data_type["fields"]
            ]
        )
    raise SchemaError(f"is of the type {data_type['type']}, which feast-hybrid does not read")
