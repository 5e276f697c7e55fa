"""The headers of Avro files: Spark takes its columns from one file, and has nulls for what others lack."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    from feast_hybrid.files.listing import DataFile
    from feast_hybrid.lakes.location import Location

_MAGIC = b"Obj\x01"

#: Bytes that end a header, and each block of rows.
_MARKER_BYTES = 16

#: Bytes that are read at first; few headers are longer.
_FIRST_BYTES = 64 << 10

#: How many headers are read at once. Each waits for its lake, and for little else.
_CONCURRENT_READS = 32


class AvroHeader(NamedTuple):
    """What the header of an Avro file says.

    Attributes:
        columns: the names, in the file's order.
        length: of the header, in bytes: a file that is no longer has no rows.
    """

    columns: tuple[str, ...]
    length: int


def parse_header(data: bytes) -> AvroHeader | None:
    """Read the header that a file begins with.

    Returns:
        None where the file is no Avro file of records.

    Raises:
        EOFError: the bytes end before the header does.
    """
    if not data.startswith(_MAGIC):
        return None
    reader = _Reader(data, len(_MAGIC))
    schema = b""
    while pairs := reader.number():
        if pairs < 0:  # then their size follows, for who leaves them out
            reader.number()
        for _ in range(abs(pairs)):
            key, value = reader.text(), reader.text()
            schema = value if key == b"avro.schema" else schema
    reader.skip(_MARKER_BYTES)
    try:
        return AvroHeader(tuple(field["name"] for field in json.loads(schema)["fields"]), reader.position)
    except (ValueError, TypeError, KeyError):
        return None


class _Reader:
    """Takes Avro's values from bytes, one after another."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position

    def skip(self, size: int) -> None:
        if size < 0 or self.position + size > len(self._data):
            raise EOFError
        self.position += size

    def number(self) -> int:
        """A whole number: seven bits in a byte, the lowest first; the sign is the lowest bit of all."""
        encoded = shift = 0
        while True:
            self.skip(1)
            byte = self._data[self.position - 1]
            encoded |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (encoded >> 1) ^ -(encoded & 1)

    def text(self) -> bytes:
        size = self.number()
        self.skip(size)
        return self._data[self.position - size : self.position]


def require_in_each_file(
    location: Location, files: Sequence[DataFile], required: Collection[str], given: Collection[str]
) -> None:
    """Refuse files with rows that lack a column without which the rows would be found by nobody.

    What is no Avro file is left to Spark, which says so.

    Args:
        location: whose file system has the files.
        files: all of them.
        required: the columns: keys and event time.
        given: the columns that folders give.

    Raises:
        SchemaError: names the file and the column.
    """
    wanted = [name for name in required if not positions_of(name, list(given))]
    if not wanted or not files:
        return
    filesystem = location.fs

    def header_of(file: DataFile) -> AvroHeader | None:
        size = min(file.size, _FIRST_BYTES)
        while True:
            try:
                return parse_header(filesystem.cat_file(file.path, start=0, end=size))
            except FileNotFoundError:  # a writer replaces files
                return None
            except EOFError:
                if size == file.size:
                    return None
                size = min(file.size, 16 * size)

    with ThreadPoolExecutor(min(len(files), _CONCURRENT_READS)) as threads:
        for file, header in zip(files, threads.map(header_of, files), strict=True):
            if header is None or file.size <= header.length:
                continue
            for name in wanted:
                if not positions_of(name, header.columns):
                    raise SchemaError(
                        f"{file.path} has no column {name!r}, without which its rows would be lost. Its columns are "
                        f"{', '.join(header.columns)}. Write it anew with the column, or move it away."
                    )
