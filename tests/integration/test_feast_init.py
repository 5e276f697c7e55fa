"""A repository as ``feast init`` makes it: with one line changed and changed back, and moved onto both lakes."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from feast import FeatureStore
from feast.data_source import PushMode

from feast_hybrid.errors import SchemaError
from tests.integration.places import classic_only
from tests.integration.test_cli_round import Repo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.places import Place, Places

pytestmark = pytest.mark.filterwarnings("ignore:Entity value_type will be mandatory")

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def _modules_of_this_repo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All templates call their module alike, and Feast imports it by that name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("feature_definitions", "test_workflow"):
        sys.modules.pop(name, None)


def begun(folder: Path, template: str) -> Repo:
    """``feast init``."""
    from feast.cli.cli import cli

    done = CliRunner().invoke(
        cli, ["init", "--template", template, "--repo-path", str(folder / "begun"), "begun"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    repo = Repo(folder / "begun" / "feature_repo")
    # Scripts that show the template, which Feast would import as definitions.
    (repo.folder / "test_workflow.py").unlink()
    return repo


def init(folder: Path, template: str, lakes: Places) -> Repo:
    """``feast init``, and ``offline_store`` in the repository's ``feature_store.yaml`` ours."""
    repo = begun(folder, template)
    settings = repo.folder / "feature_store.yaml"
    config = yaml.safe_load(settings.read_text())
    config["offline_store"] = {
        "type": "feast_hybrid.HybridSparkOfflineStore",
        "engine": "spark",
        "sites": lakes.sites(),
    }
    settings.write_text(yaml.safe_dump(config))
    return repo


def in_microseconds(data: Path) -> pa.Table:
    """A Parquet file of a template without nanoseconds, which Spark does not read."""
    table = pq.read_table(data)
    types = [
        field.with_type(pa.timestamp("us", tz=field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(types))


def move(data: Path, place: Place, folder: str) -> str:
    """Put a Parquet file of a template onto a lake."""
    return place.write(f"{place.uri}{folder}/{data.stem}", in_microseconds(data))


def replace(repo: Repo, words: Mapping[str, str]) -> None:
    definitions = repo.folder / "feature_definitions.py"
    text = definitions.read_text()
    for old, new in words.items():
        assert old in text
        text = text.replace(old, new)
    definitions.write_text(text)


def history(repo: Repo, *features: str, **row: Any) -> dict[str, Any]:
    """``feast get-historical-features`` for one entity row, a moment ago."""
    entity_rows = json.dumps([{**row, "event_timestamp": NOW.isoformat()}])
    options = [option for feature in features for option in ("-f", feature)]
    printed = repo.feast("get-historical-features", "-d", entity_rows, *options)
    (found,) = json.loads(printed[printed.index("[") :])
    return dict(found)


def online(repo: Repo, entity: str, *features: str) -> dict[str, Any]:
    """``feast get-online-features`` for one entity."""
    options = [option for feature in features for option in ("-f", feature)]
    printed = repo.feast("get-online-features", "-e", entity, *options)
    return {name: values[0] for name, values in json.loads(printed[printed.index("{") :]).items()}


def sources(repo: Repo) -> dict[str, Any]:
    """The registry's entries of data sources by name, without the times of ``feast apply``."""
    printed = repo.feast("registry-dump")
    dump = json.loads(printed[printed.index("{") :])
    return {entry["name"]: {**entry, "meta": None} for entry in dump["dataSources"]}


#: What the ``spark`` template of Feast 0.67 leaves out. Feast's own store then joins any driver's rows to a driver.
JOIN_KEYS = {
    'name="driver",': 'name="driver", join_keys=["driver_id"],',
    'name="customer",': 'name="customer", join_keys=["customer_id"],',
}


@classic_only("Feast's own Spark store")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # Feast's Spark store changes the filters when it is loaded
def test_the_spark_template_goes_to_this_store_and_back_by_one_line(spark: SparkSession, tmp_path: Path) -> None:
    """Feast's commands give the same, and what the registry says of sources stays."""
    repo = begun(tmp_path, "spark")
    replace(repo, JOIN_KEYS)
    for data in (repo.folder / "data").glob("*.parquet"):
        pq.write_table(in_microseconds(data), data)
    settings = repo.folder / "feature_store.yaml"
    before = settings.read_text()
    assert before.count("type: spark\n") == 1
    after = before.replace("type: spark\n", "type: feast_hybrid.HybridSparkOfflineStore\n")
    setting = "spark.sql.parser.quotedRegexColumnNames"
    kept = str(spark.conf.get(setting))
    features = ["driver_hourly_stats:avg_daily_trips", "customer_daily_profile:lifetime_trip_count"]
    answers, entries = [], []
    try:
        for text in (before, after, before):
            settings.write_text(text)
            sys.modules.pop("feature_definitions", None)
            repo.feast("apply")  # to the registry that the other store has left
            entries.append(sources(repo))
            found = history(repo, *features, driver_id=1001, customer_id=201)
            # Of days that have other values than the last one, so that each round has all of them to write.
            online_values = []
            for end in (NOW - timedelta(days=9), NOW):
                repo.feast("materialize", (NOW - timedelta(days=20)).isoformat(), end.isoformat())
                online_values += [
                    online(repo, "driver_id=1001", features[0]),
                    online(repo, "customer_id=201", features[1]),
                ]
            answers.append((found, online_values))
        repo.feast("materialize-incremental", (NOW + timedelta(seconds=1)).isoformat())
        repo.feast("teardown")
    finally:
        spark.conf.set(setting, kept)
        for table in spark.catalog.listTables():  # Feast's own store leaves its views in the session
            if table.isTemporary:
                spark.catalog.dropTempView(table.name)
    assert answers[1] == answers[0] == answers[2]
    assert None not in answers[0][0].values()
    assert answers[0][1][:2] != answers[0][1][2:]
    assert entries[1] == entries[0] == entries[2]
    assert {entry["type"] for entry in entries[0].values()} == {"BATCH_SPARK"}


def test_the_spark_template_works_with_one_class_name_and_the_paths_changed(
    lakes_to_test: Places, spark: SparkSession, folder: str, tmp_path: Path
) -> None:
    repo = init(tmp_path, "spark", lakes_to_test)
    data = repo.folder / "data"
    drivers = move(data / "driver_hourly_stats.parquet", lakes_to_test.onprem, folder)
    customers = move(data / "customer_daily_profile.parquet", lakes_to_test.cloud, folder)
    replace(
        repo,
        {
            "feast.infra.offline_stores.contrib.spark_offline_store.spark_source": "feast_hybrid",
            "SparkSource": "HybridSparkSource",
            'f"{CURRENT_DIR}/data/driver_hourly_stats.parquet"': repr(drivers),
            'f"{CURRENT_DIR}/data/customer_daily_profile.parquet"': repr(customers),
        },
    )
    # Feast's template leaves out the join keys, and then finds none in its own data.
    missing = r"entity '(driver|customer)' has the join key '\1', which source '\w+' .* lacks; it has .*\1_id"
    with pytest.raises(SchemaError, match=missing):
        repo.feast("apply")
    del sys.modules["feature_definitions"]
    replace(repo, JOIN_KEYS)
    assert "Created feature view customer_daily_profile" in repo.feast("apply")
    features = ["driver_hourly_stats:avg_daily_trips", "customer_daily_profile:lifetime_trip_count"]
    joined = history(repo, *features, driver_id=1001, customer_id=201)
    assert None not in joined.values()
    repo.feast("materialize", (NOW - timedelta(days=20)).isoformat(), NOW.isoformat())
    assert online(repo, "driver_id=1001", features[0])["avg_daily_trips"] == joined["avg_daily_trips"]
    assert online(repo, "customer_id=201", features[1])["lifetime_trip_count"] == joined["lifetime_trip_count"]


def test_the_default_template_works_with_its_maps_its_push_source_and_its_labels(
    lakes_to_test: Places, spark: SparkSession, folder: str, tmp_path: Path
) -> None:
    repo = init(tmp_path, "local", lakes_to_test)
    data = repo.folder / "data"
    stats = move(data / "driver_stats.parquet", lakes_to_test.onprem, folder)
    labels = move(data / "driver_quality_labels.parquet", lakes_to_test.cloud, folder)
    replace(
        repo,
        {
            "    FileSource,\n": "",
            "from feast.infra.offline_stores.file_source import FileLoggingDestination": (
                "from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource"
            ),
            "FileSource(": "HybridSparkSource(",
            "FileLoggingDestination(path=": "HybridSparkLoggingDestination(path=",
            '"data/driver_stats.parquet"': repr(stats),
            '"data/driver_quality_labels.parquet"': repr(labels),
            'path="data"': f"path={lakes_to_test.cloud.uri + folder + '/logs'!r}",
        },
    )
    assert "Created feature view driver_hourly_stats" in repo.feast("apply")
    label = {"is_reliable": 1, "quality_score": 0.5, "reviewer_notes": "calm", "labeler": "ann"}
    pushed = pd.DataFrame([{"driver_id": 1001, **label, "event_timestamp": NOW - timedelta(hours=1)}])
    FeatureStore(str(repo.folder)).push("driver_quality_labels_push", pushed, to=PushMode.OFFLINE)
    features = [f"driver_hourly_stats:{name}" for name in ("avg_daily_trips", "driver_metadata", "driver_config")]
    joined = history(repo, *features, *(f"driver_quality_labels:{name}" for name in label), driver_id=1001)
    assert joined["avg_daily_trips"] is not None
    assert set(joined["driver_metadata"]) == {"vehicle_type", "rating"}
    assert joined.items() >= label.items()
    repo.feast("materialize", (NOW - timedelta(days=20)).isoformat(), NOW.isoformat())
    found = online(repo, "driver_id=1001", *features)
    assert found["avg_daily_trips"] == joined["avg_daily_trips"]
    assert found["driver_metadata"] == joined["driver_metadata"]
