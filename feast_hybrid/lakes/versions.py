"""Which version of a file is there: what tells it from another one of its name, as far as file systems say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from feast_hybrid.errors import WriteError


class FilesChangedError(WriteError):
    """Files that were to be replaced are not there any more as they were read; nothing was changed."""


@dataclass(frozen=True)
class FileVersion:
    """A version of a file: two of one file are equal if it has not been written in between.

    Attributes:
        size: in bytes.
        mark: another one for each time that the file is written; empty where the file system does not say.
        inode: of a machine's own disk, where a file can be put in the place of another within one tick of its clock.
    """

    size: int
    mark: str = ""
    inode: str = ""

    def without_inode(self) -> FileVersion:
        """The version as other machines can tell it."""
        return replace(self, inode="")

    def __str__(self) -> str:
        mark = f", {self.mark}" if self.mark else ""
        return f"{self.size:,} bytes{mark}"


def file_version(entry: Mapping[str, Any]) -> FileVersion:
    """The version of a file, by what fsspec says of it: the same in a folder's listing and of the file itself."""
    size = int(entry["size"] or 0)
    if entry.get("etag"):
        return FileVersion(size, f"etag {entry['etag']}")
    written = modified(entry)
    if written is None:
        return FileVersion(size)
    return FileVersion(size, f"written {written.isoformat()}", str(entry.get("ino", "")))


def modified(entry: Mapping[str, Any]) -> datetime | None:
    """When a file was written, by what fsspec says of it; None where that is not said."""
    if isinstance(time := entry.get("last_modified"), datetime):
        return time.astimezone(UTC)
    if (milliseconds := entry.get("modification_time")) is not None:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    seconds = entry.get("mtime")
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
