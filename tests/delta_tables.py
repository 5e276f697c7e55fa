"""Delta tables for tests: written by ``deltalake``, an implementation of its own, or edited where it writes none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from tests.integration.places import Place

Action = dict[str, Any]


def deltalake() -> Any:
    """The library, without which a test is left out."""
    return pytest.importorskip("deltalake", reason="the tests' tables are written by deltalake")


def append(folder: Path, rows: pa.Table | dict[str, Any], **more: Any) -> Path:
    """Add rows to the table in a folder, in a commit of their own."""
    table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    deltalake().write_deltalake(str(folder), table, **{"mode": "append", **more})
    return folder


def commit_file(folder: Path, version: int) -> Path:
    """The file of a commit."""
    return folder / "_delta_log" / f"{version:020}.json"


def actions(folder: Path, version: int) -> Iterator[Action]:
    """What a commit says."""
    return (json.loads(line) for line in commit_file(folder, version).read_text().splitlines())


def edit(folder: Path, change: Callable[[Action], Action | None], version: int = 0) -> None:
    """Change the actions of a commit; one for which nothing is given goes."""
    kept = filter(None, map(change, list(actions(folder, version))))
    commit_file(folder, version).write_text("".join(f"{json.dumps(action)}\n" for action in kept))


def commit(folder: Path, version: int, *made: Action) -> None:
    """Add a commit of these actions."""
    commit_file(folder, version).write_text("".join(f"{json.dumps(action)}\n" for action in made))


def with_features(
    *features: str, writer: tuple[str, ...] = (), reader_version: int = 3
) -> Callable[[Action], Action]:
    """A change by which a table has reader features."""

    def change(action: Action) -> Action:
        if "protocol" in action:
            action["protocol"] = {
                "minReaderVersion": reader_version,
                "minWriterVersion": 7,
                "readerFeatures": list(features),
                "writerFeatures": [*features, *writer],
            }
        return action

    return change


def with_mapped_columns(names: dict[str, str], mode: str = "name") -> Callable[[Action], Action]:
    """A change by which the columns that files have under some names have others in the table.

    Args:
        names: in the files → in the table; of the fields of structs too.
        mode: of the mapping.
    """

    def mapped(field: Action) -> Action:
        name = field["name"]
        metadata = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": name}
        return {**field, "name": names.get(name, name), "metadata": metadata, "type": of_type(field["type"])}

    def of_type(data_type: Any) -> Any:
        if not isinstance(data_type, dict):
            return data_type
        parts = {key: of_type(data_type[key]) for key in ("elementType", "keyType", "valueType") if key in data_type}
        fields = {"fields": [mapped(field) for field in data_type["fields"]]} if "fields" in data_type else {}
        return {**data_type, **parts, **fields}

    def change(action: Action) -> Action:
        action = with_features("columnMapping", "timestampNtz")(action)
        if "metaData" in action:
            metadata = action["metaData"]
            metadata["schemaString"] = json.dumps(of_type(json.loads(metadata["schemaString"])))
            metadata["partitionColumns"] = [names.get(name, name) for name in metadata["partitionColumns"]]
            metadata["configuration"] = {"delta.columnMapping.mode": mode}
        return action

    return change


def upload(folder: Path, place: Place, uri: str) -> str:
    """Put a table onto a lake as it is."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            place.put(f"{uri}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return uri
