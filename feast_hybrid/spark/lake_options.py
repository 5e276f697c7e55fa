"""The Hadoop settings with which Spark reads and writes a lake: the site's, and an end to the waiting for ADLS.

By itself Hadoop's ABFS driver tries an account that does not answer for a quarter of an hour. Here it sends a request
four times, with pauses of about 5, 12 and 12 s. Spark looks twice at a path before it says that it cannot read it: so
it says after a minute that an account refuses connections, after 100 s that one is silent, and half a minute in which
one is busy is carried. What the site's options, or the session's Hadoop configuration, say of one of these settings
counts more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feast_hybrid.lakes.timeouts import BLOB_READ_TIMEOUT, BLOB_RETRIES
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.spark.runtime import is_connect
from feast_hybrid.spark.sql_functions import SESSION_SETTINGS, WARNED_SETTINGS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.lakes import Location, Router

#: Times in milliseconds. The n-th pause is the shortest one and (2^n - 1) times the backoff, more or less by a fifth
#: of it, and at most the longest one.
ABFS_LIMITS = {
    BLOB_RETRIES: "3",
    "fs.azure.io.retry.min.backoff.interval": "1000",
    "fs.azure.io.retry.backoff.interval": "4000",
    "fs.azure.io.retry.max.backoff.interval": "12000",
    BLOB_READ_TIMEOUT: "5000",
}


def location_options(spark: SparkSession, location: Location) -> dict[str, str]:
    """The settings for a reader or writer of one place, secrets resolved.

    Raises:
        CredentialError: a secret is not there.
    """
    limits = _limits(spark) if location.lake is LakeType.ADLS else {}
    return {**limits, **location.hadoop_options}


def session_options(spark: SparkSession, router: Router) -> dict[str, str]:
    """The settings for a session beside ``spark`` that reads tables and queries: all sites', and what SQL text means.

    Raises:
        CredentialError: a secret is not there, or two sites want one setting to differ.
    """
    limits = _limits(spark) if LakeType.ADLS in router.lakes else {}
    return {**limits, **router.hadoop_options(), **SESSION_SETTINGS, **_undone(spark)}


def _undone(spark: SparkSession) -> dict[str, str]:
    """What a session may have set of text, set back; left alone where it is not, since Spark warns of the setting."""
    return {key: "false" for key in WARNED_SETTINGS if spark.conf.get(key, "false") != "false"}


def _limits(spark: SparkSession) -> Mapping[str, str]:
    """The limits that nobody has set for the session."""
    if is_connect(spark):
        given = spark.conf.getAll
        return {
            key: value
            for key, value in ABFS_LIMITS.items()
            if key not in given and f"spark.hadoop.{key}" not in given
        }
    context: Any = spark.sparkContext
    hadoop = context._jsc.hadoopConfiguration()
    return {
        key: value
        for key, value in ABFS_LIMITS.items()
        if hadoop.get(key) is None and spark.conf.get(key, None) is None
    }
