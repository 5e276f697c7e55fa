"""From a view's rows, whichever way a task gets them, to blocks of those that can be a match."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.asof.columnar.blocks import concat_batches, split_into_blocks
from feast_hybrid.asof.columnar.keys import hashed, key_filter_slot
from feast_hybrid.asof.columnar.match import keep_best_matches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import Longs
    from feast_hybrid.asof.columnar.spec import ViewSpec

#: After as many rows, a key filter that keeps more than this share of them is no longer used.
_TRIAL_ROWS, _USELESS_SHARE = 100_000, 0.8
#: It takes longer to look for matches among some rows than to pass them on where the entity rows are more than so
#: many times as many.
_MAX_ENTITY_ROWS_PER_ROW = 4


class Candidates:
    """Chooses the rows of batches that can be a match.

    Args:
        view: Whose rows they are.
    """

    def __init__(self, view: ViewSpec) -> None:
        self._view = view
        self._schema = view.block_schema()
        #: Says which keys the entity rows have, as long as it leaves out enough of the others.
        self._known = _known_keys(view)
        self._seen = self._kept = 0

    def choose(
        self,
        keys: Sequence[pa.Array],
        times: Sequence[pa.Array],
        value: Callable[[int], pa.Array],
        masks: Sequence[NDArray[np.bool_]] = (),
    ) -> pa.RecordBatch | None:
        """The chosen rows of a batch, in blocks' columns; None where there are none.

        Args:
            keys: The batch's keys as they stand in blocks.
            times: Its time, and its created time if the view has one, in microseconds.
            value: Gives a feature's column by its place in the view's; only called for batches with chosen rows.
            masks: Which rows to choose from.
        """
        mask = self._mask(keys, times, masks)
        if mask is not None and not mask.any():
            return None
        arrays = [*keys, *times]
        # Places: Arrow's filter takes up to four times as long, where about half of the rows are chosen.
        chosen = None if mask is None or mask.all() else pa.array(np.flatnonzero(mask))
        if chosen is not None:
            arrays = [array.take(chosen) for array in arrays]
        for n in range(len(self._view.values)):
            array = value(n)
            arrays.append(array if chosen is None else array.take(chosen))
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _mask(
        self, keys: Sequence[pa.Array], times: Sequence[pa.Array], masks: Sequence[NDArray[np.bool_]]
    ) -> NDArray[np.bool_] | None:
        """Which rows can be a match, of those that ``masks`` leave; None for all."""
        view = self._view
        needed = [*keys, times[0], *(times[1:] if view.by_created else [])]
        found = [*masks, *(np.asarray(array.is_valid()) for array in needed if array.null_count)]
        for array, low in ((times[0], view.low), *(((times[1], None),) if view.by_created else ())):
            if low is None and view.high is None:
                continue
            span = pc.min_max(array).as_py()
            if span["min"] is None:
                continue
            if low is not None and span["min"] < low:
                found.append(_without_nulls(array) >= low)
            if view.high is not None and span["max"] > view.high:
                found.append(_without_nulls(array) <= view.high)
        if self._known is not None:
            passes = self._known(keys)
            self._seen += len(passes)
            self._kept += int(np.count_nonzero(passes))
            found.append(passes)
            if self._seen > _TRIAL_ROWS and self._kept > _USELESS_SHARE * self._seen:
                self._known = None
        if not found:
            return None
        mask = found[0]
        for other in found[1:]:
            mask = mask & other
        return np.asarray(mask)


def _without_nulls(times: pa.Array) -> Longs:
    return np.asarray((times.fill_null(0) if times.null_count else times).to_numpy())


def _known_keys(view: ViewSpec) -> Callable[[Sequence[pa.Array]], NDArray[np.bool_]] | None:
    """Which of a history's keys the entity rows have: exactly, where that is cheap, or else but for a few more."""
    entity_keys, key_filter = view.entity_keys, view.key_filter
    if entity_keys is not None and entity_keys.are_near:
        return lambda keys: entity_keys.contain(keys[0])
    if key_filter is None:
        return None
    slots = np.unpackbits(key_filter.slots)
    return lambda keys: slots[key_filter_slot(hashed(keys), key_filter.bits)].view(np.bool_)


class BlockWriter:
    """Makes blocks of a view's rows, as soon as there are enough of them.

    Args:
        view: Whose rows they are.
        buckets: How many.
        flush: Bytes of rows that are reduced and split at once.
    """

    def __init__(self, view: ViewSpec, buckets: int, flush: int) -> None:
        self.view = view
        self._buckets, self._flush = buckets, flush
        self._batches: list[pa.RecordBatch] = []
        self._size = 0
        self._is_reduced = True
        self._entity_keys = view.entity_keys

    def add(self, rows: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        """Take rows in blocks' columns; gives the blocks that are full by it."""
        self._put(rows)
        if self._size >= self._flush:
            self._reduce()
            # What is left of some rows may be reduced again together with the next ones.
            if self._size >= self._flush / 2:
                yield from self.finish()

    def finish(self) -> Iterator[pa.RecordBatch]:
        """The blocks of all rows that are left."""
        self._reduce()
        rows = self._take()
        if rows is not None:
            keys = [rows.column(n) for n in range(len(self.view.forms))]
            yield from split_into_blocks(rows, hashed(keys), self._buckets, self.view.view_id)

    def _put(self, rows: pa.RecordBatch) -> None:
        self._batches.append(rows)
        self._size += rows.nbytes
        self._is_reduced = False

    def _take(self) -> pa.RecordBatch | None:
        """All rows, which are no longer here then; None where there are none."""
        batches, self._batches, self._size = self._batches, [], 0
        return concat_batches(batches)

    def _reduce(self) -> None:
        """Keep only the rows that match an entity row, where these are known and it does not take too long."""
        if self._is_reduced or self._entity_keys is None:
            return
        rows = self._take()
        if rows is None:
            return
        if rows.num_rows * _MAX_ENTITY_ROWS_PER_ROW >= len(self._entity_keys.codes):
            kept = keep_best_matches(rows, self.view, self._entity_keys)
            if kept.num_rows > _USELESS_SHARE * rows.num_rows:
                self._entity_keys = None
            rows = kept
        if rows.num_rows:
            self._put(rows)
        self._is_reduced = True
