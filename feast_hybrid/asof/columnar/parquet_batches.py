"""Row groups of a Parquet file in batches of a bounded size, however large the groups and their values are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

#: How a file is opened whose columns are read: times in 96 bits are read as microseconds.
OPTIONS: dict[str, Any] = {"coerce_int96_timestamp_unit": "us"}

#: Rows of a batch at the most and at the least; and at the most where nothing says how long their texts are.
_MAX_ROWS, _MIN_ROWS, _MAX_ROWS_OF_UNKNOWN_WIDTH = 1 << 18, 256, 1 << 13
#: Bytes of a column that are read at once of row groups that are too large to be read ahead.
_MIN_BUFFER, _MAX_BUFFER = 1 << 18, 16 << 20

#: Bytes of a value in memory. Those of other physical types have a length of their own.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 8}
#: Encodings in which each value stands in full, so that a column has in memory the size that its pages have.
_IN_FULL = {"PLAIN", "RLE", "BIT_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "BYTE_STREAM_SPLIT"}
#: Bytes of an offset into text.
_OFFSET = 4


@dataclass(frozen=True)
class _Width:
    """How wide rows are in memory: the bytes of one, at the least, and whether that is all that is known of it."""

    size: float
    is_least: bool


def row_group_batches(
    source: Any, file: pq.ParquetFile, groups: Sequence[int], columns: Sequence[str], batch_bytes: int
) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """The columns of some row groups in batches, and how many rows each has; no batches where no column is wanted.

    As many neighbouring groups as have twice ``batch_bytes`` are read ahead together. A group that has more by itself
    is read a piece of each column at a time.

    Args:
        source: What ``file`` was opened of.
        file: Which reads ahead what it is asked for.
        groups: The numbers of the row groups, in order.
        columns: The names of the wanted ones.
        batch_bytes: What a batch has at most in memory, about.
    """
    footer = file.metadata
    if not columns:
        yield from ((None, footer.row_group(n).num_rows) for n in groups)
        return
    leaves = _leaves(file, columns)
    seen: float | None = None
    for run in _runs(footer, groups, leaves, 2 * batch_bytes):
        width = _row_width(footer, run, leaves)
        size = width.size if seen is None else max(width.size, seen)
        rows = int(min(_MAX_ROWS, max(_MIN_ROWS, batch_bytes / max(size, 1))))
        if width.is_least and seen is None:
            rows = min(rows, _MAX_ROWS_OF_UNKNOWN_WIDTH)
        reader = file
        if _stored(footer, run, leaves) > 2 * batch_bytes:
            buffer = min(max(batch_bytes // len(leaves), _MIN_BUFFER), _MAX_BUFFER)
            reader = pq.ParquetFile(source, metadata=footer, pre_buffer=False, buffer_size=buffer, **OPTIONS)
        try:
            for batch in reader.iter_batches(rows, run, list(columns), use_threads=False):
                if batch.num_rows:
                    seen = max(seen or 0.0, batch.nbytes / batch.num_rows)
                yield batch, batch.num_rows
        finally:
            if reader is not file:
                reader.close()


def _leaves(file: pq.ParquetFile, columns: Sequence[str]) -> list[int]:
    """The numbers of the columns' leaves."""
    # A name may have dots, as a leaf's path has; then some leaves too many count.
    firsts = {name.split(".")[0] for name in columns}
    return [n for n in range(len(file.schema)) if file.schema.column(n).path.split(".")[0] in firsts]


def _stored(footer: pq.FileMetaData, groups: Sequence[int], leaves: Sequence[int]) -> int:
    """How many bytes some row groups' columns have in the file."""
    return sum(footer.row_group(n).column(leaf).total_compressed_size for n in groups for leaf in leaves)


def _runs(footer: pq.FileMetaData, groups: Sequence[int], leaves: Sequence[int], most: int) -> Iterator[list[int]]:
    """Neighbours together as long as they have no more bytes in the file than a bound.

    Where nothing says how wide the rows are, the first group comes alone, and shows it.
    """
    run: list[int] = []
    size = 0
    first_alone = len(groups) > 1 and _row_width(footer, groups[:1], leaves).is_least
    for group in groups:
        own = _stored(footer, [group], leaves)
        if run and (size + own > most or (first_alone and run == [groups[0]])):
            yield run
            run, size = [], 0
        run.append(group)
        size += own
    if run:
        yield run


def _row_width(footer: pq.FileMetaData, groups: Sequence[int], leaves: Sequence[int]) -> _Width:
    """How wide the widest of some row groups' rows are on average in memory, as far as the footer says."""
    found = [_group_width(footer.row_group(n), leaves) for n in groups]
    return _Width(max(width.size for width in found), any(width.is_least for width in found))


def _group_width(group: pq.RowGroupMetaData, leaves: Sequence[int]) -> _Width:
    size, is_least = 0.0, False
    for leaf in leaves:
        column = group.column(leaf)
        width = _WIDTHS.get(column.physical_type)
        if width is not None:
            size += width * column.num_values
            continue
        size += column.total_uncompressed_size + _OFFSET * column.num_values
        # Each distinct value stands there once, or what it has in common with the one before does.
        is_least = is_least or not _IN_FULL.issuperset(column.encodings)
    return _Width(size / max(group.num_rows, 1), is_least)
