"""Sources: formats, tables, queries, what ``feast apply`` finds out, and what it says when it can't."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SchemaError, SourceNotFoundError
from feast_hybrid.sources.reader import Reader, reader_for
from feast_hybrid.sources.resolve import source_spec
from tests.integration.places import Place, Places, hour, source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.sources.spec import SourceSpec
    from tests.integration.conftest import MakeStore, Write

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])

TABLE = pa.table(
    {
        "event_timestamp": pa.array([hour(0), hour(1)], pa.timestamp("us", tz="UTC")),
        "naive": pa.array([hour(0), hour(1)], pa.timestamp("us")),
        "small": pa.array([1, 2], pa.int16()),
        "name": ["a", None],
        "scores": [[1.0, 2.0], []],
        "nested": [{"x": 1, "y": "a"}, {"x": 2, "y": None}],
        "price": pa.array(["1.50", "2.25"]).cast(pa.decimal128(9, 2)),
        "blob": [b"a", b"b"],
    }
)


def columns(store: Any, of: HybridSparkSource) -> list[tuple[str, str]]:
    return list(of.get_table_column_names_and_types(store.config))


def reader_and_spec(store: Any, of: HybridSparkSource) -> tuple[Reader, SourceSpec]:
    config = store.config.offline_store
    spec = source_spec(of, config.router)
    return reader_for(config.spark, config.router, [spec]), spec


def read_by_spark(store: Any, of: HybridSparkSource) -> DataFrame:
    reader, spec = reader_and_spec(store, of)
    return reader.read(spec)


def by_spark(store: Any, of: HybridSparkSource) -> list[tuple[str, str]]:
    frame = read_by_spark(store, of)
    return [(field.name, field.dataType.simpleString()) for field in frame.schema.fields]


@ROLES
def test_columns_read_without_a_jvm_are_those_that_spark_sees(
    make_store: MakeStore, write: Write, lakes_to_test: Places, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    write(place, "rows/day=2026-01-10/part=7", TABLE)
    uri = write(place, "rows/day=2026-01-11/part=8", TABLE).rpartition("/day=")[0]
    store = make_store()
    found = columns(store, source("rows", uri))
    assert found == by_spark(store, source("rows", uri))
    assert found[-2:] == [("day", "date"), ("part", "int")]


@ROLES
@pytest.mark.parametrize(
    ("file_format", "options"), [("orc", {}), ("json", {}), ("csv", {"header": "true", "inferSchema": "true"})]
)
def test_other_formats_are_read_by_spark(
    make_store: MakeStore,
    lakes_to_test: Places,
    spark: SparkSession,
    folder: str,
    role: str,
    file_format: str,
    options: dict[str, str],
) -> None:
    place: Place = getattr(lakes_to_test, role)
    uri = f"{place.uri}{folder}/{file_format}"
    frame = spark.createDataFrame([(1, hour(0), 0.5)], "driver_id long, event_timestamp timestamp, rate double")
    frame.write.format(file_format).options(**options).options(**place.lake.hadoop_options()).save(uri)
    of = source("rows", uri, file_format=file_format, options=options)
    store = make_store()
    assert sorted(name for name, _ in columns(store, of)) == ["driver_id", "event_timestamp", "rate"]
    assert [row["rate"] for row in read_by_spark(store, of).collect()] == [0.5]


def test_a_query_spans_both_lakes_and_the_session_keeps_its_settings(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place, spark: SparkSession
) -> None:
    left = write(onprem, "left", {"k": [1, 2], "event_timestamp": [hour(0), hour(0)]})
    right = write(cloud, "right", {"k": [1, 2], "v": ["a", "b"]})
    of = HybridSparkSource(
        name="both",
        query="SELECT l.*, r.v FROM left_rows l JOIN right_rows r ON l.k = r.k",
        site="onprem",
        timestamp_field="event_timestamp",
    )
    store = make_store()
    # To make tables, as to read them, takes the sites' settings.
    child = Reader(spark, store.config.offline_store.router).child()
    child.sql(f"CREATE TABLE left_rows (k BIGINT, event_timestamp TIMESTAMP) USING parquet LOCATION '{left}'")
    child.sql(f"CREATE TABLE right_rows (k BIGINT, v STRING) USING parquet LOCATION '{right}'")
    try:
        rows = read_by_spark(store, of).collect()
        assert sorted((row["k"], row["v"]) for row in rows) == [(1, "a"), (2, "b")]
        assert [key for key in spark.conf.getAll if key.startswith("fs.")] == []
    finally:
        for name in ("left_rows", "right_rows"):
            spark.sql(f"DROP TABLE IF EXISTS {name}")
    assert spark.catalog.listTables() == []


def test_a_table_is_read_from_its_site(
    make_store: MakeStore, write: Write, cloud: Place, spark: SparkSession
) -> None:
    uri = write(cloud, "rows", {"k": [1], "event_timestamp": [hour(0)]})
    of = HybridSparkSource(table="cloud_rows", site="cloud", timestamp_field="event_timestamp")
    store = make_store()
    # To make the table, as to read it, takes the site's settings.
    child = reader_and_spec(store, of)[0].child()
    child.sql(f"CREATE TABLE cloud_rows (k BIGINT, event_timestamp TIMESTAMP) USING parquet LOCATION '{uri}'")
    try:
        assert [row["k"] for row in read_by_spark(store, of).collect()] == [1]
    finally:
        spark.sql("DROP TABLE IF EXISTS cloud_rows")


@ROLES
def test_validation_says_which_site_it_asked(
    make_store: MakeStore, write: Write, lakes_to_test: Places, folder: str, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    store = make_store()
    with pytest.raises(SourceNotFoundError, match=f"source 'gone': nothing is at site '{role}'"):
        source("gone", f"{place.uri}{folder}/gone").validate(store.config)
    uri = write(place, "rows", {"k": [1], "t": [hour(0)]})
    with pytest.raises(SchemaError, match=rf"site '{role}'.*timestamp_field is 'event_timestamp'.*k, t"):
        source("rows", uri).validate(store.config)


def test_apply_starts_no_jvm(make_store: MakeStore, write: Write, lakes_to_test: Places, tmp_path: Any) -> None:
    uris = [
        write(place, "rows", {"driver_id": [1], "event_timestamp": [hour(0)], "v": [1]}) for place in lakes_to_test
    ]
    script = f"""
        import subprocess, sys
        from feast import Entity, FeatureStore, FeatureView, RepoConfig, ValueType
        from feast_hybrid import HybridSparkSource
        store = FeatureStore(config=RepoConfig(
            project="p", provider="local", registry={str(tmp_path / "r.db")!r}, online_store=None,
            entity_key_serialization_version=3,
            offline_store={{"type": "feast_hybrid.HybridSparkOfflineStore", "sites": {lakes_to_test.sites()!r}}}))
        driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
        views = [FeatureView(name=f"v{{n}}", entities=[driver], source=HybridSparkSource(
            name=f"s{{n}}", path=uri, timestamp_field="event_timestamp")) for n, uri in enumerate({uris!r})]
        store.apply([driver, *views])
        assert [[f.name for f in store.get_feature_view(v.name).features] for v in views] == [["v"], ["v"]]
        assert "pyspark" not in sys.modules, "PySpark was imported"
        assert not subprocess.run(["pgrep", "-P", str(__import__("os").getpid()), "java"], capture_output=True).stdout
        print("applied")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("applied"), done.stderr
