"""Each file format on each lake: inferred, read, cut to what is asked for, written; and what files lie where."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import Field
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.types import Float64, Int32, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError, SchemaError, WriteError
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.writing.table_formats import iceberg_table
from tests.integration.places import (
    Places,
    answers,
    entity,
    format_jars,
    hour,
    on_connect,
    plan_of,
    retrieve,
    source,
    view,
)

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import DataFrame, SparkSession

    from tests.integration.conftest import MakeStore, Write, Zone
    from tests.integration.places import Place

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
DRIVER = entity("driver", join_key="driver_id")

#: What a format must be told, when it is read and when it is written.
OPTIONS = {
    "csv": {"header": "true", "inferSchema": "true"},
    "json": {"inferTimestamp": "true"},
    "xml": {"rowTag": "row"},
}
FORMATS = pytest.mark.parametrize(
    "file_format",
    [
        *("parquet", "orc", "avro", "csv", "json"),
        *(
            pytest.param(
                name,
                marks=pytest.mark.skipif(not format_jars(name), reason=f"no release of {name} runs on this PySpark"),
            )
            for name in ("delta", "iceberg")
        ),
    ],
)


@pytest.fixture
def entity_df() -> pd.DataFrame:
    return pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [hour(1), hour(1)]})


def put(rows: DataFrame, place: Place, uri: str, file_format: str, store: FeatureStore) -> None:
    """Write rows in partitions by ``dt``, as other programs than this package do."""
    if file_format == "iceberg":
        location = store.config.offline_store.router.locate(uri)
        with iceberg_table(rows.sparkSession, location) as name:
            rows.writeTo(name).partitionedBy(rows.dt).create()
        return
    writer = rows.write.format(file_format).options(**OPTIONS.get(file_format, {}))
    writer.options(**place.lake.hadoop_options()).partitionBy("dt").save(uri)


def fail_to_replace(store: FeatureStore, storage: SavedDatasetHybridSparkStorage, spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    from feast_hybrid.retrieval.frame_rows import FrameRows
    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob

    failing = spark.range(3).select(F.when(F.col("id") == 2, F.raise_error(F.lit("no"))).cast("long").alias("n"))
    job = HybridSparkRetrievalJob(FrameRows(failing, "rows"), router=store.config.offline_store.router)
    with pytest.raises(WriteError, match="nothing was changed"):
        job.persist(storage, allow_overwrite=True)


def secrets(place: Place) -> list[str]:
    return [value for key, value in place.lake.hadoop_options().items() if "account.key" in key]


@pytest.mark.matrix
@FORMATS
@ROLES
def test_a_format_is_inferred_read_and_cut_to_the_range_that_is_asked_for(
    lakes_to_test: Places,
    make_store: MakeStore,
    spark: SparkSession,
    folder: str,
    entity_df: pd.DataFrame,
    role: str,
    file_format: str,
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/rows"
    values = [
        (1 + day % 2, hour(24 * day - 48), day, day / 4, f"d{day}", f"2026-01-{8 + day:02}") for day in range(6)
    ]
    schema = "driver_id long, event_timestamp timestamp, n long, x double, t string, dt string"
    put(spark.createDataFrame(values, schema).coalesce(1), place, uri, file_format, make_store())

    rows = source(
        "rows_source", uri, file_format=file_format, options=OPTIONS.get(file_format), date_partition_column="dt"
    )
    store = make_store(DRIVER, view("rows", rows, DRIVER))
    inferred = {feature.name: feature.dtype for feature in store.get_feature_view("rows").features}
    day_of_partition = String if file_format in ("delta", "iceberg") else UnixTimestamp
    assert inferred.pop("dt", day_of_partition) == day_of_partition
    whole = Int32 if file_format == "csv" else Int64  # text tells no width
    assert inferred == {"n": whole, "x": Float64, "t": String}
    read = retrieve(store, entity_df, ["rows:n", "rows:x", "rows:t"])
    assert answers(read, "driver_id", "n", "x", "t") == [(2, 1, 0.25, "d1"), (1, 2, 0.5, "d2")]

    job = HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config,
        rows,
        ["driver_id"],
        ["n"],
        "event_timestamp",
        None,
        datetime(2026, 1, 11),
        datetime(2026, 1, 11),
    )
    assert answers(job, "driver_id", "n") == [(2, 3)]
    if on_connect():  # the plan is on the server
        return
    if file_format in ("delta", "iceberg"):  # the log says what is read: test_delta.py, test_iceberg.py
        return
    plan = plan_of(job.to_spark_df())
    assert "isnull(dt" in plan.partition("PartitionFilters: [")[2]
    assert "PushedFilters: [IsNotNull(event_timestamp), GreaterThanOrEqual(event_timestamp," in plan
    assert not [secret for secret in secrets(place) if secret in plan]


@ROLES
def test_a_file_that_lacks_the_key_is_refused(
    lakes_to_test: Places, make_store: MakeStore, spark: SparkSession, folder: str, entity_df: pd.DataFrame, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    note = "a file that lacks a key or the event time is not noticed"
    for file_format in ("avro", "json", "xml", "csv"):
        uri = f"{place.uri}{folder}/{file_format}"
        options = OPTIONS.get(file_format, {})
        schema = [Field(name="driver_id", dtype=Int64), Field(name="n", dtype=Int64)]
        of = view("rows", source("rows", uri, file_format=file_format, options=options), DRIVER, schema=schema)

        def put_file(name: str, key: str) -> None:
            rows = spark.createDataFrame([(1, hour(0), 7)], f"{key} long, event_timestamp timestamp, n long")
            writer = rows.coalesce(1).write.format(file_format).mode("append").options(**options)  # noqa: B023
            writer.options(**place.lake.hadoop_options()).save(f"{uri}/part={name}")  # noqa: B023

        put_file("a", "driver_id")
        store = make_store(DRIVER, of)
        job = retrieve(store, entity_df, ["rows:n"])
        assert answers(job, "driver_id", "n") == [(2, None), (1, 7)]
        assert note not in job.explain()

        put_file("b", "driverId")
        if file_format in ("avro", "json", "xml"):
            with pytest.raises(SchemaError, match=r"'rows'.*part=b/.*\.[a-z]+ has no column 'driver_id'"):
                retrieve(store, entity_df, ["rows:n"])
        else:  # another header than the first one's is taken for a row, which no time is in
            with pytest.raises(HybridError, match=r"'rows'.*'event_timestamp' is string"):
                retrieve(store, entity_df, ["rows:n"]).to_arrow()


@pytest.mark.matrix
@FORMATS
@ROLES
def test_a_dataset_is_saved_in_a_format_read_back_and_replaced(
    lakes_to_test: Places,
    make_store: MakeStore,
    write: Write,
    spark: SparkSession,
    folder: str,
    entity_df: pd.DataFrame,
    role: str,
    file_format: str,
) -> None:
    place: Place = getattr(lakes_to_test, role)
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "n": [10, 20], "x": [0.5, None]}
    store = make_store(DRIVER, view("rows", source("rows_source", write(place, "rows", rows)), DRIVER))
    storage = SavedDatasetHybridSparkStorage(
        path=f"{place.uri}{folder}/out/set", file_format=file_format, options=OPTIONS.get(file_format)
    )

    def saved() -> list[tuple[Any, ...]]:
        frame = store.get_saved_dataset("set").to_df()
        times = pd.to_datetime(frame["event_timestamp"], utc=True)
        return sorted(zip(frame["driver_id"], times, frame["n"], frame["x"].notna(), strict=True))

    both = [(1, pd.Timestamp(hour(1)), 10, True), (2, pd.Timestamp(hour(1)), 20, False)]
    store.create_saved_dataset(retrieve(store, entity_df, ["rows:n", "rows:x"]), "set", storage)
    assert saved() == both

    fewer = retrieve(store, entity_df[1:], ["rows:n", "rows:x"])
    with pytest.raises(SavedDatasetLocationAlreadyExists, match="allow_overwrite=True"):
        fewer.persist(storage)
    if file_format in TABLE_FORMATS:  # the others are tested with saved datasets
        fail_to_replace(store, storage, spark)
        assert saved() == both
    fewer.persist(storage, allow_overwrite=True)
    assert saved() == both[:1]

    assert place.names(f"{place.uri}{folder}/out") == ["set"]
    below = place.lake.filesystem().find(place.inside(f"{place.uri}{folder}/out"))
    held = b"".join(place.lake.filesystem().cat_file(path) for path in below)
    assert not [secret for secret in secrets(place) if secret.encode() in held]
    assert not [key for key in spark.conf.getAll if "spark.sql.catalog.fh_" in key or "account.key" in key]


@ROLES
def test_csv_in_partitions_is_read_with_its_options(
    lakes_to_test: Places, make_store: MakeStore, spark: SparkSession, folder: str, entity_df: pd.DataFrame, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/rows"
    for n, day in ((1, "2026-01-10"), (2, "2026-01-10"), (1, "2026-01-09")):
        line = f"driver_id;event_timestamp;n\n{n};{day}T00:00:00Z;{n * 10 + int(day[-2:])}\n"
        place.put(f"{uri}/dt={day}/part-{n}.csv", line.encode())
    rows = source(
        "csv_rows",
        uri,
        file_format="csv",
        options={"header": "true", "sep": ";", "inferSchema": "true"},
        date_partition_column="dt",
    )
    store = make_store(DRIVER, view("rows", rows, DRIVER, schema=[Field(name="n", dtype=Int64)]))
    assert answers(retrieve(store, entity_df, ["rows:n"]), "driver_id", "n") == [(2, 30), (1, 20)]


@ROLES
def test_a_glob_takes_the_folders_that_it_matches_and_no_others(
    lakes_to_test: Places,
    make_store: MakeStore,
    write: Write,
    spark: SparkSession,
    entity_df: pd.DataFrame,
    role: str,
) -> None:
    place: Place = getattr(lakes_to_test, role)
    for n, name in enumerate(("eu-1", "eu-2", "us-1"), start=1):
        uri = write(place, name, {"driver_id": [n % 2 + 1], "event_timestamp": [hour(n / 10)], "n": [n]})
    store = make_store(DRIVER, view("rows", source("globbed", uri.rpartition("/")[0] + "/eu-*"), DRIVER))
    assert [feature.name for feature in store.get_feature_view("rows").features] == ["n"]
    assert answers(retrieve(store, entity_df, ["rows:n"]), "driver_id", "n") == [(2, 1), (1, 2)]


def registered(store: FeatureStore) -> dict[str, Any]:
    """All that the registry holds, but the times at which it was written."""
    from google.protobuf.json_format import MessageToDict

    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without_times(item) for key, item in sorted(value.items()) if not key.endswith("Timestamp")}
        return [without_times(item) for item in value] if isinstance(value, list) else value

    held = MessageToDict(store.registry.proto())
    object_types = ("dataSources", "entities", "featureViews")
    # Keys sorted: protobuf's maps have no order.
    return {
        object_type: sorted(json.dumps(entry, sort_keys=True) for entry in without_times(held[object_type]))
        for object_type in object_types
    }


def test_a_second_apply_changes_nothing(make_store: MakeStore, write: Write, onprem: Place, cloud: Place) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)]}
    paths = [write(onprem, "here", {**rows, "n": [1]}), write(cloud, "there", {**rows, "m": [1.5], "t": ["x"]})]

    def definitions() -> list[Any]:
        views = [view(f"view{n}", source(f"rows{n}", path), DRIVER) for n, path in enumerate(paths)]
        return [entity("driver", join_key="driver_id"), *views]

    store = make_store(*definitions())
    first = registered(store)
    store.apply(definitions())
    assert registered(store) == first
    assert [len(first[object_type]) for object_type in ("dataSources", "featureViews")] == [2, 2]


@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_times_without_a_zone_in_text_files_are_utc(
    onprem: Place, make_store: MakeStore, folder: str, session_zone: Zone, file_format: str
) -> None:
    text = {
        "csv": "driver_id,event_timestamp,n\n1,2026-01-10T00:00:00,5\n",
        "json": '{"driver_id": 1, "event_timestamp": "2026-01-10T00:00:00", "n": 5}\n',
    }
    options = {
        "csv": {"header": "true", "inferSchema": "true"},
        "json": {"inferTimestamp": "true"},
    }
    uri = onprem.put(f"{onprem.uri}{folder}/rows/part-0", text[file_format].encode()).rpartition("/")[0]
    rows = source("text_rows", uri, file_format=file_format, options=options[file_format])
    with session_zone("America/New_York"):
        store = make_store(DRIVER, view("rows", rows, DRIVER, schema=[Field(name="n", dtype=Int64)]))
        entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
        assert answers(retrieve(store, entity_df, ["rows:n"]), "n") == [(5,)]


@pytest.mark.connect
@pytest.mark.parametrize("file_format", ["csv", "json"])
def test_times_without_a_zone_in_the_text_of_a_table_are_utc(
    make_store: MakeStore, spark: SparkSession, session_zone: Zone, file_format: str, tmp_path: Path
) -> None:
    text = {
        "csv": "1,2026-01-10T00:00:00,5\n",
        "json": '{"driver_id": 1, "event_timestamp": "2026-01-10T00:00:00", "n": 5}\n',
    }
    (tmp_path / "part-0").write_text(text[file_format])
    spark.sql(
        f"CREATE TABLE text_{file_format} (driver_id BIGINT, event_timestamp TIMESTAMP, n BIGINT) "
        f"USING {file_format} LOCATION '{tmp_path}'"
    )
    rows = HybridSparkSource(
        name="text_rows", table=f"text_{file_format}", site="onprem", timestamp_field="event_timestamp"
    )
    try:
        with session_zone("Asia/Tokyo"):  # whose midnight is nine hours before UTC's
            store = make_store(DRIVER, view("rows", rows, DRIVER, schema=[Field(name="n", dtype=Int64)]))
            entity_df = pd.DataFrame({"driver_id": [1, 1], "event_timestamp": [hour(-1), hour(1)]})
            assert answers(retrieve(store, entity_df, ["rows:n"]), "n") == [(None,), (5,)]
            # On Spark Connect a frame's own session is worked in, whose zone is the caller's.
            frame = spark.createDataFrame(entity_df)
            read = answers(retrieve(store, frame, ["rows:n"]), "event_timestamp", "n")
            assert sorted(read, key=lambda row: row[0]) == [(hour(-1), None), (hour(1), 5)]
    finally:
        spark.sql(f"DROP TABLE IF EXISTS text_{file_format}")


def test_times_without_a_zone_in_the_names_of_partitions_are_utc(
    onprem: Place, make_store: MakeStore, write: Write, session_zone: Zone
) -> None:
    uri = write(onprem, "rows/event_timestamp=2026-01-10 00%3A00%3A00", {"driver_id": [1], "n": [5]})
    with session_zone("America/New_York"):
        rows = source("partition_rows", uri.rpartition("/")[0])
        store = make_store(DRIVER, view("rows", rows, DRIVER, schema=[Field(name="n", dtype=Int64)]))
        entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
        assert answers(retrieve(store, entity_df, ["rows:n"]), "n") == [(5,)]
