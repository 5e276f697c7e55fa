"""A repository as ``feast init`` makes it, moved onto both lakes by the words that docs/migrating.md changes."""

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


def init(folder: Path, template: str, lakes: Places) -> Repo:
    """``feast init``, and ``offline_store`` in the repository's ``feature_store.yaml`` ours."""
    from feast.cli.cli import cli

    done = CliRunner().invoke(
        cli, ["init", "--template", template, "--repo-path", str(folder / "begun"), "begun"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    repo = Repo(folder / "begun" / "feature_repo")
    # Scripts that show the template, which Feast would import as definitions.
    (repo.folder / "test_workflow.py").unlink()
    settings = repo.folder / "feature_store.yaml"
    config = yaml.safe_load(settings.read_text())
    config["offline_store"] = {
        "type": "feast_hybrid.HybridSparkOfflineStore",
        "engine": "spark",
        "sites": lakes.sites(),
    }
    settings.write_text(yaml.safe_dump(config))
    return repo


def move(data: Path, place: Place, folder: str) -> str:
    """Put a Parquet file of a template onto a lake, its nanoseconds as microseconds: Spark reads no others."""
    table = pq.read_table(data)
    types = [
        field.with_type(pa.timestamp("us", tz=field.type.tz)) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    return place.write(f"{place.uri}{folder}/{data.stem}", table.cast(pa.schema(types)))


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
    replace(
        repo,
        {
            'name="driver",': 'name="driver", join_keys=["driver_id"],',
            'name="customer",': 'name="customer", join_keys=["customer_id"],',
        },
    )
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
