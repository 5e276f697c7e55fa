"""Feast's servers on both lakes: features, offline store, registry, REST and UI."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
import requests
from feast import FeatureService, FeatureStore, Field, RepoConfig
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.offline_stores.remote import RemoteOfflineStore
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SourceNotFoundError
from feast_hybrid.testing.services import free_ports
from tests.integration.places import Place, Places, entity, feature_store, hour, source, view
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write

pytestmark = [
    # Of Feast's servers and what they stand on, not of what they serve.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(feast|fastapi|starlette|uvicorn|websockets|google)"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TRIPS = {
    "driver_id": [1, 1, 2],
    "event_timestamp": [hour(1), hour(2), hour(1)],
    "created": [hour(1), hour(2), hour(1)],
    "trips": [1, 2, 3],
}
MOODS = {"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)], "mood": ["calm", None]}


@pytest.fixture
def store(
    lakes_to_test: Places, write: Write, onprem: Place, cloud: Place, spark: SparkSession, tmp_path: Path
) -> FeatureStore:
    """A store with a view on each lake, an on-demand view and a feature service."""
    driver = entity("driver", join_key="driver_id")
    trips = view(
        "trips", source("trip_rows", write(onprem, "trips", TRIPS), "created", tags={"team": "fleet"}), driver
    )
    moods = view("moods", source("mood_rows", write(cloud, "moods", MOODS), description="how they felt"), driver)

    @on_demand_feature_view(sources=[trips], schema=[Field(name="twice", dtype=Float64)])
    def doubled(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": rows["trips"] * 2.0})

    made = feature_store(lakes_to_test.sites(), tmp_path, driver, trips, moods)
    made.apply([doubled, FeatureService(name="everything", features=[trips, moods, doubled])])
    return made


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI app from a thread; give its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def test_the_feature_server_materialises_from_the_lakes_and_serves(store: FeatureStore) -> None:
    from feast.feature_server import get_app

    with served(get_app(store)) as address:
        bounds = {"start_ts": hour(0).isoformat(), "end_ts": hour(5).isoformat()}
        done = requests.post(f"{address}/materialize", json=bounds, timeout=120)
        assert done.status_code == 200, done.text
        request: Any = {"feature_service": "everything", "entities": {"driver_id": [1, 2, 9]}}
        answer = requests.post(f"{address}/get-online-features", json=request, timeout=60).json()
    names = answer["metadata"]["feature_names"]
    found = {name: result["values"] for name, result in zip(names, answer["results"], strict=True)}
    assert found == {
        "driver_id": [1, 2, 9],
        "trips": [2, 3, None],
        "mood": ["calm", None, None],
        "twice": [4.0, 6.0, None],
    }


@pytest.fixture
def remote(store: FeatureStore, tmp_path: Path) -> Iterator[FeatureStore]:
    """A client whose offline store is ``store``, behind Feast's offline server; it knows of no lake."""
    from feast.offline_server import OfflineServer, _init_auth_manager

    _init_auth_manager(store)
    server = OfflineServer(store=store, location="grpc+tcp://127.0.0.1:0", host="127.0.0.1")
    try:
        yield FeatureStore(
            config=RepoConfig(
                project=store.project,
                provider="local",
                registry=str(tmp_path / "registry.db"),
                online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
                offline_store={"type": "remote", "host": "127.0.0.1", "port": server.port},
                entity_key_serialization_version=3,
            )
        )
    finally:
        server.shutdown()


ROWS = pd.DataFrame(
    {"driver_id": [2, 1, 1], "event_timestamp": [hour(3), hour(1.5), hour(3)], "note": ["a", "b", "c"]}
)


def test_a_remote_client_retrieves_through_the_offline_server(store: FeatureStore, remote: FeatureStore) -> None:
    features = store.get_feature_service("everything")
    far = remote.get_historical_features(ROWS, features).to_df()
    pd.testing.assert_frame_equal(far, store.get_historical_features(ROWS, features).to_df())
    assert far["trips"].tolist() == [3, 1, 2]
    assert far["mood"].tolist() == [None, "calm", "calm"]

    query = "SELECT driver_id, event_timestamp FROM trip_rows WHERE driver_id = 1"
    by_sql = remote.get_historical_features(query, ["trips:trips", "moods:mood"], full_feature_names=True)
    assert sorted(by_sql.to_df()["trips__trips"]) == [1, 2]

    between = remote.get_historical_features(None, ["trips:trips"], start_date=hour(0), end_date=hour(1))
    assert sorted(between.to_df()["trips"]) == [1, 3]


def test_a_remote_client_pulls_and_materialises_through_the_offline_server(remote: FeatureStore) -> None:
    given: dict[str, Any] = {
        "config": remote.config,
        "data_source": remote.get_data_source("trip_rows"),
        "join_key_columns": ["driver_id"],
        "feature_name_columns": ["trips"],
        "timestamp_field": "event_timestamp",
        "created_timestamp_column": "created",
        "start_date": hour(0),
        "end_date": hour(5),
    }
    everything = RemoteOfflineStore.pull_all_from_table_or_query(**given).to_df()
    assert sorted(everything["trips"]) == [1, 2, 3]
    latest = RemoteOfflineStore.pull_latest_from_table_or_query(**given).to_df()
    assert sorted(latest["trips"]) == [2, 3]

    remote.materialize(hour(0), hour(5))
    online = remote.get_online_features(["trips:trips", "moods:mood"], [{"driver_id": 1}]).to_dict()
    assert online == {"driver_id": [1], "trips": [2], "mood": ["calm"]}


def test_a_remote_client_persists_onto_a_lake(
    store: FeatureStore, remote: FeatureStore, cloud: Place, folder: str
) -> None:
    place = f"{cloud.uri}{folder}/saved"
    # The server looks for a source by the name that the storage's source has: its path.
    store.apply([HybridSparkSource(name=place, path=place, timestamp_field="event_timestamp")])
    remote.refresh_registry()
    job = remote.get_historical_features(ROWS, ["trips:trips"])
    job.persist(SavedDatasetHybridSparkStorage(path=place))
    import pyarrow.parquet as pq

    names = [name for name in cloud.names(place) if name.endswith(".parquet")]
    tables = [pq.read_table(f"{cloud.inside(place)}/{name}", filesystem=cloud.lake.filesystem()) for name in names]
    assert sorted(pa.concat_tables(tables)["trips"].to_pylist()) == [1, 2, 3]


def test_a_remote_client_writes_rows_and_logs_through_the_offline_server(
    store: FeatureStore, remote: FeatureStore, cloud: Place, folder: str
) -> None:
    trips = store.get_feature_view("trips")
    more = {"driver_id": [7], "event_timestamp": [hour(4)], "created": [hour(4)], "trips": [8]}
    RemoteOfflineStore.offline_write_batch(remote.config, trips, pa.table(more), progress=None)
    entity_rows = pd.DataFrame({"driver_id": [7], "event_timestamp": [hour(5)]})
    assert remote.get_historical_features(entity_rows, ["trips:trips"]).to_df()["trips"].tolist() == [8]

    logs = LoggingConfig(destination=HybridSparkLoggingDestination(path=f"{cloud.uri}{folder}/logs"))
    logged = FeatureService(name="logged", features=[trips], logging_config=logs)
    store.apply([logged])
    remote.refresh_registry()
    log_source = FeatureServiceLoggingSource(logged, store.project)
    served = {"driver_id": 7, "trips__trips": 8, "trips__trips__timestamp": hour(4), "trips__trips__status": 2}
    schema = log_source.get_schema(store.registry)
    rows = [{**dict.fromkeys(schema.names), **served, "__log_timestamp": hour(5), "__log_date": hour(5).date()}]
    RemoteOfflineStore.write_logged_features(
        remote.config, pa.Table.from_pylist(rows, schema), log_source, logs, remote.registry
    )
    kept = store.provider.retrieve_feature_service_logs(logged, hour(4), hour(6), store.config, store.registry)
    assert kept.to_df()["trips__trips"].tolist() == [8]


def test_a_remote_client_asks_for_a_sources_columns_and_whether_it_is_there(
    remote: FeatureStore, cloud: Place
) -> None:
    far = RemoteOfflineStore()
    source_found = remote.get_data_source("trip_rows")
    far.validate_data_source(remote.config, source_found)
    columns = dict(far.get_table_column_names_and_types_from_data_source(remote.config, source_found))
    assert columns["trips"] == "bigint"
    gone = source("gone", f"{cloud.uri}/gone")
    with pytest.raises(Exception, match="source 'gone': nothing is at site") as caught:
        far.validate_data_source(remote.config, gone)
    assert not isinstance(caught.value, SourceNotFoundError), "Flight carries texts, not our classes"


@pytest.fixture
def over_grpc(store: FeatureStore, lakes_to_test: Places, tmp_path: Path) -> Iterator[FeatureStore]:
    """A client of the same lakes whose registry is ``store``'s, behind Feast's registry server."""
    from feast.registry_server import start_server

    (port,) = free_ports(1)
    server = start_server(store, port, wait_for_termination=False)
    config = store.config.model_dump(by_alias=True, exclude={"registry", "online_store", "repo_path"})
    try:
        yield FeatureStore(
            config=RepoConfig(
                project=store.project,
                provider="local",
                registry={"registry_type": "remote", "path": f"127.0.0.1:{port}"},
                online_store={"type": "sqlite", "path": str(tmp_path / "client.db")},
                offline_store=config["offline_store"],
                entity_key_serialization_version=3,
            )
        )
    finally:
        server.stop(5).wait()


def test_the_registry_server_gives_and_takes_our_sources(
    store: FeatureStore, over_grpc: FeatureStore, write: Write, onprem: Place
) -> None:
    assert over_grpc.get_data_source("trip_rows") == store.get_data_source("trip_rows")
    assert {found.name for found in over_grpc.list_data_sources()} == {"trip_rows", "mood_rows"}
    driver = over_grpc.get_entity("driver")
    more = view("more", source("more_rows", write(onprem, "more", {**MOODS, "more": [5, 6]})), driver)
    over_grpc.apply([more])
    store.refresh_registry()
    assert store.get_feature_view("more").batch_source == more.batch_source

    found = over_grpc.get_historical_features(ROWS, ["more:more", "trips:trips"]).to_df()
    assert found["more"].tolist() == [6, 5, 5]


def listed(address: str, **parameters: Any) -> dict[str, dict[str, Any]]:
    """The data sources that a REST API lists, by name."""
    answer = requests.get(f"{address}/data_sources", params={"project": "integration", **parameters}, timeout=30)
    assert answer.status_code == 200, answer.text
    return {entry["name"]: entry for entry in answer.json()["dataSources"]}


def _lake(place: Place) -> str:
    return place.scheme.replace("abfs", "adls")


def app_of(server: str, store: FeatureStore) -> Any:
    """The registry's REST server, or the UI's; the API of both is below ``/api/v1``."""
    if server == "rest":
        from feast.api.registry.rest.rest_registry_server import RestRegistryServer

        return RestRegistryServer(store).app
    from feast import ui_server

    return ui_server.get_app(store, store.project)


@pytest.mark.parametrize("server", ["rest", "ui"])
def test_sources_are_found_by_where_their_rows_are(
    store: FeatureStore, onprem: Place, cloud: Place, server: str
) -> None:
    with served(app_of(server, store)) as host:
        address = f"{host}/api/v1"
        found = listed(address)
        assert set(found) == {"trip_rows", "mood_rows"}
        tags = found["trip_rows"]["tags"]
        assert tags["team"] == "fleet"
        assert tags["feast_hybrid.lake"] == _lake(onprem)
        assert onprem.uri.startswith(tags["feast_hybrid.site"])
        assert tags["feast_hybrid.location"].startswith(f"{onprem.uri}/")
        moods = found["mood_rows"]["tags"]["feast_hybrid.location"]
        assert moods.startswith(f"{cloud.uri}/")
        # The UI's page of a feature view has of its source the class and this.
        shown = requests.get(f"{address}/feature_views/moods", params={"project": "integration"}, timeout=30).json()
        assert shown["spec"]["batchSource"]["dataSourceClassType"] == "feast_hybrid.HybridSparkSource"
        assert shown["spec"]["batchSource"]["description"] == f"how they felt [{_lake(cloud)}: {moods}]"
        assert found["mood_rows"]["description"] == shown["spec"]["batchSource"]["description"]

        location = tags["feast_hybrid.location"]
        assert set(listed(address, tags=f"feast_hybrid.location:{location}")) == {"trip_rows"}
        search = requests.get(f"{address}/search", params={"query": location}, timeout=30).json()
        assert "trip_rows" in {result["name"] for result in search["results"]}


@reliability("Secrets", "everything that Feast's registry server and UI answer", "shows no secret")
@pytest.mark.parametrize("server", ["rest", "ui"])
def test_no_secret_is_served(
    lakes_to_test: Places, store: FeatureStore, tmp_path: Path, server: str, capfd: pytest.CaptureFixture[str]
) -> None:
    literal = "Y2FuYXJ5LWluLXRoZS1taW5l"
    other = {
        "name": "other",
        "uri": "abfss://raw@canary.dfs.core.windows.net",
        "credential": {"type": "account_key", "account_key": literal},
    }
    with pytest.warns(UserWarning, match="a secret stands as text"):
        server_store = feature_store([*lakes_to_test.sites(), other], tmp_path)
    secrets = [literal]
    for place in lakes_to_test:
        key = place.site()["credential"].get("account_key")
        if key is not None:
            secrets.append(os.environ[key["env"]])

    names = {"project": "integration", "query": "canary"}
    with served(app_of(server, server_store)) as host:
        listing = requests.get(
            f"{host}/api/v1/openapi.json" if server == "ui" else f"{host}/openapi.json", timeout=60
        )
        readable = [f"/api/v1{path}" for path, verbs in listing.json()["paths"].items() if "get" in verbs]
        responses = {
            path: requests.get(host + path.replace("{name}", "trip_rows"), params=names, timeout=60)
            for path in (*readable, "/", "/projects-list.json")
        }
    assert sum(answer.status_code == 200 for answer in responses.values()) > 10, responses
    printed = "".join(capfd.readouterr())
    for secret in secrets:
        assert not [path for path, answer in responses.items() if secret in answer.text]
        assert secret not in printed
