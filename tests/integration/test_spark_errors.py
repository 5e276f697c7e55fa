"""What Spark says of real failures: in a Python worker, in a thread of its own, and of an HDFS that denies access."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import LongType

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import RetrievalError, WriteError
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.spark.frames import collect
from tests.integration.places import Place, classic_only
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from tests.integration.conftest import MakeStore, Write

pytestmark = pytest.mark.connect


def failing(column: str) -> Column:
    """Fails on zero in a Python worker."""
    return F.udf(lambda value: 1 // value, LongType())(column)


def failure_of(frame: DataFrame) -> str:
    with pytest.raises(RetrievalError) as caught:
        collect(frame, timeout=None, what="the rows")
    assert type(caught.value) is RetrievalError
    return str(caught.value)


def test_a_function_that_fails_in_a_python_worker_is_named_by_its_exception(spark: SparkSession) -> None:
    frame = spark.range(1).select(failing("id").alias("n"))
    assert failure_of(frame) == "the rows (while it ran): ZeroDivisionError: integer division or modulo by zero"


def test_a_timeout_of_a_users_own_function_is_no_lakes(
    spark: SparkSession, make_store: MakeStore, onprem: Place, folder: str
) -> None:
    def ask_model() -> int:
        raise TimeoutError("the model is slow")

    frame = spark.range(1).select(F.udf(lambda _: ask_model(), LongType())("id").alias("n"))
    assert failure_of(frame) == "the rows (while it ran): TimeoutError: the model is slow"
    job = HybridSparkRetrievalJob(FrameRows(frame, "rows"), router=make_store().config.offline_store.router)
    with pytest.raises(WriteError, match=r"nothing was changed: .*TimeoutError: the model is slow"):
        job.persist(SavedDatasetHybridSparkStorage(path=f"{onprem.uri}{folder}/set"))


def test_what_fails_in_a_broadcast_is_told_by_its_cause(spark: SparkSession) -> None:
    days = spark.range(1).select(failing("id").alias("id"))
    frame = spark.range(3).join(F.broadcast(days), "id")
    assert failure_of(frame) == "the rows (while it ran): ZeroDivisionError: integer division or modulo by zero"


def test_what_fails_in_a_subquery_is_told_by_its_cause_and_its_words_say_nothing_of_a_lake(
    spark: SparkSession,
) -> None:
    frame = spark.sql("SELECT (SELECT max(raise_error('Task 403 does not exist')) FROM range(2)) AS n FROM range(1)")
    assert "[USER_RAISED_EXCEPTION] Task 403 does not exist" in failure_of(frame)


def test_a_broken_file_is_named_with_what_is_wrong_with_it(spark: SparkSession, onprem: Place, folder: str) -> None:
    onprem.put(f"{onprem.uri}{folder}/part-0.parquet", b"this is no Parquet at all")
    text = failure_of(spark.read.schema("n long").parquet(f"{onprem.uri}{folder}"))
    assert "part-0.parquet" in text
    assert "is not a Parquet file" in text


READ = """
import sys
from feast_hybrid.errors import StorageError
from feast_hybrid.spark.errors import translate_spark_errors
from pyspark.sql import SparkSession

spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
for file_format in ("parquet", "json"):
    try:
        with translate_spark_errors("source 'rows'", "site 'onprem'"):
            spark.read.format(file_format).load(sys.argv[1]).collect()
    except StorageError as error:
        print(f"{type(error).__name__}: {error}")
"""


@reliability(
    "HDFS",
    "permissions that deny a folder",
    "denied, and never taken for a folder that is not there",
    "denies access",
)
@classic_only("the user is the one of the process that reads")
def test_an_hdfs_that_denies_access_is_told_from_one_where_nothing_is(
    write: Write, onprem: Place, folder: str, promise: Row
) -> None:
    path = write(onprem, "rows", {"n": [1]})
    onprem.lake.filesystem().client.set_permission(path.removeprefix(onprem.uri), 0o000)
    done = subprocess.run(
        [sys.executable, "-c", READ, path],
        env={**os.environ, "HADOOP_USER_NAME": "stranger"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"AccessDeniedError: source 'rows': site 'onprem' {promise.reads}: .*Permission denied: user=stranger.*"
    lines = done.stdout.splitlines()
    assert [bool(re.fullmatch(said, line)) for line in lines] == [True, True], done.stdout + done.stderr[-3000:]
