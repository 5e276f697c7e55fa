"""When the matches are from that were found so far: what is older cannot be a match any more, and is not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import EntityKeys, Longs

_LONGS = np.iinfo(np.int64)


class FoundTimes:
    """For each entity row the time of the latest match in a view that some thread has found.

    Threads write to it without a lock: one can overwrite what another has just written, by the time of an earlier
    match of the same row. Then it is looked for once more than it need be, and the answer is the same.

    Args:
        entities: The entity rows.
    """

    def __init__(self, entities: EntityKeys) -> None:
        self._entities = entities
        self._times: Longs = np.where(entities.codes < 0, _LONGS.max, _LONGS.min)

    def wanted(self, low: int, high: int) -> NDArray[np.bool_]:
        """Which entity rows can have their match among rows from a first to a last time, in microseconds."""
        return np.asarray((self._entities.timestamps >= low) & (self._times <= high))

    def may_match(self, low: int, high: int) -> bool:
        """Whether one of the entity rows can."""
        return bool(self.wanted(low, high).any())

    def found(self, places: Longs, times: Longs) -> None:
        """Take what was found.

        Args:
            places: Of the entity rows, each once.
            times: The time of each one's match, in microseconds.
        """
        self._times[places] = np.maximum(self._times[places], times)
