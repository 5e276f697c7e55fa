"""What is pulled from a source: the rows of a time range, or of each entity the latest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.sources.spec import SourceSpec


@dataclass(frozen=True, kw_only=True)
class Pull:
    """A pull, by the source's names.

    Attributes:
        store: the configuration.
        source: where the rows are.
        keys: the join keys.
        features: what is wanted beside them; none for all columns.
        timestamp: the event time.
        created: when a row was written, where that is known.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.
        latest: whether of each entity the latest row is wanted alone.
        for_spark: whether one of Feast's engines asks that works on Spark.
    """

    store: HybridSparkOfflineStoreConfig
    source: SourceSpec
    keys: Sequence[str]
    features: Sequence[str]
    timestamp: str
    created: str | None
    start: datetime | None
    end: datetime | None
    latest: bool
    for_spark: bool = False

    @property
    def what(self) -> str:
        """How errors call the rows."""
        return f"source {self.source.name!r}"

    @property
    def place(self) -> str:
        """The source and where it is, for errors."""
        return f"{self.source.label} ({self.source.describe()})"

    @property
    def named(self) -> list[str]:
        """The columns that are named, each once."""
        own = [*self.keys, *self.features, self.timestamp, *([self.created] if self.created else [])]
        return list(dict.fromkeys(own))

    @property
    def columns(self) -> list[str] | None:
        """The columns that are read; None for all, where no features are named."""
        return self.named if self.features else None

    @property
    def required(self) -> list[str]:
        """The columns that each file has to have."""
        return [*self.keys, self.timestamp]

    @property
    def order(self) -> tuple[str, ...]:
        """Of rows in files: keys first, then times."""
        return (*self.keys, *([self.source.timestamp] if self.source.timestamp_field else []))


def visible_in_feast(columns: Sequence[str], field_mapping: Mapping[str, str]) -> list[str]:
    """The columns without those whose names are given to others, and which are given none instead."""
    given = {name for column, name in field_mapping.items() if column in columns and column != name}
    return [name for name in columns if name not in given or name in field_mapping]
