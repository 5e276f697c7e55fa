"""What Spark notes of a column's type in a file whose format does not have it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

#: Where Spark notes the type of a column that ORC has as another one.
_SPARK_TYPE = b"spark.sql.catalyst.type"


def with_naive_times(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of a file with times without a zone where Spark wrote some, which ORC holds as integers.

    Args:
        batch: some columns of the file.
        schema: the file's.
    """
    arrays = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        data_type = replaced(schema.field(name), naive)
        arrays.append(array if array.type == data_type else array.cast(data_type))
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def replaced(field: pa.Field, replace: Callable[[pa.DataType, str], pa.DataType]) -> pa.DataType:
    """A field's type with each part replaced that has no parts itself; what Spark noted of a part goes with it."""
    data_type, is_ = field.type, pa.types

    def inner(part: pa.Field) -> pa.Field:
        return part.with_type(replaced(part, replace))

    if is_.is_list(data_type):
        return pa.list_(inner(data_type.value_field))
    if is_.is_struct(data_type):
        return pa.struct([inner(part) for part in data_type])
    if is_.is_map(data_type):
        return pa.map_(inner(data_type.key_field), inner(data_type.item_field))
    return replace(data_type, (field.metadata or {}).get(_SPARK_TYPE, b"").decode())


def naive(data_type: pa.DataType, spark_type: str) -> pa.DataType:
    """The type of a part of a column: a time without a zone where Spark noted one, else as it is."""
    return pa.timestamp("us") if spark_type == "timestamp_ntz" and pa.types.is_int64(data_type) else data_type
