"""Which times a file of a Delta table can hold, by the statistics of its log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from feast_hybrid.arrow.utc import to_epoch_micros
from feast_hybrid.files.delta_statistics import LoggedTimes

NOON = to_epoch_micros(datetime(2026, 1, 10, 12, tzinfo=UTC))


def bounds(low: object, high: object) -> tuple[int, int] | None:
    text = json.dumps({"numRecords": 1, "minValues": {"ts": low}, "maxValues": {"ts": high}})
    return LoggedTimes(text).between("ts")


@pytest.mark.parametrize(
    "text",
    ["2026-01-10T12:00:00.000Z", "2026-01-10T05:00:00-07:00", "2026-01-10 12:00:00", "2026-01-10T12:00:00.000000Z"],
)
def test_times_may_be_cut_off_after_milliseconds(text: str) -> None:
    assert bounds(text, text) == (NOON - 999, NOON + 999)


def test_an_offset_may_be_cut_off_after_minutes() -> None:
    # Noon in New York, whose clocks were 4:56:02 behind UTC until 1883, as Spark writes it with the pattern XXX.
    noon = to_epoch_micros(datetime(1880, 1, 10, 16, 56, 2, tzinfo=UTC))
    found = bounds("1880-01-10T12:00:00.000-04:56", "1880-01-10T12:00:00.000-04:56")
    assert found is not None
    assert found[0] <= noon <= found[1]


def test_a_time_before_1970_may_be_cut_off_towards_it() -> None:
    first = to_epoch_micros(datetime(1969, 12, 31, 23, 59, 59, 999_001, tzinfo=UTC))
    found = bounds("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z")
    assert found is not None
    assert found[0] <= first


def test_a_day_is_its_midnight() -> None:
    midnight = NOON - 12 * 3600 * 1_000_000
    assert bounds("2026-01-10", "2026-01-10") == (midnight - 999, midnight + 999)


@pytest.mark.parametrize("text", ["+10000-01-01T00:00:00Z", "noon", None, 5, ""])
def test_what_is_no_time_says_nothing(text: object) -> None:
    assert bounds(text, "2026-01-10") is None
    assert bounds("2026-01-10", text) is None


@pytest.mark.parametrize("text", ["", "damaged", '{"numRecords": 3}', '{"minValues": {"ts": "2026-01-10"}}', "[]"])
def test_without_statistics_nothing_is_known(text: str) -> None:
    assert LoggedTimes(text).between("ts") is None
