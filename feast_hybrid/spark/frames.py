"""Rows between Arrow and Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """A table as a frame, an empty one too, whose types Spark Connect does not take from the table."""
    if table.num_rows:
        return spark.createDataFrame(table)
    from pyspark.sql.pandas.types import from_arrow_schema

    naive = spark.conf.get("spark.sql.timestampType") == "TIMESTAMP_NTZ"
    return spark.createDataFrame([], from_arrow_schema(table.schema, naive))


def collect(frame: DataFrame, *, timeout: float | None, what: str) -> pa.Table:
    """Bring a frame's rows to the driver as Arrow, instants in UTC.

    Raises:
        RetrievalTimeoutError: the time ran out; the job was cancelled.
        RetrievalError: the job failed.
    """
    with translate_spark_errors(what, "while it ran"):
        table = run(frame.sparkSession, frame.toArrow, timeout=timeout, what=what)
    return in_utc(table)


def in_utc(table: pa.Table) -> pa.Table:
    """The same instants, labelled UTC instead of the session's time zone."""
    schema = pa.schema([field.with_type(_utc_type(field.type)) for field in table.schema])
    return table if schema.equals(table.schema) else table.cast(schema)


def _utc_type(data_type: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(data_type) and data_type.tz is not None:
        return pa.timestamp(data_type.unit, tz="UTC")
    if pa.types.is_list(data_type):
        return pa.list_(data_type.value_field.with_type(_utc_type(data_type.value_type)))
    if pa.types.is_struct(data_type):
        return pa.struct([field.with_type(_utc_type(field.type)) for field in data_type])
    if pa.types.is_map(data_type):
        return pa.map_(_utc_type(data_type.key_type), _utc_type(data_type.item_type))
    return data_type
