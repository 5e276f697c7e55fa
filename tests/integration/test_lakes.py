"""The test lakes hold what Spark writes to them, by Spark's default committer, and give it back to any client.

The tests know nothing of how the servers run: ``LAKES`` says that.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.errors import TestServerError
from feast_hybrid.testing import AdlsLake, HdfsLake, SparkCluster, lakes, start_adls, start_spark
from feast_hybrid.testing import lake as lake_module
from feast_hybrid.testing.services import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.testing import Lake, Lakes


@pytest.fixture(scope="module")
def both() -> Iterator[Lakes]:
    with lakes() as started:
        yield started


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    with start_spark(cores=1) as started:
        yield started


@pytest.fixture(scope="module")
def spark(cluster: SparkCluster) -> Iterator[SparkSession]:
    """A session on the cluster: what tasks read and write, they do in another process and folder."""
    from pyspark.sql import SparkSession

    if SparkSession.getActiveSession() is not None:
        pytest.skip("a session of other tests is active in this process: run this file in a process of its own")
    builder = SparkSession.builder.appName("test_lakes")
    for key, value in cluster.session_conf().items():
        builder = builder.config(key, value)
    session = builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
    yield session
    session.stop()


@pytest.fixture(params=["hdfs", "adls"])
def lake(request: pytest.FixtureRequest, both: Lakes) -> Lake:
    chosen: Lake = getattr(both, request.param)
    return chosen


def folder(lake: Lake, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own, as the path part of a URI."""
    return f"/{request.node.name.split('[')[0]}"


def rows(spark: SparkSession, start: int, end: int) -> DataFrame:
    return spark.range(start, end).selectExpr("id", "id % 3 AS day", "CAST(id AS STRING) AS text")


def read(spark: SparkSession, lake: Lake, path: str) -> list[Any]:
    frame = spark.read.options(**lake.hadoop_options()).parquet(lake.uri + path)
    return sorted(tuple(row) for row in frame.select("id", "day", "text").collect())


def expected(*ids: int) -> list[Any]:
    return sorted((i, i % 3, str(i)) for i in ids)


def test_the_server_counts_what_is_read_of_a_file(lake: Lake, both: Lakes) -> None:
    filesystem = lake.filesystem()
    path = f"/{both.adls.container}/counted" if lake is both.adls else "/counted"
    filesystem.pipe_file(path, os.urandom(1_000_000))
    before = lake.bytes_read()
    filesystem.info(path)
    filesystem.ls(path.rpartition("/")[0])
    assert lake.bytes_read() == before
    filesystem.cat_file(path)
    # A checksum for each 512 bytes on HDFS, the headers of an answer on ADLS.
    assert 1_000_000 <= lake.bytes_read() - before <= 1_020_000


def test_a_plain_write_comes_back(spark: SparkSession, lake: Lake, request: pytest.FixtureRequest) -> None:
    path = folder(lake, request)
    rows(spark, 0, 10).write.options(**lake.hadoop_options()).parquet(lake.uri + path)
    assert read(spark, lake, path) == expected(*range(10))


def test_a_partitioned_write_comes_back(spark: SparkSession, lake: Lake, request: pytest.FixtureRequest) -> None:
    path = folder(lake, request)
    writer = rows(spark, 0, 10).write.options(**lake.hadoop_options()).partitionBy("day")
    writer.parquet(lake.uri + path)
    assert read(spark, lake, path) == expected(*range(10))


def test_an_append_to_partitions_adds_to_what_is_there(
    spark: SparkSession, lake: Lake, request: pytest.FixtureRequest
) -> None:
    path = folder(lake, request)
    for start, end in ((0, 6), (6, 9)):
        writer = rows(spark, start, end).write.options(**lake.hadoop_options()).partitionBy("day")
        writer.mode("append").parquet(lake.uri + path)
    assert read(spark, lake, path) == expected(*range(9))


def test_an_overwrite_of_partitions_leaves_nothing_of_what_was_there(
    spark: SparkSession, lake: Lake, request: pytest.FixtureRequest
) -> None:
    path = folder(lake, request)
    for start, end in ((0, 9), (100, 102)):
        writer = rows(spark, start, end).write.options(**lake.hadoop_options()).partitionBy("day")
        writer.mode("overwrite").parquet(lake.uri + path)
    assert read(spark, lake, path) == expected(100, 101)


def test_pyarrow_reads_it_through_fsspec_without_a_jvm(
    spark: SparkSession, lake: Lake, request: pytest.FixtureRequest
) -> None:
    import pyarrow.dataset as ds

    path = folder(lake, request)
    writer = rows(spark, 0, 10).write.options(**lake.hadoop_options()).partitionBy("day")
    writer.parquet(lake.uri + path)
    inside = path if isinstance(lake, HdfsLake) else f"{lake.container}{path}"  # type: ignore[attr-defined]
    table = ds.dataset(inside, filesystem=lake.filesystem(), format="parquet", partitioning="hive").to_table(
        columns=["id", "day", "text"]
    )
    assert sorted(tuple(row.values()) for row in table.to_pylist()) == expected(*range(10))


def test_executors_in_another_process_read_both_lakes_in_one_plan(
    spark: SparkSession, both: Lakes, cluster: SparkCluster, request: pytest.FixtureRequest
) -> None:
    frames = []
    for lake in both:
        path = lake.uri + folder(lake, request)
        rows(spark, 0, 10).write.options(**lake.hadoop_options()).parquet(path)
        frames.append(spark.read.options(**lake.hadoop_options()).parquet(path))
    joined = frames[0].join(frames[1].filter("id >= 4"), "id")
    assert sorted(row["id"] for row in joined.select("id").collect()) == list(range(4, 10))
    assert spark.conf.get("spark.master") == cluster.uri


def test_executors_run_python_functions(spark: SparkSession, cluster: SparkCluster) -> None:
    if not cluster.runs_python:
        pytest.skip("the image's Python is of another version than this one")
    frame = spark.range(4).mapInArrow(lambda batches: batches, "id long")
    assert sorted(row["id"] for row in frame.collect()) == [0, 1, 2, 3]


def test_a_lake_that_is_stopped_leaves_nothing_behind() -> None:
    lake = start_adls()
    where, key = lake.folder, lake.key_variable
    assert where is not None
    assert where.exists()
    assert os.environ[key]
    assert lake.site("cloud")["credential"]["account_key"] == {"env": key}
    lake.stop()
    lake.stop()
    assert not where.exists()
    assert key not in os.environ


def test_each_start_has_a_new_account_and_no_rows_of_the_one_before() -> None:
    lake = AdlsLake()
    with lake:
        first = lake.uri
        lake.filesystem().pipe(f"{lake.container}/left", b"1")
    with lake:
        assert lake.uri != first
        assert lake.filesystem().ls(lake.container) == []


@pytest.mark.parametrize("server", [HdfsLake, AdlsLake])
def test_a_port_that_another_program_takes_first_costs_a_second_start(
    server: type[Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = [other.getsockname()[1]]

        def free_ports_but_one(count: int) -> list[int]:
            return [taken.pop(), *free_ports(count - 1)] if taken else free_ports(count)

        monkeypatch.setattr(lake_module, "free_ports", free_ports_but_one)
        with server() as lake:
            assert not taken
            assert lake.uri
            lake.filesystem().ls("/" if server is HdfsLake else f"/{lake.container}")  # type: ignore[attr-defined]


def test_a_server_that_runs_is_not_started_twice(both: Lakes) -> None:
    with pytest.raises(TestServerError, match="runs already"):
        both.hdfs.start()
