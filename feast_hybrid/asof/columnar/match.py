"""The as-of join of one bucket, in NumPy: for each entity row the row of a view's history that is its answer.

The history may come in several chunks, in any order: the best row of each chunk is compared with the best so far, so
that a key with more rows than fit into memory at once is only slower.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from feast_hybrid.asof.columnar.blocks import in_one
from feast_hybrid.asof.columnar.ranks import rank_codes
from feast_hybrid.asof.columnar.spec import CREATED, TS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.spec import ViewSpec

    Longs = NDArray[np.int64]

_LONG_MIN = -(2**63)
#: A table of codes by key is made where it has no more places than this, or than this many for each key.
_TABLE, _TABLE_PER_KEY = 1 << 20, 16


class EntityKeys:
    """The keys of a bucket's entity rows, numbered.

    Args:
        keys: The key columns.
        at: Times in microseconds.
    """

    def __init__(self, keys: Sequence[pa.Array], at: pa.Array) -> None:
        import numpy as np

        #: A number for each row's keys; -1 where a key or the time is null: nothing matches.
        self.codes: Longs
        self._columns: list[_Numbering] = []
        self._combinations: list[Longs] = []
        codes: Longs | None = None
        for key in keys:
            column, mine = _Numbering.of_rows(key)
            self._columns.append(column)
            if codes is None:
                codes = mine
                continue
            both = np.where((codes < 0) | (mine < 0), -1, codes * max(column.count, 1) + mine)
            known, inverse = np.unique(both, return_inverse=True)
            # -1 sorts first where there is one.
            first = 1 if len(known) and known[0] < 0 else 0
            self._combinations.append(known[first:])
            codes = inverse.astype(np.int64) - first
        assert codes is not None
        self.count = self._columns[0].count if not self._combinations else len(self._combinations[-1])
        self.at = at.fill_null(0).to_numpy()
        if at.null_count:
            codes = np.where(np.asarray(at.is_null()), -1, codes)
        self.codes = codes

    def in_order(self) -> Longs:
        """Sort the rows by key and time, so that their searches go forward through a history; how they were moved."""
        import numpy as np

        low, high = (int(self.at.min()), int(self.at.max())) if len(self.at) else (0, 0)
        span = high - low + 1
        if span * (self.count + 1) < 2**62:
            order: Longs = np.argsort(self.codes * span + (self.at - low))  # one sort of integers is faster than two
        else:
            order = np.lexsort([self.at, self.codes])
        self.at, self.codes = self.at[order], self.codes[order]
        return order

    def distinct(self) -> EntityKeys:
        """The same keys and times, each pair once and in order, without those that match nothing."""
        import numpy as np

        found = copy(self)
        found.in_order()
        new = found.codes >= 0
        new[1:] &= (found.codes[1:] != found.codes[:-1]) | (found.at[1:] != found.at[:-1])
        found.at, found.codes = np.ascontiguousarray(found.at[new]), np.ascontiguousarray(found.codes[new])
        return found

    @property
    def nbytes(self) -> int:
        """About how many bytes they take."""
        numbered = sum(column.nbytes for column in self._columns) + sum(known.nbytes for known in self._combinations)
        return int(self.codes.nbytes + self.at.nbytes + numbered)

    def number(self, keys: Sequence[pa.Array]) -> Longs:
        """The numbers of a history's keys, which are not null; -1 for keys that no entity row has."""
        import numpy as np

        codes = self._columns[0].of(keys[0])
        for column, known, key in zip(self._columns[1:], self._combinations, keys[1:], strict=True):
            mine = column.of(key)
            both = np.where((codes < 0) | (mine < 0), -1, codes * max(column.count, 1) + mine)
            codes = _places(known, both)
        return codes


class _Numbering:
    """The distinct values of one key column, numbered from 0.

    Args:
        values: In the order of their numbers; integers are sorted.
        integers: Whether they are a NumPy array of integers, or else an Arrow array.
    """

    def __init__(self, values: Any, *, integers: bool) -> None:
        self._values = values
        self._integers = integers
        self._table: Longs | None = None
        self.count = len(values)

    @classmethod
    def of_rows(cls, keys: pa.Array) -> tuple[_Numbering, Longs]:
        """Of a column's values; and the number of each row, -1 for null."""
        import numpy as np
        import pyarrow as pa

        if pa.types.is_int64(keys.type):
            values, codes = np.unique(keys.fill_null(0).to_numpy(), return_inverse=True)
            found = cls(values, integers=True)
        else:
            encoded = keys.dictionary_encode()
            found = cls(encoded.dictionary, integers=False)
            codes = encoded.indices.fill_null(0).to_numpy()
        codes = codes.astype(np.int64)
        return found, np.where(np.asarray(keys.is_null()), -1, codes) if keys.null_count else codes

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return int(self._values.nbytes)

    def __getstate__(self) -> dict[str, Any]:
        # A table is made again faster than it travels.
        return {**self.__dict__, "_table": None}

    def _tabled(self) -> Longs | None:
        """The numbers in the places of the values, where these lie near each other."""
        import numpy as np

        if self._table is None and self.count:
            first, last = int(self._values[0]), int(self._values[-1])
            if last - first < max(_TABLE, _TABLE_PER_KEY * self.count):
                self._table = np.full(last - first + 1, -1, np.int64)
                self._table[self._values - first] = np.arange(self.count)
        return self._table

    def of(self, keys: pa.Array) -> Longs:
        import numpy as np
        import pyarrow.compute as pc

        if not self._integers:
            found = pc.index_in(keys, value_set=self._values)
            return np.asarray(found.fill_null(-1).to_numpy().astype(np.int64))
        values = keys.to_numpy()
        table = self._tabled()
        if table is None:
            return _places(self._values, values)
        first, last = self._values[0], self._values[-1]
        inside = (values >= first) & (values <= last)
        if inside.all():
            return np.asarray(table[values - first])
        return np.where(inside, table[np.where(inside, values - first, 0)], -1)


def _places(known: Longs, values: Longs) -> Longs:
    """Where each value stands in a sorted array; -1 where it does not."""
    import numpy as np

    if len(known) == 0:
        return np.full(len(values), -1, np.int64)
    at = np.searchsorted(known, values)
    at[at == len(known)] = 0
    return np.where(known[at] == values, at, -1)


class Answers:
    """The best row of a view's history for each entity row, so far.

    Args:
        view: What is asked.
        entities: The bucket's entity rows.
    """

    def __init__(self, view: ViewSpec, entities: EntityKeys) -> None:
        import numpy as np

        self._view = view
        self._entities = entities
        #: The rows among which the answers are; and for each entity row which one, or -1.
        self._rows: pa.RecordBatch | None = None
        self._at: Longs = np.full(len(entities.codes), -1, np.int64)

    def add(self, history: pa.RecordBatch) -> None:
        """Look through a further chunk of the history."""
        import numpy as np

        at = _best(history, self._view, self._entities)
        if self._rows is None:
            self._rows, self._at = history, at
            return
        # What is kept of each chunk is what is an answer, so that chunks do not add up.
        self._rows, self._at = _compact(self._rows, self._at)
        rows, at = _compact(history, at)
        kept = self._rows.num_rows
        self._rows = in_one([self._rows, rows]) or history.slice(0, 0)
        at = np.where(at < 0, -1, at + kept)
        old, new = self._at, at
        contested = np.flatnonzero((old >= 0) & (new >= 0))
        wins = (old < 0) & (new >= 0)
        wins[contested] = _greater(self._rows, self._view, new[contested], old[contested])
        self._at = np.where(wins, new, old)

    def columns(self) -> list[pa.Array]:
        """The features of each entity row, null where it has no answer within the ttl."""
        import pyarrow as pa

        view = self._view
        if self._rows is None:
            return [pa.nulls(len(self._at), value.kind) for value in view.values]
        at = _within_ttl(self._rows, self._at, view, self._entities)
        indices = pa.array(at, mask=at < 0)
        names = self._rows.schema.names
        return [self._rows.column(names.index(f"v{n}")).take(indices) for n in range(len(view.values))]


def answering(history: pa.RecordBatch, view: ViewSpec, asked: EntityKeys) -> pa.RecordBatch:
    """The rows of a part of a view's history that are the best in it for some entity row, as they stand.

    A row that is not the best of a part is not the best of the whole, so the others need not travel.

    Args:
        history: As the view's blocks have it.
        view: What is asked.
        asked: The keys and times of all entity rows.
    """
    import numpy as np
    import pyarrow as pa

    at = _within_ttl(history, _best(history, view, asked), view, asked)
    wanted = np.zeros(history.num_rows, bool)
    wanted[at[at >= 0]] = True
    return history if wanted.all() else history.take(pa.array(np.flatnonzero(wanted)))


def _within_ttl(rows: pa.RecordBatch, at: Longs, view: ViewSpec, entities: EntityKeys) -> Longs:
    """The places of the entity rows' answers in ``rows``, -1 too for those that are too old."""
    import numpy as np

    if view.ttl is None or not rows.num_rows:
        return at
    ts = rows.column(rows.schema.get_field_index(TS)).to_numpy()
    # A time so near the beginning of time that the ttl reaches beyond it.
    oldest = np.where(entities.at < _LONG_MIN + view.ttl, _LONG_MIN, entities.at - view.ttl)
    return np.where((at >= 0) & (ts[at] >= oldest), at, -1)


def _compact(rows: pa.RecordBatch, at: Longs) -> tuple[pa.RecordBatch, Longs]:
    """Only the rows that are referred to."""
    import numpy as np
    import pyarrow as pa

    used, inverse = np.unique(at, return_inverse=True)
    first = 1 if len(used) and used[0] < 0 else 0
    return rows.take(pa.array(used[first:])), inverse.astype(np.int64) - first


def _best(history: pa.RecordBatch, view: ViewSpec, entities: EntityKeys) -> Longs:
    """For each entity row the number of its best row in the history, -1 for none; whatever the ttl."""
    import numpy as np

    names = history.schema.names
    none = np.full(len(entities.codes), -1, np.int64)
    codes = entities.number([history.column(n) for n in range(len(view.forms))])
    rows: Longs | None = None
    if len(codes) and codes.min() < 0:
        rows = np.flatnonzero(codes >= 0)
        codes = codes[rows]
    if len(codes) == 0:
        return none
    ts = history.column(names.index(TS)).to_numpy()
    ts = ts if rows is None else ts[rows]
    line = _Line(codes, ts, entities.count)
    order = line.order()
    sorted_line = line.values[order]
    ties = sorted_line[1:] == sorted_line[:-1]
    if ties.any():
        _order_ties(order, ties, history, view, rows)
    if view.by_created:
        created = history.column(names.index(CREATED)).to_numpy()
        created = created if rows is None else created[rows]
        # A row counts from max(ts, created) on; of those that count, the one that ranks highest is the answer.
        seen = _Line(codes, np.maximum(ts, created), entities.count)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        by_seen = seen.order()
        # Ranks grow with keys, so that those of earlier keys never win.
        highest = np.maximum.accumulate(place[by_seen])
        at = seen.last(seen.values[by_seen], entities)
        found = order[highest[at]]
    else:
        at = line.last(sorted_line, entities)
        found = order[at]
    if rows is not None:
        found = rows[found]
    return np.where(at >= 0, found, -1)


class _Line:
    """Rows on one line, by key and then time: each a 64-bit integer, so that one sort and one search do."""

    def __init__(self, codes: Longs, times: Longs, count: int) -> None:
        import numpy as np

        self._times: Longs | None = None
        low, high = int(times.min()), int(times.max())
        if (high - low + 2) * count >= 2**63 or low <= _LONG_MIN + 1:
            # Too far apart: their places in the order of times will do.
            self._times, times = np.unique(times, return_inverse=True)
            low, high = 0, len(self._times) - 1
        self._low, self._high = low, high
        self._stride = high - low + 2
        # 0 is before the first time of the history.
        self.values: Longs = codes * self._stride + (times - low + 1)

    def order(self) -> Longs:
        """The rows in the line's order."""
        import numpy as np

        if (self.values[1:] >= self.values[:-1]).all():
            return np.arange(len(self.values))
        return np.argsort(self.values)

    def last(self, line: Longs, entities: EntityKeys) -> Longs:
        """For each entity row the place of the last row of its key at or before its time, -1 for none."""
        import numpy as np

        at = entities.at
        if self._times is not None:
            at = np.searchsorted(self._times, at, side="right") - 1
        at = np.clip(at, self._low - 1, self._high) - self._low + 1
        start = entities.codes * self._stride
        found = np.searchsorted(line, start + at, side="right") - 1
        known = (entities.codes >= 0) & (found >= 0)
        known &= line[np.where(known, found, 0)] > start
        return np.where(known, found, -1)


def _order_ties(
    order: Longs, ties: NDArray[np.bool_], history: pa.RecordBatch, view: ViewSpec, rows: Longs | None
) -> None:
    """Put rows of equal key and time into the order of created and values, in place."""
    import numpy as np
    import pyarrow as pa

    tied = np.zeros(len(order), bool)
    tied[1:] |= ties
    tied[:-1] |= ties
    places = np.flatnonzero(tied)
    # A new run begins where a row does not tie with the one before it.
    run = np.cumsum(np.concatenate([[True], ~ties]))[places]
    mine = order[places]
    wanted = history.take(pa.array(mine if rows is None else rows[mine]))
    order[places] = mine[np.lexsort([*reversed(_rank_columns(wanted, view)), run])]


def _rank_columns(rows: pa.RecordBatch, view: ViewSpec) -> list[Longs]:
    """What ranks rows of equal key and time, the most important first."""
    names = rows.schema.names
    ranked = [CREATED] if view.created is not None else []
    ranked += [f"v{n}" for n in view.ranked]
    return [rank_codes(rows.column(names.index(name))) for name in ranked]


def _greater(rows: pa.RecordBatch, view: ViewSpec, left: Longs, right: Longs) -> NDArray[np.bool_]:
    """Whether each of some rows ranks above its counterpart."""
    import numpy as np
    import pyarrow as pa

    ts = rows.column(rows.schema.get_field_index(TS)).to_numpy()
    wins = np.asarray(ts[left] > ts[right])
    tied = np.flatnonzero(ts[left] == ts[right])
    if len(tied):
        pairs = rows.take(pa.array(np.concatenate([left[tied], right[tied]])))
        undecided = np.ones(len(tied), bool)
        for codes in _rank_columns(pairs, view):
            ours, theirs = codes[: len(tied)], codes[len(tied) :]
            wins[tied[undecided & (ours > theirs)]] = True
            undecided &= ours == theirs
    return wins
