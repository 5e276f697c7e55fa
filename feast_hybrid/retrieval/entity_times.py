"""The time column of local entity rows: instants in UTC, to the microsecond, whatever they are written in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined
from feast_hybrid.arrow.utc import INSTANT, epoch_micros_of_array, floor_to_micros, to_epoch_micros
from feast_hybrid.errors import EntityFrameError

#: The time column that Feast looks for first.
EVENT_TIMESTAMP = "event_timestamp"

#: ISO 8601 as far as Python reads it, with a space for the T, as pandas and Spark print times.
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d|\d{8})"
    r"([T ](\d\d(:?\d\d(:?\d\d([.,](\d{1,6})\d*)?)?)?)\s?(Z|[+-]\d\d(:?\d\d)?)?)?",
    re.ASCII,
)


def time_column(series: pd.Series[Any], name: str) -> pa.Array:
    """Times in UTC, in microseconds; a naive time is UTC, a date its midnight, and finer times are floored.

    A row must not see what happened after it, hence floored and not rounded.

    Args:
        series: the column: times, dates, or text in ISO 8601.
        name: what it is called, for the error.

    Raises:
        EntityFrameError: a value is no time, or none that microseconds in 64 bits hold: it names column and row.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        series = series.astype(object)
    _refuse_numbers(series, name, dtype)
    if isinstance(series.dtype, pd.PeriodDtype):
        raise EntityFrameError(
            f"entity_df column {name!r} does not hold times: it has dtype {series.dtype}, which is of spans. Take "
            "their first instants by .dt.to_timestamp()."
        )
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
        return _of_values(list(series), name)
    try:
        array = combined(pa.Array.from_pandas(series))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as fault:
        raise EntityFrameError(f"entity_df column {name!r} does not hold times: {fault}") from None
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), INSTANT)
    if pa.types.is_date(array.type):
        return epoch_micros_of_array(array.cast(pa.date32())).view(INSTANT)
    if not pa.types.is_timestamp(array.type):
        return _of_values(array.to_pylist(), name)
    return _of_timestamps(array, name)


def _of_timestamps(array: pa.Array, name: str) -> pa.Array:
    if array.type.unit == "ns":
        array = floor_to_micros(array)
    try:
        return array.cast(pa.timestamp("us", array.type.tz)).view(INSTANT)
    except pa.ArrowInvalid:
        factor = {"s": 1_000_000, "ms": 1_000}[array.type.unit]
        counts = array.view(pa.int64())
        limit = (2**63 - 1) // factor
        beyond = pc.fill_null(pc.or_(pc.greater(counts, limit), pc.less(counts, -limit)), False)
        row = pc.index(beyond, True).as_py()
        raise EntityFrameError(
            f"entity_df column {name!r} has in row {row} (the first is 0) a time that microseconds in 64 bits do not "
            f"hold: {counts[row]} as {array.type}."
        ) from None


def _of_values(values: list[Any], name: str) -> pa.Array:
    return pa.array([_micros(value, row, name) for row, value in enumerate(values)], pa.int64()).view(INSTANT)


def _micros(value: Any, row: int, name: str) -> int | None:
    try:
        if isinstance(value, np.datetime64):
            return None if np.isnat(value) else int(value.astype("datetime64[us]").astype("int64"))
        if isinstance(value, pd.Timestamp):
            in_utc = value.tz_localize("UTC") if value.tzinfo is None else value.tz_convert("UTC")
            return int(in_utc.floor("us").as_unit("us").asm8.astype("int64"))
        if isinstance(value, datetime):
            return to_epoch_micros(value)
        if isinstance(value, date):
            return to_epoch_micros(datetime(value.year, value.month, value.day, tzinfo=UTC))
        if isinstance(value, str):
            return _micros_of_text(value)
        if value is None or pd.isna(value) is True:
            return None
        reason = f"of type {type(value).__name__}"
    except (ValueError, OverflowError) as fault:
        reason = str(fault)
    raise EntityFrameError(
        f"entity_df column {name!r} does not hold times: row {row} (the first is 0) is {value!r}, {reason}. Give "
        "times, or text in ISO 8601 such as '2026-01-31T08:00:00Z'."
    )


def _micros_of_text(text: str) -> int:
    parts = _ISO.fullmatch(text.strip())
    if parts is None:
        raise ValueError("which is not ISO 8601, so that day and month may be mistaken for each other")
    # Digits beyond microseconds are cut, as those of other times are, before and after 1970 alike.
    fraction = parts.group(7)
    start, end = parts.span(7)
    whole = parts.string
    if fraction is not None:
        rest = re.match(r"\d*", whole[end:])
        whole = whole[:start] + fraction.ljust(6, "0") + whole[end + (rest.end() if rest else 0) :]
    return to_epoch_micros(datetime.fromisoformat(re.sub(r"\s(?=Z|[+-])", "", whole).replace(",", ".")))


def _refuse_numbers(series: pd.Series[Any], name: str, dtype: Any) -> None:
    """pandas takes numbers for nanoseconds since 1970; who writes them means seconds or milliseconds as a rule."""
    values = series.dropna()
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = len(values) > 0
    else:
        numbers = values.dtype == object and any(isinstance(value, Number) for value in values)
    if numbers:
        raise EntityFrameError(
            f"entity_df column {name!r} does not hold times: it has numbers (dtype {dtype}), which do not say their "
            f"unit. Turn them into times first, such as by pd.to_datetime(entity_df[{name!r}], unit='s', utc=True)."
        )
