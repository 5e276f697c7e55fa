"""The Parquet files that Spark would read at a path, listed through fsspec: no JVM."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import unquote

from feast_hybrid.errors import SchemaError
from feast_hybrid.files.footers import _PARTITION, NULL_PARTITION, _is_hidden, _name, _places

#: How many folders are listed at once.
_LISTINGS = 8


class DataFile(NamedTuple):
    """A file that Spark would read: path and bytes, and what the names of the folders on the way to it say."""

    path: str
    size: int
    partitions: dict[str, str | None]


def parquet_files(
    filesystem: Any, path: str, *, wanted: Callable[[dict[str, str | None]], bool] = lambda _: True
) -> list[DataFile]:
    """The files that Spark would read at a path.

    Args:
        filesystem: an fsspec file system.
        path: a file, a folder or a glob, as the file system wants it.
        wanted: whether to look into a folder, by the partition values on the way to it; None for null.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders are not what Spark writes: it would read other files, or refuse to.
    """
    found: list[DataFile] = []
    level = [(place, dict[str, "str | None"]()) for place in _places(filesystem, path)]
    top = True
    with ThreadPoolExecutor(_LISTINGS) as threads:
        while level:
            below: list[tuple[str, dict[str, str | None]]] = []
            listings = threads.map(lambda place: filesystem.ls(place[0], detail=True), level)
            for (place, values), entries in zip(level, listings, strict=True):
                for entry in entries:
                    name = str(entry["name"]).rstrip("/")
                    if _is_hidden(_name(name)):
                        continue
                    if entry["type"] == "file":
                        if entry["size"]:
                            found.append(DataFile(name, int(entry["size"]), values))
                        continue
                    match = _PARTITION.match(_name(name))
                    if match is None:
                        raise SchemaError(f"{place} has a folder {_name(name)!r} that is no partition")
                    text = unquote(match[2])
                    inner = {**values, unquote(match[1]): None if text == NULL_PARTITION else text}
                    if wanted(inner):
                        below.append((name, inner))
            if below and top and found:
                raise SchemaError(f"{path} has files beside folders of partitions")
            level, top = below, False
    if len({tuple(file.partitions) for file in found}) > 1:
        raise SchemaError(f"{path} has files beside folders of partitions, or partitions of several names")
    return sorted(found, key=lambda file: file.path)
