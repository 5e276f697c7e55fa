"""Spark's classes in an archive that each JVM of a test maps, in place of loading them: half of a session's start.

Java calls it class data sharing. As a program it starts a session, does a bit of everything with it, and ends: its
JVM writes the archive. A JVM whose class path or version is another goes on without.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.spark.hadoop_azure import pyspark_home
from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Java programs of tests are short: what the second compiler makes is hardly ever run. Half of the processor time.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SECONDS = 240


def jvm_options() -> str:
    """The options of a test's JVMs, with an archive where there is one or one can be made."""
    java = find_java()
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    of_this_spark = f"{version} {pyspark_home()} {artifacts.pyspark_version()}"
    name = f"spark-classes-{hashlib.sha256(of_this_spark.encode()).hexdigest()[:12]}"
    archive = artifacts.cache_dir() / f"{name}.jsa"
    with artifacts.locked(name):
        if not archive.exists():
            _make(archive)
    # What Java says of an archive that it cannot use goes to a program's output otherwise.
    return f"{SHORT_LIVED} -XX:SharedArchiveFile={archive} -Xlog:disable" if archive.stat().st_size else SHORT_LIVED


def _make(archive: Path) -> None:
    """Make the archive; an empty file where it cannot be done, so that it is not tried for each run."""
    with _aside(archive) as new:
        options = f"{SHORT_LIVED} -XX:ArchiveClassesAtExit={new} -Xlog:disable"
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [sys.executable, "-m", __name__],
                env={**os.environ, "SPARK_SUBMIT_OPTS": options, "PYSPARK_PYTHON": sys.executable},
                stdin=subprocess.DEVNULL,
                capture_output=True,  # which ends with the JVM: it writes after its connection is closed
                check=False,
                timeout=SECONDS,
            )
        new.touch()
        new.replace(archive)


@contextlib.contextmanager
def _aside(archive: Path) -> Iterator[Path]:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        yield Path(folder) / archive.name


def _use_spark() -> None:
    """Have most classes loaded that a retrieval needs, and end the JVM in order."""
    import pandas as pd
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    builder: Any = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        rows = spark.createDataFrame(pd.DataFrame({"k": [1, 2, 3], "v": [0.5, None, 1.5]}))
        rows = rows.withColumn("ts", F.current_timestamp())
        for file_format in ("parquet", "orc", "csv", "json"):
            rows.write.partitionBy("k").format(file_format).save(f"{folder}/{file_format}")
            spark.read.format(file_format).load(f"{folder}/{file_format}").count()
        other = spark.read.parquet(f"{folder}/parquet").hint("merge")
        joined = rows.alias("a").join(other, "k").groupBy("k").agg(F.max(F.struct("a.ts", "a.v")))
        joined.toArrow()
        rows.mapInArrow(lambda batches: batches, rows.schema).toPandas()
        rows.createOrReplaceTempView("rows")
        spark.sql("select *, row_number() over (partition by k order by ts) as n from rows where v > 0").collect()
    jvm: Any = spark._jvm
    with contextlib.suppress(Exception):  # the JVM ends before it answers
        jvm.java.lang.System.exit(0)


if __name__ == "__main__":
    _use_spark()
