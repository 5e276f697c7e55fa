"""One pass over the entity rows: how many, their first and last time, their keys, and with which times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feast_hybrid.asof.columnar.keys import KeyForm
from feast_hybrid.asof.entity_stats.model import Known, add_pairs, distinct, key_filter, most_asked
from feast_hybrid.asof.prepare import AT

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from feast_hybrid.asof.entity_stats.model import Groups
    from feast_hybrid.asof.prepare import Prepared

#: A task gives up on more bytes of hashes of distinct keys than this; and all tasks, on about as many times as much.
_MOST_HASHES, _FULL_TASKS = 1 << 20, 64


@dataclass(frozen=True, eq=False)
class _Summary:
    """For ``mapInArrow`` over times and keys: one row for each task.

    Of each group of views it has the hashes of the distinct keys; in place of them all keys and times, where they are
    few. Task ``n`` (from 0) gives at most ``1 / (n + 1)`` of what is wanted in all. It cannot know how many tasks
    there are, but of rows that are spread evenly it has no more than that.

    Args:
        groups: The places of the key columns, and how the keys stand in blocks.
        most: How many bytes of keys and times are wanted of a group.
    """

    groups: tuple[tuple[tuple[int, ...], tuple[KeyForm, ...]], ...]
    most: int
    __name__ = "summarise_entity_rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyspark import TaskContext

        context = TaskContext.get()
        number = context.partitionId() if context is not None else 0
        most = self.most // (number + 1)
        hashes = min(_MOST_HASHES, _FULL_TASKS * _MOST_HASHES // (number + 1))
        rows, lows, highs = 0, [], []
        found = [_Keys(forms, most, hashes) for _, forms in self.groups]
        for batch in batches:
            rows += batch.num_rows
            at = batch.column(0)
            span = pc.min_max(at)
            lows.append(span["min"].as_py())
            highs.append(span["max"].as_py())
            for keys, (places, _) in zip(found, self.groups, strict=True):
                keys.add([batch.column(place) for place in places], at)
        low = min((value for value in lows if value is not None), default=None)
        high = max((value for value in highs if value is not None), default=None)
        arrays = [pa.array([rows], pa.int64()), pa.array([low], pa.int64()), pa.array([high], pa.int64())]
        for keys in found:
            arrays += [pa.array([keys.pairs()], pa.binary()), pa.array([keys.hashes()], pa.binary())]
        yield pa.RecordBatch.from_arrays(arrays, names=_names(len(self.groups)))


def _names(groups: int) -> list[str]:
    return ["rows", "low", "high", *(name for n in range(groups) for name in (f"pairs{n}", f"keys{n}"))]


class _Keys:
    """What a task has seen of one group's keys."""

    def __init__(self, forms: Sequence[KeyForm], most: int, hashes: int) -> None:
        import numpy as np

        self._forms = forms
        self._room = most
        self._most_hashes = hashes
        self._pairs: list[pa.RecordBatch] | None = []
        self._words: NDArray[np.uint64] | None = np.zeros(0, np.uint64)

    def add(self, columns: Sequence[pa.Array], at: pa.Array) -> None:
        import pyarrow as pa

        keys = [form.encode(column) for form, column in zip(self._forms, columns, strict=True)]
        if self._pairs is not None:
            pairs = pa.RecordBatch.from_arrays([*keys, at], names=_pair_names(len(keys)))
            self._room -= pairs.nbytes
            if self._room >= 0:
                self._pairs.append(pairs)
                return
            for before in self._pairs:
                self._add_words(before.columns[:-1])
            self._pairs = None
        self._add_words(keys)

    def _add_words(self, keys: Sequence[pa.Array]) -> None:
        import numpy as np

        if self._words is not None:
            words = np.union1d(self._words, distinct(keys))
            self._words = words if words.nbytes <= self._most_hashes else None

    def pairs(self) -> bytes | None:
        """All keys and times in Arrow's stream format, None where they are too many."""
        import pyarrow as pa

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
        """The distinct hashes of the keys, None where they are too many or the pairs are there."""
        return None if self._words is None or self._pairs is not None else self._words.tobytes()


def _pair_names(keys: int) -> list[str]:
    return [*(f"k{n}" for n in range(keys)), "at"]


def ask(prepared: Prepared, groups: Groups) -> Known:
    """Run the pass."""
    columns = list(dict.fromkeys(name for names, _ in groups for name in names))
    places = {name: n + 1 for n, name in enumerate(columns)}
    most = most_asked(prepared, groups)
    summary = _Summary(tuple((tuple(places[name] for name in names), tuple(forms)) for names, forms in groups), most)
    names = _names(len(groups))
    schema = ", ".join(f"{name} {'bigint' if name in ('rows', 'low', 'high') else 'binary'}" for name in names)
    tasks = prepared.entities.select(AT, *columns).mapInArrow(summary, schema).collect()
    lows = [task["low"] for task in tasks if task["low"] is not None]
    highs = [task["high"] for task in tasks if task["high"] is not None]
    rows = sum(task["rows"] for task in tasks)
    found = Known(rows, min(lows, default=None), max(highs, default=None), asked=True)
    for n, (key_names, _) in enumerate(groups):
        _add_keys(found, key_names, [(task[f"pairs{n}"], task[f"keys{n}"]) for task in tasks], most)
    return found


def _add_keys(
    found: Known,
    names: tuple[str, ...],
    tasks: Sequence[tuple[bytes | None, bytes | None]],
    most: int,
) -> None:
    """Bring together what the tasks have said of a group's keys."""
    import numpy as np
    import pyarrow as pa

    words: list[NDArray[np.uint64] | None] = []
    tables = []
    for pairs, hashes in tasks:
        if pairs:
            with pa.ipc.open_stream(pairs) as stream:
                tables.append(stream.read_all())
        elif pairs is None:
            words.append(None if hashes is None else np.frombuffer(hashes, np.uint64))
    every: list[Any] = pa.concat_tables(tables).combine_chunks().columns if tables else []
    arrays = [column.chunk(0) for column in every if column.num_chunks]
    keys = arrays[:-1]
    complete = all(pairs is not None for pairs, _ in tasks)
    known = [word for word in words if word is not None]
    if len(known) == len(words):
        of_pairs = [distinct(keys)] if keys else []
        chosen = key_filter(
            np.unique(np.concatenate([*known, *of_pairs, np.zeros(0, np.uint64)])),
            keys if complete and len(keys) == 1 else None,
        )
        if chosen is not None:
            found.filters[names] = chosen
    if complete and keys:
        add_pairs(found, names, keys, arrays[-1], most)
