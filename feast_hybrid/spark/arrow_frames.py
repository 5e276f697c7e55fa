"""Rows from Arrow to Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql.pandas.types import from_arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """A table as a frame, an empty one too, whose types Spark Connect does not take from the table."""
    if table.num_rows:
        return spark.createDataFrame(table)
    naive = spark.conf.get("spark.sql.timestampType") == "TIMESTAMP_NTZ"
    return spark.createDataFrame([], from_arrow_schema(table.schema, naive))
