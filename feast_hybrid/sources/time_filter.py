"""Frames of Spark cut at a time range: at its rows, and at the partitions that can hold them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.sources.time_range import may_be_within, partition_bounds, spelling
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.times import bounded, require_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

    from feast_hybrid.sources.spec import SourceSpec


def filter_time_range(
    frame: DataFrame,
    source: SourceSpec,
    timestamp: str,
    start: datetime | None,
    end: datetime | None,
    partitions: Collection[str] | None = None,
) -> DataFrame:
    """The source's rows with start ≤ ``timestamp`` ≤ end, cut at the partitions where there are any.

    The bounds are literals of the column's own type, so that file formats can skip what lies outside. A date that
    partitions nothing cuts nothing: a row's time says when it is of, whatever day stands beside it.

    Args:
        frame: all rows.
        source: says which column partitions the rows, if one does.
        timestamp: the column in the frame.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.
        partitions: the columns that partition the rows; None where it is not known which they are.

    Raises:
        SchemaError: the column is none that says when, so that a comparison would mean something else.
    """
    types = {field.name: field.dataType for field in frame.schema.fields}
    if timestamp in types:
        owner = f"{source.label} ({source.describe()})"
        require_time(types[timestamp], owner=owner, role="timestamp column", name=timestamp)
    conditions: list[Column] = []
    for bound, at_least in ((start, True), (end, False)):
        if bound is None:
            continue
        if timestamp in types:
            conditions.append(bounded(F.col(quoted(timestamp)), types[timestamp], as_utc(bound), at_least=at_least))
    if source.date_partition_column and (partitions is None or source.date_partition_column in partitions):
        low, high = partition_bounds(source, _arrow_types(frame.schema.fields), start, end)
        conditions += _partition_conditions(source, low, high)
    for condition in conditions:
        frame = frame.where(condition)
    return frame


@dataclass(frozen=True, eq=False)
class PartitionsBetween:
    """The partitions of a table in which rows of a time range can be.

    Attributes:
        column: that partitions them by date, as the table has it.
        low: see :func:`partition_bounds`.
        high: likewise.
        source: says how its values are written.
        data_type: of the column, in Arrow.
    """

    column: str
    low: Any
    high: Any
    source: SourceSpec
    data_type: pa.DataType | None

    def of(self, frame: DataFrame) -> DataFrame:
        """The table's rows in these partitions."""
        for condition in _partition_conditions(self.source, self.low, self.high):
            frame = frame.where(condition)
        return frame

    def may_hold(self, texts: Mapping[str, str | None]) -> bool:
        """Whether it is one of them, by its values as text."""
        text = next((text for name, text in texts.items() if name.lower() == self.column.lower()), None)
        value: Any = text
        try:
            if text is not None and self.data_type is not None:
                if pa.types.is_date(self.data_type):
                    value = date.fromisoformat(text)
                elif pa.types.is_integer(self.data_type):
                    value = int(text)
        except ValueError:
            return True
        return may_be_within(value, self.low, self.high, self.source.date_partition_format)


def partitions_between(
    source: SourceSpec, frame: DataFrame, start: datetime | None, end: datetime | None
) -> PartitionsBetween | None:
    """The partitions of a table in which rows of a time range can be; None where all can.

    Args:
        source: a table.
        frame: its rows.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.
    """
    types = _arrow_types(frame.schema.fields)
    low, high = partition_bounds(source, types, start, end)
    column = source.date_partition_column
    if not column or (low is None and high is None):
        return None
    return PartitionsBetween(column, low, high, source, types[column])


def _partition_conditions(source: SourceSpec, low: Any, high: Any) -> list[Column]:
    """What :func:`may_be_within` says, for Spark."""
    partition = F.col(quoted(source.date_partition_column or ""))
    says_nothing = partition.isNull()
    if isinstance(low, (str, int)) or isinstance(high, (str, int)):
        as_written = rf"\A(?:{spelling(source.date_partition_format)})\z"
        says_nothing = says_nothing | ~partition.cast("string").rlike(as_written)
    conditions = []
    if low is not None:
        conditions.append((partition >= F.lit(low)) | says_nothing)
    if high is not None:
        conditions.append((partition <= F.lit(high)) | says_nothing)
    return conditions


def _arrow_types(fields: Iterable[StructField]) -> dict[str, pa.DataType | None]:
    return {field.name: arrow_type_of_spark(field.dataType) for field in fields}
