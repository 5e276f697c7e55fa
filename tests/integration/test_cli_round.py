"""A repository's whole life by Feast's command line: apply, plan, materialise, read, tear down."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from feast_hybrid.testing import session_conf
from tests.integration.jobs import ConnectJobs
from tests.integration.places import Places, connect_only, hour, outside_of_spark

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from feast_hybrid.testing import SparkConnectServer
    from tests.integration.conftest import Write

FEATURES = """
    from datetime import timedelta

    import pandas as pd
    from feast import Entity, FeatureService, FeatureView, Field, ValueType
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64
    from feast_hybrid import HybridSparkSource

    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    trips = FeatureView(
        name="trips",
        entities=[driver],
        ttl=timedelta(days=1),
        source=HybridSparkSource(
            name="trip_rows", path={trips!r}, timestamp_field="event_timestamp", created_timestamp_column="created"
        ),
    )
    moods = FeatureView(
        name="moods",
        entities=[driver],
        source=HybridSparkSource(name="mood_rows", path={moods!r}, timestamp_field="event_timestamp"),
    )

    @on_demand_feature_view(sources=[trips], schema=[Field(name="double_trips", dtype=Float64)])
    def doubled(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({{"double_trips": rows["trips"] * 2.0}})

    everything = FeatureService(name="everything", features=[trips, moods, doubled])
"""


@dataclass
class Repo:
    """A folder with ``feature_store.yaml`` and definitions."""

    folder: Path

    def configure(self, lakes: Places, **more: Any) -> None:
        config = {
            "project": "round",
            "provider": "local",
            "registry": "data/registry.db",
            "online_store": {"type": "sqlite", "path": "data/online.db"},
            "offline_store": {"type": "feast_hybrid.HybridSparkOfflineStore", "sites": lakes.sites()},
            "entity_key_serialization_version": 3,
            **more,
        }
        (self.folder / "feature_store.yaml").write_text(yaml.safe_dump(config))

    def feast(self, *arguments: str, code: int = 0) -> str:
        """Run ``feast`` in this process, on the Spark session of the run; give what it printed, without colours."""
        from feast.cli.cli import cli

        done = CliRunner().invoke(cli, ["--chdir", str(self.folder), *arguments], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return re.sub(r"\x1b\[[0-9;]*m", "", done.output)

    def feast_alone(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``feast`` as a program, where no Spark session is active."""
        return subprocess.run(
            [sys.executable, "-m", "feast.cli.cli", "--chdir", str(self.folder), *arguments],
            env=outside_of_spark(**environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )


@pytest.fixture
def repo(lakes_to_test: Places, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    keys = {"driver_id": [1, 1, 2], "event_timestamp": [hour(1), hour(2), hour(3)]}
    trips = write(
        lakes_to_test.onprem, "trips", {**keys, "created": [hour(1), hour(2), hour(3)], "trips": [10, 11, 20]}
    )
    moods = write(lakes_to_test.cloud, "moods", {**keys, "mood": ["calm", "gay", None]})
    (tmp_path / "data").mkdir()
    # Feast imports it by its file's name, once in a process.
    module = "features_" + re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{module}.py").write_text(dedent(FEATURES).format(trips=trips, moods=moods))
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Repo(tmp_path)
    made.configure(lakes_to_test)
    return made


@pytest.mark.filterwarnings(
    "ignore:We will be deprecating the usage of spec.userDefinedFunction:DeprecationWarning:feast"
)
def test_the_whole_round(repo: Repo, lakes_to_test: Places, spark: SparkSession) -> None:
    assert "Created feature view trips" in repo.feast("apply")
    again = repo.feast("apply")
    assert "No changes to registry" in again
    assert "No changes to registry" in repo.feast("plan")

    shown = yaml.safe_load(repo.feast("configuration"))
    assert shown["offline_store"]["sites"] == lakes_to_test.sites()
    assert "driver" in repo.feast("entities", "list")
    assert yaml.safe_load(repo.feast("entities", "describe", "driver"))["spec"]["joinKey"] == "driver_id"
    viewed = yaml.safe_load(repo.feast("feature-views", "describe", "trips"))
    assert viewed["spec"]["batchSource"]["tags"]["feast_hybrid.lake"] == "hdfs"
    assert "trips" in repo.feast("features", "list")
    assert "trip_rows" in repo.feast("registry-dump")
    assert {"trip_rows", "mood_rows"} <= set(repo.feast("data-sources", "list").split())
    assert "mood_rows" not in repo.feast("data-sources", "list", "--tags", "feast_hybrid.lake:hdfs")
    described = yaml.safe_load(repo.feast("data-sources", "describe", "trip_rows"))
    assert described["tags"]["feast_hybrid.location"].endswith("/trips")
    views = repo.feast("feature-views", "list")
    assert "trips" in views
    assert "moods" in views
    assert "everything" in repo.feast("feature-services", "list")
    assert "doubled" in repo.feast("on-demand-feature-views", "list")
    assert "HybridSparkSource" in repo.feast("features", "describe", "mood")

    repo.feast("materialize", hour(0).isoformat(), hour(2).isoformat())
    assert values(repo, 1) == {"driver_id": [1], "trips": [11], "mood": ["gay"], "double_trips": [22.0]}
    assert values(repo, 2) == {"driver_id": [2], "trips": [None], "mood": [None], "double_trips": [None]}
    repo.feast("materialize-incremental", hour(5).isoformat())
    assert values(repo, 2)["trips"] == [20]

    entity_rows = [{"driver_id": 1, "event_timestamp": hour(1.5).isoformat()}]
    found = repo.feast(
        "get-historical-features", "-d", json.dumps(entity_rows), "-f", "trips:trips", "-f", "moods:mood"
    )
    (row,) = json.loads(found[found.index("[") :])
    assert (row["trips"], row["mood"]) == (10, "calm")

    repo.feast("delete", "moods")
    assert "moods" not in repo.feast("feature-views", "list")
    assert "Created feature view moods" in repo.feast("plan")

    repo.feast("teardown")
    assert not (repo.folder / "data" / "online.db").exists()
    # The lakes' rows are not Feast's to delete.
    assert lakes_to_test.onprem.exists(described["tags"]["feast_hybrid.location"])


def values(repo: Repo, driver: int) -> dict[str, list[Any]]:
    features = ("trips:trips", "moods:mood", "doubled:double_trips")
    options = [option for feature in features for option in ("-f", feature)]
    printed = repo.feast("get-online-features", "-e", f"driver_id={driver}", *options)
    found: dict[str, list[Any]] = json.loads(printed[printed.index("{") :])
    return {**found, "driver_id": [int(key) for key in found["driver_id"]]}


def test_feasts_spark_engine_starts_the_session_that_batch_engine_describes(
    repo: Repo, lakes_to_test: Places
) -> None:
    settings = {**session_conf(), "spark.master": "local[1]", "spark.sql.shuffle.partitions": "2"}
    repo.configure(lakes_to_test, batch_engine={"type": "spark.engine", **settings})
    repo.feast("apply")
    done = repo.feast_alone("materialize", hour(0).isoformat(), hour(5).isoformat())
    assert done.returncode == 0, done.stderr[-4000:]
    assert values(repo, 1)["trips"] == [11]
    assert values(repo, 1)["mood"] == ["gay"]


@pytest.mark.connect
@connect_only("the engine works on its server")
def test_feasts_spark_engine_works_on_the_server_that_batch_engine_names(
    repo: Repo, lakes_to_test: Places, connect_server: SparkConnectServer
) -> None:
    repo.configure(lakes_to_test, batch_engine={"type": "spark.engine", "spark.remote": connect_server.uri})
    repo.feast("apply")
    before = ConnectJobs(connect_server).last()
    done = repo.feast_alone("materialize", hour(0).isoformat(), hour(5).isoformat())
    assert done.returncode == 0, done.stderr[-4000:]
    assert ConnectJobs(connect_server).last() > before
    assert values(repo, 1)["trips"] == [11]
    assert values(repo, 1)["mood"] == ["gay"]


@pytest.mark.connect
@connect_only("the work is done on its server")
@pytest.mark.parametrize("engine", ["local", "spark.engine"])
def test_spark_remote_of_the_environment_names_the_server_where_nothing_else_does(
    repo: Repo, lakes_to_test: Places, connect_server: SparkConnectServer, engine: str
) -> None:
    ours = {"type": "feast_hybrid.HybridSparkOfflineStore", "sites": lakes_to_test.sites(), "engine": "spark"}
    repo.configure(lakes_to_test, offline_store=ours, batch_engine={"type": engine})
    repo.feast("apply")
    before = ConnectJobs(connect_server).last()
    times = (hour(0).isoformat(), hour(5).isoformat())
    done = repo.feast_alone("materialize", "--views", "moods", *times, SPARK_REMOTE=connect_server.uri)
    assert done.returncode == 0, done.stderr[-4000:]
    assert ConnectJobs(connect_server).last() > before
    assert values(repo, 1)["mood"] == ["gay"]


def test_a_session_of_feasts_without_the_lakes_driver_says_where_to_name_it(
    repo: Repo, lakes_to_test: Places
) -> None:
    if lakes_to_test.cloud.scheme == "hdfs":
        pytest.skip("HDFS needs no driver besides PySpark's own")
    repo.configure(lakes_to_test, batch_engine={"type": "spark.engine"})
    repo.feast("apply")
    done = repo.feast_alone("materialize", "--views", "moods", hour(0).isoformat(), hour(5).isoformat())
    assert done.returncode != 0
    assert "spark.jars.packages=org.apache.hadoop:hadoop-azure:" in done.stderr
    assert "beside type: in batch_engine" in done.stderr


def test_a_server_that_batch_engine_does_not_name_is_asked_for_there(repo: Repo, lakes_to_test: Places) -> None:
    """Else Feast's engine starts a session of its own kind first."""
    repo.configure(lakes_to_test)
    repo.feast("apply")
    spark = {"remote": "sc://127.0.0.1:1"}
    ours = {"type": "feast_hybrid.HybridSparkOfflineStore", "sites": lakes_to_test.sites(), "spark": spark}
    engine = {"type": "spark.engine", "spark.master": "local[1]", "spark.ui.enabled": "false"}
    repo.configure(lakes_to_test, offline_store=ours, batch_engine=engine)
    done = repo.feast_alone("materialize", "--views", "trips", hour(0).isoformat(), hour(5).isoformat())
    assert done.returncode != 0
    assert "starts one where batch_engine does not name the server as well: spark.remote" in done.stderr
