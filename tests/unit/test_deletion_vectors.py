"""Which rows of a file a deletion vector of a Delta table means."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feast_hybrid.errors import SourceError
from feast_hybrid.files.deletion_vectors import DeletionVector, deletion_vector

#: Of the protocol's own examples.
INLINE = "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"


def descriptor(storage: str, text: str, size: int, count: int, **more: Any) -> dict[str, Any]:
    return {"storageType": storage, "pathOrInlineDv": text, "sizeInBytes": size, "cardinality": count, **more}


def container(values: list[int], *, runs: bool) -> bytes:
    """A Roaring container of sorted 16-bit values."""
    if runs:
        breaks = [0, *(n for n in range(1, len(values)) if values[n] != values[n - 1] + 1), len(values)]
        pairs = [(values[a], values[b - 1] - values[a]) for a, b in pairwise(breaks)]
        return struct.pack("<H", len(pairs)) + b"".join(struct.pack("<HH", *pair) for pair in pairs)
    if len(values) <= 4096:
        return np.array(values, "<u2").tobytes()
    bits = np.zeros(1 << 16, np.uint8)
    bits[values] = 1
    return np.packbits(bits, bitorder="little").tobytes()


def bitmap(values: list[int], *, runs: bool) -> bytes:
    """A 32-bit Roaring bitmap in its portable form."""
    by_key: dict[int, list[int]] = {}
    for value in sorted(values):
        by_key.setdefault(value >> 16, []).append(value & 0xFFFF)
    keys = b"".join(struct.pack("<HH", key, len(of) - 1) for key, of in by_key.items())
    bodies = [container(of, runs=runs) for of in by_key.values()]
    if runs:
        flags = np.packbits(np.ones(len(by_key), np.uint8), bitorder="little").tobytes()
        begin = struct.pack("<I", 12347 | (len(by_key) - 1) << 16) + flags + keys
    else:
        begin = struct.pack("<II", 12346, len(by_key)) + keys
    offsets = b"" if runs and len(by_key) < 4 else b"\0\0\0\0" * len(by_key)
    return begin + offsets + b"".join(bodies)


def bitmap_array(rows: list[int], *, runs: bool = False) -> bytes:
    by_upper: dict[int, list[int]] = {}
    for row in rows:
        by_upper.setdefault(row >> 32, []).append(row & 0xFFFFFFFF)
    parts = (struct.pack("<I", upper) + bitmap(of, runs=runs) for upper, of in sorted(by_upper.items()))
    return struct.pack("<iq", 1681511377, len(by_upper)) + b"".join(parts)


def in_file(folder: Path, content: bytes, count: int) -> DeletionVector:
    """A deletion vector after another one in a file."""
    path = folder / "deletion_vector.bin"
    whole = struct.pack(">i", len(content)) + content + struct.pack(">I", zlib.crc32(content))
    path.write_bytes(b"\x01" + b"other" + whole)
    return DeletionVector(str(path), 6, len(content), count)


def test_a_vector_in_the_log_is_read() -> None:
    vector = deletion_vector(descriptor("i", INLINE, 40, 6), "/table")
    assert vector.rows(os.fspath).tolist() == [3, 4, 7, 11, 18, 29]


def test_a_vector_in_a_file_is_in_the_file_that_the_log_names() -> None:
    vector = deletion_vector(descriptor("u", "ab^-aqEH.-t@S}K{vb[*k^", 40, 6, offset=4), "/table")
    assert vector.path == "/table/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"
    assert vector.offset == 4
    without_folder = deletion_vector(descriptor("u", "^-aqEH.-t@S}K{vb[*k^", 40, 6, offset=4), "/table")
    assert without_folder.path == "/table/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize(
    "rows",
    [
        [0],
        [1, 2, 3, 9, 65_535, 65_536, 200_000],
        [*range(5_000, 15_000), 70_000],
        [n * 65_536 + 5 for n in range(6)],
        [7, (1 << 32) + 7, (3 << 32) + 1],
        [],
    ],
    ids=["one", "two_containers", "dense", "six_containers", "beyond_32_bits", "none"],
)
def test_rows_in_each_form_of_a_container_are_read(tmp_path: Path, rows: list[int], runs: bool) -> None:
    vector = in_file(tmp_path, bitmap_array(rows, runs=runs), len(rows))
    assert vector.rows(os.fspath).tolist() == rows
    assert vector.rows(lambda path: BytesIO(Path(path).read_bytes())).tolist() == rows


def test_a_damaged_vector_is_refused(tmp_path: Path) -> None:
    content = bitmap_array([1, 2, 3])
    vector = in_file(tmp_path, content, 4)
    with pytest.raises(SourceError, match=r"deletion_vector\.bin at byte 6 has 3 rows, and the table's log says 4"):
        vector.rows(os.fspath)
    vector = in_file(tmp_path, content, 3)
    path = Path(vector.path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(content, content[:-1] + b"\xff"))
    with pytest.raises(SourceError, match="is damaged: its size or checksum is another one"):
        vector.rows(os.fspath)
    path.write_bytes(whole[:-3])
    with pytest.raises(SourceError, match="is cut off"):
        vector.rows(os.fspath)
    with pytest.raises(SourceError, match="is damaged"):
        in_file(tmp_path, b"\0" * 40, 3).rows(os.fspath)
    for text, storage in (("no base 85: ~~~~", "i"), ("short", "u"), (INLINE, "x")):
        with pytest.raises(SourceError, match=f"of the form '{storage}' that cannot be read"):
            deletion_vector(descriptor(storage, text, 40, 6), "/table")
