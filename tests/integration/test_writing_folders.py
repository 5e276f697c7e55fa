"""Batches are added to a Parquet folder on either lake: whole or not at all, in the columns that are there."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Float32, Int64

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SchemaError, WriteError
from tests.integration.places import Place, answers, hour, retrieve, source, view

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
from tests.integration.batches import DRIVER, ROLES, add, by_pyarrow, by_spark, rows, stats


class TestOneFolder:
    @ROLES
    def test_the_first_batch_makes_the_folder_and_spark_pyarrow_and_feast_read_it(
        self, make_store: MakeStore, place: Place, spark: SparkSession, folder: str
    ) -> None:
        uri = f"{place.uri}{folder}/new"
        store = make_store()
        written: list[int] = []
        HybridSparkOfflineStore.offline_write_batch(store.config, stats(uri), rows(1, 2), written.append)
        add(store, stats(uri), rows(3))
        assert written == [2]
        assert sorted(by_pyarrow(place, uri)["trips"].to_pylist()) == [1, 2, 3]
        read = by_spark(spark, place, uri)
        assert read.schema.simpleString() == "struct<driver_id:bigint,trips:bigint,event_timestamp:timestamp>"
        assert sorted(row.trips for row in read.collect()) == [1, 2, 3]
        store.apply([DRIVER, stats(uri)])
        entity_df = pd.DataFrame({"driver_id": [3, 1], "event_timestamp": [hour(1), hour(1)]})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(3,), (1,)]

    @ROLES
    def test_rows_take_the_order_names_and_types_of_what_is_there(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        schema = pa.schema(
            [("ts", pa.timestamp("us")), ("trips", pa.int32()), ("driver_id", pa.int32()), ("rate", pa.float32())]
        )
        uri = write(place, "there", pa.Table.from_pylist([], schema))
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
            "ts": hour(0).replace(tzinfo=None) + timedelta(microseconds=1),
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
            (1, int(hour(0).timestamp()) // 3600),
            (2, int(hour(1).timestamp()) // 3600),
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
        keys = {"driver_id": [1], "event_timestamp": pa.array([hour(0)], pa.timestamp("us", tz="UTC"))}
        uri = write(place, "there", {**keys, "a": [10], "b": [20]})
        store = make_store(DRIVER, view("stats", source("stats_rows", uri, field_mapping=mapping), DRIVER))
        assert {feature.name for feature in store.get_feature_view("stats").features} == set(mapping.values())

        added = pd.DataFrame({"b": [21], "a": [11], "driver_id": [2], "event_timestamp": [pd.Timestamp(hour(1))]})
        store.write_to_offline_store("stats", added)
        written = by_pyarrow(place, uri).sort_by("driver_id")
        assert written.select(["driver_id", "a", "b"]).to_pydict() == {
            "driver_id": [1, 2],
            "a": [10, 11],
            "b": [20, 21],
        }

        features = [f"stats:{mapping[column]}" for column in ("a", "b")]
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(2), hour(2)]})
        read = answers(retrieve(store, entity_df, features), mapping["a"], mapping["b"])
        assert read == [(10, 20), (11, 21)]
        store.materialize(hour(-1), hour(2))
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
        keys = {"driver_id": [1], "event_timestamp": pa.array([hour(0)], pa.timestamp("us", tz="UTC"))}
        table = pa.table({**keys, "b": [20], "a": [10]})
        uri = write(place, "there", table)
        of = view(
            "stats",
            source("stats_rows", uri, field_mapping={"a": "b"}),
            DRIVER,
            schema=[Field(name="b", dtype=Int64)],
        )
        store = make_store(DRIVER, of)
        entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(2)]})
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

    @ROLES
    def test_a_value_that_is_none_of_the_partitions_type_is_refused_before_it_spoils_every_read(
        self, make_store: MakeStore, place: Place, write: Write
    ) -> None:
        uri = write(place, "there", rows(1), file="zone=1/part-0.parquet")
        fields = [Field(name="trips", dtype=Int64), Field(name="zone", dtype=Int64)]
        of = view("stats", source("stats_rows", uri), DRIVER, schema=fields)
        store = make_store(DRIVER, of)
        with pytest.raises(SchemaError, match="row 0 has 'abc' in the partition column 'zone', which is int64"):
            add(store, of, rows(2).append_column("zone", pa.array(["abc"])))
        with pytest.raises(WriteError, match="row 0 has '' in the partition column 'zone'"):
            add(store, of, rows(2).append_column("zone", pa.array([""])))
        assert place.names(uri) == ["zone=1"]
        add(store, of, rows(2).append_column("zone", pa.array(["2"])))
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
        assert sorted(answers(retrieve(store, entity_df, ["stats:zone"]), "zone")) == [(1,), (2,)]
