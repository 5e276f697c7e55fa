"""Instants in UTC: microseconds since the epoch, and columns of tables."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest

from feast_hybrid.arrow.utc import (
    as_utc,
    epoch_micros_of_array,
    floor_to_micros,
    from_epoch_micros,
    in_instants,
    in_microseconds,
    in_utc,
    to_epoch_micros,
)

TOKYO = timezone(timedelta(hours=9))
INSTANT = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        (datetime(1970, 1, 1), 0),
        (datetime(1970, 1, 1, 9, tzinfo=TOKYO), 0),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), -1),
        (datetime.max, 253_402_300_799_999_999),
        (datetime.min, -62_135_596_800_000_000),
    ],
)
def test_a_datetime_and_its_microseconds_are_the_same_instant(time: datetime, micros: int) -> None:
    assert to_epoch_micros(time) == micros
    assert from_epoch_micros(micros) == as_utc(time)
    assert from_epoch_micros(micros).utcoffset() == timedelta(0)


@pytest.mark.parametrize("micros", [253_402_300_800_000_000, -(2**63)])
def test_what_a_datetime_cannot_hold_overflows(micros: int) -> None:
    with pytest.raises(OverflowError):
        from_epoch_micros(micros)


def test_a_date_is_its_midnight_in_utc() -> None:
    days = pa.array([date(1970, 1, 2), None, date(1969, 12, 31)])
    assert epoch_micros_of_array(days).to_pylist() == [86_400_000_000, None, -86_400_000_000]


def test_a_date_beyond_64_bits_of_microseconds_is_null() -> None:
    days = pa.array([2**31 - 1, -(2**31), 106_751_991], pa.int32()).view(pa.date32())
    assert epoch_micros_of_array(days).to_pylist() == [None, None, 106_751_991 * 86_400_000_000]


def test_the_first_microsecond_of_nanoseconds_is_floored_too() -> None:
    lowest = -(2**63)
    floored = floor_to_micros(pa.array([lowest, lowest + 999, 2**63 - 1, -1000], pa.timestamp("ns")))
    assert floored.cast(pa.int64()).to_pylist() == [lowest // 1000, (lowest + 999) // 1000, (2**63 - 1) // 1000, -1]


@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_nanoseconds_are_floored_and_keep_their_zone(zone: str | None) -> None:
    floored = floor_to_micros(pa.array([1_999, None, -1], pa.timestamp("ns", zone)))
    assert floored.type == pa.timestamp("us", zone)
    assert floored.view(pa.int64()).to_pylist() == [1, None, -1]


def test_a_table_in_utc_has_the_same_instants_at_every_depth() -> None:
    other_zone = pa.timestamp("us", tz="Asia/Tokyo")
    table = pa.table(
        {
            "t": pa.array([0], other_zone),
            "naive": pa.array([0], pa.timestamp("us")),
            "list": pa.array([[0]], pa.list_(other_zone)),
            "map": pa.array([[("a", 0)]], pa.map_(pa.string(), other_zone)),
            "struct": pa.array([{"t": 0}], pa.struct([("t", other_zone)])),
        }
    )
    found = in_utc(table)
    assert found.schema == pa.schema(
        {
            "t": INSTANT,
            "naive": pa.timestamp("us"),
            "list": pa.list_(INSTANT),
            "map": pa.map_(pa.string(), INSTANT),
            "struct": pa.struct([("t", INSTANT)]),
        }
    )
    assert found["t"].cast(pa.int64()).to_pylist() == [0]
    assert in_utc(found) is found


def test_schemas_change_only_where_times_stand() -> None:
    schema = pa.schema({"s": pa.timestamp("s"), "ns": pa.list_(pa.timestamp("ns", "UTC")), "n": pa.int64()})
    assert in_instants(schema) == pa.schema({"s": INSTANT, "ns": pa.list_(INSTANT), "n": pa.int64()})
    assert in_microseconds(schema) == pa.schema({"s": pa.timestamp("s"), "ns": pa.list_(INSTANT), "n": pa.int64()})
