"""What is known of the entity rows before they are joined: how many, their first and last time, their keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.keys import KeyForm, hashed, key_filter_slot
from feast_hybrid.asof.columnar.spec import KeyFilter

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A filter of keys has this many slots for each key, so that 1 in as many other keys passes.
_SLOTS_PER_KEY = 64
_MIN_BITS, _MAX_BITS = 16, 25
#: More distinct keys than this are no filter; no more than the second are looked for in row groups' statistics too.
MAX_KEYS, _MAX_EXACT_KEYS = 1 << 21, 10_000
#: The least bytes of a pair of key and time; and how often pairs may repeat before they are not even sorted.
_PAIR_BYTES, MAX_REPEATS = 16, 4


@dataclass(frozen=True, kw_only=True, eq=False)
class EntityStats:
    """What a caller knows of the entity rows anyway, so that no pass over them is needed.

    Args:
        rows: How many there are.
        low: Their first time, in microseconds.
        high: Their last time.
        table: Their key columns and their time, under the names that they have in the frame.
        may_collect: Whether the planner may run one pass over the entity frame for what is not known.
    """

    rows: int | None = None
    low: int | None = None
    high: int | None = None
    table: pa.Table | None = None
    may_collect: bool = True


@dataclass(frozen=True)
class KeyGroup:
    """Views that share join keys.

    Args:
        names: The entity rows' key columns.
        forms: How each stands in blocks.
        copies: How often its keys and times travel to readers: once for all views that are files, and once for each
            view whose rows Spark hands out.
    """

    names: tuple[str, ...]
    forms: tuple[KeyForm, ...]
    copies: int = 1


@dataclass(frozen=True, eq=False)
class PlannerStats:
    """What the planner goes by: what the caller knew, and what was collected.

    Args:
        rows: How many entity rows there are, None where it is not known.
        low: Their first time, in microseconds.
        high: Their last time.
        key_filters: By :attr:`KeyGroup.names` which keys the entity rows have, where they are known and few enough.
        entity_keys: And their keys and times, each pair once and in order, where these are few enough.
        were_collected: Whether a pass over the entity frame was run for it.
    """

    rows: int | None
    low: int | None
    high: int | None
    key_filters: dict[tuple[str, ...], KeyFilter] = field(default_factory=dict)
    entity_keys: dict[tuple[str, ...], EntityKeys] = field(default_factory=dict)
    were_collected: bool = False


def make_entity_keys(keys: Sequence[pa.Array], timestamps: pa.Array, max_bytes: int) -> EntityKeys | None:
    """The distinct pairs of keys and times; None if they take more than ``max_bytes``."""
    if len(timestamps) * _PAIR_BYTES > MAX_REPEATS * max_bytes:
        return None  # too many to look for those that repeat
    pairs = EntityKeys(keys, timestamps).distinct()
    return pairs if pairs.nbytes <= max_bytes else None


def distinct_hashes(keys: Sequence[pa.Array]) -> NDArray[np.uint64]:
    """The hashes of the keys that have no null, sorted."""
    words = hashed(keys)
    valid = np.ones(len(words), bool)
    for key in keys:
        if key.null_count:
            valid &= np.asarray(key.is_valid())
    return np.unique(words[valid])


def make_key_filter(hashes: NDArray[np.uint64], exact: Sequence[pa.Array] | None = None) -> KeyFilter | None:
    """A filter of keys by their hashes; None where there are too many of them.

    Args:
        hashes: Distinct ones.
        exact: The key columns, where they are known; used if it is one.
    """
    if len(hashes) > MAX_KEYS:
        return None
    bits = min(max(int(np.ceil(np.log2(max(len(hashes), 1) * _SLOTS_PER_KEY))), _MIN_BITS), _MAX_BITS)
    slots = np.zeros(1 << bits, np.uint8)
    slots[key_filter_slot(hashes, bits)] = 1
    values: Any = None
    if exact is not None and len(exact) == 1 and len(hashes) <= _MAX_EXACT_KEYS:
        column = exact[0].unique().drop_null()
        if pa.types.is_int64(column.type):
            values = np.sort(column.to_numpy())
        else:
            values = tuple(sorted(value.as_buffer().to_pybytes() for value in column))
    return KeyFilter(bits, np.packbits(slots), values)
