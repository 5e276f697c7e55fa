"""One pass over the entity rows: how many, their first and last time, their keys, and with which times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import TaskContext

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.entity_stats.model import (
    MAX_KEYS,
    MAX_REPEATS,
    EntityStats,
    KeyGroup,
    PlannerStats,
    distinct_hashes,
    make_entity_keys,
    make_key_filter,
)
from feast_hybrid.asof.prepare import ENTITY_TS
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.keys import KeyForm
    from feast_hybrid.asof.columnar.spec import KeyFilter
    from feast_hybrid.asof.prepare import Prepared

#: Bytes of keys and times, of all groups of views together, that readers get at most. With Spark Connect they
#: travel with each request about the frame.
_MAX_KEY_BYTES, _MAX_KEY_BYTES_CONNECT = 32 << 20, 4 << 20
#: And the same with all copies.
_MAX_COPIED_BYTES, _MAX_COPIED_BYTES_CONNECT = 96 << 20, 8 << 20
#: Bytes of the hashes of as many distinct keys as a filter can have.
_MAX_HASH_BYTES = MAX_KEYS * 8


def max_key_bytes(prepared: Prepared, groups: Sequence[KeyGroup]) -> int:
    """How many bytes of each group's keys and times readers get at most."""
    connect = is_connect(prepared.entities.sparkSession)
    once, copied = (
        (_MAX_KEY_BYTES_CONNECT, _MAX_COPIED_BYTES_CONNECT) if connect else (_MAX_KEY_BYTES, _MAX_COPIED_BYTES)
    )
    copies = sum(group.copies for group in groups)
    return min(once // max(1, len(groups)), copied // max(1, copies))


def task_budget(total: int, task: int) -> int:
    """How many of ``total`` bytes a task may give; it gives all that it has, or nothing.

    No task knows how many others there are or what they have, so what each may give falls with its number. It falls
    slowly: rows that are spread unevenly are given as long as a task has no more than ``MAX_REPEATS`` times its even
    share. The driver checks the sum. Tasks with equally many bytes give no more than ``MAX_REPEATS * total``
    together, since only so many of them are allowed as much. Whatever they have, the sum grows with the logarithm of
    their number: for 1,000 tasks it is below ``23 * total``.

    Args:
        total: What is wanted of all tasks.
        task: The task's number, from 0.
    """
    return total * MAX_REPEATS // (task + MAX_REPEATS)


@dataclass(frozen=True, eq=False)
class _Summarise:
    """For ``mapInArrow`` over times and keys: one row for each task.

    Of each group of views it has all keys and times, each pair once, where they are few; in place of them the hashes
    of the distinct keys, where these are few.

    Args:
        groups: The places of the key columns, and how the keys stand in blocks.
        max_bytes: How many bytes of keys and times are wanted of a group.
    """

    groups: tuple[tuple[tuple[int, ...], tuple[KeyForm, ...]], ...]
    max_bytes: int
    __name__ = "summarise_entity_rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        task = context.partitionId() if context is not None else 0
        rows, lows, highs = 0, [], []
        seen = [KeysSeen(forms, self.max_bytes, task) for _, forms in self.groups]
        for batch in batches:
            rows += batch.num_rows
            timestamps = batch.column(0)
            span = pc.min_max(timestamps)
            lows.append(span["min"].as_py())
            highs.append(span["max"].as_py())
            for keys, (places, _) in zip(seen, self.groups, strict=True):
                keys.add([batch.column(place) for place in places], timestamps)
        low = min((value for value in lows if value is not None), default=None)
        high = max((value for value in highs if value is not None), default=None)
        arrays = [pa.array([rows], pa.int64()), pa.array([low], pa.int64()), pa.array([high], pa.int64())]
        for keys in seen:
            arrays += [pa.array([keys.pairs()], pa.binary()), pa.array([keys.hashes()], pa.binary())]
        yield pa.RecordBatch.from_arrays(arrays, names=_column_names(len(self.groups)))


def _column_names(groups: int) -> list[str]:
    return ["rows", "low", "high", *(name for n in range(groups) for name in (f"pairs{n}", f"hashes{n}"))]


class KeysSeen:
    """What a task has seen of one group's keys, in bounded memory.

    Args:
        forms: How the keys stand in blocks.
        max_bytes: How many bytes of keys and times are wanted of all tasks.
        task: The task's number, from 0.
    """

    def __init__(self, forms: Sequence[KeyForm], max_bytes: int, task: int) -> None:
        self._forms = forms
        self._max_pair_bytes = task_budget(max_bytes, task)
        self._max_hash_bytes = task_budget(_MAX_HASH_BYTES, task)
        #: All pairs of keys and times in batches of their bytes; None once they are too many.
        self._pairs: list[pa.RecordBatch] | None = []
        self._pair_bytes = 0
        #: What the pairs took when those that repeat were last left out.
        self._distinct_bytes = 0
        #: Distinct hashes, and further ones not yet brought together with them; None once they are too many.
        self._hashes: NDArray[np.uint64] | None = np.zeros(0, np.uint64)
        self._new_hashes: list[NDArray[np.uint64]] = []

    def add(self, columns: Sequence[pa.Array], timestamps: pa.Array) -> None:
        """Take a batch of rows."""
        keys = [form.encode(column) for form, column in zip(self._forms, columns, strict=True)]
        if self._pairs is None:
            self._add_hashes(keys)
            return
        names = [*(f"k{n}" for n in range(len(keys))), "timestamp"]
        pairs = pa.RecordBatch.from_arrays([*keys, timestamps], names=names)
        self._pairs.append(pairs)
        self._pair_bytes += pairs.nbytes
        # Each time at least half of them are new, so that all is done a few times at most.
        if self._pair_bytes > max(self._max_pair_bytes, 2 * self._distinct_bytes):
            self._leave_out_repeated()

    def _leave_out_repeated(self) -> None:
        """Keep each pair once; if they are still too many, their keys' hashes alone."""
        assert self._pairs is not None
        table = pa.Table.from_batches(self._pairs)
        distinct = table.group_by(table.column_names).aggregate([]).select(table.column_names)
        self._pairs = distinct.combine_chunks().to_batches()
        self._pair_bytes = self._distinct_bytes = distinct.nbytes
        if self._pair_bytes > self._max_pair_bytes:
            for batch in self._pairs:
                self._add_hashes(batch.columns[:-1])
            self._pairs = None

    def _add_hashes(self, keys: Sequence[pa.Array]) -> None:
        if self._hashes is None:
            return
        self._new_hashes.append(distinct_hashes(keys))
        # Rarely, since all are sorted each time.
        if sum(len(words) for words in self._new_hashes) > max(len(self._hashes), 1 << 16):
            self._merge_hashes()

    def _merge_hashes(self) -> None:
        if self._hashes is None or not self._new_hashes:
            return
        merged = np.unique(np.concatenate([self._hashes, *self._new_hashes]))
        self._hashes = merged if merged.nbytes <= self._max_hash_bytes else None
        self._new_hashes = []

    def pairs(self) -> bytes | None:
        """All keys and times in Arrow's stream format, None where they are too many."""
        if self._pairs is not None and self._pair_bytes > self._max_pair_bytes:
            self._leave_out_repeated()
        if self._pairs is None:
            return None
        sink = pa.BufferOutputStream()
        if self._pairs:
            with pa.ipc.new_stream(sink, self._pairs[0].schema) as writer:
                for batch in self._pairs:
                    writer.write_batch(batch)
        found: bytes = sink.getvalue().to_pybytes()
        return found

    def hashes(self) -> bytes | None:
        """The distinct hashes of the keys, None where they are too many, or where :meth:`pairs` are given."""
        if self.pairs() is not None:
            return None
        self._merge_hashes()
        return None if self._hashes is None else self._hashes.tobytes()


def collect_stats(prepared: Prepared, groups: Sequence[KeyGroup]) -> PlannerStats:
    """Run the pass."""
    columns = list(dict.fromkeys(name for group in groups for name in group.names))
    places = {name: n + 1 for n, name in enumerate(columns)}
    max_bytes = max_key_bytes(prepared, groups)
    summarise = _Summarise(
        tuple((tuple(places[name] for name in group.names), group.forms) for group in groups), max_bytes
    )
    names = _column_names(len(groups))
    schema = ", ".join(f"{name} {'bigint' if name in ('rows', 'low', 'high') else 'binary'}" for name in names)
    tasks = prepared.entities.select(ENTITY_TS, *columns).mapInArrow(summarise, schema).collect()
    stats = PlannerStats(
        rows=sum(task["rows"] for task in tasks),
        low=min((task["low"] for task in tasks if task["low"] is not None), default=None),
        high=max((task["high"] for task in tasks if task["high"] is not None), default=None),
        were_collected=True,
    )
    for n, group in enumerate(groups):
        key_filter, entity_keys = merge_keys([(task[f"pairs{n}"], task[f"hashes{n}"]) for task in tasks], max_bytes)
        _put(stats, group, key_filter, entity_keys)
    return stats


def merge_keys(
    tasks: Sequence[tuple[bytes | None, bytes | None]], max_bytes: int
) -> tuple[KeyFilter | None, EntityKeys | None]:
    """Bring together what the tasks have seen of a group's keys.

    Args:
        tasks: What :class:`KeysSeen` gives of each: pairs, or hashes, or neither where both are too many.
        max_bytes: How many bytes of keys and times readers get at most.

    Returns:
        Which keys there are, and the distinct keys and times; None for what is not known or too much.
    """
    hashes: list[NDArray[np.uint64]] = []
    tables = []
    for pairs, of_task in tasks:
        if pairs:
            with pa.ipc.open_stream(pairs) as stream:
                tables.append(stream.read_all())
        elif of_task is not None:
            hashes.append(np.frombuffer(of_task, np.uint64))
    columns = pa.concat_tables(tables).combine_chunks().columns if tables else []
    arrays = [column.chunk(0) for column in columns if column.num_chunks]
    keys, timestamps = arrays[:-1], arrays[-1:]
    all_pairs = all(pairs is not None for pairs, _ in tasks)
    key_filter = None
    if all(pairs is not None or of_task is not None for pairs, of_task in tasks):
        of_pairs = [distinct_hashes(keys)] if keys else []
        words = np.unique(np.concatenate([*hashes, *of_pairs, np.zeros(0, np.uint64)]))
        key_filter = make_key_filter(words, keys if all_pairs else None)
    entity_keys = make_entity_keys(keys, timestamps[0], max_bytes) if all_pairs and keys else None
    return key_filter, entity_keys


def stated_stats(stats: EntityStats, prepared: Prepared, groups: Sequence[KeyGroup]) -> PlannerStats:
    """What a caller's own knowledge says of each group's keys; runs nothing."""
    found = PlannerStats(stats.rows, stats.low, stats.high)
    if stats.table is None:
        return found
    max_bytes = max_key_bytes(prepared, groups)
    for group in groups:
        columns = [_column(stats.table, prepared, prepared.keys[name][0]) for name in group.names]
        arrays = [column for column in columns if column is not None]
        if len(arrays) < len(columns):
            continue
        keys = [form.source(array) for form, array in zip(group.forms, arrays, strict=True)]
        key_filter = make_key_filter(distinct_hashes(keys), keys)
        times = _column(stats.table, prepared, prepared.timestamp)
        entity_keys = None if times is None else make_entity_keys(keys, epoch_micros_of_array(times), max_bytes)
        _put(found, group, key_filter, entity_keys)
    return found


def _put(stats: PlannerStats, group: KeyGroup, key_filter: KeyFilter | None, entity_keys: EntityKeys | None) -> None:
    if key_filter is not None:
        stats.key_filters[group.names] = key_filter
    if entity_keys is not None:
        stats.entity_keys[group.names] = entity_keys


def _column(table: pa.Table, prepared: Prepared, place: int) -> pa.Array | None:
    """An entity column of a caller's table, in the type of the frame; None where it is not there."""
    data_type = arrow_type_of_spark(prepared.entities.schema[prepared.columns[place]].dataType)
    name = prepared.names[place]
    absent = data_type is None or name not in table.column_names
    return None if absent else convert_for_reading(table.column(name), data_type)
