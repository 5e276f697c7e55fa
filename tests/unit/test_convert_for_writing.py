"""Rows are put into the columns that are there, or refused with both types."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid.arrow.convert import convert_for_writing
from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.errors import SchemaError

INSTANT, NAIVE = pa.timestamp("us", tz="UTC"), pa.timestamp("us")
NOON = datetime(2026, 1, 10, 12)


def put(values: Any, data_type: pa.DataType) -> list[Any]:
    """What becomes of a column of these values where the type is kept."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    put_there = convert_for_writing(pa.table({"c": array}), pa.schema([("c", data_type)]), what="rows")
    assert put_there.schema == pa.schema([("c", data_type)])
    found: list[Any] = put_there["c"].to_pylist()
    return found


def test_columns_are_put_in_the_order_that_is_there() -> None:
    rows = pa.table({"b": [1, 2], "a": ["x", "y"]})
    schema = pa.schema([("a", pa.string()), ("b", pa.int64())])
    assert convert_for_writing(rows, schema, what="rows").to_pydict() == {"a": ["x", "y"], "b": [1, 2]}


def test_all_that_is_missing_unknown_or_given_twice_is_named_at_once() -> None:
    rows = pa.Table.from_arrays([pa.array([1])] * 4, names=["a", "z", "y", "a"])
    schema = pa.schema([(name, pa.int64()) for name in ("a", "b", "c")])
    with pytest.raises(SchemaError) as refused:
        convert_for_writing(rows, schema, what="rows of 'v'")
    assert str(refused.value) == (
        "rows of 'v': columns missing b, c; unknown z, y; given twice a. There are a, b, c."
    )


@pytest.mark.parametrize(
    ("rows", "data_type", "kept"),
    [
        (pa.array([1, None], pa.int32()), pa.int64(), [1, None]),
        (pa.array([1, None], pa.int64()), pa.int32(), [1, None]),
        (pa.array([7], pa.uint64()), pa.int64(), [7]),
        (pa.array([1.0, None]), pa.int64(), [1, None]),  # how pandas holds integers with gaps
        (pa.array([2**53]), pa.float64(), [2.0**53]),
        (pa.array([0.5, 0.1, float("inf")]), pa.float32(), [0.5, pytest.approx(0.1), float("inf")]),
        (pa.array([5]), pa.decimal128(20, 2), [Decimal("5.00")]),
        (pa.array([Decimal("1.5")]), pa.decimal128(20, 2), [Decimal("1.50")]),
        (pa.array(["x"], pa.large_string()), pa.string(), ["x"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), pa.string(), ["x", "y", "x"]),
        (pa.array([b"\x00"], pa.large_binary()), pa.binary(), [b"\x00"]),
        (pa.array([None, None]), pa.list_(pa.float32()), [None, None]),
        (pa.array([date(2026, 1, 10)]), NAIVE, [datetime(2026, 1, 10)]),
        (pa.array([datetime(2026, 1, 10)]), pa.date32(), [date(2026, 1, 10)]),
        (pa.array([timedelta(seconds=5), None], pa.duration("ns")), pa.duration("ms"), [timedelta(seconds=5), None]),
        (pa.array([5_000, None]), pa.duration("ms"), [timedelta(seconds=5), None]),  # as it is read there
        (pa.array([5_000.0, None]), pa.duration("ms"), [timedelta(seconds=5), None]),
    ],
    ids=str,
)
def test_values_that_keep_their_value_are_taken(rows: pa.Array, data_type: pa.DataType, kept: list[Any]) -> None:
    assert put(rows, data_type) == kept


@pytest.mark.parametrize(
    ("rows", "data_type"),
    [
        (pa.array([2**40]), pa.int32()),
        (pa.array([-1]), pa.uint8()),
        (pa.array([1.5]), pa.int64()),
        (pa.array([2**53 + 1]), pa.float64()),
        (pa.array([1e300]), pa.float32()),
        (pa.array([Decimal("1.55")]), pa.decimal128(5, 1)),
        (pa.array(["1"]), pa.int64()),
        (pa.array([1]), pa.string()),
        (pa.array([True]), pa.int64()),
        (pa.array([1]), pa.bool_()),
        (pa.array([NOON]), pa.date32()),
        (pa.array([NOON]), pa.int64()),
        (pa.array([timedelta(seconds=5)]), pa.int64()),
        (pa.array([timedelta(microseconds=5)]), pa.duration("ms")),
        (pa.array([[1]]), pa.int64()),
        (pa.array([1]), pa.list_(pa.int64())),
        (pa.array([b"x"]), pa.string()),
        (pa.array([{"a": 1}]), pa.struct([("a", pa.int64()), ("b", pa.int64())])),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_with_both_types(rows: pa.Array, data_type: pa.DataType) -> None:
    with pytest.raises(SchemaError) as refused:
        put(rows, data_type)
    assert f"column 'c' is {rows.type} in the rows and {data_type} there" in str(refused.value)


def test_every_column_that_does_not_fit_is_named() -> None:
    rows = pa.table({"a": ["x"], "b": [1.5], "c": [1]})
    schema = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.int64())])
    with pytest.raises(SchemaError, match=r"column 'a' is string .*; column 'b' is double") as refused:
        convert_for_writing(rows, schema, what="rows")
    assert "'c'" not in str(refused.value)


def test_a_part_of_a_column_that_does_not_fit_is_named_by_its_path() -> None:
    with pytest.raises(SchemaError, match=r"column 'c.a\[\]' is string in the rows and int64 there"):
        put(pa.array([{"a": ["x"]}]), pa.struct([("a", pa.list_(pa.int64()))]))


def test_naive_times_are_utc_and_instants_keep_their_moment() -> None:
    tokyo = pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp("us", tz="Asia/Tokyo"))
    assert put(pa.array([NOON]), INSTANT) == [NOON.replace(tzinfo=UTC)]
    assert put(tokyo, INSTANT) == [NOON.replace(tzinfo=UTC)]
    assert put(tokyo, NAIVE) == [NOON]


def test_nanoseconds_are_floored_to_microseconds_also_before_1970() -> None:
    rows = pa.array([1_999, -1], pa.timestamp("ns"))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert put(rows, INSTANT) == [epoch + timedelta(microseconds=1), epoch - timedelta(microseconds=1)]
    schema = pa.schema([("t", pa.timestamp("ns")), ("l", pa.list_(pa.struct([("t", pa.timestamp("ns", "UTC"))])))])
    assert in_microseconds(schema) == pa.schema([("t", NAIVE), ("l", pa.list_(pa.struct([("t", INSTANT)])))])


@pytest.mark.parametrize("start", [0, 1])
def test_nested_values_are_converted_within_slices_and_beside_nulls(start: int) -> None:
    def sliced(values: list[Any], data_type: pa.DataType) -> pa.Array:
        return pa.array([*values[:1], *values], data_type)[1 + start :]

    lists: list[Any] = [[1, None], None, [], [2]]
    assert put(sliced(lists, pa.list_(pa.int32())), pa.list_(pa.int64())) == lists[start:]
    structs: list[Any] = [{"a": [1]}, None, {"a": None}]
    data_type = pa.struct([("a", pa.list_(pa.int32()))])
    assert put(sliced(structs, data_type), pa.struct([("a", pa.list_(pa.int64()))])) == structs[start:]
    maps: list[Any] = [[("a", 1)], None, [("b", None), ("c", 3)]]
    assert put(sliced(maps, pa.map_(pa.string(), pa.int32())), pa.map_(pa.string(), pa.int64())) == maps[start:]


def test_the_fields_of_a_struct_go_by_name() -> None:
    rows = pa.array([{"b": 1, "a": "x"}])
    assert put(rows, pa.struct([("a", pa.string()), ("b", pa.int32())])) == [{"a": "x", "b": 1}]


def test_pythons_dictionaries_are_maps_where_maps_are_kept() -> None:
    rows = pa.array([{"a": "x", "b": None}, {"b": "y"}, None])
    assert put(rows, pa.map_(pa.string(), pa.string())) == [[("a", "x")], [("b", "y")], None]


def test_a_table_of_several_chunks_or_none_is_one_table() -> None:
    schema = pa.schema([("c", pa.int64())])
    rows = pa.chunked_array([pa.array([1], pa.int32()), pa.array([2, 3], pa.int32())])
    assert convert_for_writing(pa.table({"c": rows}), schema, what="rows").to_pydict() == {"c": [1, 2, 3]}
    assert convert_for_writing(pa.table({"c": pa.chunked_array([], pa.int32())}), schema, what="rows").num_rows == 0


def test_a_null_for_a_field_that_takes_none_is_refused() -> None:
    schema = pa.struct([pa.field("a", pa.int64(), nullable=False)])
    with pytest.raises(SchemaError, match=r"column .* a value would change: "):
        put(pa.array([{"a": 1}, {"a": None}]), schema)
