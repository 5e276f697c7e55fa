"""Rows from Spark to Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_hybrid.arrow.maps import find_key_twice
from feast_hybrid.arrow.utc import in_utc
from feast_hybrid.arrow.validity import first_invalid
from feast_hybrid.errors import SchemaError
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
    _require_values(table, names or table.column_names, what)
    return in_utc(table)


def _require_values(table: pa.Table, names: Sequence[str], what: str) -> None:
    """Refuse what Spark and Arrow carry, and Python fails on without saying where, or drops.

    Raises:
        SchemaError: text that is none, or a map with a key twice; it names the column and the first row.
    """
    for name, column in zip(names, table.columns, strict=True):
        of_column = f"of column {name!r}"
        if "string" in str(column.type) and (invalid := first_invalid(column)) is not None:
            raise SchemaError(
                f"{what}: row {invalid[0]} {of_column} is no UTF-8 text; write it anew, as text or as binary."
            )
        if "map<" in str(column.type) and (twice := find_key_twice(column.combine_chunks())) is not None:
            raise SchemaError(
                f"{what}: row {twice[0]} {of_column} has a map with the key {twice[1]!r} twice; write it anew with "
                "each key once."
            )
