"""Reading only the rows and partitions of a time range."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, IntegralType

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.times import bounded, require_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyspark.sql import Column, DataFrame

    from feast_hybrid.sources.spec import SourceSpec

#: Partitions are often named by the local day of a company, which is up to 14 hours away from UTC's.
_ZONE_MARGIN = timedelta(days=1)

#: Formats whose texts sort as their times do: from the year downwards, in fixed widths.
_SORTABLE_FORMAT = re.compile(r"^%Y(\W?%m(\W?%d(\W?%H(\W?%M(\W?%S)?)?)?)?)?$|^%F$")

#: What ``strftime`` writes, as regular expressions. It pads no years, so their texts sort from the year 1000 on.
_YEAR = "[1-9][0-9]{3}"
_LEAP_YEAR = "(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
_MONTH = "(?:0[1-9]|1[0-2])"
_TIME_OF_DAY = ("(?:[01][0-9]|2[0-3])", "[0-5][0-9]", "[0-5][0-9]")


def filter_time_range(
    frame: DataFrame,
    source: SourceSpec,
    timestamp: str,
    start: datetime | None,
    end: datetime | None,
) -> DataFrame:
    """The source's rows with start ≤ ``timestamp`` ≤ end, cut at the partitions where there are any.

    The bounds are literals of the column's own type, so that file formats can skip what lies outside.

    Args:
        frame: all rows.
        source: says which column partitions the rows, if one does.
        timestamp: the column in the frame.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.

    Raises:
        SchemaError: the column is none that says when, so that a comparison would mean something else.
    """
    types = {field.name: field.dataType for field in frame.schema.fields}
    if timestamp in types:
        require_time(types[timestamp], owner=f"source {source.name!r}", role="timestamp column", name=timestamp)
    conditions: list[Column] = []
    for bound, at_least in ((start, True), (end, False)):
        if bound is None:
            continue
        if timestamp in types:
            conditions.append(bounded(F.col(quoted(timestamp)), types[timestamp], as_utc(bound), at_least=at_least))
    if source.date_partition_column:
        low, high = partition_bounds(source, types, start, end)
        conditions += _partition_conditions(source, low, high)
    for condition in conditions:
        frame = frame.where(condition)
    return frame


def partition_bounds(
    source: SourceSpec, types: Mapping[str, DataType | pa.DataType], start: datetime | None, end: datetime | None
) -> tuple[Any, Any]:
    """The least and the greatest value of the date partition column that rows within the times can have.

    Args:
        source: says which column partitions the rows, and how its values are written.
        types: of the columns, by their names: Spark's or Arrow's.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.

    Returns:
        Values of the column's type; None for no bound.
    """
    column = source.date_partition_column
    if not column or column not in types or not _SORTABLE_FORMAT.match(source.date_partition_format):
        return None, None
    low, high = (
        None if bound is None else _partition_value(_shifted(as_utc(bound), margin), types[column], source)
        for bound, margin in ((start, -_ZONE_MARGIN), (end, _ZONE_MARGIN))
    )
    return low, high


@dataclass(frozen=True, eq=False)
class PartitionsBetween:
    """The partitions of a table in which rows of a time range can be.

    Attributes:
        column: that partitions them by date, as the table has it.
        low: see :func:`partition_bounds`.
        high: likewise.
        source: says how its values are written.
        data_type: of the column.
    """

    column: str
    low: Any
    high: Any
    source: SourceSpec
    data_type: DataType

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
            if text is not None and isinstance(self.data_type, DateType):
                value = date.fromisoformat(text)
            elif text is not None and isinstance(self.data_type, IntegralType):
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
    types = {field.name: field.dataType for field in frame.schema.fields}
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
        spelling = rf"\A(?:{_spelling(source.date_partition_format)})\z"
        says_nothing = says_nothing | ~partition.cast("string").rlike(spelling)
    conditions = []
    if low is not None:
        conditions.append((partition >= F.lit(low)) | says_nothing)
    if high is not None:
        conditions.append((partition <= F.lit(high)) | says_nothing)
    return conditions


def may_be_within(value: Any, low: Any, high: Any, text_format: str) -> bool:
    """Whether a partition can hold rows within the bounds of :func:`partition_bounds`.

    A null, and a value that is not written as the format says (``2026-1-10`` or ``unknown`` for ``%Y-%m-%d``), say
    nothing of the rows' times, so they may be any.

    Args:
        value: of the date partition column.
        low: the least value; None for no bound.
        high: the greatest one; None for no bound.
        text_format: of the source's date partitions.
    """
    if value is None or (low is None and high is None):
        return True
    if not isinstance(value, date) and not re.fullmatch(_spelling(text_format), str(value)):
        return True
    return (low is None or value >= low) and (high is None or value <= high)


@cache
def _spelling(text_format: str) -> str:
    """A regular expression, of Python's and Java's, for what a sortable format writes: times that there are."""
    parts = re.split(r"(%[YmdHMS])", text_format.replace("%F", "%Y-%m-%d"))
    directives, separators = parts[1::2], [re.escape(part) for part in parts[2::2]]
    if len(directives) < 3:
        return _with_separators([_YEAR, _MONTH][: len(directives)], separators)
    days = (
        (_YEAR, _MONTH, "(?:0[1-9]|1[0-9]|2[0-8])"),
        (_YEAR, "(?:0[13-9]|1[0-2])", "(?:29|30)"),
        (_YEAR, "(?:0[13578]|1[02])", "31"),
        (_LEAP_YEAR, "02", "29"),
    )
    texts = "|".join(_with_separators(day, separators[:2]) for day in days)
    return f"(?:{texts})" + _with_separators(["", *_TIME_OF_DAY][: len(directives) - 2], separators[2:])


def _with_separators(parts: Sequence[str], separators: Sequence[str]) -> str:
    return "".join(part + separator for part, separator in zip_longest(parts, separators, fillvalue=""))


def _shifted(time: datetime, margin: timedelta) -> datetime:
    try:
        return time + margin
    except OverflowError:
        return time


def _partition_value(bound: datetime, data_type: DataType | pa.DataType, source: SourceSpec) -> Any:
    if bound.year < 1000:  # strftime pads no years, so their texts do not sort
        return None
    text_format = source.date_partition_format
    text = bound.strftime(text_format)
    known = data_type if isinstance(data_type, pa.DataType) else arrow_type_of_spark(data_type)
    if known is None:
        return None
    if pa.types.is_date(known):
        # A month or a year as a date is its first day, which is before the bound's.
        return bound.date() if text_format == "%F" or "%d" in text_format else None
    if pa.types.is_integer(known):
        return int(text) if text.isdigit() else None
    return text if pa.types.is_string(known) else None
