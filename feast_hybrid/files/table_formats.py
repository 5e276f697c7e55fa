"""Folders that are tables of Delta, Hudi or Iceberg: read file by file, deleted and replaced rows would come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SourceError

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: The folder in a table's own by which its format is known.
_LOGS = {"_delta_log": "delta", ".hoodie": "hudi"}


class TableFormatError(SourceError):
    """Files are read one by one that belong to a table, whose log says which of them count.

    Attributes:
        table: the path of the table, as the file system has it.
        file_format: as Spark calls it.
    """

    def __init__(self, table: str, file_format: str) -> None:
        super().__init__(
            f"{table} is a table of {file_format.capitalize()}, whose log says which of its files count: set "
            f"file_format={file_format!r} on the source"
        )
        self.table = table
        self.file_format = file_format


def refuse_table(location: Location, path: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a folder that is a table, or a partition of one.

    Args:
        location: of the source.
        path: of the folder that is read, which ``location`` names or expands to.
        entries: of that folder.

    Raises:
        TableFormatError: it is one.
    """
    found = _format_of(location, entries)
    while found is None and "=" in path.rpartition("/")[2]:  # a partition, by its name
        path = path.rpartition("/")[0]
        entries = location.fs.ls(path, detail=True)
        found = _format_of(location, entries)
    if found is not None:
        raise TableFormatError(path, found)


def _format_of(location: Location, entries: Sequence[Mapping[str, Any]]) -> str | None:
    folders = {
        str(entry["name"]).rstrip("/").rpartition("/")[2]: str(entry["name"])
        for entry in entries
        if entry["type"] != "file"
    }
    for name, file_format in _LOGS.items():
        if name in folders:
            return file_format
    if "metadata" in folders:
        names = [str(entry["name"]) for entry in location.fs.ls(folders["metadata"], detail=True)]
        if any(name.endswith((".metadata.json", "/version-hint.text")) for name in names):
            return "iceberg"
    return None
