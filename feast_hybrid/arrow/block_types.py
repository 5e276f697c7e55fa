"""Spark's types in Arrow: what a block can carry, and what can be ranked in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import DataType


def arrow_type(kind: DataType) -> pa.DataType | None:
    """How a block carries a Spark type; None for a type that it cannot carry unchanged."""
    import pyarrow as pa
    from pyspark.sql import types as T

    simple: dict[type[DataType], pa.DataType] = {
        T.BooleanType: pa.bool_(),
        T.ByteType: pa.int8(),
        T.ShortType: pa.int16(),
        T.IntegerType: pa.int32(),
        T.LongType: pa.int64(),
        T.FloatType: pa.float32(),
        T.DoubleType: pa.float64(),
        T.BinaryType: pa.binary(),
        T.DateType: pa.date32(),
        T.TimestampType: pa.timestamp("us", tz="UTC"),
        T.TimestampNTZType: pa.timestamp("us"),
    }
    if type(kind) in simple:
        return simple[type(kind)]
    if isinstance(kind, T.DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if type(kind) is T.StringType:
        # A collation is not in Arrow, and neither are the lengths of char and varchar.
        return pa.string() if kind == T.StringType() else None
    if isinstance(kind, T.ArrayType):
        element = arrow_type(kind.elementType)
        return None if element is None else pa.list_(pa.field("element", element, nullable=kind.containsNull))
    if isinstance(kind, T.MapType):
        key, value = arrow_type(kind.keyType), arrow_type(kind.valueType)
        if key is None or value is None:
            return None
        value_field = pa.field("value", value, nullable=kind.valueContainsNull)
        return pa.map_(pa.field("key", key, nullable=False), value_field)
    if isinstance(kind, T.StructType) and kind.fields and len(set(kind.names)) == len(kind.names):
        fields = [(field, arrow_type(field.dataType)) for field in kind.fields]
        if all(inner is not None for _, inner in fields):
            return pa.struct([pa.field(field.name, inner, nullable=field.nullable) for field, inner in fields])
    return None


def rankable(kind: DataType) -> bool:
    """Whether tied rows can be ranked by this type in Arrow: all but maps, which rank by their JSON text."""
    from pyspark.sql import types as T

    if isinstance(kind, T.ArrayType):
        return rankable(kind.elementType)
    if isinstance(kind, T.StructType):
        return all(rankable(field.dataType) for field in kind.fields)
    return not isinstance(kind, T.MapType) and arrow_type(kind) is not None
