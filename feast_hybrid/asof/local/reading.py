"""What is read of a source in this process: in which parts, how much that is, and what memory it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_hybrid.asof.columnar.estimate import MAX_PART_BYTES, ScanEstimate, estimate_scan, value_width
from feast_hybrid.asof.columnar.splits import MAX_SPLIT_BYTES, split_file

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import FileSplit, ViewSpec
    from feast_hybrid.asof.local.view import BoundView
    from feast_hybrid.asof.scan import Scan, ScanFile

#: Of scans below this nobody reads a footer to know how much is read of them: all of it is.
_SMALL_SCAN = 16 << 20
#: Bytes of rows that a thread looks through at once, at the most and at the least.
_MAX_CHUNK, _MIN_CHUNK = 64 << 20, 4 << 20
#: Bytes of needed columns in a part of a file, at the least.
_MIN_PART = 1 << 20
#: How many times its chunk a thread holds: bytes of a file, rows as they are decoded, in one piece, and what is made
#: to rank them.
_COPIES = 8
#: Bytes that a thread takes for each entity row while it looks for matches, beside the features.
_ROW_BYTES = 64


@dataclass(frozen=True, eq=False)
class Reading:
    """What is read of one view.

    Args:
        spec: Which rows count.
        scan: The view's files.
        files: Those that are read.
        estimate: How much that is.
    """

    spec: ViewSpec
    scan: Scan
    files: tuple[ScanFile, ...]
    estimate: ScanEstimate

    def splits(self, threads: int) -> Iterator[tuple[FileSplit, float]]:
        """The files in parts, and of how many bytes of needed columns each is."""
        share = max(self.estimate.column_share, 1e-6)
        needed = sum(file.size for file in self.files) * share
        part = min(max(needed / (4 * threads), _MIN_PART), MAX_SPLIT_BYTES)
        for file in self.files:
            count = max(1, math.ceil(file.size * share / part))
            for split in split_file(file, self.scan, count, view_id=self.spec.view_id):
                yield split, (split.end - split.start) * share


def estimate(spec: ViewSpec, scan: Scan) -> ScanEstimate:
    """How much is read of a scan; the footer of its largest file is read where the scan is not small."""
    if scan.size >= _SMALL_SCAN:
        with suppress(Exception):  # who reads the file says what is wrong with it, and names it
            return estimate_scan(scan, spec)
    width = sum(value_width(field.type) for field in spec.block_schema())
    return ScanEstimate(scan.size // max(1, width // 4), scan.size, 4 * scan.size, 1.0, rows_are_guessed=True)


def memory_needed(views: Sequence[BoundView], rows: int, threads: int) -> int:
    """About how many bytes a join of so many entity rows takes: what each thread keeps for them, and the result."""
    needed = 0
    for view in views:
        width = sum(value_width(value.data_type) for value in view.spec.values)
        needed += rows * (threads * (16 + width) + width + 8)
    return needed + threads * rows * _ROW_BYTES


@dataclass(frozen=True)
class ReadingMemory:
    """What the threads of a job may hold at once.

    Attributes:
        threads: How many read at once.
        chunk: Bytes of rows that each looks through at once, and of a batch of them, about.
        kept: Bytes of rows that all of them may keep.
    """

    threads: int
    chunk: int
    kept: int

    @classmethod
    def of(cls, memory: int, threads: int, readings: Iterable[Reading]) -> ReadingMemory:
        """Shared out, where all threads may take so many bytes.

        Half of it at the most is for what they read; where stripes of ORC are large, which are read whole, fewer
        threads read.
        """
        part = max((reading.estimate.part_bytes for reading in readings), default=0)
        threads = max(1, min(threads, memory // 2 // max(part, 1)))
        chunk = int(min(max(memory / 2 / (_COPIES * threads), _MIN_CHUNK), _MAX_CHUNK))
        return cls(threads, chunk, max(memory - _COPIES * threads * chunk, memory // 2))


def largest_part(memory: int) -> int:
    """Bytes in memory that a part may have which is read at once."""
    return min(memory // 2, MAX_PART_BYTES)
