"""Batches that Spark writes: other formats than Parquet, tables, Delta and Iceberg, and what its engine derives."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import BatchFeatureView, FeatureStore, Field, PushSource, RepoConfig
from feast.data_source import PushMode
from feast.types import Int64, String

from feast_hybrid.errors import SchemaError, SourceError, WriteError
from tests.integration.places import EACH_TABLE_FORMAT, Place, Places, answers, hour, retrieve, source, view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
from tests.integration.batches import DRIVER, LOGS, ROLES, SCHEMA, add, by_pyarrow, partitions, rows, stats


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
        entity_df = pd.DataFrame({"driver_id": [3, 1], "event_timestamp": [hour(2), hour(2)]})
        if file_format != "json":  # of JSON, Spark reads a time as text
            assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(3,), (1,)]
        assert len([name for name in place.names(uri) if not name.startswith("_")]) == 2

    @ROLES
    @pytest.mark.parametrize("file_format", ["orc", "csv"])
    def test_an_empty_folder_gets_the_first_rows_and_a_place_that_reading_refuses_gets_none(
        self, make_store: MakeStore, place: Place, folder: str, file_format: str
    ) -> None:
        store = make_store()
        options = {"header": "true", "inferSchema": "true"} if file_format == "csv" else {}
        empty = f"{place.uri}{folder}/empty"
        place.put(f"{empty}/_SUCCESS", b"")
        of = stats(empty, file_format=file_format, options=options, date_partition_column="day")
        add(store, of, rows(1))
        assert partitions(place, empty) == {"day=2026-01-10"}

        refused = {
            "table": ("_delta_log/00000000000000000000.json", "is a table of Delta"),
            "tree": ("name=S%C3%A3o/part-0.csv", "S%C3%A3o"),
        }
        if file_format == "orc":  # such folders of ORC files are read
            del refused["tree"]
        for name, (file, message) in refused.items():
            uri = f"{place.uri}{folder}/{name}"
            place.put(f"{uri}/{file}", b"driver_id,trips,event_timestamp\n1,1,2026-01-10T00:00:00Z\n")
            before = place.names(uri)
            with pytest.raises(SourceError, match=message):
                add(store, stats(uri, file_format=file_format, options=options), rows(2))
            assert place.names(uri) == before

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
        entity_df = pd.DataFrame({"driver_id": [6, 1, 5], "event_timestamp": [hour(26)] * 3})
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
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1)] * 2})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(1,), (None,)]


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
    store.materialize(hour(-1), hour(1), feature_views=["doubled"])
    assert sorted(by_pyarrow(place, sink)["twice"].to_pylist()) == [2, 4, 6]
    assert all(name.startswith("part-") for name in place.names(sink))
