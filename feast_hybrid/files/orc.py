"""ORC files by pyarrow: their footers, and the types that Spark alone tells from others there."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.orc_footer import OrcFooter, UnknownCompressionError, open_for_footer
from feast_hybrid.arrow.orc_statistics import only_sparks
from feast_hybrid.arrow.spark_notes import naive, replaced
from feast_hybrid.arrow.utc import INSTANT


class FoundSchema(NamedTuple):
    """What the footer of a file says.

    Attributes:
        schema: as Spark has it.
        int96: columns of INT96, which has no zone in Arrow but is an instant to Spark.
        rows: how many.
        spark_types: column → the type that only Spark has for it.
        only_sparks: column → what it is or holds that Arrow's reader would read otherwise than Spark's.
        has_no_names: whether all columns are called ``_col0`` and so on, as Hive called them once: Spark takes them
            by their places.
    """

    schema: pa.Schema
    int96: frozenset[str]
    rows: int
    spark_types: dict[str, str]
    only_sparks: Mapping[str, str] = MappingProxyType({})
    has_no_names: bool = False


def read_orc_footer(source: Any) -> FoundSchema:
    """What the footer of an ORC file says; it knows no INT96.

    Times without a zone are instants, as Spark has them, but for its ``timestamp_ntz``.

    Args:
        source: a path, or a file that is open.
    """
    file = pyarrow.orc.ORCFile(source)
    spark_types: dict[str, str] = {}
    fields = []
    for field in file.schema:
        known: set[str] = set()
        fields.append(pa.field(field.name, replaced(field, partial(_in_spark, known=known))))
        if known:
            spark_types[field.name] = ", ".join(sorted(known))
    names = file.schema.names
    try:
        with open_for_footer(source) as opened:
            only = only_sparks(OrcFooter(opened), names)
    except UnknownCompressionError:
        only = dict.fromkeys(names, "is in a file whose footer is compressed in a way that only Spark knows")
    has_no_names = bool(names) and all(name.startswith("_col") for name in names)
    return FoundSchema(pa.schema(fields), frozenset(), file.nrows, spark_types, only, has_no_names)


def _in_spark(data_type: pa.DataType, spark_type: str, known: set[str]) -> pa.DataType:
    if "interval" in spark_type:
        known.add(spark_type)
    if pa.types.is_timestamp(data_type):
        return INSTANT
    return naive(data_type, spark_type)
