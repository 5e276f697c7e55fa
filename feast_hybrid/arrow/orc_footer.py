"""What stands at the end of an ORC file, and of each of its stripes, which pyarrow does not tell.

The messages are those of ORC's own ``orc_proto.proto`` (https://orc.apache.org/specification/ORCv1), but for the
fields that nobody here asks for.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from feast_hybrid.arrow.lz4_blocks import decompress_block

#: Fields of ORC's messages: message → name, number, type; repeated ones end in a star.
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "PostScript": (
        ("footerLength", 1, "uint64"),
        ("compression", 2, "uint32"),
        ("compressionBlockSize", 3, "uint64"),
        ("metadataLength", 5, "uint64"),
        ("writerVersion", 6, "uint32"),
    ),
    "StripeInformation": (
        ("offset", 1, "uint64"),
        ("indexLength", 2, "uint64"),
        ("dataLength", 3, "uint64"),
        ("footerLength", 4, "uint64"),
        ("numberOfRows", 5, "uint64"),
    ),
    "Type": (
        ("kind", 1, "uint32"),
        ("subtypes", 2, "uint32*"),
        ("fieldNames", 3, "string*"),
        ("precision", 5, "uint32"),
    ),
    "IntegerStatistics": (("minimum", 1, "sint64"), ("maximum", 2, "sint64")),
    "StringStatistics": (
        ("minimum", 1, "bytes"),
        ("maximum", 2, "bytes"),
        ("sum", 3, "sint64"),
        ("lowerBound", 4, "bytes"),
        ("upperBound", 5, "bytes"),
    ),
    "DateStatistics": (("minimum", 1, "sint32"), ("maximum", 2, "sint32")),
    "BinaryStatistics": (("sum", 1, "sint64"),),
    "TimestampStatistics": (
        ("minimum", 1, "sint64"),
        ("maximum", 2, "sint64"),
        ("minimumUtc", 3, "sint64"),
        ("maximumUtc", 4, "sint64"),
    ),
    "ColumnStatistics": (
        ("numberOfValues", 1, "uint64"),
        ("intStatistics", 2, "IntegerStatistics"),
        ("stringStatistics", 4, "StringStatistics"),
        ("dateStatistics", 7, "DateStatistics"),
        ("binaryStatistics", 8, "BinaryStatistics"),
        ("timestampStatistics", 9, "TimestampStatistics"),
    ),
    "Encryption": (),
    "Footer": (
        ("stripes", 3, "StripeInformation*"),
        ("types", 4, "Type*"),
        ("numberOfRows", 6, "uint64"),
        ("statistics", 7, "ColumnStatistics*"),
        ("encryption", 10, "Encryption"),
    ),
    "StripeStatistics": (("colStats", 1, "ColumnStatistics*"),),
    "Metadata": (("stripeStats", 1, "StripeStatistics*"),),
    "Stream": (("kind", 1, "uint32"), ("column", 2, "uint32"), ("length", 3, "uint64")),
    "StripeFooter": (("streams", 1, "Stream*"), ("writerTimezone", 3, "string")),
}

_NONE, _ZLIB, _SNAPPY, _LZ4, _ZSTD, _BROTLI = 0, 1, 2, 4, 5, 6

#: Bytes of a chunk: as many as its header can say, and as few as where the file does not say how many.
_LARGEST_CHUNK, _LEAST_CHUNK = (1 << 23) - 1, 1 << 16

#: Bytes at the end of a file that are read at first; few footers are longer.
_TAIL_BYTES = 64 << 10


class Stripe(NamedTuple):
    """Where a stripe lies.

    Attributes:
        offset: of its first byte.
        index_bytes: of its indexes, which come first.
        data_bytes: of its rows, which come next.
        footer_bytes: of its footer, which comes last.
        rows: how many.
    """

    offset: int
    index_bytes: int
    data_bytes: int
    footer_bytes: int
    rows: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.footer + self.footer_bytes

    @property
    def footer(self) -> int:
        """The first byte of its footer."""
        return self.offset + self.index_bytes + self.data_bytes


class Stream(NamedTuple):
    """Bytes of one column in a stripe.

    Attributes:
        column: its number.
        start: the first byte in the file.
        length: how many.
    """

    column: int
    start: int
    length: int


class OrcFooter:
    """What the end of an ORC file says.

    Args:
        file: that is open and can seek, and stays open as long as more of it is asked for.

    Attributes:
        types: of all columns, that of the rows first: each with its ``kind``, ``subtypes`` and ``fieldNames``.
        statistics: of all columns, as far as the file has some.
        stripes: in the file's order.
        size: of the file, in bytes.
        tail: the end of the file, as much as was read at once.
        tail_start: where that begins.
        rows: how many the file has.
        writer_version: which of its writers' faults the file may have.
        is_encrypted: whether some columns are.

    Raises:
        UnknownCompressionError: the footer is compressed in a way that is not known here.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._stripe_footers: dict[Stripe, Any] = {}
        size = file.seek(0, io.SEEK_END)
        self.size = file.tell() if size is None else size
        self.tail_start = max(0, self.size - _TAIL_BYTES)
        self.tail = _read(file, self.tail_start, self.size - self.tail_start)
        length = self.tail[-1]
        self._post_script = parsed("PostScript", self.tail[-1 - length : -1])
        self._footer_start = self.size - 1 - length - self._post_script.footerLength
        footer = parsed("Footer", self._plain(self._footer_start, self._post_script.footerLength))
        self._footer = footer
        self.types: Sequence[Any] = footer.types
        self.statistics: Sequence[Any] = footer.statistics
        self.rows: int = footer.numberOfRows
        self.writer_version: int = self._post_script.writerVersion
        self.is_encrypted: bool = footer.HasField("encryption")
        self.stripes = tuple(
            Stripe(found.offset, found.indexLength, found.dataLength, found.footerLength, found.numberOfRows)
            for found in footer.stripes
        )

    @cached_property
    def stripe_statistics(self) -> Sequence[Sequence[Any]]:
        """Of each stripe those of all columns; none where the file has not as many as stripes."""
        length = self._post_script.metadataLength
        if not length:
            return ()
        found = parsed("Metadata", self._plain(self._footer_start - length, length)).stripeStats
        return [each.colStats for each in found] if len(found) == len(self.stripes) else ()

    def with_kinds(self, kinds: Mapping[int, int]) -> tuple[int, bytes]:
        """The end of the file as it would be if some columns were of another kind that is stored in the same way.

        Args:
            kinds: number of a column → its kind.

        Returns:
            Where it begins, and what stands there in place of all that follows.
        """
        footer, post_script = _copied(self._footer), _copied(self._post_script)
        for number, kind in kinds.items():
            footer.types[number].kind = kind
        content = footer.SerializeToString()  # what is not known of it here is kept
        if self._post_script.compression != _NONE:
            content = _uncompressed_chunks(content, self._post_script.compressionBlockSize or _LEAST_CHUNK)
        post_script.footerLength = len(content)
        end = post_script.SerializeToString()
        return self._footer_start, content + end + bytes([len(end)])

    def numbers(self, name: str) -> list[int]:
        """The numbers of a column of the rows and of all that is in it; none where there is no such column."""
        root = self.types[0]
        for found, number in zip(root.fieldNames, root.subtypes, strict=True):
            if found == name:
                return list(self._within(number))
        return []

    def _within(self, number: int) -> Iterator[int]:
        yield number
        for inner in self.types[number].subtypes:
            yield from self._within(inner)

    def zone(self, stripe: Stripe) -> str:
        """The time zone of a stripe's writer; empty where it does not say."""
        return str(self._stripe_footer(stripe).writerTimezone)

    def streams(self, stripe: Stripe) -> list[Stream]:
        """The bytes of a stripe by columns, indexes among them."""
        found, start = [], stripe.offset
        for stream in self._stripe_footer(stripe).streams:
            found.append(Stream(stream.column, start, stream.length))
            start += stream.length
        return found

    def _stripe_footer(self, stripe: Stripe) -> Any:
        if stripe not in self._stripe_footers:
            self._stripe_footers[stripe] = parsed("StripeFooter", self._plain(stripe.footer, stripe.footer_bytes))
        return self._stripe_footers[stripe]

    def _plain(self, start: int, length: int) -> bytes:
        if start >= self.tail_start:
            data = self.tail[start - self.tail_start : start - self.tail_start + length]
        else:
            data = _read(self._file, start, length)
        return _decompressed(data, self._post_script.compression)


class UnknownCompressionError(ValueError):
    """A file is compressed in a way that is not known here."""


def open_for_footer(file: Any) -> Any:
    """A context with a file that can seek: of a path of this machine, or of a file that is open and stays so."""
    return Path(file).open("rb") if isinstance(file, str) else nullcontext(file)


def _read(file: Any, start: int, length: int) -> bytes:
    file.seek(start)
    return bytes(file.read(length))


def _decompressed(data: bytes, compression: int) -> bytes:
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
        elif compression == _LZ4:
            chunks.append(decompress_block(chunk))
        elif compression in (_ZSTD, _BROTLI):
            name = "zstd" if compression == _ZSTD else "brotli"
            chunks.append(pa.input_stream(pa.BufferReader(chunk), compression=name).read())
        else:
            raise UnknownCompressionError(f"ORC's compression {compression} is not known")
    return b"".join(chunks)


def _copied(message: Any) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _uncompressed_chunks(data: bytes, size: int) -> bytes:
    """Bytes as ORC's chunks, none of which is compressed, nor larger than a size."""
    size = min(size, _LARGEST_CHUNK)
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join((len(part) << 1 | 1).to_bytes(3, "little") + part for part in parts)


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


def parsed(message: str, data: bytes) -> Any:
    """A message of :data:`_MESSAGES`."""
    return _CLASSES[message].FromString(data)
