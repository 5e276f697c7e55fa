"""What the footer of an ORC file says of the values of its columns, which pyarrow does not tell.

The messages are those of ORC's own ``orc_proto.proto`` (https://orc.apache.org/specification/ORCv1), but for the
fields that nobody here asks for.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: The first and the last millisecond since 1970, in UTC, that Arrow's reader of ORC can hold, as nanoseconds.
_FIRST_MS, _LAST_MS = -(2**63) // 1_000_000 + 1, (2**63 - 1) // 1_000_000 - 1

#: Fields of ORC's messages: message → name, number, type; repeated ones end in a star.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "PostScript": (("footerLength", 1, "uint64"), ("compression", 2, "uint32")),
    "Type": (("kind", 1, "uint32"), ("subtypes", 2, "uint32*"), ("fieldNames", 3, "string*")),
    "TimestampStatistics": (
        ("minimum", 1, "sint64"),
        ("maximum", 2, "sint64"),
        ("minimumUtc", 3, "sint64"),
        ("maximumUtc", 4, "sint64"),
    ),
    "ColumnStatistics": (("numberOfValues", 1, "uint64"), ("timestampStatistics", 9, "TimestampStatistics")),
    "Footer": (("types", 4, "Type*"), ("statistics", 7, "ColumnStatistics*")),
}

_NONE, _ZLIB, _SNAPPY, _ZSTD = 0, 1, 2, 5

#: ORC's kinds of timestamps, without a zone and with the local one.
_TIMESTAMPS = frozenset({9, 18})


class _Times(NamedTuple):
    """The times of a column, in milliseconds since 1970.

    Attributes:
        first: the earliest; None where the file does not say.
        last: the latest.
    """

    first: int | None
    last: int | None


def beyond_nanoseconds(file: Any, columns: Collection[str]) -> tuple[str, bool] | None:
    """A column with times that Arrow's reader would wrap around, or of whose times the file does not tell.

    Arrow counts the times of ORC in nanoseconds of 64 bits, from 1677-09-21 to 2262-04-11, and does not say so where
    they are others.

    Args:
        file: that is open and can seek, and stays open; or a path of this machine.
        columns: of the file, whose times matter, those within lists, maps and structs too.

    Returns:
        The first such column, and whether the file tells of its times; None where all can be read.
    """
    if not columns:
        return None
    with Path(file).open("rb") if isinstance(file, str) else nullcontext(file) as opened:
        footer = _footer(opened)
    if footer is None:
        return next(iter(columns)), False
    root = footer.types[0]
    for name, number in zip(root.fieldNames, root.subtypes, strict=True):
        for first, last in _times(footer, number) if name in columns else ():
            if first is None or last is None:
                return str(name), False
            if first < _FIRST_MS or last > _LAST_MS:
                return str(name), True
    return None


def _times(footer: Any, number: int) -> Iterator[_Times]:
    """The times of a column and of all that is in it, but for those that are all null."""
    column = footer.types[number]
    if column.kind in _TIMESTAMPS and number < len(footer.statistics):
        found = footer.statistics[number]
        if found.numberOfValues or not found.HasField("numberOfValues"):
            times = found.timestampStatistics
            yield _Times(_one_of(times, "minimumUtc", "minimum"), _one_of(times, "maximumUtc", "maximum"))
    elif column.kind in _TIMESTAMPS:
        yield _Times(None, None)
    for inner in column.subtypes:
        yield from _times(footer, inner)


def _one_of(message: Any, *names: str) -> int | None:
    return next((getattr(message, name) for name in names if message.HasField(name)), None)


def _footer(file: Any) -> Any:
    """The footer's message; None where it is compressed in a way that is not known here."""
    size = file.seek(0, io.SEEK_END)
    size = file.tell() if size is None else size
    length = _read(file, size - 1, 1)[0]
    post_script = _parsed("PostScript", _read(file, size - 1 - length, length))
    compressed = _read(file, size - 1 - length - post_script.footerLength, post_script.footerLength)
    plain = _decompressed(compressed, post_script.compression)
    return None if plain is None else _parsed("Footer", plain)


def _read(file: Any, start: int, length: int) -> bytes:
    file.seek(start)
    return bytes(file.read(length))


def _decompressed(data: bytes, compression: int) -> bytes | None:
    """The bytes of ORC's chunks, each of which says whether it is compressed."""
    if compression == _NONE:
        return data
    chunks: list[bytes] = []
    place = 0
    while place < len(data):
        header = int.from_bytes(data[place : place + 3], "little")
        chunk = data[place + 3 : place + 3 + (header >> 1)]
        place += 3 + (header >> 1)
        if header & 1:
            chunks.append(chunk)
        elif compression == _ZLIB:
            chunks.append(zlib.decompress(chunk, wbits=-zlib.MAX_WBITS))
        elif compression == _SNAPPY:
            chunks.append(pa.Codec("snappy").decompress(chunk, _varint(chunk), asbytes=True))
        elif compression == _ZSTD:
            chunks.append(pa.input_stream(pa.BufferReader(chunk), compression="zstd").read())
        else:
            return None
    return b"".join(chunks)


def _varint(data: bytes) -> int:
    """The number that data begin with, of seven bits in each byte, as Snappy writes the size of what it holds."""
    number = 0
    for position, byte in enumerate(data):
        number |= (byte & 0x7F) << 7 * position
        if not byte & 0x80:
            break
    return number


def _message_classes() -> dict[str, Any]:
    """A class of each of :data:`_MESSAGES`."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="feast_hybrid/orc.proto", package="feast_hybrid.orc")
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, written in fields:
            type_name = written.rstrip("*")
            added = described.field.add(name=name, number=number)
            added.label = field.LABEL_REPEATED if written.endswith("*") else field.LABEL_OPTIONAL
            if type_name in _MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".{file.package}.{type_name}"
            else:
                added.type = field.Type.Value(f"TYPE_{type_name.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _message_classes()


def _parsed(message: str, data: bytes) -> Any:
    return _CLASSES[message].FromString(data)
