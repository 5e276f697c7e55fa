"""The version of ADLS's driver in a session, which has to be that of its Hadoop.

Another one may be loaded all the same, and then asks an account for what it does not have: it says that nothing is
there, where there are files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SessionError
from feast_hybrid.lakes.hadoop_cache import ABFS_DRIVERS
from feast_hybrid.spark.runtime import is_connect, jar_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_DRIVER_JAR = re.compile(r"hadoop-azure-(\d.*)\.jar")
#: The applications whose driver was found to be right.
_right: set[str | None] = set()


def require_driver_of_hadoop(spark: SparkSession) -> None:
    """Refuse a session of this process whose ``hadoop-azure`` is of another version than its Hadoop.

    A session without one is refused by Spark itself. A server of Spark Connect does not show which it has.

    Raises:
        SessionError: it is of another one.
    """
    if is_connect(spark) or (application := spark.conf.get("spark.app.id", None)) in _right:
        return
    found = _DRIVER_JAR.fullmatch(jar_of(spark, ABFS_DRIVERS["abfs"]) or "")
    if found is not None:
        hadoop = _hadoop_of(spark)
        if found[1] != hadoop:
            raise SessionError(
                f"this Spark session has hadoop-azure {found[1]}, but Hadoop {hadoop}: both have to be of one "
                "version, or files of ADLS are not found that are there. Start it with "
                f"spark.jars.packages=org.apache.hadoop:hadoop-azure:{hadoop}, and take the other one out of "
                "spark.jars and out of Spark's folder jars/."
            )
        _right.add(application)


def _hadoop_of(spark: Any) -> str:
    """The version of a session's Hadoop."""
    return str(spark._jvm.org.apache.hadoop.util.VersionInfo.getVersion())  # noqa: SLF001  # there is no other way
