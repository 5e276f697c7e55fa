"""Frames of this process as entity rows: of pandas, and of whatever exports an Arrow stream."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from feast_hybrid.arrow.types import without_views
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_columns import plain_column, refuse_values_of, without_pandas_type
from feast_hybrid.retrieval.pandas_rows import PandasRows


def rows_of_frame(entity_df: Any) -> PandasRows:
    """The entity rows of a frame of this process, as it is now: what its owner does to it later changes no answer.

    Args:
        entity_df: a pandas frame, whatever exports an Arrow stream, or rows that were made of one already.

    Raises:
        EntityFrameError: it has another type, or lacks a column.
    """
    if isinstance(entity_df, PandasRows):
        return entity_df
    if isinstance(entity_df, pd.DataFrame):
        return PandasRows.of(entity_df.copy())
    _refuse_lazy(entity_df)
    if hasattr(entity_df, "__arrow_c_stream__"):
        return rows_of_arrow(entity_df)
    raise EntityFrameError(
        f"entity_df is a {_class_of(entity_df)}, which exports no Arrow stream (__arrow_c_stream__). What is taken: "
        "a pandas or Spark frame, whatever exports one (pyarrow, Polars, DuckDB), SQL text, or None with start_date "
        "and end_date."
    )


def rows_of_arrow(table: Any) -> PandasRows:
    """The entity rows of what exports an Arrow stream.

    Raises:
        EntityFrameError: Arrow cannot read it, pandas has no type for a column, or a value is none of its column's
            type.
    """
    return PandasRows.of(_frame_of_arrow(table), of_arrow=True)


def is_spark_frame(entity_df: Any) -> bool:
    """Whether it is a frame of Spark's, Classic or Connect."""
    return hasattr(entity_df, "sparkSession")


def _frame_of_arrow(entity_df: Any) -> pd.DataFrame:
    """What exports an Arrow stream, as a frame whose columns keep their Arrow types.

    Raises:
        EntityFrameError: Arrow cannot read it, pandas has no type for a column, or a value is none of its column's
            type.
    """
    _refuse_objects_of_polars(entity_df)
    try:
        table = pa.table(entity_df)
    except (pa.ArrowException, TypeError) as fault:
        raise EntityFrameError(
            f"entity_df is a {_class_of(entity_df)}, of whose columns one has a type that pyarrow {pa.__version__} "
            f"cannot read ({fault}): its columns are {', '.join(_columns_with_types(entity_df))}."
        ) from None
    columns = [plain_column(column, name) for name, column in zip(table.column_names, table.columns, strict=True)]
    table = pa.table(columns, table.column_names)
    refuse_values_of(table)
    table = pa.table([_with_signed_indices(column) for column in table.columns], table.column_names)
    try:
        return _in_pandas(table)
    except NotImplementedError:
        for position, name in enumerate(table.column_names):
            try:
                _in_pandas(table.select([position]))
            except NotImplementedError:
                raise without_pandas_type(name, table.column(position).type) from None
        raise


def _in_pandas(table: pa.Table) -> pd.DataFrame:
    table = table.cast(pa.schema([(field.name, without_views(field.type)) for field in table.schema]))
    for data_type in table.schema.types:
        _ = pd.ArrowDtype(data_type).type  # raises where pandas has none, which it may say only when it is asked
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _refuse_objects_of_polars(entity_df: Any) -> None:
    """Polars exports Python's objects as their addresses in memory, which Arrow takes for bytes.

    Raises:
        EntityFrameError: it names the column.
    """
    if not type(entity_df).__module__.startswith("polars."):
        return
    for name, data_type in zip(getattr(entity_df, "columns", ()), getattr(entity_df, "dtypes", ()), strict=False):
        if str(data_type).startswith("Object"):
            raise EntityFrameError(
                f"entity_df column {name!r} is {data_type} in Polars, of which Arrow sees addresses in memory alone: "
                "cast it, or map its elements to a type of their own."
            )


def _with_signed_indices(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Polars' categories count from zero without a sign, of which older pyarrow makes no pandas column."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_unsigned_integer(column.type.index_type):
        return column
    values = without_views(column.type.value_type)
    chunks = [
        pa.DictionaryArray.from_arrays(
            chunk.indices.cast(pa.int64()), chunk.dictionary.cast(values), ordered=column.type.ordered
        )
        for chunk in column.chunks
    ]
    return pa.chunked_array(chunks, pa.dictionary(pa.int64(), values, column.type.ordered))


def _columns_with_types(entity_df: Any) -> list[str]:
    names = [str(name) for name in getattr(entity_df, "columns", ())]
    types = [str(data_type) for data_type in getattr(entity_df, "dtypes", ())]
    return [f"{name} ({data_type})" for name, data_type in zip(names, types, strict=False)] or ["not known"]


def _class_of(entity_df: Any) -> str:
    return f"{type(entity_df).__module__}.{type(entity_df).__qualname__}"


def _refuse_lazy(entity_df: Any) -> None:
    """Name what to call of frames whose rows are elsewhere, whether or not they export Arrow.

    Raises:
        EntityFrameError: it is one of pandas-on-Spark, Dask, or lazily of Polars.
    """
    module = type(entity_df).__module__
    for library, method in (("pyspark.pandas", "to_spark"), ("dask", "compute"), ("polars", "collect")):
        if f"{module}.".startswith(f"{library}.") and hasattr(entity_df, method):
            raise EntityFrameError(
                f"entity_df is a {_class_of(entity_df)}, which is not taken as it is: give entity_df.{method}()."
            )
