"""A file's values in the types of a view's frame."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from feast_hybrid.arrow.convert import convert_for_reading
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
