"""The session to work in: the active one, one on a Spark Connect server, or a new one."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession, is_remote

from feast_hybrid.errors import SessionError
from feast_hybrid.lakes import LakeType, Router
from feast_hybrid.spark.connect import is_expired, remote_session
from feast_hybrid.spark.hadoop_azure import with_hadoop_azure
from feast_hybrid.spark.java import find_java
from feast_hybrid.spark.kerberos import check_files, ensure_signed_in, session_settings, sign_in
from feast_hybrid.spark.progress import is_watched
from feast_hybrid.spark.redaction import (
    keep_secrets_out_of_plans,
    redact_logs,
    unlogged,
    warn_of_shown_secrets,
    with_redaction,
)
from feast_hybrid.spark.runtime import classic_runs, is_connect
from feast_hybrid.spark.settings import same_setting

if TYPE_CHECKING:
    from feast_hybrid.spark.config import SparkConfig

logger = logging.getLogger(__name__)

#: How long a task waits for an executor on a host that has its data.
LOCALITY_WAIT = "spark.locality.wait"
#: The sessions in which this was looked at.
_looked_at: weakref.WeakSet[SparkSession] = weakref.WeakSet()

#: Held while a session starts in this process, so that threads share it.
_starting = threading.Lock()


def get_session(config: SparkConfig, router: Router | None = None, lakes: Iterable[LakeType] = ()) -> SparkSession:
    """The session to work in: the active one, else the one that the configuration asks for, else a local one.

    Args:
        config: what to start; where a session is active already, that one wins, and a setting that differs is warned
            of.
        router: knows the configured sites, whose settings a session is started with; None where there are none.
        lakes: the kinds of storage that will be read, besides the configured ones: a session that is started
            here gets ``hadoop-azure`` where ADLS may be among them.

    Raises:
        SessionError: no session can be had; it says what to set.
        CredentialError: the token for a server is not there.
        MissingDependencyError: a server is to be used, and Spark Connect's packages are missing; or a session is to
            be started here, and there is no Java, or one that is too old.
        StorageError: a site has Kerberos, and its principal cannot be signed in.
    """
    router, to_read = router or Router(), set(lakes)
    redact_logs()
    if config.remote:
        spark = remote_session(config.remote, config.conf, token=config.resolved_token())
    else:
        spark = _active_session(config) or _start_session(config, router, to_read)
    if not is_connect(spark):  # a server signs in itself
        ensure_signed_in(spark, router)
    keep_secrets_out_of_plans(spark)
    warn_of_shown_secrets(spark)
    warn_of_waiting_for_hosts(spark, to_read | router.lakes)
    return spark


def _active_session(config: SparkConfig) -> SparkSession | None:
    spark = SparkSession.getActiveSession()
    # A thread that has run no query yet has no active session of its own.
    if spark is None and is_remote():
        try:
            spark = SparkSession.active()
        except PySparkException:  # there is no other way to ask
            return None
    elif spark is None:
        if not classic_runs():
            return None
        spark = SparkSession.builder.getOrCreate()
    if is_expired(spark):
        return None
    wanted = dict(config.conf)
    if config.master:
        wanted["spark.master"] = config.master
    for key, value in wanted.items():
        with unlogged():  # a setting may be a secret
            found = spark.conf.get(key, None)
        if not same_setting(key, value, found):
            # The values stay out of the message.
            warnings.warn(
                f"offline_store.spark sets {key}, but a Spark session with another value is active and is "
                "used as it is. Stop it first, or set it there.",
                UserWarning,
                stacklevel=4,
            )
    return spark


def _start_session(config: SparkConfig, router: Router, lakes: set[LakeType]) -> SparkSession:
    url = os.environ.get("SPARK_REMOTE", "")
    if url.startswith("sc://") and not config.master:
        return remote_session(url, config.conf, "SPARK_REMOTE of the environment")
    if url or "SPARK_CONNECT_MODE_ENABLED" in os.environ:
        setting = "SPARK_REMOTE" if url else "SPARK_CONNECT_MODE_ENABLED"
        raise SessionError(
            f"the environment sets this process to Spark Connect ({setting}; a process has it from the one that "
            "started it, too), but no session is active and no server is named: set offline_store.spark.remote to "
            f"sc://host:port, or take {setting} out of the environment to work in a Spark session of this process."
        )
    if is_remote():
        raise SessionError(
            "the installed PySpark is the client of Spark Connect alone, but no session is active and no server is "
            "named: set offline_store.spark.remote to sc://host:port, or install pyspark in place of pyspark-client "
            "to work in a Spark session of this process."
        )
    with _starting:
        # Another thread may have started one in the meantime.
        return _active_session(config) or _start_classic(config, router, lakes)


def _start_classic(config: SparkConfig, router: Router, lakes: set[LakeType]) -> SparkSession:
    _make_forks_safe()
    if "PYSPARK_GATEWAY_PORT" not in os.environ:  # else the JVM runs already: spark-submit started this process
        find_java()
    settings = with_redaction(config.conf)
    may_read_adls = LakeType.ADLS in (lakes | router.lakes) or not router.sites
    if may_read_adls:
        settings = with_hadoop_azure(settings)
    master = config.master or "local[*]"
    settings = {**session_settings(router, master), **settings}
    if master.startswith("local"):
        # Local workers must be of this environment; a cluster's Python is the cluster's to say.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        settings.setdefault(LOCALITY_WAIT, "0s")  # else it may wait for ever: see warn_of_waiting_for_hosts
    # Else each column that is made asks the JVM some ten questions, to say of an error which line made the column: a
    # line of ours, which helps nobody.
    settings.setdefault("spark.python.sql.dataFrameDebugging.enabled", "false")
    # Else what Spark writes has times of 96 bits, of which other readers make other years, in silence.
    settings.setdefault("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    # Spark's own progress bar, where somebody sees it: else its control characters end up in a log.
    settings.setdefault("spark.ui.showConsoleProgress", str(is_watched()).lower())
    builder = SparkSession.builder.appName(config.app_name).master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    check_files(router)
    logger.info("Starting a Spark session on %s", master)
    spark = builder.getOrCreate()
    sign_in(spark, router)
    return spark


def _make_forks_safe() -> None:
    """Drop cached HDFS clients before PySpark forks.

    fsspec empties its instance cache in a forked child; an hdfs-native client that dies there waits for ever for
    threads that were not forked, and PySpark's launch with it.
    """
    if (driver := sys.modules.get("hdfs_native.fsspec")) is not None:
        driver.HdfsFileSystem.clear_instance_cache()
        driver.ViewfsFileSystem.clear_instance_cache()


def warn_of_waiting_for_hosts(spark: SparkSession, lakes: Iterable[LakeType]) -> None:
    """Warn of a local session that waits for HDFS's hosts, once, where HDFS is among what it reads.

    A task that reads a file is kept for an executor on one of the file's hosts until a time is over, and a local
    session, which has no such executor, does not look at the clock: its only occasion is another task that ends.
    """
    if LakeType.HDFS not in lakes or spark in _looked_at:
        return
    _looked_at.add(spark)
    wait = spark.conf.get(LOCALITY_WAIT, None) or "3s"
    if str(spark.conf.get("spark.master", None)).partition("[")[0] == "local" and re.match("0+[a-z]*$", wait) is None:
        warnings.warn(
            f"This local Spark session keeps tasks that read HDFS waiting for HDFS's hosts ({LOCALITY_WAIT}={wait}), "
            f"perhaps for ever. Start it with {LOCALITY_WAIT}=0s; sessions that feast-hybrid starts have that.",
            UserWarning,
            stacklevel=4,
        )
