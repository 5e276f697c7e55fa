"""Rows from Spark to Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_hybrid.arrow.required_values import require_values
from feast_hybrid.arrow.utc import in_utc
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Site


def analysed(frame: DataFrame) -> DataFrame:
    """The frame, once Spark has found its columns, which Connect would do at the first use of it only."""
    frame.schema  # noqa: B018
    return frame


def collect(
    frame: DataFrame,
    *,
    timeout: float | None,
    what: str,
    sites: Sequence[Site] = (),
    names: Sequence[str] | None = None,
) -> pa.Table:
    """Bring a frame's rows to the driver as Arrow, instants in UTC.

    Args:
        frame: the rows.
        timeout: seconds; None for no limit.
        what: how an error names them.
        sites: those that may be read, which an error may be of.
        names: how an error names its columns, where their own names are ours.

    Raises:
        SchemaError: a column holds text that is none, or a map with a key twice.
        RetrievalTimeoutError: the time ran out; the job was cancelled.
        RetrievalError: the job failed.
    """
    with translate_spark_errors(what, "while it ran", sites):
        table = run(frame.sparkSession, frame.toArrow, timeout=timeout, what=what)
    require_values(table, names or table.column_names, what)
    return in_utc(table)
