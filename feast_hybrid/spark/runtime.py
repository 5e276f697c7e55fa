"""What a session runs on: Spark Classic in this process, or a server of Spark Connect."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from pyspark.util import is_remote_only

if not is_remote_only():  # PySpark's client for Connect alone has no such class
    from pyspark import SparkContext


def is_connect(of_spark: Any) -> bool:
    """Whether a session or a frame is one of Spark Connect."""
    return type(of_spark).__module__.startswith("pyspark.sql.connect.")


def classic_runs() -> bool:
    """Whether a Spark Classic session runs in this process; never with PySpark's client for Connect alone."""
    return not is_remote_only() and SparkContext._active_spark_context is not None


def works_on_server() -> bool:
    """Whether a session of this process is, or would be, one on a server of Spark Connect."""
    is_set = "SPARK_CONNECT_MODE_ENABLED" in os.environ or os.environ.get("SPARK_REMOTE")
    return is_remote_only() or bool(is_set)


def default_filesystem() -> str | None:
    """``fs.defaultFS`` of the Spark Classic session that runs in this process; None where none does."""
    if not classic_runs():
        return None
    context: Any = SparkContext._active_spark_context
    found = context._jsc.hadoopConfiguration().get("fs.defaultFS")
    return str(found) if found else None


def parallelism(spark: Any) -> int | None:
    """How many tasks run at once, where the session knows it: a Connect client does not."""
    return None if is_connect(spark) else int(spark.sparkContext.defaultParallelism)


def tasks_run_here(spark: Any) -> bool:
    """Whether tasks run on this machine, and so find the files of this process."""
    return not is_connect(spark) and str(spark.sparkContext.master).partition("[")[0] == "local"


def jar_of(spark: Any, class_name: str) -> str | None:
    """The name of the jar that a session of this process has a class from; None where it has no such class."""
    with suppress(Exception):  # ClassNotFoundException, in py4j's clothes
        found = spark._jvm.org.apache.spark.util.Utils.classForName(class_name, True, False)
        return str(found.getProtectionDomain().getCodeSource().getLocation().getPath()).rpartition("/")[2]
    return None
