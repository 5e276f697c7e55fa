"""What Feast writes of itself: pushed rows, and logs of served features, which are then read and validated."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService, Field, PushSource, StreamFeatureView
from feast.data_source import PushMode
from feast.dqm.errors import ValidationFailed
from feast.dqm.profilers.profiler import Profile, Profiler, ValidationError, ValidationReport
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.saved_dataset import ValidationReference
from feast.types import Float32, Int64

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SchemaError
from tests.integration.places import Place, Places, answers, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write

DRIVER = entity("driver", join_key="driver_id")
TRIPS = Field(name="trips", dtype=Int64)
RATE = Field(name="rate", dtype=Float32)


@pytest.fixture(params=["onprem", "cloud"])
def place(request: pytest.FixtureRequest, lakes_to_test: Places) -> Place:
    found: Place = getattr(lakes_to_test, request.param)
    return found


def rows(**columns: Any) -> dict[str, Any]:
    return {
        "driver_id": [1, 2],
        "event_timestamp": [hour(0), hour(0)],
        "trips": [10, 20],
        "rate": [0.5, 0.25],
        **columns,
    }


@pytest.fixture
def uri(write: Write, place: Place) -> str:
    return write(place, "stats", pa.table(rows()).cast(_types()))


def _types() -> pa.Schema:
    instant = pa.timestamp("us", tz="UTC")
    columns = [("driver_id", pa.int64()), ("event_timestamp", instant), ("trips", pa.int64()), ("rate", pa.float32())]
    return pa.schema(columns)


class TestPushes:
    @pytest.mark.filterwarnings("ignore:Stream feature views are experimental features")
    @pytest.mark.parametrize("view_type", ["feature view", "stream feature view"])
    @pytest.mark.parametrize("to", [PushMode.OFFLINE, PushMode.ONLINE_AND_OFFLINE])
    def test_pushed_rows_are_in_the_batch_source(
        self, make_store: MakeStore, uri: str, view_type: str, to: PushMode
    ) -> None:
        pushed = PushSource(name="pushed", batch_source=source("stats_rows", uri))
        if view_type == "feature view":
            stats: Any = view("stats", pushed, DRIVER, schema=[TRIPS, RATE])  # type: ignore[arg-type]
        else:
            stats = StreamFeatureView(
                name="stats", entities=[DRIVER], schema=[TRIPS, RATE], source=pushed, ttl=timedelta(days=1)
            )
        store = make_store(DRIVER, pushed, stats)
        later = {"driver_id": [2, 3], "event_timestamp": [hour(1), hour(1)], "trips": [21, 31], "rate": [0.1, 0.2]}
        store.push("pushed", pd.DataFrame(later), to=to)
        entity_df = pd.DataFrame({"driver_id": [1, 2, 3], "event_timestamp": [hour(2)] * 3})
        assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(10,), (21,), (31,)]
        online = store.get_online_features(["stats:trips"], [{"driver_id": 2}]).to_dict()["trips"]
        assert online == ([21] if to is PushMode.ONLINE_AND_OFFLINE else [None])

    def test_teardown_leaves_the_sources_rows(self, make_store: MakeStore, uri: str, place: Place) -> None:
        store = make_store(DRIVER, view("stats", source("stats_rows", uri), DRIVER))
        store.teardown()
        assert place.names(uri) == ["part-0.parquet"]


class Trips(Profile):
    """Expects no more trips than there were in the reference."""

    def __init__(self, most: int) -> None:
        self.most = most

    def validate(self, dataset: pd.DataFrame) -> ValidationReport:
        return Report(bool((dataset["stats__trips"] <= self.most).all()))

    def to_proto(self) -> Any:
        return None

    @classmethod
    def from_proto(cls, proto: Any) -> Any:
        raise NotImplementedError


class Report(ValidationReport):
    def __init__(self, success: bool) -> None:
        self._success = success

    @property
    def is_success(self) -> bool:
        return self._success

    @property
    def errors(self) -> list[ValidationError]:
        return []


class MostTrips(Profiler):
    def analyze_dataset(self, dataset: pd.DataFrame) -> Profile:
        return Trips(int(dataset["trips"].max()))

    def to_proto(self) -> Any:
        return None

    @classmethod
    def from_proto(cls, proto: Any) -> Any:
        raise NotImplementedError


def logged(store: FeatureStore, service: FeatureService) -> pd.DataFrame:
    """What the logs hold, as Feast asks for it."""
    job = store.provider.retrieve_feature_service_logs(
        feature_service=service,
        start_date=hour(0),
        end_date=hour(24),
        config=store.config,
        registry=store.registry,
    )
    return job.to_df().sort_values("__request_id", ignore_index=True)


def logs(store: FeatureStore, service: FeatureService, hours: float, *trips: int) -> pa.Table:
    """Logs of one request for each number, as Feast's feature server writes them."""
    schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
    given = {
        "driver_id": [1] * len(trips),
        "stats__trips": list(trips),
        "stats__rate": [0.5] * len(trips),
        "__log_timestamp": [hour(hours)] * len(trips),
        "__log_date": [hour(hours).date()] * len(trips),
        "__request_id": [f"request {number}" for number in trips],
    }
    for name in schema.names:
        if name.endswith("__timestamp"):
            given[name] = [hour(0)] * len(trips)
        elif name.endswith("__status"):
            given[name] = [2] * len(trips)
    return pa.table([pa.array(given[field.name], field.type) for field in schema], schema=schema)


class TestLogs:
    @pytest.fixture
    def service(self, uri: str, place: Place, folder: str) -> FeatureService:
        stats = view("stats", source("stats_rows", uri), DRIVER, schema=[TRIPS, RATE])
        destination = HybridSparkLoggingDestination(path=f"{place.uri}{folder}/logs")
        return FeatureService(name="service", features=[stats[["trips"]]], logging_config=LoggingConfig(destination))

    @pytest.fixture
    def store(self, make_store: MakeStore, service: FeatureService, uri: str) -> FeatureStore:
        stats = view("stats", source("stats_rows", uri), DRIVER, schema=[TRIPS, RATE])
        return make_store(DRIVER, stats, service)

    def test_tables_and_folders_of_logs_are_read_as_feast_asks_for_them(
        self, store: FeatureStore, service: FeatureService, tmp_path: Path
    ) -> None:
        registered = store.get_feature_service("service")
        store.write_logged_features(logs(store, service, 1, 5, 7), registered)
        folder = tmp_path / "logs"
        folder.mkdir()
        for number in (8, 9):
            pq.write_table(logs(store, service, 2, number), folder / f"{number}.parquet")
        store.write_logged_features(folder, registered)
        frame = logged(store, registered)
        assert frame["stats__trips"].tolist() == [5, 7, 8, 9]
        assert frame["__log_timestamp"].tolist() == [hour(1), hour(1), hour(2), hour(2)]
        assert frame["stats__trips__timestamp"].tolist() == [hour(0)] * 4
        assert frame["__log_date"].tolist() == [hour(0).date()] * 4

    def test_logs_go_on_when_a_feature_is_added_to_the_service(
        self, store: FeatureStore, service: FeatureService, uri: str
    ) -> None:
        store.write_logged_features(logs(store, service, 1, 5), store.get_feature_service("service"))
        stats = view("stats", source("stats_rows", uri), DRIVER, schema=[TRIPS, RATE])
        wider = FeatureService(name="service", features=[stats], logging_config=service.logging_config)
        store.apply([wider])
        store.write_logged_features(logs(store, wider, 2, 6), store.get_feature_service("service"))
        frame = logged(store, store.get_feature_service("service"))
        assert frame["stats__trips"].tolist() == [5, 6]
        assert frame["stats__rate"].isna().tolist() == [True, False]

    def test_logs_that_are_not_the_services_are_refused(self, store: FeatureStore, service: FeatureService) -> None:
        right = logs(store, service, 1, 5)
        wrong = right.rename_columns([name.replace("trips", "rides") for name in right.column_names])
        with pytest.raises(SchemaError, match=r"missing stats__trips, .*; unknown stats__rides"):
            store.write_logged_features(wrong, service)

    @pytest.mark.filterwarnings("ignore:Logged features validation is an experimental feature")
    @pytest.mark.filterwarnings("ignore:Dataset validation is an experimental feature")
    def test_logs_are_validated_against_a_saved_dataset(
        self, store: FeatureStore, service: FeatureService, place: Place, folder: str
    ) -> None:
        entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
        storage = SavedDatasetHybridSparkStorage(path=f"{place.uri}{folder}/reference")
        dataset = store.create_saved_dataset(retrieve(store, entity_df, ["stats:trips"]), "reference", storage)
        reference = ValidationReference.from_saved_dataset("most", dataset, MostTrips())
        store.write_logged_features(logs(store, service, 1, 5, 20), service)
        done = store.validate_logged_features(service, hour(0), hour(2), reference, cache_profile=False)
        assert done is None
        store.write_logged_features(logs(store, service, 3, 21), service)
        with pytest.raises(ValidationFailed):
            store.validate_logged_features(service, hour(0), hour(4), reference, cache_profile=False)


def test_logs_are_kept_in_a_table(make_store: MakeStore, write: Write, onprem: Place, spark: SparkSession) -> None:
    stats = view("stats", source("stats_rows", write(onprem, "stats", rows())), DRIVER)
    destination = HybridSparkLoggingDestination(table="logged_stats", site="onprem")
    service = FeatureService(name="service", features=[stats], logging_config=LoggingConfig(destination))
    store = make_store(DRIVER, stats, service)
    registered = store.get_feature_service("service")
    try:
        for number in (5, 6):
            table = logs(store, registered, 1, number)
            source_of_logs = FeatureServiceLoggingSource(registered, store.project)
            assert registered.logging_config is not None
            HybridSparkOfflineStore.write_logged_features(
                store.config, table, source_of_logs, registered.logging_config, store.registry
            )
        assert logged(store, registered)["stats__trips"].tolist() == [5, 6]
    finally:
        spark.sql("DROP TABLE IF EXISTS logged_stats")
