"""Feature values in the forms that Feast takes when it makes online values of them.

Feast reads an Arrow column through NumPy, in which a map is a list of pairs and a list in a struct is an array: it
takes neither for what it is. It does take JSON text for maps and structs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_hybrid.spark.columns import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType


def encode_for_online(frame: DataFrame, features: Sequence[str]) -> DataFrame:
    """The frame with those features as JSON text or times that Feast could not take as they are.

    Maps and structs with values that JSON has no type for stay as they are: Feast refuses them, where text would be
    another value than the historical one.

    Args:
        frame: rows of a source.
        features: the columns that go online.
    """
    from pyspark.sql import functions as F

    columns: list[Column] = []
    for field in frame.schema.fields:
        column = F.col(quoted(field.name))
        if field.name in features:
            column = _online_value(column, field.dataType).alias(field.name)
        columns.append(column)
    return frame.select(*columns)


def _online_value(column: Column, kind: DataType) -> Column:
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, DateType

    if isinstance(kind, ArrayType) and isinstance(kind.elementType, DateType):
        return column.cast("array<timestamp_ntz>")  # midnight in UTC, as a date by itself
    if _is_lost_in_numpy(kind) and _fits_json(kind):
        return F.to_json(column, {"ignoreNullFields": "false"})
    return column


def _is_lost_in_numpy(kind: DataType) -> bool:
    """Whether it is a map, or a struct with a map or a list in it."""
    from pyspark.sql.types import ArrayType, MapType, StructType

    if isinstance(kind, MapType):
        return True
    if isinstance(kind, ArrayType):
        return _is_lost_in_numpy(kind.elementType)
    if isinstance(kind, StructType):
        kinds = [field.dataType for field in kind.fields]
        return any(isinstance(inner, ArrayType) or _is_lost_in_numpy(inner) for inner in kinds)
    return False


def _fits_json(kind: DataType) -> bool:
    from pyspark.sql.types import (
        ArrayType,
        BooleanType,
        DoubleType,
        FloatType,
        IntegralType,
        MapType,
        StringType,
        StructType,
    )

    if isinstance(kind, MapType):
        return isinstance(kind.keyType, StringType) and _fits_json(kind.valueType)
    if isinstance(kind, ArrayType):
        return _fits_json(kind.elementType)
    if isinstance(kind, StructType):
        return all(_fits_json(field.dataType) for field in kind.fields)
    return isinstance(kind, (BooleanType, DoubleType, FloatType, IntegralType, StringType))
