"""The Spark session that all of Spark's contenders share, and what happens between two runs in it."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

THREADS = 2
SETTINGS = {
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.shuffle.partitions": "16",
    "spark.sql.join.asofJoin.enabled": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxBytesPerBatch": "2147483647",  # as docs/configuration.md recommends
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.log.level": "OFF",
    "spark.driver.extraJavaOptions": "-Duser.timezone=UTC",  # without it times in ORC are refused
}
#: How long a cancelled job's tasks may still run.
GRACE = 30.0


class OverLimitError(Exception):
    """A run took longer than it may, and was cancelled."""


class StuckError(Exception):
    """A run was cancelled, but its tasks go on: nothing can be measured beside them."""


def start_session(heap: str, more: Mapping[str, str]) -> SparkSession:
    """A session on two threads of this machine."""
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master(f"local[{THREADS}]").appName("feast-hybrid benchmarks")
    for key, value in {**SETTINGS, "spark.driver.memory": heap, **more}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def warm_up(spark: SparkSession, path: str, key: str) -> None:
    """Load what every query of Spark's needs, so that it is not in the first contender's first run."""
    counts = spark.read.parquet(path).groupBy(key).count()
    counts.join(counts.limit(100), key).write.format("noop").mode("overwrite").save()


def tidy(spark: SparkSession) -> None:
    """Take away what a run leaves behind, so that the next one begins as it did."""
    for table in spark.catalog.listTables():
        if table.isTemporary:
            spark.catalog.dropTempView(table.name)
    spark.catalog.clearCache()
    # Feast's store sets it, and names in backquotes are patterns from then on.
    spark.conf.unset("spark.sql.parser.quotedRegexColumnNames")
    jvm: Any = spark._jvm
    jvm.System.gc()


def stages_so_far(spark: SparkSession) -> int:
    """The number that Spark gives to the next stage, as far as it tells."""
    return max((stage.stageId() for stage in _stages(spark)), default=-1) + 1


def spilled(spark: SparkSession, since: int) -> int:
    """The bytes that Spark's stages wrote to disk for want of memory, from a number on: it forgets old stages."""
    return sum(stage.diskBytesSpilled() for stage in _stages(spark) if stage.stageId() >= since)


def _stages(spark: SparkSession) -> list[Any]:
    jvm: Any = spark._jvm
    context: Any = spark.sparkContext
    none = context._gateway.new_array(jvm.double, 0)
    stages = context._jsc.sc().statusStore().stageList(None, False, False, none, jvm.java.util.ArrayList())
    return [stages.apply(number) for number in range(stages.size())]


@contextmanager
def limited(spark: SparkSession, seconds: float | None) -> Iterator[None]:
    """Cancel Spark's jobs when the time is over.

    Raises:
        OverLimitError: it was.
        StuckError: and the tasks do not stop.
    """
    if seconds is None:
        yield
        return
    done, over = threading.Event(), threading.Event()

    def watch() -> None:
        if not done.wait(seconds):
            over.set()
            while not done.wait(0.5):  # again and again: there may be no job just now
                spark.sparkContext.cancelAllJobs()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    except Exception:
        if not over.is_set():
            raise
    finally:
        done.set()
        watching.join()
    if over.is_set():
        _wait_for_tasks(spark)
        raise OverLimitError(f"took longer than {seconds:.0f} s")


def _wait_for_tasks(spark: SparkSession) -> None:
    context: Any = spark.sparkContext
    deadline = time.monotonic() + GRACE
    while any(e.numRunningTasks() for e in context._jsc.sc().statusTracker().getExecutorInfos()):
        if time.monotonic() > deadline:
            raise StuckError(f"its tasks still run {GRACE:.0f} s after they were cancelled")
        time.sleep(0.5)
