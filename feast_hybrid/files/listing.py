"""The data files that Spark would read at a location, listed through fsspec: no JVM.

Two walks, for two questions. :func:`first_file` looks along one branch, for a schema. :func:`data_files` lists all
folders, level by level and several at once, for a scan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from feast_hybrid.errors import SchemaError
from feast_hybrid.files.partitions import infer_type, parse_folder

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How many folders are listed at once.
_CONCURRENT_LISTINGS = 8

_BRACES = re.compile(r"\{([^{}]*)\}")

PartitionTexts = dict[str, str | None]


class DataFile(NamedTuple):
    """A file that Spark would read: path and bytes, and what the names of the folders on the way to it say."""

    path: str
    size: int
    partitions: PartitionTexts


class FirstFile(NamedTuple):
    """The first file by path that Spark would read.

    Attributes:
        path: as the file system has it.
        partitions: Spark's names of the types of the partition columns, the outermost first: inferred from the
            folders on the way to the file and those beside them, where Spark looks at all folders.
    """

    path: str
    partitions: dict[str, str]


def first_file(location: Location) -> FirstFile | None:
    """The first file that Spark would read at a file, a folder or a glob; None where there is none.

    Lists one folder for each level, and more only where a folder holds no file.

    Raises:
        FileNotFoundError: nothing is there.
    """
    for path in _matches(location):
        partitions: dict[str, str] = {}
        file = _first_below(location.fs, path, partitions, is_root=True)
        if file is not None:
            return FirstFile(file, partitions)
    return None


def partition_columns(location: Location) -> tuple[str, ...]:
    """The columns that the folders on the way to the first file tell, whatever its format; the outermost first.

    Raises:
        FileNotFoundError: nothing is there.
    """
    partitions: dict[str, str] = {}
    _first_below(location.fs, location.path, partitions, is_root=True)
    return tuple(partitions)


def data_files(location: Location, *, wanted: Callable[[PartitionTexts], bool] = lambda _: True) -> list[DataFile]:
    """The files that Spark would read at a file, a folder or a glob, in the order of their paths.

    Args:
        location: where they are.
        wanted: whether to look into a folder, by the partition values on the way to it; None for null.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders are not what Spark writes: it would read other files, or refuse to.
    """
    files: list[DataFile] = []
    level = [(path, PartitionTexts()) for path in _matches(location)]
    is_root = True
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as threads:
        while level:
            below: list[tuple[str, PartitionTexts]] = []
            listings = threads.map(lambda folder: location.fs.ls(folder[0], detail=True), level)
            for (path, partitions), entries in zip(level, listings, strict=True):
                for entry in entries:
                    name = str(entry["name"]).rstrip("/")
                    if _is_hidden(_base_name(name)):
                        continue
                    if entry["type"] == "file":
                        if entry["size"]:
                            files.append(DataFile(name, int(entry["size"]), partitions))
                        continue
                    partition = parse_folder(_base_name(name))
                    if partition is None:
                        raise SchemaError(f"{path} has a folder {_base_name(name)!r} that is no partition")
                    inner = {**partitions, partition.column: partition.text}
                    if wanted(inner):
                        below.append((name, inner))
            if below and is_root and files:
                raise SchemaError(f"{location.path} has files beside folders of partitions")
            level, is_root = below, False
    if len({tuple(file.partitions) for file in files}) > 1:
        raise SchemaError(f"{location.path} has files beside folders of partitions, or partitions of several names")
    return sorted(files, key=lambda file: file.path)


def _matches(location: Location) -> list[str]:
    """The path itself, or those that match it where it is a glob."""
    if not any(sign in location.path for sign in "*?[{"):
        return [location.path]
    paths = sorted({path for pattern in _without_braces(location.path) for path in location.fs.glob(pattern)})
    if not paths:
        raise FileNotFoundError(location.path)
    return paths


def _without_braces(pattern: str) -> Iterator[str]:
    """The patterns that Hadoop's ``{a,b}`` stands for, which fsspec does not know."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    for alternative in match[1].split(","):
        yield from _without_braces(pattern[: match.start()] + alternative + pattern[match.end() :])


def _first_below(filesystem: Any, path: str, partitions: dict[str, str], *, is_root: bool) -> str | None:
    """The first file in the folder itself, or anywhere below a partition's folder; adds the partitions' types."""
    entries = filesystem.ls(path, detail=True)
    if len(entries) == 1 and entries[0]["type"] == "file" and _base_name(entries[0]["name"]) == _base_name(path):
        # A hidden file is not read even where it is asked for; a hidden folder that is asked for is.
        return None if _is_hidden(_base_name(path)) else str(entries[0]["name"])
    texts: dict[str, list[str | None]] = {}
    for entry in entries:
        if entry["type"] != "file" and (partition := parse_folder(_base_name(entry["name"]))):
            texts.setdefault(partition.column, []).append(partition.text)
    for column, of_column in texts.items():
        partitions.setdefault(column, infer_type(of_column))
    for entry in sorted(entries, key=_path_order):
        name = str(entry["name"]).rstrip("/")
        if _is_hidden(_base_name(name)):
            continue
        if entry["type"] == "file":
            if entry["size"] and (is_root or partitions):  # Azure lists a folder's marker as an empty file.
                return name
        else:
            below = _first_below(filesystem, name, partitions, is_root=False)
            if below is not None:
                return below
    return None


def _base_name(path: str) -> str:
    return str(path).rstrip("/").rpartition("/")[2]


def _path_order(entry: dict[str, Any]) -> str:
    """The order of the paths of files: a folder counts with the slash that follows it."""
    name = str(entry["name"]).rstrip("/")
    return name if entry["type"] == "file" else name + "/"


def _is_hidden(name: str) -> bool:
    """Spark's rule for names that hold no rows."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")
