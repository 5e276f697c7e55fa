"""What is known of the entity rows before they are joined: how many, their first and last time, their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.arrow.utc import epoch_micros_of_array
from feast_hybrid.asof.columnar.blocks import key_filter_slot
from feast_hybrid.asof.columnar.executor_check import is_remote
from feast_hybrid.asof.columnar.keys import KeyForm, hashed
from feast_hybrid.asof.columnar.match import EntityKeys
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
#: Bytes of keys and times, of all groups of views together, that readers are told at most. With Spark Connect they
#: travel with each request about the frame.
_MOST_ASKED, _MOST_ASKED_REMOTE = 32 << 20, 4 << 20
#: The least bytes of a pair of key and time; and how often pairs may repeat before they are not even sorted.
_PAIR, _REPEATED = 16, 4


@dataclass(frozen=True, kw_only=True, eq=False)
class EntityFacts:
    """What a caller knows of the entity rows anyway, so that it need not be asked of Spark.

    Args:
        rows: How many there are.
        low: Their first time, in microseconds.
        high: Their last time.
        table: Their key columns and their time, under the names that they have in the frame.
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
        pairs: And their keys and times, where they are few.
        asked: Whether a pass over the entity frame was run for it.
    """

    rows: int | None
    low: int | None
    high: int | None
    filters: dict[tuple[str, ...], KeyFilter] = field(default_factory=dict)
    pairs: dict[tuple[str, ...], EntityKeys] = field(default_factory=dict)
    asked: bool = False


Groups = Sequence[tuple[tuple[str, ...], Sequence[KeyForm]]]


def known(facts: EntityFacts, prepared: Prepared, groups: Groups) -> Known:
    """What is known of the entity rows, asking Spark for it where that is allowed and needed."""
    from feast_hybrid.asof.entity_stats.collect import ask

    if facts.rows is None and facts.may_ask:
        return ask(prepared, groups)
    found = Known(facts.rows, facts.low, facts.high)
    if facts.table is not None:
        most = most_asked(prepared, groups)
        for names, forms in groups:
            columns = [_of_table(facts.table, prepared, prepared.keys[name][0]) for name in names]
            keys = [column for column in columns if column is not None]
            if len(keys) < len(columns):
                continue
            encoded = [form.source(key) for form, key in zip(forms, keys, strict=True)]
            key_words = key_filter(distinct(encoded), encoded if len(encoded) == 1 else None)
            if key_words is not None:
                found.filters[names] = key_words
            at = _of_table(facts.table, prepared, prepared.at)
            if at is not None:
                add_pairs(found, names, encoded, epoch_micros_of_array(at), most)
    return found


def most_asked(prepared: Prepared, groups: Groups) -> int:
    """How many bytes of each group's keys and times readers are told at most."""
    remote = is_remote(prepared.entities.sparkSession)
    return (_MOST_ASKED_REMOTE if remote else _MOST_ASKED) // max(1, len(groups))


def add_pairs(found: Known, names: tuple[str, ...], keys: Sequence[pa.Array], at: pa.Array, most: int) -> None:
    """Keep the distinct pairs of keys and times, if they take no more than ``most`` bytes."""
    if len(at) * _PAIR > _REPEATED * most:
        return  # too many to look for those that repeat
    pairs = EntityKeys(keys, at).distinct()
    if pairs.nbytes <= most:
        found.pairs[names] = pairs


def _of_table(table: pa.Table, prepared: Prepared, place: int) -> pa.Array | None:
    """An entity column of a caller's table, in the type of the frame; None where it is not there."""
    kind = arrow_type_of_spark(prepared.entities.schema[prepared.columns[place]].dataType)
    name = prepared.names[place]
    return None if kind is None or name not in table.column_names else convert_for_reading(table.column(name), kind)


def distinct(keys: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """The hashes of the keys that have no null."""
    import numpy as np

    words = hashed(keys)
    valid = np.ones(len(words), bool)
    for key in keys:
        if key.null_count:
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
