"""Which rows of a file a Delta table has deleted without writing the file anew.

A deletion vector is a set of row numbers, a RoaringBitmapArray: 32-bit Roaring bitmaps in their portable form, one
for each value of the numbers' upper 32 bits. https://github.com/delta-io/delta/blob/master/PROTOCOL.md and
https://github.com/RoaringBitmap/RoaringFormatSpec have the forms.
"""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from feast_hybrid.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: In front of a RoaringBitmapArray in the portable form; and in Delta's first one, where it is big-endian.
_MAGIC, _FIRST_MAGIC = 1681511377, 1681511376
#: In front of a bitmap: without runs, the number of its containers following; or with runs.
_WITHOUT_RUNS, _WITH_RUNS = 12346, 12347
#: A bitmap with runs has no offsets where it has fewer containers.
_NO_OFFSETS_BELOW = 4
#: A container of more values is a bitmap of 8 KiB.
_ARRAY_MAX = 4096
_BITMAP_BYTES = 8192
#: Characters of a UUID in Z85.
_UUID_CHARACTERS = 20
#: Z85's alphabet, which is Python's base 85 in another order.
_Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
_B85_OF_Z85 = bytes.maketrans(_Z85, _B85)


@dataclass(frozen=True)
class DeletionVector:
    """The deleted rows of one file, or where they stand.

    Attributes:
        path: of the file that they stand in, as the file system has it; empty where they are ``inline``.
        offset: where in it, in bytes.
        size: how many bytes they are.
        count: how many rows are deleted.
        inline: the bytes themselves.
    """

    path: str
    offset: int
    size: int
    count: int
    inline: bytes = b""

    def rows(self, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        """The numbers of the deleted rows, from 0, in order.

        Args:
            open_file: opens a file by its path: gives a path of this machine, or a file.

        Raises:
            SourceError: what stands there is no deletion vector, or another one.
            FileNotFoundError: the file is gone.
        """
        content = self.inline or self._read(open_file)
        try:
            rows = _rows_of_array(content)
        except (struct.error, ValueError, IndexError):
            raise SourceError(f"{self._describe()} is damaged") from None
        if len(rows) != self.count:
            raise SourceError(f"{self._describe()} has {len(rows)} rows, and the table's log says {self.count}")
        return rows

    def _describe(self) -> str:
        return f"the deletion vector {'in the log' if self.inline else f'in {self.path} at byte {self.offset}'}"

    def _read(self, open_file: Callable[[str], Any]) -> bytes:
        opened = open_file(self.path)
        with open(opened, "rb") if isinstance(opened, str) else opened as file:  # noqa: PTH123
            file.seek(self.offset)
            found = file.read(4 + self.size + 4)
        if len(found) != self.size + 8:
            raise SourceError(f"{self._describe()} is cut off")
        (size,), (checksum,) = struct.unpack(">i", found[:4]), struct.unpack(">I", found[-4:])
        content: bytes = found[4:-4]
        if size != self.size or zlib.crc32(content) != checksum:
            raise SourceError(f"{self._describe()} is damaged: its size or checksum is another one")
        return content


def deletion_vector(descriptor: Mapping[str, Any], root: str) -> DeletionVector:
    """A deletion vector as a table's log describes it.

    Args:
        descriptor: from an ``add`` action; not of the storage type ``p``.
        root: the table's folder, as the file system has it.

    Raises:
        SourceError: it is none that the protocol knows.
    """
    storage, text = descriptor["storageType"], descriptor["pathOrInlineDv"]
    size, count = int(descriptor["sizeInBytes"]), int(descriptor["cardinality"])
    try:
        if storage == "i":
            return DeletionVector("", 0, size, count, _decoded(text)[:size])
        if storage == "u":
            prefix, name = text[:-_UUID_CHARACTERS], uuid.UUID(bytes=_decoded(text[-_UUID_CHARACTERS:]))
            folder = f"{root}/{prefix}" if prefix else root
            path = f"{folder}/deletion_vector_{name}.bin"
            return DeletionVector(path, int(descriptor.get("offset") or 0), size, count)
    except ValueError:
        pass
    raise SourceError(f"the log has a deletion vector of the form {storage!r} that cannot be read")


def _decoded(text: str) -> bytes:
    return base64.b85decode(text.encode("ascii").translate(_B85_OF_Z85))


def _rows_of_array(content: bytes) -> NDArray[np.int64]:
    if struct.unpack_from(">i", content) == (_FIRST_MAGIC,):
        return _rows_of_first_form(content)
    magic, bitmaps = struct.unpack_from("<iq", content)
    if magic != _MAGIC:
        raise ValueError(magic)
    at, found = 12, [np.empty(0, np.int64)]
    for _ in range(bitmaps):
        (upper,) = struct.unpack_from("<I", content, at)
        rows, at = _rows_of_bitmap(content, at + 4)
        found.append(rows + (upper << 32))
    return np.sort(np.concatenate(found))


def _rows_of_first_form(content: bytes) -> NDArray[np.int64]:
    """As :func:`_rows_of_array`, of bitmaps that stand by their upper bits, each after its length."""
    (bitmaps,) = struct.unpack_from(">i", content, 4)
    at, found = 8, [np.empty(0, np.int64)]
    for upper in range(bitmaps):
        (size,) = struct.unpack_from(">i", content, at)
        rows, _ = _rows_of_bitmap(content, at + 4)
        found.append(rows + (upper << 32))
        at += 4 + size
    return np.sort(np.concatenate(found))


def _rows_of_bitmap(content: bytes, at: int) -> tuple[NDArray[np.int64], int]:
    """The values of a bitmap, and where it ends."""
    (cookie,) = struct.unpack_from("<I", content, at)
    at += 4
    if cookie & 0xFFFF == _WITH_RUNS:
        containers = (cookie >> 16) + 1
        flags = np.frombuffer(content, np.uint8, (containers + 7) // 8, at)
        has_runs = np.unpackbits(flags, bitorder="little")[:containers].astype(bool)
        at += len(flags)
        has_offsets = containers >= _NO_OFFSETS_BELOW
    elif cookie == _WITHOUT_RUNS:
        (containers,) = struct.unpack_from("<I", content, at)
        at += 4
        has_runs, has_offsets = np.zeros(containers, bool), True
    else:
        raise ValueError(cookie)
    header = np.frombuffer(content, "<u2", 2 * containers, at).astype(np.int64)
    keys, counts = header[::2], header[1::2] + 1
    at += 4 * containers + (4 * containers if has_offsets else 0)
    found = [np.empty(0, np.int64)]
    for key, count, is_runs in zip(keys, counts, has_runs, strict=True):
        if is_runs:
            (runs,) = struct.unpack_from("<H", content, at)
            pairs = np.frombuffer(content, "<u2", 2 * runs, at + 2).astype(np.int64)
            at += 2 + 4 * runs
            ranges = (np.arange(begin, begin + more + 1) for begin, more in zip(pairs[::2], pairs[1::2], strict=True))
            values = np.concatenate([np.empty(0, np.int64), *ranges])
        elif count <= _ARRAY_MAX:
            values = np.frombuffer(content, "<u2", count, at).astype(np.int64)
            at += 2 * int(count)
        else:
            bits = np.frombuffer(content, np.uint8, _BITMAP_BYTES, at)
            values = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
            at += _BITMAP_BYTES
        found.append(values + (int(key) << 16))
    return np.concatenate(found), at
