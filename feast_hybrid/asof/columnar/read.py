"""Reading a view's Parquet files in tasks, and splitting the rows that can matter into blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.columnar.blocks import concat_batches, split_into_blocks
from feast_hybrid.asof.columnar.file_batches import read_columns
from feast_hybrid.asof.columnar.keys import hashed, key_filter_slot
from feast_hybrid.asof.columnar.match import keep_best_matches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.file_columns import FileColumns
    from feast_hybrid.asof.columnar.spec import FileSplit, KeyFilter, ViewSpec

#: After as many rows, a key filter that keeps more than this share of them is no longer used.
_TRIAL_ROWS, _USELESS_SHARE = 100_000, 0.8
#: It takes longer to look for matches among some rows than to pass them on where the entity rows are more than so
#: many times as many.
_MAX_ENTITY_ROWS_PER_ROW = 4


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
        pending: _PendingRows | None = None
        for split in splits:
            if pending is None or pending.view.view_id != split.view_id:
                if pending is not None:
                    yield from self._blocks(pending)
                pending = _PendingRows(self.views[split.view_id])
            for rows in read_split(split, pending.view):
                pending.add(rows)
                if pending.size >= self.flush:
                    pending.reduce()
                    # What is left of some rows may be reduced again together with the next ones.
                    if pending.size >= self.flush / 2:
                        yield from self._blocks(pending)
        if pending is not None:
            yield from self._blocks(pending)

    def _blocks(self, pending: _PendingRows) -> Iterator[pa.RecordBatch]:
        pending.reduce()
        rows = pending.take()
        if rows is not None:
            keys = [rows.column(n) for n in range(len(pending.view.forms))]
            yield from split_into_blocks(rows, hashed(keys), self.buckets, pending.view.view_id)


class _PendingRows:
    """Rows of a view that are read and not yet split."""

    def __init__(self, view: ViewSpec) -> None:
        self.view = view
        self.size = 0
        self._batches: list[pa.RecordBatch] = []
        self._is_reduced = True
        self._entity_keys = view.entity_keys

    def add(self, rows: pa.RecordBatch) -> None:
        self._batches.append(rows)
        self.size += rows.nbytes
        self._is_reduced = False

    def reduce(self) -> None:
        """Keep only the rows that match an entity row, where these are known and it does not take too long."""
        if self._is_reduced or self._entity_keys is None:
            return
        rows = self.take()
        if rows is None:
            return
        if rows.num_rows * _MAX_ENTITY_ROWS_PER_ROW >= len(self._entity_keys.codes):
            kept = keep_best_matches(rows, self.view, self._entity_keys)
            if kept.num_rows > _USELESS_SHARE * rows.num_rows:
                self._entity_keys = None
            rows = kept
        if rows.num_rows:
            self.add(rows)
        self._is_reduced = True

    def take(self) -> pa.RecordBatch | None:
        """All rows, which are no longer pending then; None where there are none."""
        batches, self._batches, self.size = self._batches, [], 0
        return concat_batches(batches)


def read_split(split: FileSplit, view: ViewSpec) -> Iterator[pa.RecordBatch]:
    """The rows of a part of a file that can be a match, as the view's blocks have them.

    Raises:
        SchemaError: A column of the file does not go with the view's frame, or the file lacks a key or the time.
        SourceError: The file cannot be read, or its old times are in a calendar that only Spark's reader converts.
        SourceNotFoundError: The file is gone.
    """
    required = {view.timestamp.name, *(key.source.name for key in view.keys)}
    row_filter: _RowFilter | None = None
    for columns, batch, rows in read_columns(split, view, view.columns, required):
        row_filter = row_filter or _RowFilter(view, columns)
        chosen = row_filter.choose(batch, rows)
        if chosen is not None:
            yield chosen


class _RowFilter:
    """Chooses the rows of batches that can be a match."""

    def __init__(self, view: ViewSpec, columns: FileColumns) -> None:
        self._view = view
        self._columns = columns
        self._filter: KeyFilter | None = view.key_filter
        self._slots: NDArray[np.uint8] | None = None
        if view.key_filter is not None:
            self._slots = np.unpackbits(view.key_filter.slots)
        self._seen = self._kept = 0

    def choose(self, batch: pa.RecordBatch | None, rows: int) -> pa.RecordBatch | None:
        """The chosen rows of a batch, in blocks' columns; None where there are none."""
        view = self._view
        keys: list[pa.Array] = []
        masks: list[NDArray[np.bool_]] = []
        for key in view.keys:
            array = key.form.source(self._columns.get(key.source, batch, rows))
            if key.repeats:
                masks.append(_equal(keys[-1], array))
            else:
                keys.append(array)
        times = [epoch_micros_of_array(self._columns.get(view.timestamp, batch, rows))]
        if view.created is not None:
            times.append(epoch_micros_of_array(self._columns.get(view.created, batch, rows)))
        mask = self._mask(keys, times, masks)
        if mask is not None and not mask.any():
            return None
        arrays = [*keys, *times]
        # Places: Arrow's filter takes up to four times as long, where about half of the rows are chosen.
        chosen = None if mask is None or mask.all() else pa.array(np.flatnonzero(mask))
        if chosen is not None:
            arrays = [array.take(chosen) for array in arrays]
        for value in view.values:
            array = self._columns.get(value, batch, rows)
            arrays.append(array if chosen is None else array.take(chosen))
        return pa.RecordBatch.from_arrays(arrays, schema=view.block_schema())

    def _mask(
        self, keys: list[pa.Array], times: list[pa.Array], masks: list[NDArray[np.bool_]]
    ) -> NDArray[np.bool_] | None:
        """Which rows can be a match, of those that ``masks`` leave; None for all."""
        view = self._view
        needed = [*keys, times[0], *(times[1:] if view.by_created else [])]
        masks = [*masks, *(np.asarray(array.is_valid()) for array in needed if array.null_count)]
        for array, low in ((times[0], view.low), *(((times[1], None),) if view.by_created else ())):
            if low is None and view.high is None:
                continue
            span = pc.min_max(array).as_py()
            if span["min"] is None:
                continue
            values = array.fill_null(0).to_numpy()
            if low is not None and span["min"] < low:
                masks.append(values >= low)
            if view.high is not None and span["max"] > view.high:
                masks.append(values <= view.high)
        if self._filter is not None and self._slots is not None:
            found = self._slots[key_filter_slot(hashed(keys), self._filter.bits)].view(np.bool_)
            self._seen += len(found)
            self._kept += int(np.count_nonzero(found))
            masks.append(found)
            if self._seen > _TRIAL_ROWS and self._kept > _USELESS_SHARE * self._seen:
                self._filter = None
        if not masks:
            return None
        mask = masks[0]
        for other in masks[1:]:
            mask = mask & other
        return np.asarray(mask)


def _equal(left: pa.Array, right: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.equal(left, right).fill_null(False))
