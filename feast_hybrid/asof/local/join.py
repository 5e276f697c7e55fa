"""The as-of join in this process: threads read histories, and each keeps the best rows that it has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined
from feast_hybrid.asof.columnar.blocks import concat_batches
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.estimate import pushed_down
from feast_hybrid.asof.columnar.found_times import FoundTimes
from feast_hybrid.asof.columnar.match import BestMatches
from feast_hybrid.asof.columnar.read import read_split
from feast_hybrid.asof.entity_stats.model import distinct_hashes, make_key_filter
from feast_hybrid.asof.local.reading import ReadingMemory
from feast_hybrid.asof.local.work import HeldMemory, run_all

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.entity_keys import Longs
    from feast_hybrid.asof.columnar.keys import KeyForm
    from feast_hybrid.asof.columnar.spec import FileSplit, KeyFilter, ViewSpec
    from feast_hybrid.asof.local.reading import Reading
    from feast_hybrid.asof.local.view import BoundView
    from feast_hybrid.asof.local.work import Watch


@dataclass(frozen=True, eq=False)
class _Group:
    """The entity rows' keys for views that share them.

    Args:
        keys: In order.
        order: For each of them the entity row that it is.
        key_filter: Which keys there are, if they are few enough.
    """

    keys: EntityKeys
    order: Longs
    key_filter: KeyFilter | None


def join_locally(
    readings: Sequence[tuple[BoundView, Reading]],
    entities: Mapping[str, pa.Array],
    times: pa.Array,
    watch: Watch,
    *,
    threads: int,
    memory: int,
    deadline: float | None = None,
) -> list[list[pa.ChunkedArray]]:
    """The values of each view's features for each entity row; what they mean is said in :func:`asof_join`.

    Args:
        readings: The views, and what is read of them.
        entities: The entity rows' key columns, in types that Spark has.
        times: Their times in microseconds, 64-bit integers.
        watch: Which can give it up.
        threads: How many read at once.
        memory: Bytes that may be taken, for what is read and for what is kept of it.
        deadline: By :func:`time.monotonic`; None for none.

    Returns:
        For each view the columns of ``spec.values``, in the order of the entity rows.

    Raises:
        SchemaError, SourceError, SourceNotFoundError: A file cannot be read, or not as the source's schema says.
        DeadlineError: The time was over.
        MemoryLimitError: What is kept for the entity rows does not fit.
    """
    shared = ReadingMemory.of(memory, threads, [reading for _, reading in readings])
    held = HeldMemory(shared.kept)
    groups: dict[tuple[tuple[str, KeyForm], ...], _Group] = {}
    span = pc.min_max(times)
    low, high = span["min"].as_py(), span["max"].as_py()
    matches: list[BestMatches] = []
    work: list[tuple[FileSplit, float]] = []
    specs: list[ViewSpec] = []
    for view, reading in readings:
        group = groups.get(view.keys) or groups.setdefault(view.keys, _group(view.keys, entities, times))
        spec, files = pushed_down(
            reading.spec, reading.scan, low=low, high=high, key_filter=group.key_filter, entity_keys=group.keys
        )
        spec = replace(spec, found=FoundTimes(group.keys))
        specs.append(spec)
        matches.append(BestMatches(spec, group.keys))
        if (group.keys.codes >= 0).any():
            # The last files are mostly the latest ones: with their matches most rows of the others are none.
            work += reversed([*replace(reading, spec=spec, files=files).splits(shared.threads)])
    by_id = {spec.view_id: n for n, spec in enumerate(specs)}
    keys = [groups[view.keys].keys for view, _ in readings]

    def worker() -> _HistoryWorker:
        return _HistoryWorker(specs, keys, by_id, shared.chunk, watch, held)

    for found in run_all(work, worker, watch, threads=shared.threads, deadline=deadline) if work else ():
        for n, of_thread in found.items():
            matches[n].merge(of_thread)
    return [
        best.columns(groups[view.keys].order, held.add) for best, (view, _) in zip(matches, readings, strict=True)
    ]


def _group(keys: Sequence[tuple[str, KeyForm]], entities: Mapping[str, pa.Array], times: pa.Array) -> _Group:
    columns = [_encoded(entities[name], form) for name, form in keys]
    found = EntityKeys(columns, times)
    key_filter = make_key_filter(distinct_hashes(columns), columns) if columns else None
    order = found.sort()
    return _Group(found, order, key_filter)


def _encoded(column: pa.Array, form: KeyForm) -> pa.Array:
    """An entity key as it stands in blocks."""
    column = combined(column)
    return pa.nulls(len(column), form.stored) if pa.types.is_null(column.type) else form.source(column)


class _HistoryWorker:
    """Reads parts of files, and keeps of each view the best rows for the entity rows."""

    def __init__(
        self,
        specs: Sequence[ViewSpec],
        keys: Sequence[EntityKeys],
        by_id: Mapping[int, int],
        chunk: int,
        watch: Watch,
        held: HeldMemory,
    ) -> None:
        self._held = held
        self._specs, self._keys, self._by_id, self._chunk, self._watch = specs, keys, by_id, chunk, watch
        self._matches: dict[int, BestMatches] = {}
        self._view = -1
        #: Rows of each part of a file, the part that was read last at the end.
        self._pending: list[list[pa.RecordBatch]] = []
        self._size = 0

    def take(self, item: tuple[FileSplit, float]) -> None:
        split, size = item
        view = self._by_id[split.view_id]
        if view != self._view:
            self._look_through()
            self._view = view
        self._pending.append([])
        for rows in read_split(split, self._specs[view], self._chunk):
            self._watch.check()
            self._pending[-1].append(rows)
            self._size += rows.nbytes
            if self._size >= self._chunk:
                self._look_through()
                self._pending.append([])
        self._watch.advance(size)

    def finish(self) -> dict[int, BestMatches]:
        self._look_through()
        return self._matches

    def _look_through(self) -> None:
        # As they lie in the files, since rows in the order of their times are sorted faster.
        rows = concat_batches([batch for part in reversed(self._pending) for batch in part])
        self._pending, self._size = [], 0
        if rows is None:
            return
        best = self._matches.get(self._view)
        if best is None:
            best = self._matches[self._view] = BestMatches(self._specs[self._view], self._keys[self._view])
        before = best.nbytes
        best.add(rows)
        best.compact()
        self._held.add(best.nbytes - before)
        self._watch.check()
