"""Rows whose distribution is measured, and how to compare what was found: shared by the tests of monitoring."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.integration.places import hour

HOURS = 50
START_DAY = hour(0).date()
#: No two categories are equally frequent, since Feast's calculator leaves their order to the order of the rows.
CITIES = [city for count, city in enumerate("abcdefghi", 1) for _ in range(count)] + [None] * 5
ROWS = pa.table(
    {
        "driver_id": pa.array(range(HOURS), pa.int64()),
        "event_timestamp": [hour(n) for n in range(HOURS)],
        "whole": pa.array([n * n % 17 for n in range(HOURS)], pa.int32()),
        "real": pa.array([None if n % 7 == 0 else math.sin(n) for n in range(HOURS)], pa.float64()),
        "single": pa.array([n / 3 for n in range(HOURS)], pa.float32()),
        "money": pa.array([Decimal(n) / 4 for n in range(HOURS)], pa.decimal128(9, 2)),
        "constant": pa.array([0.1] * HOURS, pa.float64()),
        "once": pa.array([2.5] + [None] * (HOURS - 1), pa.float64()),
        "never": pa.array([None] * HOURS, pa.float64()),
        # On the very edges of the bins, where rounding decides.
        "tenths": pa.array([n % 21 / 10 for n in range(HOURS)], pa.float64()),
        "city": pa.array(CITIES, pa.string()),
        "flag": pa.array([None if n == 1 else n % 3 == 0 for n in range(HOURS)], pa.bool_()),
        "code": pa.array([n * n % 7 + 2 for n in range(HOURS - 3)] + [1, 1, None], pa.int64()),
        "nobody": pa.array([None] * HOURS, pa.string()),
        "a.b;`c": pa.array([float(n) for n in range(HOURS)], pa.float64()),
    }
)
NUMBERS = ["whole", "real", "single", "money", "constant", "once", "never", "tenths", "a.b;`c"]
FEATURES = [
    ("city", "categorical"),
    *((name, "numeric") for name in NUMBERS),
    ("flag", "categorical"),
    ("nobody", "categorical"),
]


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same metrics, floating-point numbers up to the order of their additions; counts exactly."""
    assert [row["feature_name"] for row in found] == [row["feature_name"] for row in expected]
    for actual, wanted in zip(found, expected, strict=True):
        name = actual["feature_name"]
        assert set(actual) == set(wanted)
        for key, value in wanted.items():
            if key == "histogram" and value and "bins" in value:
                assert actual[key]["bins"] == pytest.approx(value["bins"], rel=1e-12, abs=1e-12), name
                assert (name, actual[key]["counts"]) == (name, value["counts"])
                assert actual[key]["bin_width"] == pytest.approx(value["bin_width"], rel=1e-9)
            elif isinstance(value, float):
                assert actual[key] == pytest.approx(value, rel=1e-9, abs=1e-12), (name, key)
            else:
                assert (name, key, actual[key]) == (name, key, value)
