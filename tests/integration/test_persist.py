"""Saved datasets on either lake: whole or not at all."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from feast import Field
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64
from pyarrow.fs import FSSpecHandler, PyFileSystem

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import (
    NotSupportedError,
    RetrievalError,
    RetrievalTimeoutError,
    SourceNotFoundError,
    WriteError,
)
from feast_hybrid.lakes import replace, replace_adls
from feast_hybrid.retrieval.job import FrameRows, HybridSparkRetrievalJob
from feast_hybrid.sources.reader import Reader
from feast_hybrid.spark.jobs import run
from feast_hybrid.testing import Lakes
from tests.integration.jobs import Jobs, ended
from tests.integration.places import Place, Places, at, entity, format_jars, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write

pytestmark = pytest.mark.connect

ROWS = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [at(1), at(2)]})


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    driver = entity("driver", join_key="driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [at(0), at(0)], "trips": [10, 20]}
    return make_store(driver, view("stats", source("stats_rows", write(onprem, "stats", rows)), driver))


def saved(store: FeatureStore, name: str) -> list[tuple[Any, ...]]:
    frame = store.get_saved_dataset(name).to_df()
    return sorted(zip(frame["driver_id"], frame["trips"], strict=True))


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_dataset_is_saved_read_back_and_replaced(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/out/set")
    job = retrieve(store, ROWS, ["stats:trips"])
    store.create_saved_dataset(job, "set", storage)
    assert saved(store, "set") == [(1, 10), (2, 20)]

    fewer = retrieve(store, ROWS[:1], ["stats:trips"])
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="allow_overwrite=True"):
        fewer.persist(storage)
    assert saved(store, "set") == [(1, 10), (2, 20)]

    fewer.persist(storage, allow_overwrite=True)
    assert saved(store, "set") == [(2, 20)]
    assert place.names(f"{place.uri}{folder}/out") == ["set"]


def test_maps_and_structs_of_a_dataset_come_back_as_such(
    make_store: MakeStore, write: Write, lakes_to_test: Places, folder: str
) -> None:
    shares = pa.array([[("x", 1)], None], pa.map_(pa.string(), pa.int64()))
    visits = pa.array([{"days": [1, 2]}, None], pa.struct([("days", pa.list_(pa.int64()))]))
    rows = {"driver_id": [1, 2], "event_timestamp": [at(0), at(0)], "shares": shares, "visits": visits}
    driver = entity("driver", join_key="driver_id")
    store = make_store(
        driver, view("stats", source("rows", write(lakes_to_test.onprem, "rows", pa.table(rows))), driver)
    )
    storage = SavedDatasetHybridSparkStorage(path=f"{lakes_to_test.cloud.uri}{folder}/set")
    store.create_saved_dataset(retrieve(store, ROWS, ["stats:shares", "stats:visits"]), "set", storage)
    read = store.get_saved_dataset("set").to_arrow()
    assert "__dummy_id" not in read.column_names
    assert (read["shares"].type, read["visits"].type) == (shares.type, visits.type)
    frame = read.to_pandas(maps_as_pydicts="strict").sort_values("driver_id")
    assert frame["shares"].tolist() == [{"x": 1}, None]
    assert store.get_saved_dataset("set").to_df()["shares"].dropna().tolist() == [{"x": 1}]


def test_a_dataset_is_saved_as_a_table(store: FeatureStore, spark: SparkSession) -> None:
    storage = SavedDatasetHybridSparkStorage(table="saved_trips", site="onprem")
    try:
        store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "as_table", storage)
        assert saved(store, "as_table") == [(1, 10), (2, 20)]
    finally:
        spark.sql("DROP TABLE IF EXISTS saved_trips")


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_write_that_fails_leaves_what_was_there(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str, spark: SparkSession
) -> None:
    from pyspark.sql import functions as F

    place: Place = getattr(lakes_to_test, role)
    storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/out/set")
    store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "set", storage)

    failing = spark.range(3).select(F.when(F.col("id") == 2, F.raise_error(F.lit("no"))).alias("never"))
    job = HybridSparkRetrievalJob(FrameRows(failing, "rows"), router=store.config.offline_store.router)
    with pytest.raises(WriteError, match="nothing was changed"):
        job.persist(storage, allow_overwrite=True)
    assert saved(store, "set") == [(1, 10), (2, 20)]
    assert place.names(f"{place.uri}{folder}/out") == ["set"]


@pytest.mark.parametrize("role", ["onprem", "cloud"])
@pytest.mark.parametrize("file_format", ["parquet", "orc", "json", "csv"])
def test_every_format_that_spark_writes_holds_a_dataset(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str, file_format: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    text = file_format in ("json", "csv")  # which say nothing of types: Spark has to guess
    options = {"csv": {"header": "true", "inferSchema": "true"}, "json": {"inferTimestamp": "true"}}
    storage = SavedDatasetHybridSparkStorage(
        path=f"{place.uri}{folder}/set", file_format=file_format, options=options.get(file_format)
    )
    for _ in range(2):
        job = retrieve(store, ROWS, ["stats:trips"])
        store.create_saved_dataset(job, "set", storage, allow_overwrite=True)
        assert saved(store, "set") == [(1, 10), (2, 20)]
    times = store.get_saved_dataset("set").to_df()["event_timestamp"]
    assert text or set(times) == {at(1), at(2)}


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_readers_see_the_old_rows_or_the_new_or_an_error_and_never_a_part(
    store: FeatureStore, lakes_to_test: Places, spark: SparkSession, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/set"
    router = store.config.offline_store.router
    storage = SavedDatasetHybridSparkStorage(path=uri)
    generations: list[tuple[int, int]] = []
    failures: list[str] = []
    done = threading.Event()

    def save(generation: int) -> None:
        # Files of many sizes in each generation, and another number of them.
        frame = spark.range(0, 60, 1, 2 + generation % 2).selectExpr("id", f"{generation} as generation")
        job = HybridSparkRetrievalJob(FrameRows(frame, "rows"), router=router)
        job.persist(storage, allow_overwrite=True)

    def watch(read: Callable[[], list[int]]) -> None:
        while not done.is_set():
            try:
                found = read()
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            else:
                generations.append(next(iter(Counter(found).items())) if len(set(found)) == 1 else (-1, len(found)))

    def with_pyarrow() -> list[int]:
        filesystem = PyFileSystem(FSSpecHandler(place.lake.filesystem()))
        found: list[int] = ds.dataset(place.inside(uri), filesystem=filesystem).to_table()["generation"].to_pylist()
        return found

    def with_spark() -> list[int]:
        source = HybridSparkSource(name="set", path=uri)
        return [row.generation for row in Reader(spark, router).read(source).collect()]

    save(0)
    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(watch, read) for read in (with_pyarrow, with_spark)]
        try:
            for generation in range(1, 7):
                save(generation)
        finally:
            done.set()
        for each in watching:
            each.result()
    assert {count for _, count in generations} == {60}
    seen = [generation for generation, _ in generations]
    assert len(set(seen)) > 2
    assert set(seen) <= set(range(7))
    assert set(with_pyarrow()) == set(with_spark()) == {6}
    assert place.names(f"{place.uri}{folder}") == (["set", "stats"] if role == "onprem" else ["set"])


def test_on_hdfs_what_a_dead_writer_moved_away_is_named_and_put_back(
    store: FeatureStore, lakes: Lakes, onprem: Place, folder: str
) -> None:
    uri = f"{onprem.uri}{folder}/set"
    storage = SavedDatasetHybridSparkStorage(path=uri)
    store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "set", storage)
    old = onprem.inside(f"{onprem.uri}{folder}/.set.0123456789ab.replaced")
    lakes.hdfs.filesystem().mv(onprem.inside(uri), old)

    with pytest.raises(
        SourceNotFoundError, match=r"a writer died .* the old ones are at hdfs://.*/\.set\..*\.replaced"
    ):
        saved(store, "set")
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage)
    assert saved(store, "set") == [(1, 10), (2, 20)]
    assert onprem.names(f"{onprem.uri}{folder}") == ["set", "stats"]


@pytest.mark.parametrize("whole", [True, False], ids=["all-new-files-were-there", "some-were-missing"])
def test_on_adls_what_a_dead_writer_left_is_finished_or_taken_back(
    store: FeatureStore,
    lakes: Lakes,
    spark: SparkSession,
    folder: str,
    whole: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Place("cloud", lakes.adls)
    uri = place.write(f"{place.uri}{folder}/set", {"n": [1]}, file="part-old.parquet")
    new = place.write(f"{place.uri}{folder}/.aside", {"n": [2]}, file="part-new.parquet")
    filesystem = lakes.adls.filesystem()
    filesystem.cp_file(f"{place.inside(new)}/part-new.parquet", f"{place.inside(uri)}/part-new.parquet")
    names = ["part-new.parquet"] if whole else ["part-new.parquet", "part-newer.parquet"]
    place.put(f"{uri}/part-being-replaced-0123.gz", json.dumps({"new": names}).encode())

    def read() -> None:
        router = store.config.offline_store.router
        frame = Reader(spark, router).read(HybridSparkSource(name="set", path=uri))
        HybridSparkRetrievalJob(FrameRows(frame, "set"), router=router).to_arrow()

    with pytest.raises(RetrievalError, match="its rows are being replaced at this moment"):
        read()
    with pytest.raises(WriteError, match="has been under replacement for"):
        replace.recover(store.config.offline_store.router.locate(uri))
    monkeypatch.setattr(replace_adls, "_DEAD_AFTER", timedelta(0))
    replace.recover(store.config.offline_store.router.locate(uri))
    assert place.names(uri) == ["part-new.parquet" if whole else "part-old.parquet"]


def test_a_table_is_replaced_and_keeps_its_rows_when_that_fails(store: FeatureStore, spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    router = store.config.offline_store.router
    storage = SavedDatasetHybridSparkStorage(table="replaced_trips", site="onprem")
    try:
        store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "as_table", storage)
        with pytest.raises(SavedDatasetLocationAlreadyExists):
            retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage)
        failing = spark.range(3).select(F.when(F.col("id") == 2, F.raise_error(F.lit("no"))).alias("never"))
        with pytest.raises(WriteError, match="nothing was changed"):
            HybridSparkRetrievalJob(FrameRows(failing, "rows"), router=router).persist(storage, allow_overwrite=True)
        assert saved(store, "as_table") == [(1, 10), (2, 20)]
        retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage, allow_overwrite=True)
        assert saved(store, "as_table") == [(2, 20)]
        assert [table.name for table in spark.catalog.listTables() if "replaced_trips" in table.name] == [
            "replaced_trips"
        ]
    finally:
        for table in spark.catalog.listTables():
            if "replaced_trips" in table.name:
                spark.sql(f"DROP TABLE {table.name}")


@pytest.mark.matrix
@pytest.mark.parametrize(
    "file_format",
    [
        "orc",
        pytest.param(
            "delta",
            marks=pytest.mark.skipif(not format_jars("delta"), reason="no release of delta runs on this PySpark"),
        ),
    ],
)
def test_a_table_that_is_replaced_keeps_its_format_partitions_properties_and_comments(
    store: FeatureStore, spark: SparkSession, file_format: str
) -> None:
    storage = SavedDatasetHybridSparkStorage(table="kept_trips", site="onprem")
    spark.sql(
        "CREATE TABLE kept_trips "
        "(driver_id BIGINT COMMENT 'whose', trips BIGINT, event_timestamp TIMESTAMP, gone INT) "
        f"USING {file_format} PARTITIONED BY (driver_id, gone) COMMENT 'it\\'s a \\\\ set' "
        "TBLPROPERTIES ('owned.by' = 'the \\'team\\'', 'retention' = '7')"
    )
    try:
        retrieve(store, ROWS, ["stats:trips"]).persist(storage, allow_overwrite=True)
        columns = {column.name: column for column in spark.catalog.listColumns("kept_trips")}
        assert [name for name, column in columns.items() if column.isPartition] == ["driver_id"]
        assert columns["driver_id"].description == "whose"
        assert spark.catalog.getTable("kept_trips").description == "it's a \\ set"
        properties = {row.key: row.value for row in spark.sql("SHOW TBLPROPERTIES kept_trips").collect()}
        assert properties.items() >= {"owned.by": "the 'team'", "retention": "7"}.items()
        described = spark.sql("DESCRIBE TABLE EXTENDED kept_trips").where("col_name = 'Provider'").collect()
        assert [row.data_type.lower() for row in described] == [file_format]
        rows = spark.table("kept_trips").select("driver_id", "trips").collect()
        assert sorted(map(tuple, rows)) == [(1, 10), (2, 20)]
        assert [table.name for table in spark.catalog.listTables() if "kept_trips" in table.name] == ["kept_trips"]
    finally:
        spark.sql("DROP TABLE IF EXISTS kept_trips")


def test_an_external_table_is_not_replaced_for_its_files_are_somebody_elses(
    store: FeatureStore, spark: SparkSession, tmp_path: Path
) -> None:
    storage = SavedDatasetHybridSparkStorage(table="theirs", site="onprem")
    spark.range(3).write.parquet(f"{tmp_path}/rows")
    spark.sql(f"CREATE TABLE theirs USING parquet LOCATION '{tmp_path}/rows'")
    try:
        with pytest.raises(WriteError, match=r"table theirs: it is external, .*by path="):
            retrieve(store, ROWS, ["stats:trips"]).persist(storage, allow_overwrite=True)
        assert spark.table("theirs").count() == 3
    finally:
        spark.sql("DROP TABLE IF EXISTS theirs")


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_many_small_files_are_merged_as_the_docs_say(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/day=2026-01-10"
    maps = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    for n in range(12):
        rows = {"n": [n], "event_timestamp": pa.array([at(n)], pa.timestamp("us", tz="UTC")), "a;b": ["x"], "m": maps}
        place.write(uri, rows, file=f"batch-{n}.parquet")

    day = HybridSparkSource(name="day", path=uri, timestamp_field="event_timestamp")
    columns = [name for name, _ in day.get_table_column_names_and_types(store.config)]
    pulled = HybridSparkOfflineStore.pull_all_from_table_or_query(store.config, day, [], columns, "event_timestamp")
    pulled.persist(SavedDatasetHybridSparkStorage(path=uri), allow_overwrite=True)

    files = [name for name in place.names(uri) if name.endswith(".parquet")]
    assert len(files) <= 4
    read = [pq.read_table(BytesIO(place.lake.filesystem().cat_file(place.inside(f"{uri}/{name}")))) for name in files]
    assert all(table.column_names == columns for table in read)
    assert sorted(pa.concat_tables(read)["n"].to_pylist()) == list(range(12))
    assert pa.concat_tables(read)["m"].to_pylist() == [[("k", 1)]] * 12


class TestExports:
    @pytest.mark.parametrize("role", ["onprem", "cloud"])
    def test_a_result_is_put_as_parquet_files_under_the_staging_location(
        self, make_store: MakeStore, write: Write, lakes_to_test: Places, folder: str, role: str
    ) -> None:
        place: Place = getattr(lakes_to_test, role)
        driver = entity("driver", join_key="driver_id")
        rows = {"driver_id": [1, 2], "event_timestamp": [at(0), at(0)], "trips": [10, 20]}
        stats = view("stats", source("stats_rows", write(place, "stats", rows)), driver)

        @on_demand_feature_view(sources=[stats], schema=[Field(name="double", dtype=Int64)])
        def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"double": inputs["trips"] * 2})

        store = make_store(driver, stats, doubled, staging_location=f"{place.uri}{folder}/staging")
        job = retrieve(store, ROWS, ["stats:trips", "doubled:double"])
        assert job.supports_remote_storage_export()
        first, second = job.to_remote_storage(), job.to_remote_storage()
        assert first
        assert not set(first) & set(second)
        assert all(uri.startswith(f"{place.uri}{folder}/staging/") and uri.endswith(".parquet") for uri in first)
        read = [pq.read_table(BytesIO(place.lake.filesystem().cat_file(place.inside(uri)))) for uri in first]
        assert sorted(pa.concat_tables(read).select(["driver_id", "trips", "double"]).to_pylist(), key=str) == [
            {"driver_id": 1, "trips": 10, "double": 20},
            {"driver_id": 2, "trips": 20, "double": 40},
        ]

    def test_without_a_staging_location_the_setting_is_named(self, store: FeatureStore) -> None:
        job = retrieve(store, ROWS, ["stats:trips"])
        assert not job.supports_remote_storage_export()
        with pytest.raises(NotSupportedError, match=r"set offline_store\.staging_location in feature_store\.yaml"):
            job.to_remote_storage()

    def test_a_result_has_no_sql_text_and_says_what_to_use(self, store: FeatureStore) -> None:
        with pytest.raises(NotImplementedError, match="createOrReplaceTempView"):
            retrieve(store, ROWS, ["stats:trips"]).to_sql()


def test_what_was_done_when_it_was_to_be_cancelled_is_not_called_cancelled(spark: SparkSession) -> None:
    import time

    done: list[int] = []

    def last_step() -> int:
        time.sleep(1)
        done.append(1)
        return len(done)

    assert run(spark, last_step, timeout=0.2, what="a renaming") == 1


def test_a_timeout_cancels_the_job_and_the_session_goes_on(
    store: FeatureStore, spark: SparkSession, jobs: Jobs
) -> None:
    import time

    # Two tasks of some minutes. The second call runs anew: it does not report that the first was cancelled.
    slow = spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7)")
    job = HybridSparkRetrievalJob(FrameRows(slow, "a slow sum"), router=store.config.offline_store.router)
    for collect in (job.to_df, job.to_arrow):
        began = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match="a slow sum did not end within 1 s"):
            collect(timeout=1)
        assert time.monotonic() - began < 20
    assert ended(jobs)
    assert len(retrieve(store, ROWS, ["stats:trips"]).to_df(timeout=60)) == 2
