"""Saved datasets on a path of either lake: whole or not at all."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from feast.errors import SavedDatasetLocationAlreadyExists
from pyarrow.fs import FSSpecHandler, PyFileSystem

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import (
    RetrievalError,
    SourceNotFoundError,
    WriteError,
)
from feast_hybrid.lakes import replace, replace_adls
from feast_hybrid.lakes.markers import CLAIM, ReplacementRecord
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec
from tests.integration.places import Place, Places, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from feast_hybrid.testing import Lakes
    from tests.integration.conftest import MakeStore, Write
from tests.integration.datasets import ROWS, saved, trips_store

pytestmark = pytest.mark.connect


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    return trips_store(make_store, write, onprem)


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
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "shares": shares, "visits": visits}
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
    assert text or set(times) == {hour(1), hour(2)}


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
        return [row.generation for row in Reader(spark, router).read(source_spec(source, router)).collect()]

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


def test_on_hdfs_the_old_rows_are_read_where_a_dead_writer_has_moved_them(
    store: FeatureStore, lakes: Lakes, onprem: Place, spark: SparkSession, folder: str
) -> None:
    uri = f"{onprem.uri}{folder}/set"
    storage = SavedDatasetHybridSparkStorage(path=uri)
    store.create_saved_dataset(retrieve(store, ROWS, ["stats:trips"]), "set", storage)
    old = f"{onprem.uri}{folder}/.set.20261126T090000.000000Z-0123456789ab.replaced"
    lakes.hdfs.filesystem().mv(onprem.inside(uri), onprem.inside(old))
    onprem.put(f"{onprem.uri}{folder}/.set.0123456789ab.writing/part-0.parquet", b"half of it")

    router = store.config.offline_store.router
    source = source_spec(HybridSparkSource(name="set", path=uri), router)
    opened = Reader(spark, router).open(source)
    assert sorted((row.driver_id, row.trips) for row in opened.frame.collect()) == [(1, 10), (2, 20)]
    assert opened.notes == (f"a writer died while it replaced the rows there; the old ones are read, at {old}",)
    assert saved(store, "set") == [(1, 10), (2, 20)]
    retrieve(store, ROWS[:1], ["stats:trips"]).persist(storage, allow_overwrite=True)
    assert saved(store, "set") == [(2, 20)]


@pytest.mark.parametrize("deleting", [False, True], ids=["all-old-files-are-there", "some-are-gone"])
def test_on_adls_the_rows_that_a_dead_writer_was_replacing_are_read_whole(
    store: FeatureStore, lakes: Lakes, spark: SparkSession, folder: str, deleting: bool
) -> None:
    place = Place("cloud", lakes.adls)
    uri = f"{place.uri}{folder}/set"
    for day in (1, 2):
        place.write(f"{uri}/day={day}", {"n": [day]}, file="old.parquet")
        place.write(f"{uri}/day={day}", {"n": [10 * day]}, file="new.parquet")
    old, new = ([f"day={day}/{name}.parquet" for day in (1, 2)] for name in ("old", "new"))
    place.put(f"{uri}/{CLAIM}", ReplacementRecord("dead", "aside/", tuple(new), tuple(old)).to_bytes())
    if deleting:
        lakes.adls.filesystem().rm_file(place.inside(f"{uri}/{old[0]}"))

    def read(path: str) -> list[int]:
        router = store.config.offline_store.router
        spec = source_spec(HybridSparkSource(name="set", path=path), router)
        return sorted(row.n for row in Reader(spark, router).read(spec).collect())

    assert read(uri) == ([10, 20] if deleting else [1, 2])
    assert read(f"{uri}/day=2") == ([20] if deleting else [2])
    assert read(f"{uri}/day=*/*.parquet") == ([10, 20] if deleting else [1, 2])


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
        frame = Reader(spark, router).read(source_spec(HybridSparkSource(name="set", path=uri), router))
        HybridSparkRetrievalJob(FrameRows(frame, "set"), router=router).to_arrow()

    with pytest.raises(RetrievalError, match="its rows are being replaced at this moment"):
        read()
    with pytest.raises(WriteError, match="being replaced by another writer, whose last sign of life is"):
        replace.recover(store.config.offline_store.router.locate(uri))
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    replace.recover(store.config.offline_store.router.locate(uri))
    assert place.names(uri) == ["part-new.parquet" if whole else "part-old.parquet"]


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_many_small_files_are_merged_as_the_docs_say(
    store: FeatureStore, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/day=2026-01-10"
    maps = pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64()))
    for n in range(12):
        rows = {
            "n": [n],
            "event_timestamp": pa.array([hour(n)], pa.timestamp("us", tz="UTC")),
            "a;b": ["x"],
            "m": maps,
        }
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
