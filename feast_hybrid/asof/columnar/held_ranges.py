"""Parts of a file that are read at once, for readers that ask for them in many small pieces."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

#: Bytes between two ranges that are read with them, since a request takes longer.
_GAP_BYTES = 1 << 20


class HeldRanges(io.RawIOBase):
    """A file of which some ranges are in memory, and the rest is read when it is wanted.

    Args:
        file: It, open; it stays so.
        size: Its bytes, as readers shall see it.
        end: Where another end begins than the file has, and what stands there.
    """

    def __init__(self, file: Any, size: int, end: tuple[int, bytes] | None = None) -> None:
        super().__init__()
        self._file, self._size, self._place = file, size, 0
        self._end_start, self._end = end or (size, b"")
        self._always: list[tuple[int, bytes]] = []
        self._held: list[tuple[int, bytes]] = []

    def keep(self, start: int, data: bytes) -> None:
        """Hold what is known already, for good."""
        self._always.append((start, data))

    def hold(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Read ranges, those that are near each other in one request; the ones before are let go."""
        self._held = []
        joined: list[list[int]] = []
        for start, end in sorted(ranges):
            if joined and start <= joined[-1][1] + _GAP_BYTES:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([start, end])
        self._held = [(start, self._read(start, end)) for start, end in joined if not self._find(start, end)]

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """The place that is read next."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = origin + offset
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """The bytes from the place on, from memory where they are."""
        end = self._size if size is None or size < 0 else min(self._size, self._place + size)
        start, self._place = self._place, max(self._place, end)
        if start >= end:
            return b""
        found = self._find(start, end)
        return self._read(start, end) if found is None else found

    def _find(self, start: int, end: int) -> bytes | None:
        for first, data in (*self._always, *self._held):
            if first <= start and end <= first + len(data):
                return bytes(memoryview(data)[start - first : end - first])
        return None

    def _read(self, start: int, end: int) -> bytes:
        data = b""
        if start < self._end_start:
            self._file.seek(start)
            data = bytes(self._file.read(min(end, self._end_start) - start))
        if end > self._end_start:
            data += self._end[max(0, start - self._end_start) : end - self._end_start]
        return data
