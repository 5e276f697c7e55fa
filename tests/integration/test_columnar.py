"""Joining by columns over both lakes: tasks sign in by the site, and read no more than can matter."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import ValueType

from feast_hybrid import HybridSparkSource
from feast_hybrid.asof import Scan
from feast_hybrid.retrieval import spark_views
from tests.integration.places import answers, entity, feature_store, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place, Places

pytestmark = [pytest.mark.connect, pytest.mark.matrix]

DRIVER = entity("driver", join_key="driver_id")
CITY = entity("city", ValueType.STRING)
FEATURES = ["stats:rate", "stats:trips", "weather:temp", "weather:sky"]
ENTITY_ROWS = pd.DataFrame(
    {
        "driver_id": [2, 1, 1, 3, None, 1],
        "city": ["ams", "ber", "ams", None, "ams", "ams"],
        "event_timestamp": [hour(1.5), hour(0), hour(2), hour(0), hour(3), hour(30)],
        "note": ["a", None, "c", "d", "e", "f"],
    }
)
EXPECTED = [
    (0.3, 3, 11, "blue"),
    (0.1, 1, 20, "red"),
    (0.2, 2, 11, "blue"),
    (None, None, None, None),
    (None, None, 11, "blue"),
    (None, None, None, None),
]


def key_in_a_file(sites: list[dict[str, Any]], lake_key: str | None, folder: Path) -> list[dict[str, Any]]:
    """The sites, with the account's key in a file: workers have the environment that Spark was started in."""
    changed = []
    for site in sites:
        credential = site["credential"]
        if "account_key" in credential:
            assert lake_key is not None
            (folder / "key").write_text(lake_key)
            credential = {**credential, "account_key": {"file": str(folder / "key")}}
        changed.append({**site, "credential": credential})
    return changed


def secret_of(place: Place) -> str | None:
    return getattr(place.lake, "key", None)


@pytest.fixture(scope="module")
def sites(lakes_to_test: Places, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("secrets")
    return key_in_a_file(lakes_to_test.sites(), secret_of(lakes_to_test.cloud), folder)


@pytest.fixture(scope="module")
def stores(
    sites: list[dict[str, Any]],
    lakes_to_test: Places,
    spark: SparkSession,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, FeatureStore]:
    """By strategy: drivers' statistics on premises, weather in the cloud by day."""
    onprem, cloud = lakes_to_test
    stats = onprem.write(
        f"{onprem.uri}/columnar/stats",
        {
            "driver_id": [1, 1, 2, 2],
            "event_timestamp": [hour(0), hour(1), hour(0), hour(2)],
            "created": [hour(0), hour(1), hour(0), hour(9)],
            "rate": [0.1, 0.2, 0.3, 0.4],
            "trips": [1, 2, 3, 4],
        },
    )
    weather = f"{cloud.uri}/columnar/weather"
    for day, rows in (("2026-01-10", 3), ("2025-06-01", 1)):
        cloud.write(
            f"{weather}/day={day}",
            {
                "city": ["ams", "ams", "ber"][:rows],
                "event_timestamp": [hour(0), hour(1), hour(0)][:rows],
                "temp": [10, 11, 20][:rows],
                "sky": ["grey", "blue", "red"][:rows],
            },
        )
    views = [
        view("stats", source("stats_rows", stats, "created"), DRIVER, ttl=timedelta(days=1)),
        view("weather", source("weather_rows", weather, date_partition_column="day"), CITY, ttl=timedelta(days=1)),
    ]
    return {
        strategy: feature_store(
            sites, tmp_path_factory.mktemp(strategy), DRIVER, CITY, *views, join={"strategy": strategy}
        )
        for strategy in ("columnar", "window")
    }


@pytest.fixture
def store(stores: dict[str, FeatureStore]) -> FeatureStore:
    return stores["columnar"]


def test_both_lakes_are_read_by_tasks_that_sign_in_as_the_site_says(store: FeatureStore) -> None:
    job = retrieve(store, ENTITY_ROWS, FEATURES)
    assert answers(job, "rate", "trips", "temp", "sky") == EXPECTED
    description = job.explain().splitlines()
    assert description[0].startswith(
        "view 'stats': columnar (asked for); reads 5 columns of 1 files on site 'onprem'"
    )
    assert description[1].startswith(
        "view 'weather': columnar (asked for); reads 4 columns of 1 files on site 'cloud'"
    )
    assert description[2] == "entity rows: 6"
    shown = job._repr_html_()
    assert "<td>stats</td><td>site &#x27;onprem&#x27;, hdfs://" in shown
    assert "<td>weather</td><td>site &#x27;cloud&#x27;, abfs" in shown


def test_partitions_outside_of_the_times_of_a_spark_frame_are_left_out(
    store: FeatureStore, spark: SparkSession
) -> None:
    rows = spark.createDataFrame([("ams", hour(2)), ("ber", hour(0))], "city string, event_timestamp timestamp")
    job = retrieve(store, rows, ["weather:temp"])
    description = job.explain().splitlines()
    assert description[0].startswith(
        "view 'weather': columnar (asked for); reads 3 columns of 1 files on site 'cloud'"
    )
    assert description[1] == "entity rows: 2, counted by a pass over them"
    assert sorted(answers(job, "city", "temp")) == [("ams", 11), ("ber", 20)]


def test_the_frame_in_spark_has_the_types_of_the_other_strategies(stores: dict[str, FeatureStore]) -> None:
    columnar, window = (
        retrieve(stores[each], ENTITY_ROWS, FEATURES).to_spark_df() for each in ("columnar", "window")
    )
    columns = [[(field.name, field.dataType) for field in frame.schema] for frame in (columnar, window)]
    assert columns[0] == columns[1]
    assert sorted(map(str, columnar.collect())) == sorted(map(str, window.collect()))


def test_entity_rows_in_spark_are_asked_for_their_times_and_keys_once(
    store: FeatureStore, spark: SparkSession
) -> None:
    rows = spark.createDataFrame(
        [(2, "ams", hour(1.5)), (1, "ber", hour(0))], "driver_id int, city string, event_timestamp timestamp"
    )
    job = retrieve(store, rows, FEATURES)
    assert sorted(answers(job, "rate", "temp")) == [(0.1, 20), (0.3, 11)]
    assert "entity rows: 2, counted by a pass over them" in job.explain()


def test_no_secret_is_in_what_travels_nor_in_the_plan(
    store: FeatureStore, lakes_to_test: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = secret_of(lakes_to_test.cloud)
    if secret is None:
        pytest.skip("no lake with a secret here")
    job = retrieve(store, ENTITY_ROWS, FEATURES)
    frame = job.to_spark_df()
    frame.explain("extended")
    shown = capsys.readouterr().out + job.explain()
    assert "MapInArrow" in shown
    assert secret not in shown
    for scan in scans(store):
        assert secret.encode() not in pickle.dumps((scan.files, scan.open, scan.check))


def scans(store: FeatureStore) -> list[Scan]:
    from feast_hybrid.retrieval.request import requested_views
    from feast_hybrid.sources.reader import reader_for

    views = requested_views(
        store.list_feature_views(), FEATURES, [], False, store.config, store.registry, store.project
    )
    config = store.config.offline_store
    reader = reader_for(config.spark, config.router, [each.source for each in views])
    found = [spark_views.as_of_view(each, reader, None).scan for each in views]
    scans = [scan for scan in found if isinstance(scan, Scan)]
    assert len(scans) == len(found)
    return scans


def test_partitions_outside_of_the_entity_rows_times_are_not_listed_among_the_files(store: FeatureStore) -> None:
    assert sorted(len(scan.files) for scan in scans(store)) == [1, 2]
    assert "reads 4 columns of 1 files on site 'cloud'" in retrieve(store, ENTITY_ROWS, FEATURES).explain()


def test_what_tasks_cannot_open_is_left_to_spark_and_said(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = spark_views.as_of_view

    # A function within a function travels by value: a server's workers need not have this module.
    def no_return() -> None:
        raise KeyError("canary")

    def broken(*arguments: Any, **more: Any) -> Any:
        found = genuine(*arguments, **more)
        assert isinstance(found.scan, Scan)
        scan = dataclasses.replace(found.scan, where="a place of no return", check=no_return)
        return dataclasses.replace(found, scan=scan)

    monkeypatch.setattr(spark_views, "as_of_view", broken)
    job = retrieve(store, ENTITY_ROWS, FEATURES)
    assert "; rows by Spark: executors cannot open files on a place of no return: KeyError)" in job.explain()
    assert answers(job, "rate", "trips", "temp", "sky") == EXPECTED


def test_other_formats_and_options_are_left_to_spark_and_said(
    store: FeatureStore, write: Write, onprem: Place, sites: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)], "rate": [0.5]}
    path = write(onprem, "rows", rows)
    filtered = source("filtered", path, options={"int96RebaseMode": "LEGACY"})
    query = "SELECT 1L AS driver_id, current_timestamp() AS event_timestamp, 1 AS n"
    queried = HybridSparkSource(name="queried", site="onprem", query=query, timestamp_field="event_timestamp")
    small = feature_store(
        sites, tmp_path, DRIVER, view("filtered", filtered, DRIVER), view("queried", queried, DRIVER)
    )
    description = retrieve(
        small, ENTITY_ROWS[["driver_id", "event_timestamp"]], ["filtered:rate", "queried:n"]
    ).explain()
    by_spark = "columnar (blocks of columns are the cheapest; rows by Spark"
    options = "reader options, which are Spark's to follow: int96RebaseMode"
    assert f"view 'filtered': {by_spark}: {options})" in description
    assert f"view 'queried': {by_spark}: a table or query: its files are Spark's to know)" in description


def test_little_to_read_is_read_by_columns_too(make_store: MakeStore, write: Write, onprem: Place) -> None:
    path = write(onprem, "rows", {"driver_id": [1], "event_timestamp": [hour(0)], "rate": [0.5]})
    job = retrieve(make_store(DRIVER, view("plain", source("plain", path), DRIVER)), ENTITY_ROWS, ["plain:rate"])
    assert "view 'plain': columnar (blocks of columns are the cheapest); reads 3 columns of 1 files" in job.explain()
    assert job.to_df()["rate"].notna().any()
