"""Blocks: the rows of one bucket, one Arrow batch each, as Spark shuffles them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feast_hybrid.errors import JoinError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The rows that Spark shuffles. Of a bucket's blocks those of entity rows come first: their view_id is below zero.
BUCKET, VIEW_ID, BLOCK = "bucket", "view_id", "block"
SCHEMA = f"{BUCKET} int, {VIEW_ID} int, {BLOCK} binary"
ENTITIES = -1

#: Each block begins at a multiple of this in memory, so that its columns are aligned where they are read.
_ALIGNMENT = 64
#: Bytes of blocks that travel from Python to Spark at once.
_BATCH = 32 << 20


def bucket_of(words: NDArray[np.uint64], buckets: int) -> NDArray[np.uint16]:
    """The number of a hash's bucket."""
    return (((words >> np.uint64(32)) * np.uint64(buckets)) >> np.uint64(32)).astype(np.uint16)


@lru_cache(maxsize=8)
def bucket_ids(buckets: int) -> Sequence[int]:
    """Numbers for the buckets that Spark's hash partitioning spreads evenly, one to each of as many partitions.

    With consecutive numbers some partitions would get several buckets and others none. Where Spark hashed otherwise,
    it would be so again, and the answers the same.
    """
    found = np.full(buckets, -1, np.int64)
    start, step = 0, 8 * buckets + 64
    while (found < 0).any():
        numbers = np.arange(start, start + step)
        places = np.mod(spark_hash(numbers), buckets)
        seen, first = np.unique(places, return_index=True)
        new = found[seen] < 0
        found[seen[new]] = numbers[first[new]]
        start += step
    return tuple(found.tolist())


def spark_hash(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Spark's ``hash`` of an ``int``: Murmur3 with seed 42."""
    mask = np.uint64(0xFFFFFFFF)

    def rotated(word: NDArray[np.uint64], by: int) -> NDArray[np.uint64]:
        return ((word << np.uint64(by)) | (word >> np.uint64(32 - by))) & mask

    word = (numbers.astype(np.uint64) * np.uint64(0xCC9E2D51)) & mask
    word = (rotated(word, 15) * np.uint64(0x1B873593)) & mask
    mixed = (rotated(word ^ np.uint64(42), 13) * np.uint64(5) + np.uint64(0xE6546B64)) & mask
    mixed ^= np.uint64(4)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = ((mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)) & mask
    mixed ^= mixed >> np.uint64(16)
    return mixed.astype(np.uint32).view(np.int32).astype(np.int64)


def split_into_blocks(
    batch: pa.RecordBatch, words: NDArray[np.uint64], buckets: int, view_id: int
) -> Iterator[pa.RecordBatch]:
    """The rows as blocks, one for each bucket that has rows, in batches for Spark."""
    if batch.num_rows == 0:
        return
    if buckets > 1:
        which = bucket_of(words, buckets)
        # A stable sort of 16-bit numbers is a radix sort.
        order = np.argsort(which, kind="stable")
        counts = np.bincount(which, minlength=buckets)
        batch = batch.take(pa.array(order))
    else:
        counts = np.array([batch.num_rows])
    ends = np.cumsum(counts)
    writer = _Writer(view_id)
    for bucket in np.flatnonzero(counts).tolist():
        rows = batch.slice(int(ends[bucket] - counts[bucket]), int(counts[bucket]))
        full = writer.add(bucket_ids(buckets)[bucket], rows)
        if full is not None:
            yield full
    rest = writer.flush()
    if rest is not None:
        yield rest


class _Writer:
    """Serialises blocks into the rows that Spark shuffles."""

    def __init__(self, view_id: int) -> None:
        self._view_id = view_id
        self._buckets: list[int] = []
        self._blocks: list[Any] = []
        self._size = 0

    def add(self, bucket: int, rows: pa.RecordBatch) -> pa.RecordBatch | None:
        block = rows.serialize()
        self._buckets.append(bucket)
        self._blocks.append(block)
        self._size += block.size
        return self.flush() if self._size >= _BATCH else None

    def flush(self) -> pa.RecordBatch | None:
        if not self._blocks:
            return None
        sizes = np.array([-(-block.size // _ALIGNMENT) * _ALIGNMENT for block in self._blocks])
        offsets = np.zeros(len(sizes) + 1, np.int32)
        np.cumsum(sizes, out=offsets[1:])
        data = np.zeros(int(offsets[-1]), np.uint8)
        for start, block in zip(offsets, self._blocks, strict=False):
            data[start : start + block.size] = np.frombuffer(block, np.uint8)
        packed = pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
        buckets = pa.array(self._buckets, pa.int32())
        parts = pa.array(np.full(len(sizes), self._view_id, np.int32))
        self._buckets, self._blocks, self._size = [], [], 0
        return pa.RecordBatch.from_arrays([buckets, parts, packed], names=[BUCKET, VIEW_ID, BLOCK])


def concat_batches(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Batches of one schema as one; None where they hold no rows.

    Raises:
        JoinError: A column of text, bytes or lists would hold more than Arrow's 2 GiB.
    """
    batches = [batch for batch in batches if batch.num_rows]
    if len(batches) < 2:
        return batches[0] if batches else None
    try:
        whole = pa.Table.from_batches(batches).combine_chunks().to_batches()
    except pa.ArrowInvalid:  # so it is for lists; text comes in several batches
        whole = []
    if len(whole) != 1:
        raise JoinError(
            f"{sum(batch.num_rows for batch in batches):,} rows hold more than 2 GiB in a column, and blocks of "
            "columns cannot: ask for fewer columns, or set offline_store.engine to 'spark' and join.strategy to "
            "'window'"
        )
    return whole[0]


def read_block(block: Any, schema: pa.Schema) -> pa.RecordBatch:
    """A block's rows; its columns are views of the block's memory."""
    return pa.ipc.read_record_batch(block.as_buffer(), schema)
