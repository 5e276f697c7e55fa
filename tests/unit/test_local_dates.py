"""Entity rows by dates, in this process."""

from __future__ import annotations

import pyarrow as pa
import pytest

from feast_hybrid.retrieval.local_dates import _as_key


@pytest.mark.parametrize("data_type", [pa.float32(), pa.float64()])
def test_numbers_that_are_equal_as_keys_make_one_row(data_type: pa.DataType) -> None:
    nan = float("nan")
    keys = _as_key(pa.chunked_array([pa.array([0.0, -0.0, None, nan, -nan, 1.5], data_type)]))
    assert keys.type == data_type
    distinct = pa.table({"k": keys}).group_by("k").aggregate([])
    assert repr(sorted(distinct["k"].to_pylist(), key=repr)) == "[0.0, 1.5, None, nan]"
