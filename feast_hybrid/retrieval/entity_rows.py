"""The entity rows of a retrieval: what all of their forms have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_times import EVENT_TIMESTAMP

if TYPE_CHECKING:
    import pandas as pd

    from feast_hybrid.asof import EntityStats
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.join import RetrievalJoin

#: The first and the last time of entity rows, in UTC.
Bounds = tuple[datetime, datetime]


class EntityRows(ABC):
    """Rows with join keys and a time, to which features are joined.

    Attributes:
        timestamp: the time column.
    """

    timestamp: str

    @property
    @abstractmethod
    def columns(self) -> list[str]:
        """The names of the rows' columns."""

    @property
    @abstractmethod
    def known_bounds(self) -> Bounds | None:
        """The first and last time, where they are known without a job; None without rows too."""

    @abstractmethod
    def bounds(self) -> Bounds | None:
        """The first and last time; runs a job where they are not known. None as for the known ones."""

    @abstractmethod
    def stats(self, keys: Sequence[str]) -> EntityStats:
        """What the planner of the join may go by, of which ``keys`` are the join keys. Runs nothing."""

    @abstractmethod
    def join(self, join: RetrievalJoin) -> JobRows:
        """The rows with their features, lazily.

        Raises:
            SchemaError: a column is missing, or has a type that does not do.
            JoinError: two output columns would have one name.
        """


def require_keys(keys: Sequence[str], columns: Sequence[str] | pd.Index[Any]) -> None:
    """Refuse entity rows that lack a join key.

    Raises:
        EntityFrameError: it names the missing keys.
    """
    missing = [key for key in keys if key not in columns]
    if missing:
        raise EntityFrameError(f"entity_df lacks the join keys {', '.join(missing)}; it has {', '.join(columns)}.")


def pick_timestamp(names: Sequence[str], times: Sequence[str]) -> str:
    """The time column: ``event_timestamp``, or the only one of a time type.

    Args:
        names: all columns.
        times: those of a time type.

    Raises:
        EntityFrameError: there is none, or there are several.
    """
    if EVENT_TIMESTAMP in names:
        return EVENT_TIMESTAMP
    if len(times) == 1:
        return times[0]
    found = f"several time columns ({', '.join(times)})" if times else "no time column"
    raise EntityFrameError(f"entity_df has {found}; name the one to join on {EVENT_TIMESTAMP!r}.")
