"""Reading only the rows and partitions of a time range."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import as_utc, to_epoch_micros
from feast_hybrid.spark.columns import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from feast_hybrid.sources.spec import SourceSpec

#: Partitions are often named by the local day of a company, which is up to 14 hours away from UTC's.
_ZONES = timedelta(days=1)

#: Formats whose texts sort as their times do: from the year downwards, in fixed widths.
_SORTABLE = re.compile(r"^%Y(\W?%m(\W?%d(\W?%H(\W?%M(\W?%S)?)?)?)?)?$|^%F$")


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
    from pyspark.sql import functions as F

    from feast_hybrid.spark.times import require_time

    columns = {field.name: field.dataType for field in frame.schema.fields}
    if timestamp in columns:
        require_time(columns[timestamp], owner=f"source {source.name!r}", role="timestamp column", name=timestamp)
    conditions: list[Column] = []
    for bound, at_least in ((start, True), (end, False)):
        if bound is None:
            continue
        if timestamp in columns:
            conditions.append(_bound(F.col(quoted(timestamp)), columns[timestamp], as_utc(bound), at_least))
    part = source.date_partition_column
    low, high = partition_bounds(source, columns, start, end)
    # A null partition says nothing of its rows' times.
    if part and low is not None:
        conditions.append((F.col(quoted(part)) >= F.lit(low)) | F.col(quoted(part)).isNull())
    if part and high is not None:
        conditions.append((F.col(quoted(part)) <= F.lit(high)) | F.col(quoted(part)).isNull())
    for condition in conditions:
        frame = frame.where(condition)
    return frame


def partition_bounds(
    source: SourceSpec, columns: Mapping[str, DataType], start: datetime | None, end: datetime | None
) -> tuple[Any, Any]:
    """The least and the greatest value of the date partition column that rows within the times can have.

    Args:
        source: says which column partitions the rows, and how its values are written.
        columns: the types of the frame's columns.
        start: None for no bound; naive times are UTC.
        end: None for no bound; naive times are UTC.

    Returns:
        Values of the column's type; None for no bound.
    """
    part = source.date_partition_column
    if not part or part not in columns or not _SORTABLE.match(source.date_partition_format):
        return None, None
    low, high = (
        None if bound is None else _partition_value(_moved(as_utc(bound), by), columns[part], source)
        for bound, by in ((start, -_ZONES), (end, _ZONES))
    )
    return low, high


def _moved(time: datetime, by: timedelta) -> datetime:
    try:
        return time + by
    except OverflowError:
        return time


def _bound(column: Column, kind: DataType, bound: datetime, at_least: bool) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql.types import DateType, TimestampNTZType

    if isinstance(kind, DateType):
        literal = F.lit(bound.date())
        if at_least and bound.time() != datetime.min.time():
            # A date is its midnight in UTC, so a start within a day excludes that day.
            return column > literal
    elif isinstance(kind, TimestampNTZType):
        literal = F.lit(bound.replace(tzinfo=None).isoformat(sep=" ")).cast("timestamp_ntz")
    else:
        literal = F.timestamp_micros(F.lit(to_epoch_micros(bound)))
    return column >= literal if at_least else column <= literal


def _partition_value(bound: datetime, kind: DataType, source: SourceSpec) -> Any:
    from pyspark.sql.types import DateType, IntegralType, StringType

    if bound.year < 1000:  # strftime pads no years, so their texts do not sort
        return None
    text_format = source.date_partition_format
    text = bound.strftime(text_format)
    if isinstance(kind, DateType):
        # A month or a year as a date is its first day, which is before the bound's.
        return bound.date() if text_format == "%F" or "%d" in text_format else None
    if isinstance(kind, IntegralType):
        return int(text) if text.isdigit() else None
    return text if isinstance(kind, StringType) else None
