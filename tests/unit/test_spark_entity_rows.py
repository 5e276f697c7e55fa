"""Entity rows in a Spark frame, by its schema alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import types as T

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.spark_rows import SparkRows


def frame_of(data_type: T.DataType) -> Any:
    fields = [T.StructField("event_timestamp", T.TimestampType()), T.StructField("odd", data_type)]
    return SimpleNamespace(schema=T.StructType(fields), columns=[field.name for field in fields])


@pytest.mark.parametrize(
    "data_type",
    [
        T.StringType(),
        T.TimestampType(),
        T.TimestampNTZType(),
        T.DayTimeIntervalType(),
        T.ArrayType(T.TimestampType()),
        T.StructType([T.StructField("seen", T.TimestampType())]),
    ],
    ids=str,
)
def test_columns_that_can_be_collected_are_taken(data_type: T.DataType) -> None:
    assert SparkRows.of(frame_of(data_type)).timestamp == "event_timestamp"


@pytest.mark.parametrize(
    ("data_type", "shown"),
    [(T.CalendarIntervalType(), "interval"), (T.YearMonthIntervalType(), "interval year to month")],
    ids=str,
)
def test_columns_that_cannot_are_refused_by_name(data_type: T.DataType, shown: str) -> None:
    with pytest.raises(EntityFrameError, match=f"entity_df column 'odd' is {shown}, which cannot be collected"):
        SparkRows.of(frame_of(data_type))


def test_times_that_are_none_have_no_bounds_and_run_no_job() -> None:
    """The join refuses them by name."""
    frame = frame_of(T.LongType())
    frame.schema = T.StructType([T.StructField("event_timestamp", T.StringType())])
    assert SparkRows(frame, "event_timestamp").bounds() is None
