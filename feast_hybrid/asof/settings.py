"""Settings of a Spark session, as the planner goes by them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.errors import PySparkException

from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.spark.sparks_reader import wants_sparks_reader

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def get_setting(session: SparkSession, name: str) -> str | None:
    """A session's setting or its default; None where this Spark has no such setting, or it is not set."""
    try:
        return session.conf.get(name)  # with a second argument, Spark's own default would not be given
    except PySparkException:
        return None


def parallelism_of(session: SparkSession) -> int:
    """How many tasks run at once, as far as the settings say it."""
    for name in ("spark.default.parallelism", "spark.sql.shuffle.partitions"):
        found = get_setting(session, name)
        if found is not None and found.isdigit():
            return int(found)
    return 8


def check_settings(session: SparkSession) -> Ineligible | None:
    """What in a session wants Spark's reader, if anything does."""
    reason = wants_sparks_reader(lambda name: get_setting(session, name))
    return None if reason is None else Ineligible(reason)
