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
