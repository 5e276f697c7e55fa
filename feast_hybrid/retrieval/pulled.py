"""What is pulled from a source: the rows of a time range, or of each entity the latest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined
from feast_hybrid.arrow.names import positions_of
from feast_hybrid.errors import RetrievalError, SchemaError
from feast_hybrid.spark.columns import position

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


def require_columns(columns: Sequence[str], has: Sequence[str], source: SourceSpec) -> None:
    """Refuse a source without some columns, whichever engine reads it.

    Args:
        columns: those that are wanted.
        has: those that the source has.
        source: the source.

    Raises:
        SchemaError: it names all that are missing, or one that could be several.
    """
    place = f"{source.label} ({source.describe()})"
    missing = [name for name in dict.fromkeys(columns) if not positions_of(name, has)]
    if missing:
        raise SchemaError(f"{place} lacks {', '.join(map(repr, missing))}; it has {', '.join(has)}.")
    for name in columns:
        position(name, has, owner=place, role="column")


def visible_in_feast(columns: Sequence[str], field_mapping: Mapping[str, str]) -> list[str]:
    """The columns without those whose names are given to others, and which are given none instead."""
    given = {name for column, name in field_mapping.items() if column in columns and column != name}
    return [name for name in columns if name not in given or name in field_mapping]


def in_one_piece(table: pa.Table, what: str) -> pa.Table:
    """The rows with one chunk in each column: of several, Feast's default engine writes the first alone.

    Raises:
        RetrievalError: a column holds more than one chunk can.
    """
    large = [name for name, column in zip(table.column_names, table.columns, strict=True) if _is_too_large(column)]
    whole = table
    for name in table.column_names if not large else ():
        try:
            column = pa.chunked_array([combined(table.column(name))], table.schema.field(name).type)
        except pa.ArrowInvalid:  # so it is for lists
            large = [name]
            break
        whole = whole.set_column(whole.column_names.index(name), whole.schema.field(name), column)
    if large:
        raise RetrievalError(
            f"{what}: column {large[0]!r} has more than 2 GiB in {table.num_rows:,} rows, of which Feast's engines "
            "would take some alone: ask for a shorter range of time, or set batch_engine to 'spark.engine'."
        )
    return whole


def _is_too_large(column: pa.ChunkedArray) -> bool:
    """Whether one chunk cannot hold a column of text or bytes, which ``combine_chunks`` leaves in several."""
    if not (pa.types.is_string(column.type) or pa.types.is_binary(column.type)):
        return False
    return sum(pc.sum(pc.binary_length(chunk)).as_py() or 0 for chunk in column.chunks) >= 2**31
