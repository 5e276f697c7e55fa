"""Types of Iceberg in Arrow, for files that are written, and Arrow's in Iceberg, for tables that are made."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pyarrow as pa
from pyiceberg.schema import Schema, index_by_id
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
)

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError

#: By which Arrow's writer of Parquet numbers a column.
_FIELD_ID = b"PARQUET:field_id"

_ARROW: dict[type[IcebergType], pa.DataType] = {
    BooleanType: pa.bool_(),
    IntegerType: pa.int32(),
    LongType: pa.int64(),
    FloatType: pa.float32(),
    DoubleType: pa.float64(),
    DateType: pa.date32(),
    TimeType: pa.time64("us"),
    TimestampType: pa.timestamp("us"),
    TimestamptzType: INSTANT,
    StringType: pa.string(),
    BinaryType: pa.binary(),
}
_ICEBERG: dict[pa.DataType, IcebergType] = {
    pa.bool_(): BooleanType(),
    pa.int8(): IntegerType(),
    pa.int16(): IntegerType(),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.float32(): FloatType(),
    pa.float64(): DoubleType(),
    pa.date32(): DateType(),
    pa.timestamp("us"): TimestampType(),
    INSTANT: TimestamptzType(),
    pa.string(): StringType(),
    pa.binary(): BinaryType(),
}


def arrow_schema(schema: Schema) -> pa.Schema:
    """A table's columns as its Parquet files hold them: with the table's numbers, and which are never null.

    Raises:
        SchemaError: a column is of a type that this package does not write.
    """
    return pa.schema([_arrow_field(field) for field in schema.fields])


def _arrow_field(field: NestedField) -> pa.Field:
    return pa.field(
        field.name,
        _arrow_type(field.field_type, field.name),
        nullable=not field.required,
        metadata={_FIELD_ID: str(field.field_id).encode()},
    )


def _arrow_type(data_type: IcebergType, name: str) -> pa.DataType:
    if (found := _ARROW.get(type(data_type))) is not None:
        return found
    if isinstance(data_type, DecimalType):
        return pa.decimal128(data_type.precision, data_type.scale)
    if isinstance(data_type, FixedType):
        return pa.binary(len(data_type))
    if isinstance(data_type, ListType):
        return pa.list_(_arrow_field(data_type.element_field))
    if isinstance(data_type, MapType):
        return pa.map_(_arrow_field(data_type.key_field), _arrow_field(data_type.value_field))
    if isinstance(data_type, StructType):
        return pa.struct([_arrow_field(field) for field in data_type.fields])
    raise SchemaError(f"column {name!r} is {data_type}, which feast-hybrid does not write")


def iceberg_schema(schema: pa.Schema) -> Schema:
    """The columns of a table that is made for rows, each of which takes nulls.

    Raises:
        SchemaError: Iceberg has no such type.
    """
    numbers = itertools.count(len(schema) + 1)  # the columns come first, as in tables of other writers
    return Schema(
        *[
            NestedField(number, field.name, _iceberg_type(field.type, numbers), required=False)
            for number, field in enumerate(schema, 1)
        ]
    )


def _iceberg_type(data_type: pa.DataType, numbers: Iterator[int]) -> IcebergType:
    if (found := _ICEBERG.get(data_type)) is not None:
        return found
    is_ = pa.types
    if is_.is_decimal128(data_type):
        return DecimalType(data_type.precision, data_type.scale)
    if is_.is_list(data_type):
        number = next(numbers)
        element = _iceberg_type(data_type.value_type, numbers)
        return ListType(element_id=number, element_type=element, element_required=False)
    if is_.is_map(data_type):
        key_number, value_number = next(numbers), next(numbers)
        key, value = _iceberg_type(data_type.key_type, numbers), _iceberg_type(data_type.item_type, numbers)
        return MapType(key_id=key_number, key_type=key, value_id=value_number, value_type=value, value_required=False)
    if is_.is_struct(data_type):
        fields = [(next(numbers), field) for field in data_type]
        return StructType(
            *[
                NestedField(number, field.name, _iceberg_type(field.type, numbers), required=False)
                for number, field in fields
            ]
        )
    raise SchemaError(f"Iceberg has no type for Arrow's {data_type}")


def never_null_part(schema: Schema) -> str | None:
    """The name of a part of a column that is never null, where there is one; keys of maps never are."""
    columns = {column.field_id for column in schema.fields}
    keys = {
        field.field_type.key_id for field in index_by_id(schema).values() if isinstance(field.field_type, MapType)
    }
    for number, field in index_by_id(schema).items():
        if field.required and number not in columns | keys:
            return schema.find_column_name(number)
    return None


def leaf_numbers(schema: Schema) -> list[int]:
    """The numbers of the columns that a Parquet file has: parts that have no parts, in the order of the file."""

    def below(field: NestedField) -> Iterator[int]:
        data_type = field.field_type
        if isinstance(data_type, StructType):
            parts: tuple[NestedField, ...] = data_type.fields
        elif isinstance(data_type, ListType):
            parts = (data_type.element_field,)
        elif isinstance(data_type, MapType):
            parts = (data_type.key_field, data_type.value_field)
        else:
            yield field.field_id
            return
        for part in parts:
            yield from below(part)

    return [number for field in schema.fields for number in below(field)]
