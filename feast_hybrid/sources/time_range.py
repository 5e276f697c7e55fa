"""Which partitions can hold the rows of a time range."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from functools import cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.utc import as_utc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def partition_bounds(
    source: SourceSpec, types: Mapping[str, pa.DataType | None], start: datetime | None, end: datetime | None
) -> tuple[Any, Any]:
    """The least and the greatest value of the date partition column that rows within the times can have.

    Args:
        source: says which column partitions the rows, and how its values are written.
        types: of the columns, by their names, in Arrow; None for what Arrow has no type for, which gives no bound.
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
    if not isinstance(value, date) and not re.fullmatch(spelling(text_format), str(value)):
        return True
    return (low is None or value >= low) and (high is None or value <= high)


@cache
def spelling(text_format: str) -> str:
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


def _partition_value(bound: datetime, data_type: pa.DataType | None, source: SourceSpec) -> Any:
    if data_type is None or bound.year < 1000:  # strftime pads no years, so their texts do not sort
        return None
    text_format = source.date_partition_format
    text = bound.strftime(text_format)
    if pa.types.is_date(data_type):
        # A month or a year as a date is its first day, which is before the bound's.
        return bound.date() if text_format == "%F" or "%d" in text_format else None
    if pa.types.is_integer(data_type):
        return int(text) if text.isdigit() else None
    return text if pa.types.is_string(data_type) else None
