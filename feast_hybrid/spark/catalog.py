"""What a session's catalogs say of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def describe(session: SparkSession, table: str) -> dict[str, str]:
    """What Spark says of a table in words, but for its columns, whose names may be any."""
    rows = [(row["col_name"], row["data_type"]) for row in session.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()]
    heads = [position for position, (name, _) in enumerate(rows) if name == "# Detailed Table Information"]
    return dict(rows[heads[-1] + 1 :]) if heads else {}
