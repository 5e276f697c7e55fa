"""Folders of tables of Delta, Hudi, Iceberg and Hive ACID: read file by file, deleted and replaced rows come back.

A table is known by its log. It is looked for in all that is listed, which takes nothing more; and above what a source
names, since a partition, a file or a folder of data within a table has no log of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import AccessDeniedError, AuthenticationError, SourceError
from feast_hybrid.lakes.errors import classify_storage_error

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: The folder in a table's own by which its format is known.
_LOGS = {"_delta_log": "delta", ".hoodie": "hudi"}

#: What Hudi puts into each partition, whatever the partition's name.
_HUDI_PARTITION = ".hoodie_partition_metadata"

#: Folders in which Hive keeps what was inserted into an ACID table, what was deleted, and what both came to.
_ACID_FOLDER = re.compile(r"base_[0-9]{7,}(_v[0-9]+)?|(delete_)?delta_[0-9]{7,}_[0-9]{7,}(_.*)?")

#: Folders of a table's data, by which a partition's way up to the table leads.
_DATA_FOLDER = "data"


class TableFormatError(SourceError):
    """Files are read one by one that belong to a table, whose log says which of them count.

    Attributes:
        table: the path of the table, as the file system has it.
        file_format: as Spark calls it; ``hive`` for an ACID table.
    """

    def __init__(self, table: str, file_format: str) -> None:
        self.table = table
        self.file_format = file_format
        super().__init__(f"{self.found}: {self.way_out}")

    @property
    def found(self) -> str:
        """What was found."""
        if self.file_format == "hive":
            return f"{self.table} holds inserts and deletes of a Hive ACID table, of which Hive alone makes rows"
        return f"{self.table} is a table of {self.file_format.capitalize()}, whose log says which of its files count"

    @property
    def way_out(self) -> str:
        """What a source of a path has to say instead."""
        if self.file_format == "hive":
            return (
                "have Hive write its rows into a table that is none, such as CREATE EXTERNAL TABLE … STORED AS ORC "
                "AS SELECT …, and name that one"
            )
        return f"set file_format={self.file_format!r} on the source"


def refuse_table(path: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a folder that is a table, or that only a table has.

    Args:
        path: of the folder.
        entries: what is in it.

    Raises:
        TableFormatError: it is one.
    """
    names = {str(entry["name"]).rstrip("/").rpartition("/")[2]: entry["type"] == "file" for entry in entries}
    for log, file_format in _LOGS.items():
        if names.get(log) is False:
            raise TableFormatError(path, file_format)
    if names.get(_HUDI_PARTITION):
        raise TableFormatError(path, "hudi")
    if any(is_acid_folder(name) for name, is_file in names.items() if not is_file):
        raise TableFormatError(path, "hive")
    # Listed beside the table's data, and before anything is made of that.
    if path.rpartition("/")[2] == "metadata" and _is_icebergs(names):
        raise TableFormatError(path.rpartition("/")[0], "iceberg")


def is_acid_folder(name: str) -> bool:
    """Whether a folder of that name holds inserts or deletes of a Hive ACID table."""
    return _ACID_FOLDER.fullmatch(name) is not None


def refuse_tables_above(
    location: Location, paths: Collection[str], files: Collection[str], threads: Executor
) -> None:
    """Refuse what lies in a table: the folders above what a source names are looked at, each once.

    A folder that may not be looked at is none that is refused: who may read the source need not have rights to it.

    Args:
        location: of the source. Nothing outside its site is looked at.
        paths: what the source names, or what its pattern expands to.
        files: those of the paths that are files.
        threads: look at several folders at once.

    Raises:
        TableFormatError: one of the folders is a table.
        Exception: what the file system raises where it cannot say.
    """
    top = location.site.fsspec_path(location.site.root).rstrip("/")
    folders = dict.fromkeys(folder for path in paths for folder in folders_above(path, top, is_file=path in files))
    filesystem = location.fs
    for folder, found in zip(folders, threads.map(lambda path: _format_at(filesystem, path), folders), strict=True):
        if found is not None:
            raise TableFormatError(folder, found)


def folders_above(path: str, top: str, *, is_file: bool) -> Iterator[str]:
    """The folder of a path, and as many above it as a table's partitions and data have."""
    may_be_deeper = is_file
    while path.startswith(f"{top}/"):
        path = path.rpartition("/")[0]
        yield path or "/"
        name = path.rpartition("/")[2]
        if not (may_be_deeper or "=" in name or name == _DATA_FOLDER):
            return
        may_be_deeper = False


def _format_at(filesystem: Any, folder: str) -> str | None:
    """The format of the table that a folder is; None where it is none, or where that cannot be seen."""
    below = f"{folder.rstrip('/')}/"
    try:
        for log, file_format in _LOGS.items():
            if filesystem.isdir(below + log):
                return file_format
        entries = filesystem.ls(f"{below}metadata", detail=True)
    except FileNotFoundError:
        return None
    except Exception as error:
        # The rights to a folder are none to the one above it. With what it was signed in, the source was listed.
        if classify_storage_error(error) in (AccessDeniedError, AuthenticationError):
            return None
        raise
    return "iceberg" if _is_icebergs(str(entry["name"]).rpartition("/")[2] for entry in entries) else None


def _is_icebergs(names: Collection[str] | Iterator[str]) -> bool:
    """Whether these are names in the ``metadata`` folder of a table."""
    return any(name.endswith(".metadata.json") or name == "version-hint.text" for name in names)
