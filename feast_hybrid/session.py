"""The Spark session: finding or starting it, child sessions, cancelling. The only module that knows which kind
of session it has, Classic or Connect.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from feast_hybrid.errors import RetrievalTimeoutError
from feast_hybrid.pyspark_install import hadoop_version, pyspark_home
from feast_hybrid.sites import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.config import HybridSparkOfflineStoreConfig

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: What of a lake's options must not be read in Spark's UI, plans and event log.
_SECRET_OPTIONS = r"(?i)fs\.azure\.(account\.(key|oauth2\.client\.secret)|sas\.fixed\.token)"
_REDACTION = "spark.sql.redaction.options.regex"

#: For how long a job is told to stop, and how often: 10 seconds, five times a second.
_CANCEL_TRIES, _CANCEL_PAUSE = 50, 0.2

#: Settings that Spark rewrites when it starts.
_FILE_LISTS = ("spark.jars", "spark.files", "spark.submit.pyFiles")
_JAVA_OPTIONS = ("spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions")
_ORIGIN = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")

_starting = threading.Lock()
_remotes: dict[tuple[str, str], SparkSession] = {}


def get_session(config: HybridSparkOfflineStoreConfig, lakes: Iterable[Lake] = ()) -> SparkSession:
    """The session to work in: the active one, else the one that the configuration asks for, else a local one.

    Args:
        config: its ``spark`` says what to start; where a session is active already, that one wins, and a setting
            that differs is warned of.
        lakes: the kinds of storage that will be read, besides the configured ones: a session that is started
            here gets ``hadoop-azure`` where ADLS may be among them.
    """
    if config.spark.remote:
        spark = _remote_session(config)
    else:
        with _starting:
            spark = _active_session(config) or _start_session(config, set(lakes))
    keep_secrets_out_of_plans(spark)
    return spark


def is_connect(spark: SparkSession) -> bool:
    """Whether the session speaks to a Spark Connect server."""
    return "connect" in type(spark).__module__


def parallelism(spark: SparkSession) -> int | None:
    """How many tasks run at once, where the session knows it: a Connect client does not."""
    return None if is_connect(spark) else int(spark.sparkContext.defaultParallelism)


def tasks_run_here(spark: SparkSession) -> bool:
    """Whether tasks run on this machine with this Python, and so can do what this process can."""
    return not is_connect(spark) and str(spark.sparkContext.master).partition("[")[0] == "local"


def _active_session(config: HybridSparkOfflineStoreConfig) -> SparkSession | None:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None:
        if SparkContext._active_spark_context is None:
            return None
        # A thread that has run no query yet has no active session of its own.
        spark = SparkSession.builder.getOrCreate()
    if not is_connect(spark):
        wanted = dict(config.spark.conf)
        if config.spark.master:
            wanted["spark.master"] = config.spark.master
        for key, value in wanted.items():
            if not same_setting(key, value, spark.conf.get(key, None)):
                # The values stay out of the message: a setting may be a secret.
                warnings.warn(
                    f"offline_store.spark sets {key}, but a Spark session with another value is active and is "
                    "used as it is. Stop it first, or set it there.",
                    UserWarning,
                    stacklevel=4,
                )
    return spark


def same_setting(key: str, wanted: str, found: str | None) -> bool:
    """Whether a session has the value that was asked for, in the spelling that Spark gives it when it starts."""
    if found is None or found == wanted:
        return found == wanted
    if key == "spark.sql.warehouse.dir":
        return _same_place(wanted, found)
    if key in _FILE_LISTS:  # the jars of spark.jars.packages are added to spark.jars
        there = [place.strip() for place in found.split(",")]
        return all(any(_same_place(place.strip(), other) for other in there) for place in wanted.split(","))
    # Spark puts its own options before the ones that were given.
    return key in _JAVA_OPTIONS and found.endswith(f" {wanted}")


def _same_place(wanted: str, found: str) -> bool:
    if _ORIGIN.match(wanted):
        wanted, found = (re.sub("^file:///", "file:/", place).rstrip("/") for place in (wanted, found))
        return wanted == found
    return _ORIGIN.sub("", found).rstrip("/") == os.path.abspath(wanted)  # Spark has put fs.defaultFS before it


def _start_session(config: HybridSparkOfflineStoreConfig, lakes: set[Lake]) -> SparkSession:
    from pyspark.sql import SparkSession

    settings = dict(config.spark.conf)
    for site in config.sites:
        settings = {**site.session_conf(), **settings}
    may_read_adls = Lake.ADLS in (lakes | config.router.lakes) or not config.sites
    if may_read_adls:
        settings = with_hadoop_azure(settings)
    master = config.spark.master or "local[*]"
    if master.startswith("local"):
        # Local workers must be of this environment; a cluster's Python is the cluster's to say.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(config.spark.app_name).master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    logger.info("Starting a Spark session on %s", master)
    _make_forks_safe()
    return builder.getOrCreate()


def _make_forks_safe() -> None:
    """Drop cached HDFS clients before PySpark forks.

    fsspec empties its instance cache in a forked child; an hdfs-native client that dies there waits for ever for
    threads that were not forked, and PySpark's launch with it.
    """
    if "hdfs_native.fsspec" in sys.modules:
        from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem

        HdfsFileSystem.clear_instance_cache()
        ViewfsFileSystem.clear_instance_cache()


def _remote_session(config: HybridSparkOfflineStoreConfig) -> SparkSession:
    from pyspark.sql import SparkSession

    remote = config.spark.remote
    assert remote is not None
    key = (remote, repr(sorted(config.spark.conf.items())))
    with _starting:
        if key not in _remotes:
            spark = SparkSession.builder.remote(remote).create()
            for name, value in config.spark.conf.items():
                spark.conf.set(name, value)
            _remotes[key] = spark
        return _remotes[key]


def with_hadoop_azure(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings with the ABFS driver of the bundled Hadoop's version, unless they have one already."""
    merged = dict(settings)
    given = " ".join(
        merged.get(key, "") for key in ("spark.jars", "spark.jars.packages", "spark.driver.extraClassPath")
    )
    bundled = any((pyspark_home() / "jars").glob("hadoop-azure-*.jar"))
    if "hadoop-azure" in given or bundled:
        return merged
    packages = [package for package in merged.get("spark.jars.packages", "").split(",") if package]
    packages.append(f"org.apache.hadoop:hadoop-azure:{hadoop_version()}")
    merged["spark.jars.packages"] = ",".join(packages)
    return merged


def keep_secrets_out_of_plans(spark: SparkSession) -> None:
    """Have Spark redact the lakes' secrets where it writes options down; what was set before is kept."""
    before = spark.conf.get(_REDACTION, "") or ""
    if _SECRET_OPTIONS in before:
        return
    spark.conf.set(_REDACTION, f"{before}|{_SECRET_OPTIONS}" if before else _SECRET_OPTIONS)


def child_session(spark: SparkSession, settings: Mapping[str, str]) -> SparkSession:
    """A session beside this one: its own views and settings, the same catalogs and executors.

    It starts with this session's runtime settings, then takes ``settings``.
    """
    child = _connect_again(spark) if is_connect(spark) else spark.newSession()
    for key, value in _runtime_settings(spark).items():
        child.conf.set(key, value)
    for key, value in settings.items():
        child.conf.set(key, value)
    keep_secrets_out_of_plans(child)
    return child


def _connect_again(spark: Any) -> SparkSession:
    again: SparkSession = spark.builder.remote(spark.client._builder.url).create()
    return again


def _runtime_settings(spark: SparkSession) -> dict[str, str]:
    """The settings of a session that may be set on another."""
    return {
        key: value
        for key, value in spark.conf.getAll.items()
        if value is not None and re.match(r"spark\.sql\.", key) and spark.conf.isModifiable(key)
    }


def run(spark: SparkSession, action: Callable[[], T], *, timeout: float | None, what: str) -> T:
    """Run an action of Spark's that may be cancelled.

    Args:
        spark: the session in which the action runs.
        action: what to run.
        timeout: seconds; None for no limit.
        what: how an error names it.

    Raises:
        RetrievalTimeoutError: the time ran out. The job was told to stop.
    """
    if timeout is None:
        return action()
    tag = f"feast-hybrid-{uuid.uuid4().hex}"
    outcome: dict[str, Any] = {}

    def tagged() -> None:
        try:
            _tag_jobs(spark, tag)
            outcome["result"] = action()
        except BaseException as error:
            outcome["error"] = error

    thread = threading.Thread(target=tagged, name=tag, daemon=True)
    thread.start()
    try:
        thread.join(timeout)
    finally:
        late = thread.is_alive()
        # Again and again: Spark may still be planning, and cancelling knows only the jobs that have begun.
        for _ in range(_CANCEL_TRIES):
            if not thread.is_alive():
                break
            _cancel_jobs(spark, tag)
            thread.join(_CANCEL_PAUSE)
    if late:
        raise RetrievalTimeoutError(f"{what} did not end within {timeout:g} s and was cancelled.")
    if "error" in outcome:
        raise outcome["error"]
    result: T = outcome["result"]
    return result


def _tag_jobs(spark: SparkSession, tag: str) -> None:
    """Tag what this thread runs from now on.

    Classic collects Arrow in a JVM thread of its own, which inherits the context's tags but not the session's.
    """
    if is_connect(spark):
        spark.addTag(tag)
    else:
        spark.sparkContext.addJobTag(tag)


def _cancel_jobs(spark: SparkSession, tag: str) -> None:
    if is_connect(spark):
        spark.interruptTag(tag)
    else:
        spark.sparkContext.cancelJobsWithTag(tag)
