"""Rows between Arrow and Spark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql.pandas.types import from_arrow_schema

from feast_hybrid.arrow.utc import in_utc
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Site


def frame_of(spark: SparkSession, table: pa.Table) -> DataFrame:
    """A table as a frame, an empty one too, whose types Spark Connect does not take from the table."""
    if table.num_rows:
        return spark.createDataFrame(table)
    naive = spark.conf.get("spark.sql.timestampType") == "TIMESTAMP_NTZ"
    return spark.createDataFrame([], from_arrow_schema(table.schema, naive))


def collect(frame: DataFrame, *, timeout: float | None, what: str, sites: Sequence[Site] = ()) -> pa.Table:
    """Bring a frame's rows to the driver as Arrow, instants in UTC.

    Args:
        frame: the rows.
        timeout: seconds; None for no limit.
        what: how an error names them.
        sites: those that may be read, which an error may be of.

    Raises:
        RetrievalTimeoutError: the time ran out; the job was cancelled.
        RetrievalError: the job failed.
    """
    with translate_spark_errors(what, "while it ran", sites):
        table = run(frame.sparkSession, frame.toArrow, timeout=timeout, what=what)
    return in_utc(table)
