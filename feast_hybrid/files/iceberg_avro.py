"""Avro files of a table's metadata, whole: pyiceberg takes one that is cut off for one that ends there.

What a manifest, or a list of them, does not name any more is not read, and not taken over by who adds rows.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pyiceberg.io import InputFile

from feast_hybrid.errors import HybridError, SourceError
from feast_hybrid.lakes.errors import classify_storage_error, redacted_summary

if TYPE_CHECKING:
    from pyiceberg.io import FileIO

_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16


def avro_input(files: FileIO, uri: str) -> InputFile:
    """An Avro file for pyiceberg, which raises ``ValueError`` when it is opened and is not whole.

    Args:
        files: opens those of the table.
        uri: of the file, as the table writes it.
    """
    return _Whole(files.new_input(uri))


@contextmanager
def naming(uri: str) -> Iterator[None]:
    """What is raised while a file of the table's metadata is read becomes an error that names it."""
    try:
        yield
    except HybridError:
        raise
    except FileNotFoundError:
        raise SourceError(
            f"{uri}, which the table's metadata names, is gone: the snapshot was expired meanwhile, or its files "
            "were removed. Ask again, or name another snapshot"
        ) from None
    except Exception as error:
        if isinstance(error, OSError) or classify_storage_error(error) is not None:
            raise
        raise SourceError(f"{uri} is damaged: {redacted_summary(error)}") from None


class _Whole(InputFile):
    def __init__(self, file: InputFile) -> None:
        super().__init__(file.location)
        self._file = file

    def __len__(self) -> int:
        return len(self._file)

    def exists(self) -> bool:
        return self._file.exists()

    def open(self, seekable: bool = True) -> Any:
        with self._file.open(seekable) as file:
            content = file.read()
        require_whole(content)
        return io.BytesIO(content)


def require_whole(content: bytes) -> None:
    """See that an Avro file is whole: https://avro.apache.org/docs/1.12.0/specification/#object-container-files.

    Raises:
        ValueError: it is not.
    """
    try:
        at = _after_header(content)
        sync = content[at - _SYNC_BYTES : at]
        while at < len(content):
            records, begin = _number(content, at)
            size, begin = _number(content, begin)
            at = begin + size + _SYNC_BYTES
            if size < 0 or at > len(content):
                raise ValueError("it is cut off")
            if content[begin + size : at] != sync:
                raise ValueError("a block does not end where it says")
            if records <= 0 and at < len(content):
                raise ValueError("a block holds no records, and another one follows")
    except IndexError:
        raise ValueError("it is cut off") from None


def _after_header(content: bytes) -> int:
    """Where the blocks begin."""
    if not content.startswith(_MAGIC):
        raise ValueError("it is no Avro file")
    at = len(_MAGIC)
    while True:
        entries, at = _number(content, at)
        if entries < 0:
            _, at = _number(content, at)  # their size
        for _ in range(2 * abs(entries)):  # each a name and a value
            size, at = _number(content, at)
            if size < 0 or at + size > len(content):
                raise ValueError("it is cut off")
            at += size
        if not entries:
            break
    if at + _SYNC_BYTES > len(content):
        raise ValueError("it is cut off")
    return at + _SYNC_BYTES


def _number(content: bytes, at: int) -> tuple[int, int]:
    """A whole number, and where it ends."""
    found = shift = 0
    while True:
        byte = content[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (found >> 1) ^ -(found & 1), at
