"""The as-of join of one bucket, in NumPy: for each entity row the row of a view's history that is its match.

The history may come in several chunks, in any order: the best row of each chunk is compared with the best so far, so
that a key with more rows than fit into memory at once is only slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from feast_hybrid.asof.columnar.blocks import concat_batches
from feast_hybrid.asof.columnar.ranks import rank_codes
from feast_hybrid.asof.columnar.sizes import take_in_pieces
from feast_hybrid.asof.columnar.spec import CREATED, TS, ViewSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import EntityKeys, Longs

_LONG_MIN = -(2**63)
#: To mark which rows are matches takes as long as to sort the matches where there are so many rows for each.
_MARKED_PER_MATCH = 32
#: So many rows for each entity row with a match are not worth the time to leave out those that are none; unless they
#: are so many times as many as were left the last time: many entity rows can have few rows for their matches.
_KEPT_PER_MATCH, _KEPT_OF_LEFT = 1.25, 2
#: To take the entity rows that are wanted from the others pays where they are less than this share.
_FEW_WANTED = 0.75


class BestMatches:
    """The best row of a view's history for each entity row, so far.

    Args:
        view: Whose history it is. Where it knows what was found, it gets to know what is found here.
        entities: The bucket's entity rows.
    """

    def __init__(self, view: ViewSpec, entities: EntityKeys) -> None:
        self._view = view
        self._entities = entities
        #: The rows among which the matches are; and for each entity row which one, or -1.
        self._rows: pa.RecordBatch | None = None
        self._matches: Longs = np.full(len(entities.codes), -1, np.int64)
        #: How many rows were left the last time that those were left out that are no match.
        self._left = 0

    def add(self, history: pa.RecordBatch) -> None:
        """Look through a further chunk of the history."""
        if self._view.found is None or not history.num_rows:
            self._take(history, _best(history, self._view, self._entities))
            return
        ts = history.column(history.schema.get_field_index(TS)).to_numpy()
        places = np.flatnonzero(self._view.found.wanted(int(ts.min()), int(ts.max())))
        if not len(places):
            return
        if len(places) < _FEW_WANTED * len(self._matches):
            matches = np.full(len(self._matches), -1, np.int64)
            matches[places] = _best(history, self._view, self._entities.some(places))
        else:
            matches = _best(history, self._view, self._entities)
        places = np.flatnonzero(matches >= 0)
        if len(places):
            self._view.found.found(places, ts[matches[places]])
            self._take(history, matches)

    def merge(self, other: BestMatches) -> None:
        """Take what another has found in other parts of the history, for the same entity rows."""
        if other._rows is not None:
            self._take(other._rows, other._matches)

    def compact(self) -> None:
        """Keep no more rows of the history than twice those that are matches, or hardly more than these."""
        if self._rows is None:
            return
        most = min(_KEPT_PER_MATCH * np.count_nonzero(self._matches >= 0), _KEPT_OF_LEFT * self._left)
        if self._rows.num_rows > most:
            self._rows, self._matches = _compact(self._rows, self._matches)
            self._left = self._rows.num_rows

    def _take(self, history: pa.RecordBatch, matches: Longs) -> None:
        if self._rows is None:
            self._rows, self._matches = history, matches
            return
        # What is kept of each chunk is what is a match, so that chunks do not add up.
        self.compact()
        old, kept = self._matches, self._rows.num_rows
        rows, new = _compact(history, matches)
        self._rows = concat_batches([self._rows, rows]) or history.slice(0, 0)
        new = np.where(new < 0, -1, new + kept)
        contested = np.flatnonzero((old >= 0) & (new >= 0))
        wins = (old < 0) & (new >= 0)
        wins[contested] = _greater(self._rows, self._view, new[contested], old[contested])
        self._matches = np.where(wins, new, old)

    @property
    def nbytes(self) -> int:
        """About how many bytes it holds."""
        return self._matches.nbytes + (0 if self._rows is None else self._rows.nbytes)

    def columns(
        self, order: Longs | None = None, counted: Callable[[int], None] = lambda _: None
    ) -> list[pa.ChunkedArray]:
        """The features of each entity row, null where it has no match within the ttl.

        A column has several chunks where one would hold too much text.

        Args:
            order: For each entity row the place that it has among the columns' rows; None for its own.
            counted: Called before each column is made, with about how many bytes it will have.
        """
        view = self._view
        if self._rows is None:
            return [pa.chunked_array([pa.nulls(len(self._matches), value.data_type)]) for value in view.values]
        matches = _within_ttl(self._rows, self._matches, view, self._entities)
        if order is not None:
            in_order = np.empty_like(matches)
            in_order[order] = matches
            matches = in_order
        names = self._rows.schema.names
        places = [names.index(f"v{n}") for n in range(len(view.values))]
        return [take_in_pieces(self._rows.column(place), matches, counted) for place in places]


def keep_best_matches(history: pa.RecordBatch, view: ViewSpec, entity_keys: EntityKeys) -> pa.RecordBatch:
    """The rows of a part of a view's history that are the best in it for some entity row, in their order.

    A row that is not the best of a part is not the best of the whole, so the others need not travel.

    Args:
        history: As the view's blocks have it.
        view: Whose history it is.
        entity_keys: The keys and times of all entity rows.
    """
    matches = _within_ttl(history, _best(history, view, entity_keys), view, entity_keys)
    wanted = np.zeros(history.num_rows, bool)
    wanted[matches[matches >= 0]] = True
    return history if wanted.all() else history.take(pa.array(np.flatnonzero(wanted)))


def _within_ttl(rows: pa.RecordBatch, matches: Longs, view: ViewSpec, entities: EntityKeys) -> Longs:
    """The entity rows' matches in ``rows``, -1 too for those that are too old."""
    if view.ttl is None or not rows.num_rows:
        return matches
    ts = rows.column(rows.schema.get_field_index(TS)).to_numpy()
    # A time so near the beginning of time that the ttl reaches beyond it.
    too_early = entities.timestamps < _LONG_MIN + view.ttl
    oldest = np.where(too_early, _LONG_MIN, entities.timestamps - view.ttl)
    return np.where((matches >= 0) & (ts[matches] >= oldest), matches, -1)


def _compact(rows: pa.RecordBatch, matches: Longs) -> tuple[pa.RecordBatch, Longs]:
    """Only the rows that are referred to."""
    if len(matches) * _MARKED_PER_MATCH < rows.num_rows:
        used, inverse = np.unique(matches, return_inverse=True)
        first = 1 if len(used) and used[0] < 0 else 0
        return rows.take(pa.array(used[first:])), inverse.astype(np.int64) - first
    is_used = np.zeros(rows.num_rows, bool)
    is_used[matches[matches >= 0]] = True
    kept = np.flatnonzero(is_used)
    if len(kept) == rows.num_rows:
        return rows, matches
    places = np.cumsum(is_used) - 1
    return rows.take(pa.array(kept)), np.where(matches < 0, -1, places[matches])


def _best(history: pa.RecordBatch, view: ViewSpec, entities: EntityKeys) -> Longs:
    """For each entity row the number of its best row in the history, -1 for none; whatever the ttl.

    Four spaces of indices are used, and each array of indices is named by the two that it leads between:

    * *history rows*: places in ``history``, as it came;
    * *known rows*: places among the history rows whose keys some entity row has; ``history_of_known`` leads back,
      and is None where the two are the same;
    * *ranked places*: places in the order of (key, timestamp, created, values), by which a later row of a key wins;
      ``known_of_ranked`` leads back, ``ranked_of_known`` forth;
    * *seen places*: places in the order of (key, max(timestamp, created)), from which on a row counts; only with
      ``view.by_created``. ``known_of_seen`` leads back.

    An example by created time, times as numbers. The entity rows have the keys 1 and 7, which are coded 0 and 1;
    one of them asks for key 7 at time 5:

    ============  ===  =========  =======  ==========  ============  ==========
    history row   key  timestamp  created  known row   ranked place  seen place
    ============  ===  =========  =======  ==========  ============  ==========
    0             7    3          4        0           2             1
    1             9    1          1        none
    2             7    2          9        1           1             2
    3             1    2          2        2           0             0
    ============  ===  =========  =======  ==========  ============  ==========

    ``history_of_known = [0, 2, 3]``, ``known_of_ranked = [2, 1, 0]``, ``ranked_of_known = [2, 1, 0]`` and
    ``known_of_seen = [2, 0, 1]``. The last row of key 7 that is seen by time 5 is at the seen place 1. The highest
    ranked place up to there is ``maximum.accumulate([0, 2, 1])[1] = 2``: the known row 0, the history row 0.
    (At time 9 the seen place is 2, and the highest ranked place still 2: the row that was written later is older.)
    """
    names = history.schema.names
    none = np.full(len(entities.codes), -1, np.int64)
    codes = entities.encode([history.column(n) for n in range(len(view.forms))], history.num_rows)
    history_of_known = _known(codes, entities)
    if history_of_known is not None:
        codes = codes[history_of_known]
    if len(codes) == 0:
        return none

    def of_known(name: str) -> Longs:
        values: Longs = history.column(names.index(name)).to_numpy()
        return values if history_of_known is None else values[history_of_known]

    ts = of_known(TS)
    by_time = CompositeSortKey(codes, ts, entities.count)
    known_of_ranked = by_time.order()
    sorted_keys = by_time.values[known_of_ranked]
    ties = sorted_keys[1:] == sorted_keys[:-1]
    if ties.any():
        _order_ties(known_of_ranked, ties, history, view, history_of_known)
    if view.by_created:
        by_seen = CompositeSortKey(codes, np.maximum(ts, of_known(CREATED)), entities.count)
        known_of_seen = by_seen.order()
        ranked_of_known = np.empty(len(known_of_ranked), np.int64)
        ranked_of_known[known_of_ranked] = np.arange(len(known_of_ranked))
        # Ranks grow with keys, so that those of earlier keys never win.
        highest_ranked = np.maximum.accumulate(ranked_of_known[known_of_seen])
        seen_places = by_seen.find_last(by_seen.values[known_of_seen], entities)
        has_match = seen_places >= 0
        known_rows = known_of_ranked[highest_ranked[seen_places]]
    else:
        ranked_places = by_time.find_last(sorted_keys, entities)
        has_match = ranked_places >= 0
        known_rows = known_of_ranked[ranked_places]
    history_rows = known_rows if history_of_known is None else history_of_known[known_rows]
    return np.where(has_match, history_rows, -1)


def _known(codes: Longs, entities: EntityKeys) -> Longs | None:
    """The places of a history's codes that some entity row has; None where that are all."""
    if len(entities.codes) < _FEW_WANTED * entities.count:  # rows of which others have been left out
        has_row = np.zeros(entities.count + 1, bool)
        has_row[entities.codes] = True
        has_row[-1] = False  # of the code -1
        return np.flatnonzero(has_row[codes])
    return np.flatnonzero(codes >= 0) if len(codes) and codes.min() < 0 else None


class CompositeSortKey:
    """A history's keys and times as one 64-bit integer for each row, so that one sort and one search do.

    Args:
        codes: The codes of the rows' keys, none below zero.
        times: Their times in microseconds.
        count: How many codes there are.

    Attributes:
        values: ``code * stride + (time - earliest + 1)``: within a key, 0 is before the first time of the history.
    """

    def __init__(self, codes: Longs, times: Longs, count: int) -> None:
        self._times: Longs | None = None
        self._codes, self._count = codes, count
        self._is_by_time = bool((times[1:] >= times[:-1]).all())
        low, high = int(times.min()), int(times.max())
        if (high - low + 2) * count >= 2**63 or low <= _LONG_MIN + 1:
            # Too far apart: their places in the order of times will do.
            self._times, times = np.unique(times, return_inverse=True)
            low, high = 0, len(self._times) - 1
        self._low, self._high = low, high
        self._stride = high - low + 2
        self.values: Longs = codes * self._stride + (times - low + 1)

    def order(self) -> Longs:
        """The rows in the order of keys and times."""
        if (self.values[1:] >= self.values[:-1]).all():
            return np.arange(len(self.values))
        if self._is_by_time:  # as files are that a lake is appended to
            return _stable_order(self._codes, self._count)
        return np.argsort(self.values)

    def find_last(self, sorted_values: Longs, entities: EntityKeys) -> Longs:
        """For each entity row the place of the last row of its key that is not after its time, -1 for none.

        Args:
            sorted_values: :attr:`values` in order.
            entities: The entity rows.
        """
        times = entities.timestamps
        if self._times is not None:
            times = np.searchsorted(self._times, times, side="right") - 1
        times = np.clip(times, self._low - 1, self._high) - self._low + 1
        start = entities.codes * self._stride
        places = np.searchsorted(sorted_values, start + times, side="right") - 1
        found = (entities.codes >= 0) & (places >= 0)
        found &= sorted_values[np.where(found, places, 0)] > start
        return np.where(found, places, -1)


def _stable_order(codes: Longs, count: int) -> Longs:
    """The places of codes below a count in their order, equal ones as they came: by NumPy's radix sort.

    Of integers of 16 bits it takes some 10 ns each, where a sort by comparison of longer ones takes 85.
    """
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    for shift in range(16, count.bit_length(), 16):
        digits = (codes >> shift).astype(np.uint16)
        order = order[np.argsort(digits[order], kind="stable")]
    return order


def _order_ties(
    known_of_ranked: Longs,
    ties: NDArray[np.bool_],
    history: pa.RecordBatch,
    view: ViewSpec,
    history_of_known: Longs | None,
) -> None:
    """Put rows of equal key and time into the order of created and values, in place.

    Args:
        known_of_ranked: As in :func:`_best`.
        ties: Whether a ranked place ties with the one after it.
        history: The history rows.
        view: Says what ranks.
        history_of_known: As in :func:`_best`.
    """
    tied = np.zeros(len(known_of_ranked), bool)
    tied[1:] |= ties
    tied[:-1] |= ties
    ranked_places = np.flatnonzero(tied)
    # A new run begins where a row does not tie with the one before it.
    run = np.cumsum(np.concatenate([[True], ~ties]))[ranked_places]
    known_rows = known_of_ranked[ranked_places]
    wanted = history.take(pa.array(known_rows if history_of_known is None else history_of_known[known_rows]))
    known_of_ranked[ranked_places] = known_rows[np.lexsort([*reversed(_rank_columns(wanted, view)), run])]


def _rank_columns(rows: pa.RecordBatch, view: ViewSpec) -> list[Longs]:
    """What ranks rows of equal key and time, the most important first."""
    names = rows.schema.names
    ranked = [CREATED] if view.created is not None else []
    ranked += [f"v{n}" for n in view.ranked]
    return [rank_codes(rows.column(names.index(name))) for name in ranked]


def _greater(rows: pa.RecordBatch, view: ViewSpec, left: Longs, right: Longs) -> NDArray[np.bool_]:
    """Whether each of some rows ranks above its counterpart."""
    ts = rows.column(rows.schema.get_field_index(TS)).to_numpy()
    wins = np.asarray(ts[left] > ts[right])
    tied = np.flatnonzero(ts[left] == ts[right])
    if len(tied):
        pairs = rows.take(pa.array(np.concatenate([left[tied], right[tied]])))
        undecided = np.ones(len(tied), bool)
        for codes in _rank_columns(pairs, view):
            of_left, of_right = codes[: len(tied)], codes[len(tied) :]
            wins[tied[undecided & (of_left > of_right)]] = True
            undecided &= of_left == of_right
    return wins
