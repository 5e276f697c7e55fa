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

from feast_hybrid.spark.installed import pyspark_home
from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts
from feast_hybrid.testing.services import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

#: Java programs of tests are short: what the second compiler makes is hardly ever run. Half of the processor time.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SECONDS = 240


def jvm_options() -> str:
    """The options of a test's JVMs, with an archive where there is one or one can be made."""
    java = find_java()
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    of_this_spark = f"{version} {pyspark_home()} {artifacts.pyspark_version()} {Path(__file__).read_text()}"
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
    """Have most classes loaded that a retrieval needs, on a server of Spark Connect too, and end the JVM in order."""
    from pyspark.sql import SparkSession

    (port,) = free_ports(1)
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
        "spark.hadoop.ipc.client.connect.max.retries": "0",
    }
    builder: Any = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _use(spark)
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            [sys.executable, "-m", __spec__.name, f"sc://{HOST}:{port}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=SECONDS / 2,
        )
    jvm: Any = spark._jvm
    with contextlib.suppress(Exception):  # the JVM ends before it answers
        jvm.java.lang.System.exit(0)


def _use_connect(uri: str) -> None:
    """Do the same as a client."""
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(uri).create()
    _use(spark)
    spark.stop()


def _use(spark: SparkSession) -> None:
    import pandas as pd
    from pyspark.sql import functions as F

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
    with contextlib.suppress(Exception):  # no HDFS is there, but a client of it
        spark.read.parquet(f"hdfs://{HOST}:1/").count()


if __name__ == "__main__":
    _use_connect(sys.argv[1]) if sys.argv[1:] else _use_spark()
