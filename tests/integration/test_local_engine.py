"""The local engine on both lakes: it answers as Spark does, without Spark, and leaves to Spark what is Spark's."""

from __future__ import annotations

import io
import threading
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import ValueType

from feast_hybrid import HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from feast_hybrid.config import JoinConfig
from feast_hybrid.errors import NotSupportedError, RetrievalTimeoutError, SchemaError, WriteError
from tests.integration import batches
from tests.integration.places import (
    answers,
    entity,
    feature_store,
    hour,
    retrieve,
    rows_of,
    source,
    view,
    with_offline_store,
)

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore

    from feast_hybrid import HybridSparkRetrievalJob
    from tests.integration.places import Places

DRIVER, CITY = entity("driver_id"), entity("city")
FEATURES = ["stats:rate", "stats:words", "stats:day", "weather:temp", "weather:exact", "weather:nested"]
ENGINES = ("spark", "local")

#: The session of all tests, lest the store starts one of its own.
pytestmark = pytest.mark.usefixtures("spark")


def history(seed: int, key: str, **columns: Any) -> pa.Table:
    """Rows whose times, created times and values tie often."""
    random = np.random.default_rng(seed)
    times = [hour(float(n)) for n in random.integers(0, 8, 400)]
    created = [None if n == 0 else hour(float(n)) for n in random.integers(0, 6, 400)]
    keys = [None if n == 0 else int(n) for n in random.integers(0, 12, 400)]
    made = {name: [values[n] for n in random.integers(0, len(values), 400)] for name, values in columns.items()}
    return pa.table({key: pa.array(keys, pa.int64()), "event_timestamp": times, "created": created, **made})


@pytest.fixture(scope="module")
def stores(lakes_to_test: Places, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """One repository on two lakes, for each engine."""
    onprem, cloud = lakes_to_test
    rates, words = [0.5, -0.0, 0.0, float("nan"), None], [["a"], ["a", None], [], None]
    stats = history(1, "driver_id", rate=rates, words=words, day=[hour(0).date(), None])
    weather = history(2, "city", temp=[1, 2, None], exact=[1, 7], nested=[{"a": 1, "b": [1.5]}, None])
    places = {
        "stats": onprem.write(f"{onprem.uri}/local_engine/stats", stats),
        "weather": cloud.write(f"{cloud.uri}/local_engine/weather", weather),
    }
    made = {}
    for engine in ENGINES:
        views = [
            view("stats", source("stats_rows", places["stats"], "created"), DRIVER, ttl=timedelta(hours=3)),
            view("weather", source("weather_rows", places["weather"], "created"), CITY),
        ]
        folder = tmp_path_factory.mktemp(engine)
        made[engine] = feature_store(lakes_to_test.sites(), folder, DRIVER, CITY, *views, engine=engine)
    return made


def entity_rows(count: int = 300) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "driver_id": random.integers(0, 14, count),
            "city": [None if n == 0 else float(n) for n in random.integers(0, 14, count)],
            "event_timestamp": [hour(float(n) / 2) for n in random.integers(0, 20, count)],
            "label": random.random(count),
        }
    )


def both(stores: dict[str, FeatureStore], rows: Any, *features: str, **more: Any) -> list[HybridSparkRetrievalJob]:
    return [retrieve(stores[engine], rows, list(features or FEATURES), **more) for engine in ENGINES]


@pytest.mark.parametrize("by_created", [False, True])
def test_both_engines_give_the_same_table(stores: dict[str, FeatureStore], by_created: bool) -> None:
    by_spark, local = both(stores, entity_rows(), filter_by_created_timestamp=by_created)
    assert local.explain().count(": local (asked for)") == 2
    wanted, found = by_spark.to_arrow(), local.to_arrow()
    assert found.schema.equals(wanted.schema)
    # In text, since NaN is not equal to itself.
    assert str(found.to_pylist()) == str(wanted.to_pylist())
    assert any(value is not None for value in found["nested"].to_pylist())


def test_entity_rows_of_dates_are_the_same(stores: dict[str, FeatureStore]) -> None:
    tables = [job.to_arrow() for job in both(stores, None, "stats:rate", start_date=hour(1), end_date=hour(4.5))]
    wanted, found = ([str(row) for row in table.to_pylist()] for table in tables)
    assert tables[0].schema.equals(tables[1].schema)
    assert sorted(found) == sorted(wanted)
    assert len(found) > 20


@pytest.mark.parametrize("verb", ["latest", "all"])
@pytest.mark.parametrize("features", [["temp", "nested"], []])
def test_pulls_are_the_same(stores: dict[str, FeatureStore], verb: str, features: list[str]) -> None:
    pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
    tables = []
    for engine in ENGINES:
        of = stores[engine].get_feature_view("weather").batch_source
        created = "created" if verb == "latest" else None
        job = pull(stores[engine].config, of, ["city"], features, "event_timestamp", created, hour(1), hour(6))
        assert ("\nengine: local" in job.explain()) == (engine == "local")
        tables.append(job.to_arrow())
    assert tables[0].schema.equals(tables[1].schema)
    wanted, found = (sorted(map(str, table.to_pylist())) for table in tables)
    assert found == wanted
    assert len(found) > 8


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_a_dataset_is_saved_whole_and_replaced(
    stores: dict[str, FeatureStore], lakes_to_test: Places, role: str
) -> None:
    path = f"{getattr(lakes_to_test, role).uri}/local_engine/saved"
    storage = SavedDatasetHybridSparkStorage(path=path)
    for count in (300, 20):
        job = both(stores, entity_rows(count))[1]
        job.persist(storage, allow_overwrite=count == 20)
        saved = HybridSparkOfflineStore.pull_all_from_table_or_query(
            stores["spark"].config, storage.to_data_source(), ["driver_id"], ["label", "words"], "event_timestamp"
        )
        wanted = rows_of(job.to_arrow(), "driver_id", "label", "words")
        assert sorted(map(str, rows_of(saved.to_arrow(), "driver_id", "label", "words"))) == sorted(map(str, wanted))


def test_what_is_sparks_is_said_and_refused(stores: dict[str, FeatureStore]) -> None:
    with pytest.raises(NotSupportedError, match=r"cannot answer this: entity_df is SQL text\. Set it"):
        retrieve(stores["local"], "SELECT * FROM stats_rows", ["stats:rate"])


def test_errors_name_what_spark_names(stores: dict[str, FeatureStore]) -> None:
    rows = entity_rows(5).assign(driver_id="seven")
    messages = []
    for engine in ENGINES:
        with pytest.raises(SchemaError) as refused:
            retrieve(stores[engine], rows, ["stats:rate"])
        messages.append(str(refused.value))
    assert messages[0] == messages[1]
    assert "keys are compared by value, never by text" in messages[0]


def test_a_timeout_stops_it_and_leaves_no_thread(
    stores: dict[str, FeatureStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_hybrid.asof.local import join

    given_up = threading.Event()

    def endless(*_: Any) -> Any:
        while True:
            yield pa.record_batch({"k0": pa.array([1])})
            given_up.wait(0.01)

    monkeypatch.setattr(join, "read_split", endless)
    job = both(stores, entity_rows())[1]
    with pytest.raises(RetrievalTimeoutError, match=r"historical features of stats, weather did not end within 1 s"):
        job.to_arrow(timeout=1)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("feast-hybrid-read-")] == []


def test_times_in_any_unit_are_keys(lakes_to_test: Places, tmp_path: Path) -> None:
    seen = [hour(0), hour(1)]
    rows = {"seen": seen, "event_timestamp": [hour(0), hour(0)], "n": [1, 2]}
    path = lakes_to_test.onprem.write(f"{lakes_to_test.onprem.uri}/local_engine/times", pa.table(rows))
    key = entity("seen", ValueType.UNIX_TIMESTAMP)
    store = feature_store(lakes_to_test.sites(), tmp_path, key, view("times", source("t", path), key), engine="local")
    for unit in ("s", "ms", "us", "ns"):
        asked = pa.table({"seen": pa.array(seen, pa.timestamp(unit, "UTC")), "event_timestamp": [hour(2)] * 2})
        assert retrieve(store, asked, ["times:n"]).to_arrow()["n"].to_pylist() == [1, 2], unit


def test_a_saved_time_is_an_instant_however_it_was_written(
    stores: dict[str, FeatureStore], lakes_to_test: Places
) -> None:
    storage = SavedDatasetHybridSparkStorage(path=f"{lakes_to_test.onprem.uri}/local_engine/texts")
    rows = pd.DataFrame({"driver_id": [1], "event_timestamp": ["2026-01-10T05:00:00Z"]})
    retrieve(stores["local"], rows, ["stats:words"]).persist(storage)
    saved = HybridSparkOfflineStore.pull_all_from_table_or_query(
        stores["spark"].config, storage.to_data_source(), [], [], "event_timestamp", None, hour(5), hour(5)
    )
    assert saved.to_arrow()["event_timestamp"].to_pylist() == [hour(5)]
    times: Any = [time(7, 30)]
    odd = rows.assign(odd=times)
    with pytest.raises(WriteError, match=r"column 'odd' is time64\[us\], which readers of a lake have no type for"):
        retrieve(stores["local"], odd, ["stats:words"]).persist(storage, allow_overwrite=True)


def test_a_day_that_partitions_nothing_cuts_nothing(lakes_to_test: Places, tmp_path: Path) -> None:
    root = f"{lakes_to_test.onprem.uri}/local_engine/days"
    rows = {"driver_id": [1], "event_timestamp": [hour(0)], "n": [1]}
    in_file = lakes_to_test.onprem.write(f"{root}/in_file", {**rows, "day": ["2025-01-01"]})
    in_folder = f"{root}/in_folder"
    lakes_to_test.onprem.write(f"{in_folder}/day=2025-01-01", rows)
    views = [
        view(name, source(f"{name}_rows", path, date_partition_column=column), DRIVER, ttl=timedelta(days=1))
        for name, path, column in (("file", in_file, "day"), ("folder", in_folder, "day"), ("case", in_folder, "Day"))
    ]
    asked = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    store = feature_store(lakes_to_test.sites(), tmp_path, DRIVER, *views)
    for offline_store in ({"engine": "local"}, {"engine": "spark", "join": JoinConfig(strategy="window")}):
        job = HybridSparkOfflineStore.get_historical_features(
            with_offline_store(store.config, **offline_store),
            views,
            [f"{each.name}:n" for each in views],
            asked,
            store.registry,
            store.project,
            full_feature_names=True,
        )
        assert answers(job, "file__n", "folder__n", "case__n") == [(1, None, None)], offline_store


def test_dates_in_the_calendar_of_an_old_spark_are_sparks(lakes_to_test: Places, tmp_path: Path) -> None:
    days = pa.array([-719_164, 0], pa.int32()).cast(pa.date32())  # 0001-01-01 in the calendar of Spark 2
    rows = pa.table({"driver_id": [1, 2], "event_timestamp": [hour(0)] * 2, "day": days, "n": [1, 2]})
    old = rows.replace_schema_metadata({"org.apache.spark.version": "2.4.8"})
    path = lakes_to_test.onprem.write(f"{lakes_to_test.onprem.uri}/local_engine/old_spark", old)
    store = feature_store(
        lakes_to_test.sites(), tmp_path, DRIVER, view("old", source("o", path), DRIVER), engine="auto"
    )
    asked = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1)] * 2})
    job = retrieve(store, asked, ["old:day", "old:n"])
    assert "holds times before 1900 in the calendar of an old Spark: only Spark reads such columns" in job.explain()
    assert answers(job, "day", "n") == [(date(1, 1, 1), 1), (date(1970, 1, 1), 2)]
    assert "engine: local" in retrieve(store, asked, ["old:n"]).explain()


@pytest.mark.parametrize("engine", ENGINES)
def test_an_export_of_a_pull_is_what_feasts_engines_take(lakes_to_test: Places, tmp_path: Path, engine: str) -> None:
    onprem = lakes_to_test.onprem
    path = f"{onprem.uri}/local_engine/export/{engine}"
    nested = pa.array([{"x": [1.5]}], pa.struct([("x", pa.list_(pa.float64()))]))
    rows = {"event_timestamp": [hour(0)], "a": [1], "nested": nested}
    of = source("export", onprem.write(path, rows), field_mapping={"a": "renamed by who reads the files"})
    config = feature_store(lakes_to_test.sites(), tmp_path, engine=engine, staging_location=f"{path}_staged").config
    job = HybridSparkOfflineStore.pull_latest_from_table_or_query(
        config, of, [], ["a", "nested"], "event_timestamp", None, hour(0), hour(1)
    )
    files = [io.BytesIO(onprem.lake.filesystem().cat_file(onprem.inside(uri))) for uri in job.to_remote_storage()]
    found = pa.concat_tables(map(pq.read_table, files)).drop_columns("event_timestamp")  # Spark's are INT96
    assert found.to_pylist() == job.to_arrow().drop_columns("event_timestamp").to_pylist()
    assert found.to_pydict() == {"a": [1], "nested": ['{"x":[1.5]}'], "__dummy_id": [""]}


def test_a_job_is_of_one_version_of_a_table_whichever_engine_gives_it(lakes_to_test: Places, tmp_path: Path) -> None:
    path = f"{lakes_to_test.onprem.uri}/local_engine/{tmp_path.name}"
    of = batches.stats(path, file_format="delta")
    store = feature_store(lakes_to_test.sites(), tmp_path, batches.DRIVER, of, engine="auto")
    batches.add(store, of, batches.rows(7))
    job = retrieve(store, pd.DataFrame({"driver_id": [7], "event_timestamp": [hour(9)]}), ["stats:trips"])
    assert "engine: local" in job.explain()
    batches.add(store, of, batches.rows(7, hours=2).set_column(1, "trips", pa.array([8])))
    assert job.to_spark_df().toArrow()["trips"].to_pylist() == job.to_arrow()["trips"].to_pylist() == [7]
    assert job.metadata is not None
    assert "version 0" in job.metadata.versions["stats"]
