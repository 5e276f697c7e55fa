"""ORC files by pyarrow: their footers, and the types that Spark alone tells from others there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.spark_notes import naive, replaced
from feast_hybrid.arrow.utc import INSTANT


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
        fields.append(pa.field(field.name, replaced(field, partial(_in_spark, known=known))))
        if known:
            spark_types[field.name] = ", ".join(sorted(known))
    return pa.schema(fields), frozenset(), file.nrows, spark_types


def _in_spark(data_type: pa.DataType, spark_type: str, known: set[str]) -> pa.DataType:
    if "interval" in spark_type:
        known.add(spark_type)
    if pa.types.is_timestamp(data_type):
        return INSTANT
    return naive(data_type, spark_type)
