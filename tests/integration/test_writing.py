"""Batches are added to a source on either lake: whole or not at all, in the columns that are there."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from feast import BatchFeatureView, FeatureStore, Field, PushSource, RepoConfig
from feast.data_source import PushMode
from feast.types import Float32, Int64, String

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SchemaError, WriteError
from tests.integration.places import EACH_TABLE_FORMAT, Place, Places, answers, at, entity, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureView
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
DRIVER = entity("driver", join_key="driver_id")
SCHEMA = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]


@pytest.fixture
def place(lakes_to_test: Places, role: str) -> Place:
    found: Place = getattr(lakes_to_test, role)
    return found


def stats(uri: str, **more: Any) -> FeatureView:
    return view("stats", source("stats_rows", uri, **more), DRIVER, schema=SCHEMA)


def rows(*numbers: int, hours: float = 0) -> pa.Table:
    """One row for each number: driver and trips are the number."""
    instants = pa.array([at(hours)] * len(numbers), pa.timestamp("us", tz="UTC"))
    return pa.table({"driver_id": list(numbers), "trips": list(numbers), "event_timestamp": instants})


def add(store: FeatureStore, of: FeatureView, table: pa.Table) -> None:
    HybridSparkOfflineStore.offline_write_batch(store.config, of, table, None)


def by_pyarrow(place: Place, uri: str, partitioning: str | None = "hive") -> pa.Table:
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    filesystem = PyFileSystem(FSSpecHandler(place.lake.filesystem()))
    return ds.dataset(place.inside(uri), filesystem=filesystem, partitioning=partitioning).to_table()


def by_spark(spark: SparkSession, place: Place, uri: str, file_format: str = "parquet", **options: str) -> Any:
    reader = spark.read.format(file_format).options(**options).options(**place.lake.hadoop_options())
    return reader.load(uri)


class TestOneFolder:
    @ROLES
    def test_the_first_batch_makes_the_folder_and_spark_pyarrow_and_feast_read_it(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        uri = f"{place.uri}{folder}/new"
        store = make_store()
        told: list[int] = []
        HybridSparkOfflineStore.offline_write_batch(store.config, stats(uri), rows(1, 2), told.append)
        add(store, stats(uri), rows(3))
        assert told == [2]
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == [1, 2, 3]
        read = by_spark(spark, place, uri)
        assert read.schema.simpleString() == "struct<driver_id:bigint,trips:bigint,event_timestamp:timestamp>"
        assert sorted(row.trips for row in read.collect()) == [1, 2, 3]
        store.apply([DRIVER, stats(uri)])
        entity_df = pd.DataFrame({"driver_id": [3, 1], "event_timestamp": [at(1), at(1)]})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(3,), (1,)]

    @ROLES
    def test_rows_take_the_order_names_and_types_of_what_is_there(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        there = pa.schema(
            [("ts", pa.timestamp("us")), ("trips", pa.int32()), ("driver_id", pa.int32()), ("rate", pa.float32())]
        )
        uri = write(place, "there", pa.Table.from_pylist([], there))
        fields = [Field(name="rides", dtype=Int64), Field(name="rate", dtype=Float32)]
        of = view(
            "stats",
            source("s", uri, timestamp_field="ts", field_mapping={"trips": "rides", "ts": "event_time"}),
            DRIVER,
            schema=fields,
        )
        nanos = pd.Timestamp("2026-01-10T00:00:00.000001999Z")
        batch = pa.table({"driver_id": [1.0], "rides": [7], "event_time": [nanos], "rate": [0.5]})
        add(make_store(), of, batch)
        (added,) = by_pyarrow(place, uri).to_pylist()
        assert added == {
            "ts": at(0).replace(tzinfo=None) + timedelta(microseconds=1),
            "trips": 7,
            "driver_id": 1,
            "rate": 0.5,
        }
        assert {str(name) for name in place.names(uri) if name.startswith(".")} == set()

    @ROLES
    def test_a_batch_that_does_not_fit_is_refused_and_leaves_nothing(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        uri = write(place, "there", rows(1))
        store = make_store()
        wrong = rows(2).set_column(1, "trips", pa.array(["two"]))
        with pytest.raises(SchemaError, match=r"'stats'.*column 'trips' is string in the rows and int64 there"):
            add(store, stats(uri), wrong)
        with pytest.raises(SchemaError, match="missing trips; unknown rides"):
            add(store, stats(uri), rows(2).rename_columns(["driver_id", "rides", "event_timestamp"]))
        assert place.names(uri) == ["part-0.parquet"]

    @ROLES
    def test_an_empty_batch_writes_no_file(self, make_store: MakeStore, place: Place, folder: str) -> None:
        add(make_store(), stats(f"{place.uri}{folder}/none"), rows())
        assert not place.exists(f"{place.uri}{folder}/none")

    @ROLES
    def test_a_file_or_a_pattern_is_no_place_to_add_to(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        uri = write(place, "there", rows(1))
        with pytest.raises(WriteError, match="is one file; rows are added to a folder"):
            add(make_store(), stats(f"{uri}/part-0.parquet"), rows(2))
        with pytest.raises(WriteError, match="is a pattern"):
            add(make_store(), stats(f"{uri}/*"), rows(2))

    @ROLES
    def test_times_in_int96_stay_in_int96(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        import pyarrow.parquet as pq

        uri = f"{place.uri}{folder}/old"
        sink = pa.BufferOutputStream()
        pq.write_table(rows(1), sink, use_deprecated_int96_timestamps=True)
        place.put(f"{uri}/part-0.parquet", sink.getvalue().to_pybytes())
        add(make_store(), stats(uri), rows(2, hours=1))
        read = by_spark(spark, place, uri).selectExpr("trips", "unix_micros(event_timestamp) as t").collect()
        assert sorted((row.trips, row.t // 3_600_000_000) for row in read) == [
            (1, int(at(0).timestamp()) // 3600),
            (2, int(at(1).timestamp()) // 3600),
        ]
        assert len(by_pyarrow(place, uri)) == 2


class TestFieldMappings:
    @ROLES
    @pytest.mark.parametrize(
        "mapping", [{"a": "b", "b": "a"}, {"a": "b", "b": "c"}], ids=["two names are swapped", "names move on"]
    )
    def test_names_are_given_all_at_once_when_rows_are_written_and_read(
        self, make_store: MakeStore, place: Place, write: Write, mapping: dict[str, str]
    ) -> None:
        keys = {"driver_id": [1], "event_timestamp": pa.array([at(0)], pa.timestamp("us", tz="UTC"))}
        uri = write(place, "there", {**keys, "a": [10], "b": [20]})
        store = make_store(DRIVER, view("stats", source("stats_rows", uri, field_mapping=mapping), DRIVER))
        assert {feature.name for feature in store.get_feature_view("stats").features} == set(mapping.values())

        added = pd.DataFrame({"b": [21], "a": [11], "driver_id": [2], "event_timestamp": [pd.Timestamp(at(1))]})
        store.write_to_offline_store("stats", added)
        written = by_pyarrow(place, uri).sort_by("driver_id")
        assert written.select(["driver_id", "a", "b"]).to_pydict() == {
            "driver_id": [1, 2],
            "a": [10, 11],
            "b": [20, 21],
        }

        features = [f"stats:{mapping[column]}" for column in ("a", "b")]
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(2), at(2)]})
        read = answers(retrieve(store, entity_df, features), mapping["a"], mapping["b"])
        assert read == [(10, 20), (11, 21)]
        store.materialize(at(-1), at(2))
        online = store.get_online_features(features, [{"driver_id": 2}]).to_dict()
        assert (online[mapping["a"]], online[mapping["b"]]) == ([11], [21])
        pulled = HybridSparkOfflineStore.pull_all_from_table_or_query(
            store.config, store.get_data_source("stats_rows"), ["driver_id"], ["a", "b"], "event_timestamp"
        )
        rows_there = pulled.to_spark_df().select(mapping["a"], mapping["b"]).collect()
        assert sorted(map(tuple, rows_there)) == [(10, 20), (11, 21)]

    @ROLES
    def test_a_column_whose_name_another_is_given_is_not_seen_and_rows_that_do_not_tell_them_apart_are_refused(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        keys = {"driver_id": [1], "event_timestamp": pa.array([at(0)], pa.timestamp("us", tz="UTC"))}
        table = pa.table({**keys, "b": [20], "a": [10]})
        uri = write(place, "there", table)
        of = view(
            "stats",
            source("stats_rows", uri, field_mapping={"a": "b"}),
            DRIVER,
            schema=[Field(name="b", dtype=Int64)],
        )
        store = make_store(DRIVER, of)
        entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [at(2)]})
        assert answers(retrieve(store, entity_df, ["stats:b"]), "b") == [(10,)]
        every = HybridSparkOfflineStore.pull_all_from_table_or_query(
            store.config, store.get_data_source("stats_rows"), ["driver_id"], [], "event_timestamp"
        )
        assert [row.b for row in every.to_spark_df().select("b").collect()] == [10]
        assert every.to_arrow().column_names == ["driver_id", "event_timestamp", "a"]

        with pytest.raises(SchemaError, match="two columns are called b: field_mapping gives that name to a"):
            store.write_to_offline_store("stats", table.to_pandas())
        assert place.names(uri) == ["part-0.parquet"]
        add(store, of, table)  # the source's own names
        assert by_pyarrow(place, uri).select(["a", "b"]).to_pydict() == {"a": [10, 10], "b": [20, 20]}

    @ROLES
    def test_the_day_of_a_partition_comes_from_a_time_with_another_name_in_feast(
        self, make_store: MakeStore, place: Place, folder: str
    ) -> None:
        for file_format in ("parquet", "orc"):
            uri = f"{place.uri}{folder}/{file_format}"
            mapping = {"when": "event_timestamp"}
            made: dict[str, Any] = {
                "file_format": file_format,
                "field_mapping": mapping,
                "date_partition_column": "day",
            }
            of = stats(uri, **made)
            store = make_store()
            for number in (1, 2):
                add(store, of, rows(number))
            assert [name for name in place.names(uri) if "=" in name] == ["day=2026-01-10"]
            columns = source("read", uri, **made).get_table_column_names_and_types(store.config)
            assert {name for name, _ in columns} == {"driver_id", "trips", "when", "day"}


class TestPartitions:
    @ROLES
    def test_rows_go_to_the_folders_of_their_days_in_utc(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        uri = f"{place.uri}{folder}/days"
        of = stats(uri, date_partition_column="day")
        store = make_store()
        late = pa.concat_tables([rows(1, hours=23.9), rows(2, hours=24)])
        add(store, of, late)
        add(store, of, rows(3, hours=1).append_column("day", pa.array(["2026-01-10"])))
        assert place.names(uri) == ["day=2026-01-10", "day=2026-01-11"]
        read = by_spark(spark, place, uri).selectExpr("trips", "cast(day as string) as day").collect()
        assert sorted((row.trips, row.day) for row in read) == [
            (1, "2026-01-10"),
            (2, "2026-01-11"),
            (3, "2026-01-10"),
        ]
        with pytest.raises(WriteError, match="row 0 has '2026-01-12' in the partition column 'day'"):
            add(store, of, rows(4).append_column("day", pa.array(["2026-01-12"])))

    @ROLES
    def test_partitions_that_are_there_are_kept_to(self, make_store: MakeStore, place: Place, write: Write) -> None:
        uri = write(place, "there", rows(1), file="country=NL/day=20260110/part-0.parquet")
        of = stats(uri, date_partition_column="day", date_partition_column_format="%Y%m%d")
        add(make_store(), of, rows(2, hours=24).append_column("country", pa.array(["D/E"])))
        assert sorted(by_pyarrow(place, uri).select(["trips", "country", "day"]).to_pylist(), key=str) == [
            {"trips": 1, "country": "NL", "day": 20260110},
            {"trips": 2, "country": "D/E", "day": 20260111},
        ]
        assert place.names(uri) == ["country=D%2FE", "country=NL"]


class TestManyAtOnce:
    @ROLES
    def test_threads_lose_nothing_and_a_reader_sees_whole_batches(
        self, make_store: MakeStore, place: Place, folder: str
    ) -> None:
        uri = f"{place.uri}{folder}/busy"
        store, of = make_store(), stats(uri)
        add(store, of, rows(0, 0, 0, 0, 0))
        seen: list[int] = []
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                found = by_pyarrow(place, uri)["trips"].to_pylist()
                seen.extend(found.count(number) for number in set(found))

        with ThreadPoolExecutor(5) as pool:
            watching = pool.submit(watch)
            list(pool.map(lambda number: add(store, of, rows(*[number] * 5)), range(1, 25)))
            done.set()
            watching.result()
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == sorted(list(range(25)) * 5)
        assert set(seen) == {5}

    @ROLES
    def test_processes_lose_nothing_and_need_no_jvm(
        self, make_store: MakeStore, place: Place, folder: str, tmp_path: Path
    ) -> None:
        uri = f"{place.uri}{folder}/processes"
        config = tmp_path / "config"
        config.write_bytes(dill.dumps((make_store().config, stats(uri).to_proto().SerializeToString())))
        program = (
            "import sys, dill, pyarrow as pa\n"
            "from datetime import datetime, timezone\n"
            "from feast import FeatureView\n"
            "from feast.protos.feast.core.FeatureView_pb2 import FeatureView as Proto\n"
            "from feast_hybrid import HybridSparkOfflineStore\n"
            f"config, view = dill.loads(open({str(config)!r}, 'rb').read())\n"
            "view = FeatureView.from_proto(Proto.FromString(view))\n"
            "for n in range(5):\n"
            "    number = int(sys.argv[1]) * 10 + n\n"
            "    rows = {'driver_id': [number], 'trips': [number],\n"
            "            'event_timestamp': [datetime(2026, 1, 10, tzinfo=timezone.utc)]}\n"
            "    HybridSparkOfflineStore.offline_write_batch(config, view, pa.table(rows), None)\n"
            "assert 'pyspark' not in sys.modules or sys.modules['pyspark'].SparkContext._gateway is None\n"
        )
        running = [
            subprocess.Popen([sys.executable, "-W", "ignore", "-c", program, str(n)], stderr=subprocess.PIPE)
            for n in range(2)
        ]
        for process in running:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 0, said.decode()
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == [*range(5), *range(10, 15)]


class TestSparkTasks:
    @pytest.mark.matrix
    @ROLES
    def test_a_task_that_is_run_again_adds_no_rows(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        """As Feast's spark.engine does it: a batch is written from inside an executor's Python."""
        uri = f"{place.uri}{folder}/tasks"
        packed = dill.dumps((make_store().config, stats(uri)))
        frame = spark.range(0, 4000, 1, 2).selectExpr(
            "id as driver_id", "id as trips", "timestamp'2026-01-10 00:00:00Z' as event_timestamp"
        )

        def write_twice(batches: Any) -> Any:
            import dill
            import pyarrow
            from pyspark import TaskContext

            from feast_hybrid import HybridSparkOfflineStore
            from feast_hybrid.writing import naming

            config, of = dill.loads(packed)
            for attempt in ("first", "second"):
                if attempt == "first":
                    batches = list(batches)
                naming._current = None  # as in the new worker of another attempt
                for batch in batches:
                    table = pyarrow.Table.from_batches([batch])
                    HybridSparkOfflineStore.offline_write_batch(config, of, table, None)
            task = TaskContext.get()
            assert task is not None
            yield pyarrow.RecordBatch.from_pydict({"n": [len(batches)]})

        before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000")
        try:
            assert [row.n for row in frame.mapInArrow(write_twice, "n long").collect()] == [2, 2]
            assert sorted(row.trips for row in by_spark(spark, place, uri).collect()) == list(range(4000))
            assert len(place.names(uri)) == 4
            # Another job is another stage: its rows are its own.
            frame.mapInArrow(write_twice, "n long").collect()
            assert by_spark(spark, place, uri).count() == 8000
        finally:
            spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(before))

    def test_what_is_not_parquet_needs_a_session(
        self, make_store: MakeStore, onprem: Place, spark: SparkSession, folder: str
    ) -> None:
        packed = dill.dumps((make_store().config, stats(f"{onprem.uri}{folder}/orc", file_format="orc")))

        def write(batches: Any) -> Any:
            import dill
            import pyarrow

            from feast_hybrid import HybridSparkOfflineStore
            from feast_hybrid.errors import WriteError

            config, of = dill.loads(packed)
            for batch in batches:
                try:
                    HybridSparkOfflineStore.offline_write_batch(config, of, pyarrow.Table.from_batches([batch]), None)
                except WriteError as error:
                    yield pyarrow.RecordBatch.from_pydict({"said": [str(error)]})

        frame = spark.range(1).selectExpr("id as driver_id", "id as trips", "current_timestamp() as event_timestamp")
        (said,) = [row.said for row in frame.mapInArrow(write, "said string").collect()]
        assert "inside a Spark task only Parquet files can be written, found orc" in said


class TestThroughSpark:
    @pytest.mark.matrix
    @ROLES
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [("orc", {}), ("json", {}), ("csv", {"header": "true", "inferSchema": "true"})],
        ids=["orc", "json", "csv"],
    )
    def test_other_formats_are_added_to(
        self, make_store: MakeStore, place: Place, folder: str, file_format: str, options: dict[str, str]
    ) -> None:
        uri = f"{place.uri}{folder}/rows"
        of = stats(uri, file_format=file_format, options=options)
        store = make_store()
        add(store, of, rows(1, 2))
        add(store, of, rows(3, hours=1).select(["event_timestamp", "trips", "driver_id"]))
        with pytest.raises(SchemaError, match="missing trips"):
            add(store, of, rows(4).drop_columns(["trips"]))
        store.apply([DRIVER, of])
        entity_df = pd.DataFrame({"driver_id": [3, 1], "event_timestamp": [at(2), at(2)]})
        if file_format != "json":  # of JSON, Spark reads a time as text
            assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(3,), (1,)]
        assert len([name for name in place.names(uri) if not name.startswith("_")]) == 2

    @pytest.mark.matrix
    def test_a_table_is_made_and_added_to_by_name(self, make_store: MakeStore, spark: SparkSession) -> None:
        from feast_hybrid import HybridSparkSource

        of = view(
            "stats",
            HybridSparkSource(name="t", table="written_stats", site="onprem", timestamp_field="event_timestamp"),
            DRIVER,
            schema=SCHEMA,
        )
        store = make_store()
        try:
            add(store, of, rows(1))
            add(store, of, rows(2).select(["event_timestamp", "trips", "driver_id"]))
            assert sorted((row.driver_id, row.trips) for row in spark.table("written_stats").collect()) == [
                (1, 1),
                (2, 2),
            ]
            with pytest.raises(SchemaError, match="column 'trips' is string in the rows and int64 there"):
                add(store, of, rows(3).set_column(1, "trips", pa.array(["x"])))
        finally:
            spark.sql("DROP TABLE IF EXISTS written_stats")


@pytest.mark.matrix
@EACH_TABLE_FORMAT
class TestTableFormats:
    @ROLES
    def test_the_first_batch_makes_the_table_and_pushed_rows_take_its_columns_and_partitions(
        self, make_store: MakeStore, place: Place, folder: str, file_format: str
    ) -> None:
        uri = f"{place.uri}{folder}/rows"
        of = stats(uri, file_format=file_format, date_partition_column="day")
        pushed = PushSource(name="pushed", batch_source=of.batch_source)
        of.stream_source = pushed
        store = make_store()
        add(store, of, pa.concat_tables([rows(1, 2), rows(3, hours=24)]))
        store.apply([DRIVER, pushed, of])

        later = rows(5, hours=25).select(["event_timestamp", "trips", "driver_id"]).to_pandas()
        store.push("pushed", later.assign(day=None, trips=later["trips"].astype("int32")), to=PushMode.OFFLINE)
        add(store, of, rows(6, hours=25).select(["trips", "event_timestamp", "driver_id"]))

        columns = store.get_data_source("stats_rows").get_table_column_names_and_types(store.config)
        assert list(columns) == [
            ("driver_id", "bigint"),
            ("trips", "bigint"),
            ("event_timestamp", "timestamp"),
            ("day", "string"),
        ]
        entity_df = pd.DataFrame({"driver_id": [6, 1, 5], "event_timestamp": [at(26)] * 3})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(6,), (1,), (5,)]
        assert partitions(place, uri) == {"day=2026-01-10", "day=2026-01-11"}

    @ROLES
    def test_a_batch_that_does_not_fit_is_refused_and_adds_no_version(
        self, make_store: MakeStore, place: Place, folder: str, file_format: str
    ) -> None:
        uri = f"{place.uri}{folder}/rows"
        place.put(f"{uri}/data/of-a-writer-that-died.parquet", b"PAR1")  # before its first commit: there is no table
        of = stats(uri, file_format=file_format)
        store = make_store()
        add(store, of, rows(1))
        log = place.names(f"{uri}/{LOGS[file_format]}")
        wrong = rows(2).set_column(1, "trips", pa.array(["two"]))
        with pytest.raises(SchemaError, match=r"'stats'.*column 'trips' is string in the rows and int64 there"):
            add(store, of, wrong)
        with pytest.raises(SchemaError, match="missing trips; unknown rides"):
            add(store, of, rows(2).rename_columns(["driver_id", "rides", "event_timestamp"]))
        assert place.names(f"{uri}/{LOGS[file_format]}") == log
        store.apply([DRIVER, of])
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [at(1)] * 2})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(1,), (None,)]


#: The folder of a format's versions.
LOGS = {"delta": "_delta_log", "iceberg": "metadata"}


def partitions(place: Place, uri: str) -> set[str]:
    """The folders of partitions that hold files."""
    found = place.lake.filesystem().find(place.inside(uri))
    return {part for path in found for part in path.split("/") if "=" in part}


def test_a_query_is_no_place_to_write_to(make_store: MakeStore) -> None:
    from feast_hybrid import HybridSparkSource

    query = HybridSparkSource(name="q", query="SELECT 1 AS a", site="onprem", timestamp_field="event_timestamp")
    with pytest.raises(WriteError, match="source 'q' is a query; rows are written to a path or a table"):
        add(make_store(), view("v", query, DRIVER, schema=[Field(name="x", dtype=String)]), rows(1))


@pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning")
@ROLES
def test_feasts_spark_engine_writes_a_derived_views_rows_to_its_sink(
    lakes_to_test: Places, spark: SparkSession, place: Place, write: Write, folder: str, tmp_path: Path
) -> None:
    def double(frame: Any) -> Any:
        return frame.selectExpr("driver_id", "trips * 2 AS twice", "event_timestamp")

    sink = f"{place.uri}{folder}/sink"
    parent = view("stats", source("stats_rows", write(place, "stats", rows(1, 2, 3))), DRIVER, schema=SCHEMA)
    derived = BatchFeatureView(
        name="doubled",
        source=[parent],  # type: ignore[list-item]
        sink_source=source("sink", sink),
        entities=[DRIVER],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="twice", dtype=Int64)],
        mode="python",
        udf=double,
        online=False,
        offline=True,
        ttl=timedelta(days=1),
    )
    store = FeatureStore(
        config=RepoConfig(
            project="integration",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
            offline_store={"type": "feast_hybrid.HybridSparkOfflineStore", "sites": lakes_to_test.sites()},
            batch_engine={"type": "spark.engine"},
            entity_key_serialization_version=3,
        )
    )
    store.apply([DRIVER, parent, derived])
    store.materialize(at(-1), at(1), feature_views=["doubled"])
    assert sorted(by_pyarrow(place, sink)["twice"].to_pylist()) == [2, 4, 6]
    assert all(name.startswith("part-") for name in place.names(sink))
