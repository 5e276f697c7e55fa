"""The entity rows of a retrieval: what all of their forms have in common, and those that are a Spark frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import CalendarIntervalType, YearMonthIntervalType

from feast_hybrid.arrow.utc import datetimes_of, to_epoch_micros
from feast_hybrid.asof import EntityStats
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_times import EVENT_TIMESTAMP
from feast_hybrid.retrieval.job_rows import FrameRows, JobRows
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.times import is_time, micros

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

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


@dataclass(frozen=True)
class SparkRows(EntityRows):
    """Entity rows in a Spark frame, whoever made it.

    Attributes:
        frame: the rows.
        timestamp: their time column.
        of_histories: the bounds of rows that were made of the views' own histories; None for a caller's.
    """

    frame: DataFrame
    timestamp: str
    of_histories: Bounds | None = None

    @classmethod
    def of(cls, frame: DataFrame) -> SparkRows:
        """Check a caller's frame and find its time column.

        Raises:
            EntityFrameError: no time column can be found, or a column cannot be collected.
        """
        for field in frame.schema.fields:
            if isinstance(field.dataType, CalendarIntervalType | YearMonthIntervalType):
                raise EntityFrameError(
                    f"entity_df column {field.name!r} is {field.dataType.simpleString()}, which cannot be collected: "
                    "leave it out, or cast it to a string."
                )
        times = [field.name for field in frame.schema.fields if is_time(field.dataType)]
        return cls(frame, pick_timestamp(list(frame.columns), times))

    @property
    def columns(self) -> list[str]:
        """See :attr:`EntityRows.columns`."""
        return list(self.frame.columns)

    @property
    def known_bounds(self) -> Bounds | None:
        """See :attr:`EntityRows.known_bounds`."""
        return self.of_histories

    def bounds(self) -> Bounds | None:
        """See :meth:`EntityRows.bounds`."""
        return self.of_histories or self._bounds

    @cached_property
    def _bounds(self) -> Bounds | None:
        data_type = self.frame.schema[self.timestamp].dataType
        if not is_time(data_type):
            return None  # the join refuses it by name
        time = micros(F.col(quoted(self.timestamp)), data_type)
        with translate_spark_errors("entity_df", "its first and last time"):
            low, high = self.frame.select(F.min(time), F.max(time)).collect()[0]
        return datetimes_of(low, high)

    def stats(self, keys: Sequence[str]) -> EntityStats:  # noqa: ARG002
        """See :meth:`EntityRows.stats`; over rows of histories, which take long to read, the planner runs no pass."""
        if self.of_histories is None:
            return EntityStats()
        low, high = map(to_epoch_micros, self.of_histories)
        return EntityStats(low=low, high=high, may_collect=False)

    def join(self, join: RetrievalJoin) -> JobRows:
        """See :meth:`EntityRows.join`."""
        frame, plan = join.apply(self.frame)
        return FrameRows(frame, join.what, plan)


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
