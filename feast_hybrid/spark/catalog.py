"""What a session's catalogs say of a table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from feast_hybrid.asof import Buckets

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def describe(session: SparkSession, table: str) -> dict[str, str]:
    """What Spark says of a table in words, but for its columns, whose names may be any."""
    rows = [(row["col_name"], row["data_type"]) for row in session.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()]
    heads = [position for position, (name, _) in enumerate(rows) if name == "# Detailed Table Information"]
    return dict(rows[heads[-1] + 1 :]) if heads else {}


def buckets(said: Mapping[str, str]) -> Buckets | None:
    """How Spark has bucketed a table, which it has not done if it is Hive's: that one hashes otherwise.

    Args:
        said: As :func:`describe` gives it.
    """
    number = said.get("Num Buckets", "")
    columns = re.findall(r"`((?:[^`]|``)+)`", said.get("Bucket Columns", ""))
    if not number.isdigit() or not columns or said.get("Provider", "").lower() == "hive":
        return None
    return Buckets(columns=tuple(name.replace("``", "`") for name in columns), number=int(number))
