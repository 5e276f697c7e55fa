"""Columns of local entity rows in Arrow, or refused with the column and the first row that is at fault."""

from __future__ import annotations

import uuid
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined
from feast_hybrid.arrow.maps import find_key_twice
from feast_hybrid.arrow.validity import first_invalid, first_row
from feast_hybrid.errors import EntityFrameError

#: What Arrow raises for values that it has no one type for, that are no text, or that have more than 64 bits.
_FAULTS = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeError, TypeError)

#: What no column of Spark's or Arrow's can be, and what to make of it first.
_REMEDIES: tuple[tuple[type[Any], str], ...] = (
    (pd.SparseDtype, "make it dense by .sparse.to_dense()"),
    (pd.PeriodDtype, "turn it into times by .dt.to_timestamp()"),
    (pd.IntervalDtype, "keep its .array.left and .array.right as two columns"),
)


def column_to_arrow(series: pd.Series[Any], name: str) -> pa.Array:
    """A column in one piece; Arrow's UUIDs are their text.

    Args:
        series: the column.
        name: what it is called, for the error.

    Raises:
        EntityFrameError: it holds what cannot travel: it names the column, and the first row at fault.
    """
    _refuse_type(series.dtype, name)
    try:
        array = combined(pa.Array.from_pandas(series))
    except _FAULTS as fault:
        row = first_row(len(series), lambda rows: _converts(series.iloc[:rows]))
        reason = str(fault).encode("utf-8", "backslashreplace").decode()
        value = series.iloc[row]
        raise EntityFrameError(
            f"entity_df column {name!r} holds values of no one type: row {row} (the first is 0) is {value!r} of type "
            f"{type(value).__name__}: {reason.rstrip('.')}."
        ) from None
    _refuse_values(array, name)
    return _uuids_as_text(array)


def plain_column(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """A column of a caller's Arrow table in a type that pandas has: runs are decoded, Arrow's UUIDs are their text.

    Raises:
        EntityFrameError: Arrow does not decode it.
    """
    data_type = column.type
    try:
        if pa.types.is_run_end_encoded(data_type):
            data_type = data_type.value_type
            column = pa.chunked_array([pc.run_end_decode(chunk) for chunk in column.chunks], data_type)
        if getattr(data_type, "extension_name", "") == "arrow.uuid":
            column = pa.chunked_array([_uuids_as_text(chunk) for chunk in column.chunks], pa.string())
    except pa.ArrowNotImplementedError:
        raise without_pandas_type(name, column.type) from None
    return column


def without_pandas_type(name: str, data_type: pa.DataType) -> EntityFrameError:
    """The error of a column in Arrow of which pandas makes none."""
    return EntityFrameError(
        f"entity_df column {name!r} is {data_type}, which is not taken, since pandas has no such type: cast it first."
    )


def with_uuids_as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with UUID objects as their text; the frame itself where it has none."""
    texts = {
        str(name): series.map(lambda value: str(value) if isinstance(value, uuid.UUID) else value)
        for name, series in frame.items()
        if series.dtype == object and any(isinstance(value, uuid.UUID) for value in series)
    }
    return frame.assign(**texts) if texts else frame


def refuse_values_of(table: pa.Table) -> None:
    """Refuse a table with text that is no UTF-8 or with a map that has a key twice.

    Raises:
        EntityFrameError: it names the column and the first row at fault.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        _refuse_values(combined(column), name)


def refuse_columns(frame: pd.DataFrame) -> None:
    """Refuse a frame with a column that could not come back in Arrow; those of numbers and times are not looked at.

    Raises:
        EntityFrameError: it names the column, and the first row at fault.
    """
    for name in frame.columns:
        dtype = frame[name].dtype
        _refuse_type(dtype, name)
        checked = (pd.CategoricalDtype, pd.StringDtype, pd.ArrowDtype)
        if pd.api.types.is_object_dtype(dtype) or isinstance(dtype, checked):
            column_to_arrow(frame[name], name)


def _refuse_type(dtype: Any, name: str) -> None:
    remedy = next((remedy for refused, remedy in _REMEDIES if isinstance(dtype, refused)), None)
    if getattr(dtype, "kind", "") == "c":
        remedy = "keep its real and imaginary parts as two columns"
    if remedy is not None:
        raise EntityFrameError(f"entity_df column {name!r} is {dtype}, which neither Arrow nor Spark has: {remedy}.")


def _refuse_values(array: pa.Array, name: str) -> None:
    if (invalid := first_invalid(array)) is not None:
        row, fault = invalid
        raise EntityFrameError(
            f"entity_df column {name!r} is {array.type}, which row {row} (the first is 0) is not: {fault}."
        )
    if (twice := find_key_twice(array)) is not None:
        row, key = twice
        raise EntityFrameError(
            f"entity_df column {name!r} has in row {row} (the first is 0) a map with the key {key!r} twice."
        )


def _uuids_as_text(array: pa.Array) -> pa.Array:
    if getattr(array.type, "extension_name", "") == "arrow.uuid":
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    return array


def _converts(series: pd.Series[Any]) -> bool:
    try:
        pa.Array.from_pandas(series)
    except _FAULTS:
        return False
    return True
