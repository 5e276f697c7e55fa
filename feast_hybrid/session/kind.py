"""Which kind of session it is."""

from __future__ import annotations

from typing import Any


def is_connect(of_spark: Any) -> bool:
    """Whether a session or a frame is one of Spark Connect."""
    return type(of_spark).__module__.startswith("pyspark.sql.connect.")
