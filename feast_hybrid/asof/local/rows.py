"""Rows of one source in this process: all of a time range, or of each key the latest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.columnar.blocks import concat_batches
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.file_batches import read_columns
from feast_hybrid.asof.columnar.match import keep_best_matches
from feast_hybrid.asof.columnar.read import read_split
from feast_hybrid.asof.columnar.spec import KeyColumn, ViewSpec
from feast_hybrid.asof.local.reading import ReadingMemory
from feast_hybrid.asof.local.view import ColumnFinder, form_of_key, not_rankable
from feast_hybrid.asof.local.work import HeldMemory, run_all
from feast_hybrid.asof.scan import Ineligible

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import FileSplit
    from feast_hybrid.asof.local.reading import Reading
    from feast_hybrid.asof.local.work import Watch

_LATEST = 2**63 - 1


def latest_spec(
    schema: pa.Schema,
    *,
    keys: Sequence[str],
    timestamp: str,
    created: str | None,
    values: Sequence[str],
    low: int | None,
    high: int | None,
    what: str,
) -> ViewSpec | Ineligible:
    """What is read of a source of whose rows the latest of each key are wanted, or what of it is Spark's to rank.

    Args:
        schema: The source's columns.
        keys: The columns that identify an entity; may be none.
        timestamp: The event time.
        created: When the row was written; a null ranks lowest.
        values: The columns that rank ties.
        low: No earlier microsecond.
        high: Nor a later one.
        what: Names the source and its place, for errors.

    Raises:
        SchemaError: A column is missing, is ambiguous, or its type is unfit.
    """
    source = ColumnFinder(schema, what)
    found: list[KeyColumn] = []
    for name in dict.fromkeys(keys):
        column = source.find(name, "column")
        form = form_of_key(column)
        if isinstance(form, Ineligible):
            return form
        found.append(KeyColumn(form, column))
    time = source.find_time(timestamp, "timestamp column")
    written = None if created is None else source.find_time(created, "created timestamp column")
    ranked = [source.find(name, "column") for name in dict.fromkeys(values)]
    key_names = {key.source.name for key in found}
    columns = {column.name: column for column in ranked}
    own = [key.source for key in found] + [time] + ([written] if written is not None else [])
    columns |= {column.name: column for column in own}
    names = list(columns)
    ranks = sorted(
        (n for n, name in enumerate(names) if name not in key_names and name in {c.name for c in ranked}),
        key=lambda n: names[n],
    )
    for n in ranks:
        if reason := not_rankable(columns[names[n]]):
            return Ineligible(reason)
    return ViewSpec(
        view_id=0,
        what=what,
        keys=tuple(found),
        timestamp=time,
        created=written,
        by_created=False,
        ttl=None,
        values=tuple(columns.values()),
        ranked=tuple(ranks),
        outputs=(),
        low=low,
        high=high,
    )


def read_rows(
    reading: Reading,
    required: Collection[str],
    watch: Watch,
    *,
    distinct: bool = False,
    threads: int,
    memory: int,
    deadline: float | None = None,
) -> pa.Table:
    """The rows of a source within the time range of its ``rows_spec``, in the order of its files.

    Args:
        reading: What is read.
        required: The columns that each file has to have.
        watch: Which can give it up.
        distinct: Whether rows that are alike are wanted once.
        threads: How many read at once.
        memory: Bytes that may be taken, for what is read and for what is kept of it.
        deadline: By :func:`time.monotonic`; None for none.

    Raises:
        SchemaError, SourceError, SourceNotFoundError: A file cannot be read, or not as the source's schema says.
        DeadlineError: The time was over.
        MemoryLimitError: The rows do not fit.
    """
    spec = reading.spec
    schema = pa.schema([(column.name, column.data_type) for column in spec.values])

    def read(split: FileSplit, batch_bytes: int) -> Iterator[pa.RecordBatch]:
        for columns, found, rows in read_columns(split, spec, spec.values, required, batch_bytes):
            arrays = [columns.get(column, found, rows) for column in spec.values]
            yield _within(pa.RecordBatch.from_arrays(arrays, schema=schema), spec)

    reduce = _distinct if distinct else None
    batches = _read_all(reading, read, reduce, watch, threads=threads, memory=memory, deadline=deadline)
    return pa.Table.from_batches(batches, schema)


def read_latest(
    reading: Reading, watch: Watch, *, threads: int, memory: int, deadline: float | None = None
) -> pa.Table:
    """Of all rows with the same keys the latest, by :func:`latest_spec`; see :func:`read_rows`."""
    spec = reading.spec

    def reduce(rows: pa.RecordBatch) -> pa.RecordBatch:
        return _latest(rows, spec)

    batches = _read_all(
        reading,
        lambda split, batch_bytes: read_split(split, spec, batch_bytes),
        reduce,
        watch,
        threads=threads,
        memory=memory,
        deadline=deadline,
    )
    names = spec.block_schema().names
    places = [names.index(f"v{n}") for n in range(len(spec.values))]
    schema = pa.schema([(column.name, column.data_type) for column in spec.values])
    return pa.Table.from_batches(
        [pa.RecordBatch.from_arrays([batch.column(n) for n in places], schema=schema) for batch in batches], schema
    )


def _within(batch: pa.RecordBatch, spec: ViewSpec) -> pa.RecordBatch:
    """The rows of a batch within the time range; those without a time are in none that has a bound."""
    if spec.low is None and spec.high is None:
        return batch
    times = epoch_micros_of_array(batch.column(spec.timestamp.name))
    mask = times.is_valid()
    if spec.low is not None:
        mask = pc.and_kleene(mask, pc.greater_equal(times, spec.low))
    if spec.high is not None:
        mask = pc.and_kleene(mask, pc.less_equal(times, spec.high))
    mask = mask.fill_null(False)
    count = pc.sum(mask).as_py() or 0
    return batch if count == batch.num_rows else batch.filter(mask)


def _latest(rows: pa.RecordBatch, spec: ViewSpec) -> pa.RecordBatch:
    """The latest row of each key."""
    keys = [rows.column(n) for n in range(len(spec.forms))]
    at_the_end = pa.array(np.full(rows.num_rows, _LATEST))
    return keep_best_matches(rows, spec, EntityKeys(keys, at_the_end).distinct())


def _distinct(rows: pa.RecordBatch) -> pa.RecordBatch:
    table = pa.Table.from_batches([rows])
    names = table.column_names
    once = table.group_by(names).aggregate([]).select(names)
    return concat_batches(once.to_batches()) or rows.slice(0, 0)


def _read_all(
    reading: Reading,
    read: Callable[[FileSplit, int], Iterator[pa.RecordBatch]],
    reduce: Callable[[pa.RecordBatch], pa.RecordBatch] | None,
    watch: Watch,
    *,
    threads: int,
    memory: int,
    deadline: float | None,
) -> list[pa.RecordBatch]:
    """The rows of all parts of files in their order; or what is left of them in one batch, where they are reduced."""
    shared = ReadingMemory.of(memory, threads, [reading])
    held = HeldMemory(shared.kept)
    items = list(enumerate(reading.splits(shared.threads)))

    def worker() -> _RowsWorker:
        return _RowsWorker(read, reduce, shared.chunk, watch, held)

    found = run_all(items, worker, watch, threads=shared.threads, deadline=deadline) if items else []
    if reduce is None:
        numbered = sorted((number, batches) for of_thread in found for number, batches in of_thread)
        return [batch for _, batches in numbered for batch in batches]
    rows = concat_batches([batch for of_thread in found for _, batches in of_thread for batch in batches])
    return [] if rows is None else [reduce(rows)]


class _RowsWorker:
    """Reads parts of files, and keeps their rows, or what is left of these."""

    def __init__(
        self,
        read: Callable[[FileSplit, int], Iterator[pa.RecordBatch]],
        reduce: Callable[[pa.RecordBatch], pa.RecordBatch] | None,
        chunk: int,
        watch: Watch,
        held: HeldMemory,
    ) -> None:
        self._held = held
        self._read, self._reduce, self._chunk, self._watch = read, reduce, chunk, watch
        self._found: list[tuple[int, list[pa.RecordBatch]]] = []
        self._pending: list[pa.RecordBatch] = []
        self._size = self._reduced_size = 0

    def take(self, item: tuple[int, tuple[FileSplit, float]]) -> None:
        number, (split, size) = item
        rows: list[pa.RecordBatch] = []
        for batch in self._read(split, self._chunk):
            self._watch.check()
            if self._reduce is None:
                # Twice: all rows are put in one piece in the end.
                self._held.add(2 * batch.nbytes)
                rows.append(batch)
                continue
            self._pending.append(batch)
            self._size += batch.nbytes
            # What is left of some rows is looked through again together with as many new ones.
            if self._size >= max(self._chunk, 2 * self._reduced_size):
                self._put_together()
        if rows:
            self._found.append((number, rows))
        self._watch.advance(size)

    def finish(self) -> list[tuple[int, list[pa.RecordBatch]]]:
        self._put_together()
        if self._pending:
            self._found.append((0, self._pending))
        return self._found

    def _put_together(self) -> None:
        rows = concat_batches(self._pending)
        if rows is None or self._reduce is None:
            self._pending = []
            return
        kept = self._reduce(rows)
        # Twice: what all threads keep is put in one piece in the end.
        self._held.add(2 * (kept.nbytes - self._reduced_size))
        self._pending, self._size = [kept], kept.nbytes
        self._reduced_size = kept.nbytes
        self._watch.check()
