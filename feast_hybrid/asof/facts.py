"""What is known of the entity rows before they are joined: how many, their first and last time, their keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feast_hybrid.asof.columnar.blocks import key_filter_slot
from feast_hybrid.asof.columnar.keys import KeyForm, hashed
from feast_hybrid.asof.columnar.spec import KeyFilter

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from feast_hybrid.asof.prepare import Prepared

#: A filter of keys has this many places for each key, so that 1 in as many other keys passes.
_PLACES = 64
_FEWEST_BITS, _MOST_BITS = 16, 25
#: More distinct keys than this are no filter; fewer than the second are looked for in row groups' statistics too.
_MOST_KEYS, _EXACT = 1 << 21, 10_000
#: A task that summarises entity rows gives up on more distinct keys than this: 1 MiB.
_MOST_OF_A_TASK = 1 << 17


@dataclass(frozen=True, kw_only=True, eq=False)
class EntityFacts:
    """What a caller knows of the entity rows anyway, so that it need not be asked of Spark.

    Args:
        rows: How many there are.
        low: Their first time, in microseconds.
        high: Their last time.
        table: Their key columns, under the names that they have in the frame.
        may_ask: Whether the planner may run one pass over the entity frame for what is not known.
    """

    rows: int | None = None
    low: int | None = None
    high: int | None = None
    table: pa.Table | None = None
    may_ask: bool = True


@dataclass(frozen=True, eq=False)
class Known:
    """What the planner goes by.

    Args:
        rows: How many entity rows there are, None where it is not known.
        low: Their first time, in microseconds.
        high: Their last time.
        filters: For groups of views by their key columns the keys that entity rows have.
        asked: Whether a pass over the entity frame was run for it.
    """

    rows: int | None
    low: int | None
    high: int | None
    filters: dict[tuple[str, ...], KeyFilter]
    asked: bool = False


Groups = Sequence[tuple[tuple[str, ...], Sequence[KeyForm]]]


def known(facts: EntityFacts, prepared: Prepared, groups: Groups) -> Known:
    """What is known of the entity rows, asking Spark for it where that is allowed and needed."""
    if facts.rows is None and facts.may_ask:
        return _asked(prepared, groups)
    filters = {}
    if facts.table is not None:
        for names, forms in groups:
            found = _filter_of_table(facts.table, prepared, names, forms)
            if found is not None:
                filters[names] = found
    return Known(facts.rows, facts.low, facts.high, filters)


def _filter_of_table(
    table: pa.Table, prepared: Prepared, names: tuple[str, ...], forms: Sequence[KeyForm]
) -> KeyFilter | None:
    from feast_hybrid.asof.columnar.conform import conform
    from feast_hybrid.asof.columnar.types import arrow_type

    fields = prepared.entities.schema
    keys = []
    for name, form in zip(names, forms, strict=True):
        place, _ = prepared.keys[name]
        kind = arrow_type(fields[prepared.columns[place]].dataType)
        column = prepared.names[place]
        if kind is None or column not in table.column_names:
            return None
        keys.append(form.source(conform(table.column(column), kind)))
    return key_filter(_distinct(keys), keys if len(keys) == 1 else None)


def _distinct(keys: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """The hashes of the keys that have no null."""
    import numpy as np

    words = hashed(keys)
    valid = np.ones(len(words), bool)
    for key in keys:
        valid &= np.asarray(key.is_valid())
    return np.unique(words[valid])


def key_filter(words: NDArray[np.uint64], exact: Sequence[pa.Array] | None = None) -> KeyFilter | None:
    """A filter of keys by their hashes; None where there are too many of them.

    Args:
        words: Distinct hashes.
        exact: The one key column, if it is one.
    """
    import numpy as np
    import pyarrow as pa

    if len(words) > _MOST_KEYS:
        return None
    bits = min(max(int(np.ceil(np.log2(max(len(words), 1) * _PLACES))), _FEWEST_BITS), _MOST_BITS)
    places = np.zeros(1 << bits, np.uint8)
    places[key_filter_slot(words, bits)] = 1
    values: Any = None
    if exact is not None and len(words) <= _EXACT:
        column = exact[0].unique().drop_null()
        values = np.sort(column.to_numpy()) if pa.types.is_int64(column.type) else None
        if values is None:
            values = tuple(sorted(value.as_buffer().to_pybytes() for value in column))
    return KeyFilter(bits, np.packbits(places), values)


@dataclass(frozen=True, eq=False)
class _Summary:
    """For ``mapInArrow`` over times and keys: one row for each task, of their number, first and last, and keys."""

    groups: tuple[tuple[tuple[int, ...], tuple[KeyForm, ...]], ...]
    __name__ = "summarise_entity_rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        rows, lows, highs = 0, [], []
        found: list[NDArray[Any] | None] = [np.zeros(0, np.uint64) for _ in self.groups]
        for batch in batches:
            rows += batch.num_rows
            span = pc.min_max(batch.column(0))
            lows.append(span["min"].as_py())
            highs.append(span["max"].as_py())
            for n, (columns, forms) in enumerate(self.groups):
                so_far = found[n]
                if so_far is not None:
                    keys = [form.encode(batch.column(c)) for c, form in zip(columns, forms, strict=True)]
                    so_far = np.union1d(so_far, _distinct(keys))
                    found[n] = so_far if len(so_far) <= _MOST_OF_A_TASK else None
        low = min((value for value in lows if value is not None), default=None)
        high = max((value for value in highs if value is not None), default=None)
        arrays = [pa.array([rows], pa.int64()), pa.array([low], pa.int64()), pa.array([high], pa.int64())]
        arrays += [pa.array([None if words is None else words.tobytes()], pa.binary()) for words in found]
        yield pa.RecordBatch.from_arrays(arrays, names=_summary_names(len(self.groups)))


def _summary_names(groups: int) -> list[str]:
    return ["rows", "low", "high", *(f"keys{n}" for n in range(groups))]


def _asked(prepared: Prepared, groups: Groups) -> Known:
    """One pass over the entity rows' times and keys."""
    import numpy as np

    from feast_hybrid.asof.prepare import AT

    columns = list(dict.fromkeys(name for names, _ in groups for name in names))
    places = {name: n + 1 for n, name in enumerate(columns)}
    summary = _Summary(tuple((tuple(places[name] for name in names), tuple(forms)) for names, forms in groups))
    names = _summary_names(len(groups))
    schema = ", ".join(f"{name} {'binary' if name.startswith('keys') else 'bigint'}" for name in names)
    frame = prepared.entities.select(AT, *columns).mapInArrow(summary, schema)
    tasks = frame.collect()
    filters = {}
    for n, (key_names, _) in enumerate(groups):
        of_tasks = [task[f"keys{n}"] for task in tasks]
        if all(words is not None for words in of_tasks):
            words = np.unique(np.frombuffer(b"".join(of_tasks), np.uint64))
            found = key_filter(words)
            if found is not None:
                filters[key_names] = found
    lows = [task["low"] for task in tasks if task["low"] is not None]
    highs = [task["high"] for task in tasks if task["high"] is not None]
    rows = sum(task["rows"] for task in tasks)
    return Known(rows, min(lows, default=None), max(highs, default=None), filters, asked=True)
