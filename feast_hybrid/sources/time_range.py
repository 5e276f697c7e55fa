"""Reading only the rows and partitions of a time range."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DateType, IntegralType, StringType

from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.times import bounded, require_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

    from feast_hybrid.sources.spec import SourceSpec

#: Partitions are often named by the local day of a company, which is up to 14 hours away from UTC's.
_ZONE_MARGIN = timedelta(days=1)

#: Formats whose texts sort as their times do: from the year downwards, in fixed widths.
_SORTABLE_FORMAT = re.compile(r"^%Y(\W?%m(\W?%d(\W?%H(\W?%M(\W?%S)?)?)?)?)?$|^%F$")


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
        partition = F.col(quoted(source.date_partition_column))
        # A null partition says nothing of its rows' times.
        if low is not None:
            conditions.append((partition >= F.lit(low)) | partition.isNull())
        if high is not None:
            conditions.append((partition <= F.lit(high)) | partition.isNull())
    for condition in conditions:
        frame = frame.where(condition)
    return frame


def partition_bounds(
    source: SourceSpec, types: Mapping[str, DataType], start: datetime | None, end: datetime | None
) -> tuple[Any, Any]:
    """The least and the greatest value of the date partition column that rows within the times can have.

    Args:
        source: says which column partitions the rows, and how its values are written.
        types: of the frame's columns, by their names.
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


def _shifted(time: datetime, margin: timedelta) -> datetime:
    try:
        return time + margin
    except OverflowError:
        return time


def _partition_value(bound: datetime, data_type: DataType, source: SourceSpec) -> Any:
    if bound.year < 1000:  # strftime pads no years, so their texts do not sort
        return None
    text_format = source.date_partition_format
    text = bound.strftime(text_format)
    if isinstance(data_type, DateType):
        # A month or a year as a date is its first day, which is before the bound's.
        return bound.date() if text_format == "%F" or "%d" in text_format else None
    if isinstance(data_type, IntegralType):
        return int(text) if text.isdigit() else None
    return text if isinstance(data_type, StringType) else None
