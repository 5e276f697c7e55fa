"""Which of several tied rows wins, in Arrow."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from feast_hybrid.asof.columnar.ranks import rank_codes


@pytest.mark.parametrize(
    ("least_to_greatest", "data_type"),
    [
        ([None, -2, 10], pa.int32()),
        ([None, "", "10", "9", "é"], pa.string()),
        ([None, -1.0, -0.0, 0.0, math.inf, math.nan], pa.float64()),
        ([None, False, True], pa.bool_()),
        ([None, Decimal("-1.50"), Decimal("2.25")], pa.decimal128(38, 2)),
        ([None, [], [None], [-0.0, 1.0], [0.0, 1.0], [1.0], [1.0, 0.0]], pa.list_(pa.float64())),
        ([None, {"a": None}, {"a": -0.0}, {"a": 0.0}], pa.struct([("a", pa.float64())])),
    ],
)
def test_ties_are_ranked(least_to_greatest: list[Any], data_type: pa.DataType) -> None:
    for order in itertools.islice(itertools.permutations(range(len(least_to_greatest))), 24):
        codes = rank_codes(pa.array([least_to_greatest[n] for n in order], data_type))
        assert np.argsort(codes).tolist() == np.argsort(order).tolist()


def test_a_struct_of_zeros_ranks_by_its_other_fields_first() -> None:
    data_type = pa.struct([("a", pa.float64()), ("b", pa.int32())])
    codes = rank_codes(pa.array([{"a": 0.0, "b": 1}, {"a": -0.0, "b": 2}], data_type))
    assert codes[0] < codes[1]
