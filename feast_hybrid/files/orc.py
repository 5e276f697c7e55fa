"""ORC files by pyarrow: their footers, and the types that Spark alone tells from others there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.utc import INSTANT

#: Where Spark notes the type of a column that ORC has as another one.
_SPARK_TYPE = b"spark.sql.catalyst.type"


def read_orc_footer(source: Any) -> tuple[pa.Schema, frozenset[str], int, dict[str, str]]:
    """A file's schema as Spark has it, no columns of INT96, which ORC does not know, and its number of rows.

    Times without a zone are instants, as Spark has them, but for its ``timestamp_ntz``.

    Args:
        source: a path, or a file that is open.

    Returns:
        Last, column → the type that only Spark has for it.
    """
    file = pyarrow.orc.ORCFile(source)
    spark_types: dict[str, str] = {}
    fields = []
    for field in file.schema:
        known: set[str] = set()
        fields.append(pa.field(field.name, _replaced(field, partial(_in_spark, known=known))))
        if known:
            spark_types[field.name] = ", ".join(sorted(known))
    return pa.schema(fields), frozenset(), file.nrows, spark_types


def with_naive_times(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of a file with times without a zone where Spark wrote some, which ORC holds as integers.

    Args:
        batch: some columns of the file.
        schema: the file's.
    """
    arrays = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        data_type = _replaced(schema.field(name), _naive)
        arrays.append(array if array.type == data_type else array.cast(data_type))
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _naive(data_type: pa.DataType, spark_type: str) -> pa.DataType:
    return pa.timestamp("us") if spark_type == "timestamp_ntz" and pa.types.is_int64(data_type) else data_type


def _in_spark(data_type: pa.DataType, spark_type: str, known: set[str]) -> pa.DataType:
    if "interval" in spark_type:
        known.add(spark_type)
    if pa.types.is_timestamp(data_type):
        return INSTANT
    return _naive(data_type, spark_type)


def _replaced(field: pa.Field, replace: Callable[[pa.DataType, str], pa.DataType]) -> pa.DataType:
    """A field's type with each part replaced that has no parts itself; what Spark noted of a part goes with it."""
    data_type, is_ = field.type, pa.types

    def inner(part: pa.Field) -> pa.Field:
        return part.with_type(_replaced(part, replace))

    if is_.is_list(data_type):
        return pa.list_(inner(data_type.value_field))
    if is_.is_struct(data_type):
        return pa.struct([inner(part) for part in data_type])
    if is_.is_map(data_type):
        return pa.map_(inner(data_type.key_field), inner(data_type.item_field))
    return replace(data_type, (field.metadata or {}).get(_SPARK_TYPE, b"").decode())
