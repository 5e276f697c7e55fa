"""Blocks of LZ4 that do not say how long they are unpacked, as ORC has them, and as pyarrow does not take them.

https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations


def decompress_block(data: bytes) -> bytes:
    """What a block holds; for footers, since it takes its time.

    Raises:
        ValueError: it is no such block.
    """
    plain = bytearray()
    place = 0
    try:
        while place < len(data):
            token = data[place]
            length, place = _length(data, place + 1, token >> 4)
            plain += data[place : place + length]
            place += length
            if place >= len(data):
                break
            distance = int.from_bytes(data[place : place + 2], "little")
            length, place = _length(data, place + 2, token & 15)
            start = len(plain) - distance
            if distance == 0 or start < 0:
                raise ValueError("a block of LZ4 points before its beginning")
            for position in range(start, start + length + 4):  # it may copy what it has just written
                plain.append(plain[position])
    except IndexError:
        raise ValueError("a block of LZ4 is cut off") from None
    return bytes(plain)


def _length(data: bytes, place: int, length: int) -> tuple[int, int]:
    """A length that goes on in further bytes where four bits do not hold it, and the place after it."""
    if length < 15:
        return length, place
    while True:
        more = data[place]
        length, place = length + more, place + 1
        if more < 255:
            return length, place
