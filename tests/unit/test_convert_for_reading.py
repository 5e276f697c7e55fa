"""A file's values in the types of a view's frame."""

from __future__ import annotations

from datetime import UTC as UTC_ZONE
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.errors import SchemaError
from tests.unit.columnar import UTC


@pytest.mark.parametrize(
    ("found", "data_type"),
    [
        (pa.array(["a", None]).dictionary_encode(), pa.string()),
        (pa.array(["a", None], pa.large_string()), pa.string()),
        (pa.array([[1, None], None, []], pa.list_(pa.int32())), pa.list_(pa.field("element", pa.int64()))),
        (pa.array([[1], [2]], pa.list_(pa.int32(), 1)), pa.list_(pa.int32())),
        (pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])), pa.struct([("a", pa.int32())])),
        (pa.array([1, None], pa.uint32()), pa.int64()),
        (pa.array([Decimal("1.5")], pa.decimal128(5, 1)), pa.decimal128(9, 3)),
        (pa.nulls(2), pa.date32()),
    ],
)
def test_values_are_the_same_in_the_frames_type(found: pa.Array, data_type: pa.DataType) -> None:
    for array in (found, found.slice(1), found.slice(0, 1)):
        shown = convert_for_reading(array, data_type)
        assert shown.type == data_type
        assert shown.to_pylist() == array.to_pylist()


def test_a_field_that_a_struct_lacks_is_null() -> None:
    data_type = pa.struct([("b", pa.string()), ("A", pa.int64())])
    shown = convert_for_reading(pa.array([{"a": 1}, None], pa.struct([("a", pa.int8())])), data_type)
    assert shown.to_pylist() == [{"b": None, "A": 1}, None]


def test_nanoseconds_are_cut_towards_the_past() -> None:
    found = convert_for_reading(pa.array([-1, 1, None, 1999], pa.int64()).view(pa.timestamp("ns")), UTC)
    assert found.view(pa.int64()).to_pylist() == [-1, 0, None, 1]


#: A day that microseconds of 64 bits do not reach.
FAR_DAY = pa.array([0, 2_000_000_000], pa.int32()).view(pa.date32())


@pytest.mark.parametrize(
    ("found", "data_type", "values"),
    [
        (pa.array([1, None, 2**53, -(2**53)]), pa.float64(), [1.0, None, 2.0**53, -(2.0**53)]),
        (pa.array([1, -300], pa.int16()), pa.float32(), [1.0, -300.0]),
        (pa.array([1.0, None, -0.0, -(2.0**63)]), pa.int64(), [1, None, 0, -(2**63)]),
        (pa.array([3.0], pa.float32()), pa.int32(), [3]),
        (pa.array([Decimal("3.00"), None, Decimal("-2.00")]), pa.int64(), [3, None, -2]),
        (pa.array([7, None, -(2**63)]), pa.string(), ["7", None, str(-(2**63))]),
        (pa.array([Decimal(2**64 - 1)], pa.decimal128(20, 0)), pa.string(), [str(2**64 - 1)]),
        (pa.array([b"a", "\u00fc".encode()]), pa.string(), ["a", "\u00fc"]),
        (pa.array([1, None], pa.int32()).view(pa.date32()), UTC, [datetime(1970, 1, 2, tzinfo=UTC_ZONE), None]),
        (pa.array([date(1969, 12, 31)]), pa.timestamp("us"), [datetime(1969, 12, 31)]),
        (pa.array([1, None], pa.int64()), pa.decimal128(19, 0), [Decimal(1), None]),
        (pa.array([[1], None, [2, None]]), pa.list_(pa.float64()), [[1.0], None, [2.0, None]]),
        (
            pa.array([[(1, 2)], None, [], [(3, None)]], pa.map_(pa.int32(), pa.int64())),
            pa.map_(pa.string(), pa.float64()),
            [[("1", 2.0)], None, [], [("3", None)]],
        ),
    ],
    ids=str,
)
def test_another_family_is_taken_where_each_value_is_the_same(
    found: pa.Array, data_type: pa.DataType, values: list[object]
) -> None:
    for start in (0, 1):
        shown = convert_for_reading(found.slice(start), data_type)
        assert shown.type == data_type
        assert shown.to_pylist() == values[start:]


@pytest.mark.parametrize(
    ("found", "data_type", "reason"),
    [
        (
            pa.array([1, 2**53 + 1, 2**60]),
            pa.float64(),
            "the value 9007199254740993 in the file, and double holds only",
        ),
        (pa.array([2**24 + 1], pa.int32()), pa.float32(), "the value 16777217 in the file, and float holds only"),
        (pa.array([None, 1.5, 2.5]), pa.int64(), "the value 1.5 in the file, and int64 holds only whole numbers"),
        (pa.array([float("nan")]), pa.int64(), "the value nan in the file"),
        (pa.array([2.0**63]), pa.int64(), r"the value 9\.223372036854776e\+18 in the file"),
        (pa.array([300.0]), pa.int8(), "the value 300.0 in the file"),
        (pa.array([b"a", b"\xff", b"\xfe"]), pa.string(), r"the value b'\\xff' in the file, and string does not"),
        (FAR_DAY, UTC, "holds no such day"),
        (
            pa.array([0, 2**62], pa.int64()).view(pa.timestamp("s")),
            UTC,
            r"the value 4611686018427387904 as timestamp\[s\] in the file, and timestamp\[us.*\] does not hold it",
        ),
        (pa.array([[1, 2**53 + 1]]), pa.list_(pa.float64()), r"in the file \(in \[\]\), and double"),
        (pa.array([{"a": 0.5}]), pa.struct([("a", pa.int64())]), r"the value 0.5 in the file \(in \.a\)"),
        (pa.array(["1"]), pa.int64(), "it is string in the file, and int64"),
        (pa.array([True]), pa.int64(), "it is bool in the file, and int64"),
        (pa.array([1]), pa.bool_(), "it is int64 in the file, and bool"),
        (pa.array([1.0]), pa.string(), "it is double in the file, and string"),
        (pa.array([1]), UTC, "it is int64 in the file, and timestamp"),
    ],
    ids=str,
)
def test_the_first_value_that_does_not_fit_is_shown(found: pa.Array, data_type: pa.DataType, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        convert_for_reading(found, data_type)


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_as_doubles_come_back_or_are_refused(numbers: list[int | None]) -> None:
    found = pa.array(numbers, pa.int64())
    if any(number is not None and abs(number) > 2**53 for number in numbers):
        with pytest.raises(SchemaError):
            convert_for_reading(found, pa.float64())
    else:
        assert convert_for_reading(convert_for_reading(found, pa.float64()), pa.int64()) == found
