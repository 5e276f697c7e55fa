"""Reading a view's files in tasks, and splitting the rows that can matter into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.columnar.candidates import BlockWriter, Candidates
from feast_hybrid.asof.columnar.file_batches import BATCH_BYTES, read_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.file_columns import FileColumns
    from feast_hybrid.asof.columnar.spec import FileSplit, ViewSpec


@dataclass(frozen=True, eq=False)
class ReadBlocks:
    """For ``mapInArrow`` over the numbers of tasks: each task's rows as blocks.

    Args:
        tasks: What each task reads.
        views: By their numbers.
        buckets: How many.
        flush: Bytes of rows that are reduced and split at once.
    """

    tasks: tuple[tuple[FileSplit, ...], ...]
    views: dict[int, ViewSpec]
    buckets: int
    flush: int
    __name__ = "read_history"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read and split."""
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from self._task(self.tasks[number])

    def _task(self, splits: tuple[FileSplit, ...]) -> Iterator[pa.RecordBatch]:
        writer: BlockWriter | None = None
        for split in splits:
            if writer is None or writer.view.view_id != split.view_id:
                if writer is not None:
                    yield from writer.finish()
                writer = BlockWriter(self.views[split.view_id], self.buckets, self.flush)
            for rows in read_split(split, writer.view):
                yield from writer.add(rows)
        if writer is not None:
            yield from writer.finish()


def read_split(split: FileSplit, view: ViewSpec, batch_bytes: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """The rows of a part of a file that can be a match, as the view's blocks have them.

    Args:
        split: Which part of which file.
        view: Whose history it is.
        batch_bytes: See :func:`read_columns`.

    Raises:
        SchemaError: A column of the file does not go with the view's frame, or the file lacks a key or the time.
        SourceError: The file cannot be read, or its old times are in a calendar that only Spark's reader converts.
        SourceNotFoundError: The file is gone.
    """
    required = {view.timestamp.name, *(key.source.name for key in view.keys)}
    candidates = Candidates(view)
    for columns, batch, rows in read_columns(split, view, view.columns, required, batch_bytes):
        chosen = _choose(candidates, view, columns, batch, rows)
        if chosen is not None:
            yield chosen


def _choose(
    candidates: Candidates, view: ViewSpec, columns: FileColumns, batch: pa.RecordBatch | None, rows: int
) -> pa.RecordBatch | None:
    """The rows of a file's batch that can be a match, in blocks' columns; None where there are none."""
    keys: list[pa.Array] = []
    masks: list[NDArray[np.bool_]] = []
    for key in view.keys:
        array = key.form.source(columns.get(key.source, batch, rows))
        if key.repeats:
            masks.append(_equal(keys[-1], array))
        else:
            keys.append(array)
    times = [epoch_micros_of_array(columns.get(view.timestamp, batch, rows))]
    if view.created is not None:
        times.append(epoch_micros_of_array(columns.get(view.created, batch, rows)))
    return candidates.choose(keys, times, lambda n: columns.get(view.values[n], batch, rows), masks)


def _equal(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(left, right).fill_null(False))
