"""Cutting reads at time bounds: the parts that need no Spark."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_hybrid.arrow.utc import as_utc, to_epoch_micros
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.sources.time_range import may_be_within, partition_bounds

TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("time", "instant"),
    [
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1, 9, tzinfo=TOKYO), datetime(2024, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_an_instant_and_a_naive_one_is_utc(time: datetime, instant: datetime) -> None:
    assert as_utc(time) == instant
    assert as_utc(time).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        (datetime(1970, 1, 1), 0),
        (datetime(1970, 1, 1, 0, 0, 0, 1), 1),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999), -1),
        (datetime(1970, 1, 1, 9, tzinfo=TOKYO), 0),
        (datetime(2024, 1, 1, 12), 1_704_110_400_000_000),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999), 253_402_300_799_999_999),
        (datetime(1, 1, 1), -62_135_596_800_000_000),
    ],
)
def test_microseconds_since_1970(time: datetime, micros: int) -> None:
    assert to_epoch_micros(time) == micros


@given(st.datetimes())
def test_no_microsecond_is_lost(time: datetime) -> None:
    assert datetime(1970, 1, 1) + timedelta(microseconds=to_epoch_micros(time)) == time


def bounds_of_texts(text_format: str, start: datetime | None, end: datetime | None) -> tuple[str | None, str | None]:
    """The bounds of a partition column of text that is written in a format."""
    rows = SourceSpec(name="rows", date_partition_column="dt", date_partition_format=text_format)
    return partition_bounds(rows, {"dt": pa.string()}, start, end)


@pytest.mark.parametrize(
    "text_format", ["%Y", "%Y-%m", "%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%d %H", "%Y%m%d%H%M%S", "%F"]
)
def test_partitions_are_cut_where_their_texts_sort_as_their_times(text_format: str) -> None:
    low, high = bounds_of_texts(text_format, datetime(2026, 1, 19), datetime(2026, 1, 19))
    assert (low, high) == (datetime(2026, 1, 18).strftime(text_format), datetime(2026, 1, 20).strftime(text_format))


@pytest.mark.parametrize(
    "text_format",
    ["%d-%m-%Y", "%m", "%Y-%d-%m", "%y%m%d", "%Y-%b-%d", "%s", "day=%Y", "%Y-%m-%dZ", "", "%-Y", "%Y--%m"],
)
def test_partitions_of_any_other_format_are_all_read(text_format: str) -> None:
    assert bounds_of_texts(text_format, datetime(2026, 1, 19), datetime(2026, 1, 19)) == (None, None)


@given(
    st.datetimes(datetime(1000, 1, 3)),
    st.datetimes(datetime(1000, 1, 3)),
    st.sampled_from(["%Y", "%Y%m%d", "%Y-%m-%d", "%Y-%m-%d %H"]),
)
def test_texts_of_such_a_format_sort_as_their_times(one: datetime, two: datetime, text_format: str) -> None:
    low, high = bounds_of_texts(text_format, min(one, two), max(one, two))
    assert low is not None
    assert high is not None
    assert low <= min(one, two).strftime(text_format) <= max(one, two).strftime(text_format) <= high


@given(
    st.datetimes(datetime(1000, 1, 3), datetime(9999, 12, 29)),
    st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
def test_a_partition_named_by_the_day_of_any_zone_is_kept(event: datetime, zone: timezone) -> None:
    day = as_utc(event).astimezone(zone).strftime("%Y-%m-%d")
    low, high = bounds_of_texts("%Y-%m-%d", event, event)
    assert low is not None
    assert high is not None
    assert low <= day <= high


def test_the_ends_of_time_stay_where_they_are() -> None:
    assert bounds_of_texts("%Y-%m-%d", datetime.min, datetime.max) == (None, "9999-12-31")


def test_nothing_is_cut_by_a_year_that_strftime_does_not_pad() -> None:
    rows = SourceSpec(name="rows", date_partition_column="dt")
    data_types = {"dt": pa.string()}
    assert partition_bounds(rows, data_types, datetime(524, 1, 5), None) == (None, None)
    assert partition_bounds(rows, data_types, datetime(1524, 1, 5), None) == ("1524-01-04", None)


@pytest.mark.parametrize(("text_format", "least"), [("%Y-%m-%d", date(2026, 1, 18)), ("%Y-%m", None), ("%Y", None)])
def test_a_date_that_stands_for_a_month_or_a_year_cuts_nothing(text_format: str, least: date | None) -> None:
    rows = SourceSpec(name="rows", date_partition_column="dt", date_partition_format=text_format)
    assert partition_bounds(rows, {"dt": pa.date32()}, datetime(2026, 1, 19), None) == (least, None)


def is_read(value: object, text_format: str, low: object, high: object) -> bool:
    return may_be_within(value, low, high, text_format)


@pytest.mark.parametrize(
    ("text_format", "written", "others"),
    [
        ("%Y-%m-%d", "2026-01-10", ["2026-1-10", "20260110", "unknown", "", "2026-01-10\n", "2026-02-30"]),
        ("%F", "2026-01-10", ["2026-1-10", "26-01-10"]),
        ("%Y%m%d", 20260110, [2026110, 7, "2026-01-10"]),
        ("%Y", 2026, [26, 20261]),
        ("%Y-%m", "2026-01", ["2026-13", "2026-01-10", "2026"]),
        ("%Y.%m.%d %H", "2026.01.10 07", ["2026x01x10 07", "2026.01.10 24", "2026.01.10"]),
    ],
)
def test_a_partition_that_is_not_written_as_the_format_says_is_always_read(
    text_format: str, written: object, others: list[object]
) -> None:
    later, earlier = ("3000", "1000") if isinstance(written, str) else (30_000_000, 0)
    assert not is_read(written, text_format, later, None)
    assert not is_read(written, text_format, None, earlier)
    assert is_read(written, text_format, None, later)
    for other in [*others, None]:
        of_its_type = ("9", "") if isinstance(other, str) else (10**9, -1)
        assert is_read(other, text_format, of_its_type[0], None), other
        assert is_read(other, text_format, None, of_its_type[1]), other


def test_days_have_one_spelling() -> None:
    assert not is_read(date(2026, 1, 10), "%Y%m%d", date(2026, 1, 11), None)
    assert is_read(date(2026, 1, 10), "%Y%m%d", date(2026, 1, 10), date(2026, 1, 10))


_DAYS = st.one_of(
    st.from_regex(r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]( [0-2][0-9])?", fullmatch=True),
    st.from_regex(r"[12][0-9]{3}-02-29( 0[0-9])?", fullmatch=True),
    st.dates(date(1000, 1, 1)).map(str),
    st.text(max_size=12),
)


@given(_DAYS, st.sampled_from(["%Y-%m-%d", "%Y-%m-%d %H"]))
def test_as_the_format_says_is_what_is_read_and_written_again_as_the_same_text(text: str, text_format: str) -> None:
    try:
        is_written = datetime.strptime(text, text_format).replace(tzinfo=UTC).strftime(text_format) == text
    except (ValueError, re.error):
        is_written = False
    assert is_read(text, text_format, chr(0x10FFFF), None) == (not is_written)
