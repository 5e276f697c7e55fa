"""Maps with a key twice are found, with the row and the key."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid.arrow.maps import find_key_twice

MAPS = pa.map_(pa.string(), pa.int64())
ONCE, TWICE = [("a", 1), ("b", 2)], [("b", 1), ("a", 2), ("b", 3)]


@pytest.mark.parametrize(
    ("values", "data_type", "found"),
    [
        ([ONCE, None, ONCE], MAPS, None),
        ([ONCE, None, TWICE, TWICE], MAPS, (2, "b")),
        ([[ONCE], [], [ONCE, TWICE]], pa.list_(MAPS), (2, "b")),
        ([{"m": ONCE, "n": TWICE}, {"m": TWICE, "n": ONCE}], pa.struct([("m", MAPS), ("n", MAPS)]), (0, "b")),
        ([[("x", ONCE)], [("x", ONCE), ("y", TWICE)]], pa.map_(pa.string(), MAPS), (1, "b")),
        ([[("x", {"m": TWICE})], None], pa.map_(pa.string(), pa.struct([("m", MAPS)])), (0, "b")),
        ([[], [("x", []), ("y", [ONCE, TWICE])]], pa.map_(pa.string(), pa.list_(MAPS)), (1, "b")),
        ([[("x", ONCE), ("x", TWICE)]], pa.map_(pa.string(), MAPS), (0, "x")),
        ([{"l": [ONCE]}, {"l": [[], TWICE]}], pa.struct([("l", pa.list_(MAPS))]), (1, "b")),
        ([None, [ONCE, TWICE]], pa.large_list(MAPS), (1, "b")),
        ([[ONCE, ONCE], None, [ONCE, TWICE]], pa.list_(MAPS, 2), (2, "b")),
        ([[(1, "x"), (2, "x")]], pa.map_(pa.int64(), pa.string()), None),
        ([], MAPS, None),
        (["aa"], pa.string(), None),
    ],
)
def test_the_first_row_with_a_key_twice(values: Any, data_type: pa.DataType, found: Any) -> None:
    assert find_key_twice(pa.array(values, data_type)) == found


def test_a_part_of_an_array_is_looked_at_by_itself() -> None:
    whole = pa.array([TWICE, ONCE, ONCE, TWICE], MAPS)
    assert find_key_twice(whole.slice(1, 2)) is None
    assert find_key_twice(whole.slice(1)) == (2, "b")
    nested = pa.array([[("x", TWICE)], [("x", ONCE)], [("x", TWICE)]], pa.map_(pa.string(), MAPS))
    assert find_key_twice(nested.slice(1, 1)) is None
    assert find_key_twice(nested.slice(1)) == (1, "b")


def test_what_lies_behind_a_null_is_not_looked_at() -> None:
    maps = pa.array([TWICE, TWICE], MAPS)
    hidden = pa.StructArray.from_arrays([maps], fields=[pa.field("m", MAPS)], mask=pa.array([True, False]))
    assert find_key_twice(hidden) == (1, "b")
    assert find_key_twice(hidden.slice(0, 1)) is None
