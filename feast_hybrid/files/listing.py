"""The data files of a location and what the folders on the way to them say, listed through fsspec: no JVM."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from feast_hybrid.errors import SchemaError
from feast_hybrid.files.globs import expand
from feast_hybrid.files.partitions import parse_folder
from feast_hybrid.files.table_formats import refuse_table
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How many folders are listed at once.
_CONCURRENT_LISTINGS = 8

#: What file systems say of a file by which another one of its name and size can be told from it.
_VERSIONS = ("etag", "last_modified", "modification_time", "mtime", "ino")

#: A byte of a character that is no ASCII.
_ENCODED_BYTE = re.compile(r"%[89A-Fa-f][0-9A-Fa-f]")

PartitionTexts = dict[str, str | None]


class DataFile(NamedTuple):
    """A file with rows.

    Attributes:
        path: as the file system has it.
        size: in bytes, never zero.
        partitions: what the names of the folders on the way to it say, the outermost first.
        version: changes when the file does; empty where the file system does not say when it was written.
    """

    path: str
    size: int
    partitions: PartitionTexts
    version: tuple[str, ...]


@dataclass
class Listing:
    """What is at a location.

    Attributes:
        files: in the order of their paths.
        empty_files: paths of files of zero bytes, which hold no rows.
        folder_texts: partition column → all values that folders have, those too that were not looked into.
        only_ours: why Spark would not read the tree as we do; None where it does.
    """

    files: list[DataFile] = field(default_factory=list)
    empty_files: list[str] = field(default_factory=list)
    folder_texts: dict[str, set[str | None]] = field(default_factory=dict)
    only_ours: str | None = None

    def note(self, only_ours: str) -> None:
        """Remember why Spark would read the tree otherwise; the first reason counts."""
        self.only_ours = self.only_ours or only_ours


class _Folder(NamedTuple):
    """A folder that is to be listed.

    Attributes:
        path: of it.
        partitions: what the way to it says.
        within: the name of a folder on the way that is no partition; files below are Spark's to leave out where no
            partition is above it.
    """

    path: str
    partitions: PartitionTexts
    within: str | None = None


def list_files(location: Location, *, wanted: Callable[[PartitionTexts], bool] = lambda _: True) -> Listing:
    """The data files at a file, a folder or a glob.

    Hidden names are left out, as Spark leaves them out. Glob signs in names that are found are plain characters.

    Args:
        location: where they are.
        wanted: whether to look into a folder, by the partition values on the way to it; None for null.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders cannot be read as partitions: Spark would refuse them, or leave files out.
        TableFormatError: the files are those of a table, whose log says which of them count.
    """
    listing = Listing()
    level = [_Folder(path, {}) for path in expand(location)]
    filesystem = location.fs
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as threads:
        while level:
            below: list[_Folder] = []
            listings = threads.map(lambda folder: filesystem.ls(folder.path, detail=True), level)
            for folder, entries in zip(level, listings, strict=True):
                if not folder.partitions and folder.within is None:
                    refuse_table(location, folder.path.rstrip("/"), entries)
                below += _read_folder(folder, entries, listing, wanted, has_markers=location.lake is LakeType.ADLS)
            level = below
    listing.files.sort(key=lambda file: file.path)
    listing.empty_files.sort()
    if len({tuple(name.lower() for name in file.partitions) for file in listing.files}) > 1:
        listing.note("files lie below folders of different partition columns, or beside them")
    return listing


def _read_folder(
    folder: _Folder,
    entries: Sequence[Mapping[str, Any]],
    listing: Listing,
    wanted: Callable[[PartitionTexts], bool],
    *,
    has_markers: bool,
) -> list[_Folder]:
    """Note the files that a folder holds.

    Returns:
        The folders in it that are to be listed.
    """
    below: list[_Folder] = []
    # Azurite lists a folder that was made as such twice: as a prefix of others, and as itself.
    entries = list({(str(entry["name"]).rstrip("/"), entry["type"] == "file"): entry for entry in entries}.values())
    folders = {str(entry["name"]).rstrip("/") for entry in entries if entry["type"] != "file"}
    for entry in entries:
        path = str(entry["name"]).rstrip("/")
        name = base_name(path)
        if is_hidden(name):
            continue
        if entry["type"] != "file":
            if path == folder.path:  # its own marker
                continue
            inner = _enter(folder, path, listing)
            if wanted(inner.partitions):
                below.append(inner)
        elif entry["size"]:
            if folder.within is not None and not folder.partitions:
                raise SchemaError(
                    f"{path} lies in a folder {folder.within!r} that is no partition, where Spark does not look for "
                    "rows. Move its files up, name the folder column=value, or end the path with a pattern such as "
                    "/*."
                )
            size = int(entry["size"])
            listing.files.append(DataFile(path, size, folder.partitions, _version(entry)))
        elif not (path in folders or (has_markers and "." not in name)):  # a folder's marker on Azure
            listing.empty_files.append(path)
    return below


def _enter(folder: _Folder, path: str, listing: Listing) -> _Folder:
    """A folder within another."""
    name = base_name(path)
    partition = parse_folder(name)
    if partition is None:
        if folder.partitions:
            listing.note(f"there is a folder {name!r} within a partition that is none itself")
        return _Folder(path, folder.partitions, name)
    if not partition.text and partition.text is not None:
        listing.note(f"the folder {name!r} has no value")
    if _ENCODED_BYTE.search(name):
        listing.note(f"Spark takes each %XX of the folder {name!r} for one character")
    column = partition.column
    if folder.within is not None:
        raise SchemaError(
            f"the folder {path} of a partition lies in a folder {folder.within!r} that is none, which Spark does not "
            "read. Move it up, or name that folder column=value."
        )
    known = next((known for known in listing.folder_texts if known.lower() == column.lower()), column)
    if known in folder.partitions:
        raise SchemaError(f"{path} gives the partition column {column!r} twice: rename one of its folders.")
    listing.folder_texts.setdefault(known, set()).add(partition.text)
    return _Folder(path, {**folder.partitions, known: partition.text})


def _version(entry: Mapping[str, Any]) -> tuple[str, ...]:
    known = {name: str(entry[name]) for name in _VERSIONS if entry.get(name) is not None}
    return tuple(known.values()) if known.keys() - {"ino"} else ()


def base_name(path: str) -> str:
    """The last segment of a path."""
    return str(path).rstrip("/").rpartition("/")[2]


def is_hidden(name: str) -> bool:
    """Spark's rule for names that hold no rows."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def partition_columns(location: Location) -> tuple[str, ...]:
    """The columns that folders give, whatever the format of the files; the outermost first.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders cannot be read as partitions.
    """
    return tuple(list_files(location).folder_texts)
