"""Which of several rows wins that have the same keys, time and created time.

The row whose requested features are the greatest, compared one by one in the order of their source names:
null is the least, then numbers (-0.0 below 0.0, NaN above all), text by its bytes, and so on as Spark orders
the type. What Spark cannot order (maps, variants, …) is compared by its JSON text, in UTC. So the winner
depends on values alone, and rows that tie here too are the same in every feature that was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column
    from pyspark.sql.types import DataType


def ranks(features: Sequence[tuple[str, str, DataType]]) -> list[Column]:
    """Columns by which tied rows are ranked; the greatest row wins.

    Args:
        features: Triples of (source name, column, type).
    """
    found: list[Column] = []
    seen = set()
    for source, column, data_type in sorted(features, key=lambda feature: feature[0]):
        if source not in seen:
            seen.add(source)
            found.extend(_rank(column, data_type))
    return found


def _rank(name: str, data_type: DataType) -> list[Column]:
    column = F.col(name)
    if isinstance(data_type, T.FloatType | T.DoubleType):
        # Spark holds -0.0 equal to 0.0; in text they differ.
        return [column, F.when(column == 0, column.cast("string") == F.lit("0.0"))]
    if isinstance(data_type, T.StringType | T.CharType | T.VarcharType):
        return [column.cast("string")]
    if isinstance(data_type, T.ArrayType) and isinstance(data_type.elementType, T.FloatType | T.DoubleType):
        # Embeddings: text only where a zero makes it necessary.
        return [column, F.when(F.exists(column, lambda x: x == 0), _json(column))]
    if not _orderable(data_type):
        return [_json(column)]
    if _holds(data_type, (T.FloatType, T.DoubleType)):
        return [column, _json(column)]
    return [column]


def _json(column: Column) -> Column:
    return F.to_json(F.struct(column.alias("v")), {"timeZone": "UTC", "ignoreNullFields": "false"})


def _children(data_type: DataType) -> list[DataType]:
    if isinstance(data_type, T.ArrayType):
        return [data_type.elementType]
    if isinstance(data_type, T.MapType):
        return [data_type.keyType, data_type.valueType]
    if isinstance(data_type, T.StructType):
        return [field.dataType for field in data_type.fields]
    return []


def _holds(data_type: DataType, types: tuple[type[DataType], ...]) -> bool:
    return isinstance(data_type, types) or any(_holds(child, types) for child in _children(data_type))


def _orderable(data_type: DataType) -> bool:
    """Whether Spark can sort by this type, to the last bit: text within collations is left to JSON."""
    if isinstance(data_type, T.ArrayType | T.StructType):
        return all(_orderable(child) for child in _children(data_type))
    if isinstance(data_type, T.StringType):
        return data_type == T.StringType()
    orderable = (
        T.NumericType, T.BooleanType, T.BinaryType, T.DateType, T.TimestampType, T.TimestampNTZType,
        T.CharType, T.VarcharType, T.DayTimeIntervalType, T.YearMonthIntervalType, T.NullType,
    )  # fmt: skip
    # "time" by its name: the class came with Spark 4.1.
    return isinstance(data_type, orderable) or data_type.typeName() == "time"
