"""What a commit that adds files to a Delta table says, and what a table asks of whoever adds some.

What this package does not do for a table, such as to check its constraints, is refused by name.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.errors import SchemaError
from feast_hybrid.files.delta_table import DeltaFeatureError

if TYPE_CHECKING:
    from feast_hybrid.files.delta_log import Snapshot

#: Features that ask nothing of a commit that adds files, or only what is looked for in the schema and properties.
_WRITER_FEATURES = frozenset(
    {
        "allowColumnDefaults",
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "columnMapping",
        "deletionVectors",
        "domainMetadata",
        "generatedColumns",
        "identityColumns",
        "inCommitTimestamp",
        "invariants",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
    }
)
_NAMED_FEATURES = 7
#: Properties by which a writer has more to do, beginnings of their names, and what that is.
_PROPERTIES = {"delta.constraints.": "a constraint"}
#: Keys of columns' metadata, likewise.
_METADATA = {
    "delta.invariants": "an invariant",
    "delta.generationExpression": "a generated column",
    "delta.identity.": "an identity column",
    "__CHAR_VARCHAR_TYPE_STRING": "a column of text of a given length",
}
_DELTA_TYPES: dict[pa.DataType, str] = {
    pa.string(): "string",
    pa.int64(): "long",
    pa.int32(): "integer",
    pa.int16(): "short",
    pa.int8(): "byte",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.bool_(): "boolean",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.timestamp("us"): "timestamp_ntz",
}


@dataclass(frozen=True)
class AddedFile:
    """A file that a commit adds.

    Attributes:
        path: below the table's folder.
        size: in bytes.
        partitions: partition column → value as text; None for null.
        rows: that it holds.
    """

    path: str
    size: int
    partitions: Mapping[str, str | None]
    rows: pa.Table


def require_appendable(snapshot: Snapshot) -> None:
    """See that this package can add rows to a table.

    Raises:
        DeltaFeatureError: names what it does not do.
    """
    writer_version = int(snapshot.protocol["minWriterVersion"])
    if writer_version > _NAMED_FEATURES:
        raise _needs(f"version {writer_version} of the protocol for writers")
    unknown = sorted(set(snapshot.protocol.get("writerFeatures") or ()) - _WRITER_FEATURES)
    if unknown:
        raise _needs(f"the writer feature {', '.join(unknown)}")
    properties = snapshot.properties
    for begin, what in _PROPERTIES.items():
        if any(name.startswith(begin) for name in properties):
            raise _needs(f"{what} to be checked")
    if properties.get("delta.columnMapping.mode", "none").lower() != "none":
        raise _needs("column mapping in what is written")
    if properties.get("delta.enableInCommitTimestamps", "false").lower() == "true":
        raise _needs("in-commit timestamps")
    for field, is_nested in _fields(json.loads(snapshot.metadata["schemaString"])):
        for key in field.get("metadata") or {}:
            for begin, what in _METADATA.items():
                if key.startswith(begin):
                    raise _needs(f"{what} ({field['name']!r}) to be kept")
        if is_nested and not field.get("nullable", True):
            raise _needs(f"a part of a column that is never null ({field['name']!r}) to be checked")


def _needs(feature: str) -> DeltaFeatureError:
    return DeltaFeatureError(f"the Delta table needs {feature}, which feast-hybrid does not do")


def required_columns(snapshot: Snapshot) -> list[str]:
    """The columns that are never null."""
    fields = _fields(json.loads(snapshot.metadata["schemaString"]))
    return [field["name"] for field, is_nested in fields if not is_nested and not field.get("nullable", True)]


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """All fields of a schema, and whether they are parts of a column."""
    parts: list[tuple[Any, bool]] = [(schema, False)]
    while parts:
        part, is_nested = parts.pop(0)
        if not isinstance(part, dict):
            continue
        for field in part.get("fields", ()):
            yield field, is_nested
            parts.append((field["type"], True))
        if not (part.get("containsNull", True) and part.get("valueContainsNull", True)):
            yield {"name": part["type"], "nullable": False}, True
        parts += [(part[key], True) for key in ("elementType", "keyType", "valueType") if key in part]


def first_actions(schema: pa.Schema, partitions: Sequence[str]) -> list[dict[str, Any]]:
    """What the first commit of a new table says besides its files.

    Raises:
        SchemaError: Delta has no such type.
    """
    fields = [_field(field) for field in schema]
    naive = ["timestampNtz"] if "timestamp_ntz" in json.dumps(fields) else []
    protocol: dict[str, Any] = {"minReaderVersion": 1, "minWriterVersion": 2}
    if naive:
        protocol = {
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": naive,
            "writerFeatures": [*naive, "appendOnly", "invariants"],
        }
    metadata = {
        "id": str(uuid.uuid4()),
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": list(partitions),
        "configuration": {},
        "createdTime": int(time.time() * 1000),
    }
    return [{"protocol": protocol}, {"metaData": metadata}]


def _field(field: pa.Field) -> dict[str, Any]:
    return {"name": field.name, "type": _delta_type(field.type), "nullable": True, "metadata": {}}


def _delta_type(data_type: pa.DataType) -> Any:
    if (name := _DELTA_TYPES.get(data_type)) is not None:
        return name
    if pa.types.is_decimal(data_type):
        return f"decimal({data_type.precision},{data_type.scale})"
    if pa.types.is_list(data_type):
        return {"type": "array", "elementType": _delta_type(data_type.value_type), "containsNull": True}
    if pa.types.is_map(data_type):
        key, value = _delta_type(data_type.key_type), _delta_type(data_type.item_type)
        return {"type": "map", "keyType": key, "valueType": value, "valueContainsNull": True}
    if pa.types.is_struct(data_type):
        return {"type": "struct", "fields": [_field(field) for field in data_type]}
    raise SchemaError(f"Delta has no type for Arrow's {data_type}")


def commit_content(
    files: Sequence[AddedFile], first: Sequence[Mapping[str, Any]], *, transaction: str | None
) -> bytes:
    """A commit that adds files; no two are the same.

    Args:
        files: what is added.
        first: what else it says, see :func:`first_actions`.
        transaction: what the writer calls itself, so that what it adds is added once.
    """
    now = int(time.time() * 1000)
    info = {
        "timestamp": now,
        "operation": "WRITE",
        "operationParameters": {"mode": "Append", "partitionBy": json.dumps([])},
        "isBlindAppend": True,
        "engineInfo": f"feast-hybrid/{version('feast-hybrid')}",
        "txnId": str(uuid.uuid4()),
    }
    actions: list[Mapping[str, Any]] = [{"commitInfo": info}, *first]
    if transaction is not None:
        actions.append({"txn": {"appId": transaction, "version": 1, "lastUpdated": now}})
    for file in files:
        added = {
            "path": quote(file.path),
            "partitionValues": dict(file.partitions),
            "size": file.size,
            "modificationTime": now,
            "dataChange": True,
            "stats": json.dumps(_statistics(file.rows)),
        }
        actions.append({"add": added})
    return "".join(f"{json.dumps(action)}\n" for action in actions).encode()


def _statistics(rows: pa.Table) -> dict[str, Any]:
    """What readers may go by to leave a file out: ranges of whole numbers, days and times."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for field in rows.schema:
        is_, column = pa.types, rows.column(field.name)
        if not is_.is_nested(field.type):
            nulls[field.name] = column.null_count
        if is_.is_integer(field.type) or is_.is_date(field.type) or is_.is_timestamp(field.type):
            found = pc.min_max(column)
            with suppress(ValueError, OverflowError):  # a time that Python has not
                first, last = (_statistic(found[end].as_py(), field.type) for end in ("min", "max"))
                if first is not None:
                    low[field.name], high[field.name] = first, last
    return {"numRecords": rows.num_rows, "minValues": low, "maxValues": high, "nullCount": nulls}


def _statistic(value: Any, data_type: pa.DataType) -> Any:
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return f"{text}Z" if data_type.tz else text
    return value.isoformat() if isinstance(value, date) else value
