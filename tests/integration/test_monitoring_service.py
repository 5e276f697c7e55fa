"""Feast's monitoring service and command line: metrics are measured, kept on a lake and found again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import yaml
from click.testing import CliRunner
from feast import FeatureService, Field
from feast.cli.cli import cli
from feast.feature_logging import LoggingConfig
from feast.monitoring.metrics_calculator import MetricsCalculator
from feast.monitoring.monitoring_service import MonitoringService
from feast.types import Array, Float64, Int64, String

from feast_hybrid import (
    HybridSparkLoggingDestination,
    HybridSparkOfflineStore,
    HybridSparkOfflineStoreConfig,
)
from feast_hybrid.errors import ConfigError
from feast_hybrid.monitoring import keyed_files, metrics_store
from tests.integration.faulty import MINUTES
from tests.integration.places import Place, Places, entity, hour, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write
from tests.integration.measured_rows import HOURS, ROWS, START_DAY, assert_same


@pytest.fixture
def keeper() -> str:
    """The lake that the metrics are kept on, where a test does not say."""
    return "cloud"


@pytest.fixture
def monitoring_location(lakes_to_test: Places, keeper: str, folder: str) -> str:
    place: Place = getattr(lakes_to_test, keeper)
    return f"{place.uri}{folder}/kept"


@pytest.fixture
def monitored(make_store: MakeStore, write: Write, lakes_to_test: Places, monitoring_location: str) -> FeatureStore:
    """Views on both lakes, and the metrics kept on one of them."""
    driver = entity("driver", join_key="driver_id")
    schema = [Field(name="real", dtype=Float64), Field(name="city", dtype=String)]
    stats = view("stats", source("stats_rows", write(lakes_to_test.onprem, "stats", ROWS)), driver, schema=schema)
    lists = [Field(name="whole", dtype=Int64), Field(name="codes", dtype=Array(Int64))]
    rows = ROWS.append_column("codes", pa.array([[1]] * HOURS))
    moods = view("moods", source("mood_rows", write(lakes_to_test.cloud, "moods", rows)), driver, schema=lists)
    service = FeatureService(name="both", features=[stats, moods])
    return make_store(driver, stats, moods, service, monitoring_location=monitoring_location)


@pytest.mark.parametrize("keeper", ["onprem", pytest.param("cloud", marks=MINUTES)])
def test_the_service_measures_keeps_and_finds_again(monitored: FeatureStore) -> None:
    service = MonitoringService(monitored)
    result = service.auto_compute()
    # Three features that can be measured, five granularities, two views.
    assert (result["computed_feature_views"], result["computed_features"], result["baseline_features"]) == (2, 15, 3)
    project = monitored.project

    daily = service.get_feature_metrics(project, feature_view_name="stats", granularity="daily")
    last_day = ROWS.slice(HOURS - 25, 25)
    expected = MetricsCalculator().compute_all(last_day, [("city", "categorical"), ("real", "numeric")])
    assert_same([{key: row[key] for key in expected[0]} for row in daily], expected)
    assert {row["metric_date"] for row in daily} == {(hour(HOURS - 1) - timedelta(days=1)).date().isoformat()}
    assert {row["max_event_timestamp"] for row in daily} == {hour(HOURS - 1).isoformat()}

    baseline = service.get_baseline(project)
    assert [(row["feature_view_name"], row["feature_name"]) for row in baseline] == [
        ("moods", "whole"),
        ("stats", "city"),
        ("stats", "real"),
    ]
    (views,) = [service.get_feature_view_metrics(project, feature_view_name="stats", granularity="quarterly")]
    assert [(row["total_row_count"], row["total_features"], row["features_with_nulls"]) for row in views] == [
        (HOURS, 2, 2)
    ]
    (of_service,) = service.get_feature_service_metrics(project, granularity="weekly")
    assert (of_service["total_feature_views"], of_service["total_features"]) == (2, 3)


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_each_lake_keeps_what_many_write_at_once_whatever_the_views_name(
    lakes_to_test: Places, role: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_files, "MANY_FILES", 3)
    place: Place = getattr(lakes_to_test, role)
    location = f"{place.uri}{folder}/kept"
    store = HybridSparkOfflineStoreConfig(sites=lakes_to_test.sites(), monitoring_location=location)
    names = ["50 % of ü", "a/b=c", "*"]

    def save(number: int) -> None:
        metric = {"project_id": "p", "metric_date": START_DAY, "granularity": "daily", "data_source_type": "batch"}
        metric |= {"feature_view_name": names[number % 3], "feature_name": f"f{number}", "is_baseline": True}
        metrics_store.save_metrics(store, "feature", [{**metric, "computed_at": hour(0), "feature_type": "numeric"}])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(save, range(24)))
    for position, name in enumerate(names):
        rows = metrics_store.query_metrics(store, "p", "feature", {"feature_view_name": name})
        assert {row["feature_name"] for row in rows} == {f"f{number}" for number in range(position, 24, 3)}
    metrics_store.clear_baseline(store, "p", names[0])
    assert len(metrics_store.query_metrics(store, "p", "feature", {"is_baseline": True})) == 16
    for name in place.names(f"{location}/feast_monitoring_feature_metrics/project_id=p"):
        files = place.names(f"{location}/feast_monitoring_feature_metrics/project_id=p/{name}")
        assert len(files) <= 3 + 4
        assert all(file.endswith(".parquet") and not file.startswith(".") for file in files)


def test_a_second_run_replaces_the_first_and_a_baseline_is_made_once(monitored: FeatureStore) -> None:
    service = MonitoringService(monitored)
    days: dict[str, Any] = {"start_date": START_DAY, "end_date": START_DAY, "project": monitored.project}
    for baseline in (True, False):
        assert service.compute_metrics(**days, set_baseline=baseline)["computed_features"] == 3
    rows = service.get_feature_metrics(monitored.project)
    assert [(row["feature_name"], row["row_count"], row["is_baseline"]) for row in rows] == [
        ("whole", 24, False),
        ("city", 24, False),
        ("real", 24, False),
    ]
    assert service.compute_baseline()["computed_features"] == 3
    assert service.compute_baseline(feature_view_name="stats")["computed_features"] == 0
    # A new baseline takes the place of the old one.
    service.compute_metrics(**days, feature_view_name="stats", set_baseline=True)
    assert {row["granularity"] for row in service.get_baseline(monitored.project, "stats")} == {"daily"}
    assert {row["granularity"] for row in service.get_baseline(monitored.project, "moods")} == {"baseline"}


def test_a_baseline_job_goes_from_pending_to_completed(monitored: FeatureStore) -> None:
    service = MonitoringService(monitored)
    (job,) = service.submit_baseline_for_new_features(monitored.project, [monitored.get_feature_view("stats")])
    pending = service.get_job(job)
    assert pending is not None
    assert (pending["status"], pending["started_at"]) == ("pending", None)
    service.execute_job(job)
    done = service.get_job(job, project=monitored.project)
    assert done is not None
    assert (done["status"], done["result_summary"]["computed_features"]) == ("completed", 2)
    assert done["started_at"] <= done["completed_at"]
    assert service.get_job(job, project="another") is None
    with pytest.raises(ValueError, match="Unknown job type"):
        service.execute_job(service.submit_job(monitored.project, "no such", parameters={"a": [1]}))


def test_nothing_is_kept_of_metrics_in_passing(monitored: FeatureStore) -> None:
    service = MonitoringService(monitored)
    result = service.compute_transient(monitored.project, "stats", ["real"], START_DAY, START_DAY)
    assert [(metric["feature_name"], metric["row_count"]) for metric in result["metrics"]] == [("real", 24)]
    assert service.get_feature_metrics(monitored.project) == []


def test_what_a_service_served_is_measured_from_its_logs(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place, folder: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    schema = [Field(name="real", dtype=Float64), Field(name="city", dtype=String)]
    stats = view("stats", source("stats_rows", write(onprem, "stats", ROWS)), driver, schema=schema)
    logs = f"{cloud.uri}{folder}/logs"
    destination = HybridSparkLoggingDestination(path=logs)
    service = FeatureService(name="served", features=[stats], logging_config=LoggingConfig(destination=destination))
    store = make_store(driver, stats, service, monitoring_location=f"{onprem.uri}{folder}/kept")
    monitoring = MonitoringService(store)
    assert monitoring.auto_compute_log_metrics()["computed_feature_services"] == 0

    served = {"__log_timestamp": [hour(1), hour(2), hour(30)], "driver_id": [1, 2, 3]}
    write(cloud, "logs", {**served, "stats__real": [0.5, 1.5, None], "stats__city": ["a", "a", "b"]})
    assert monitoring.auto_compute_log_metrics()["computed_feature_services"] == 1
    result = monitoring.compute_log_metrics(store.project, "served", START_DAY, START_DAY)
    assert (result["status"], result["computed_features"]) == ("completed", 2)
    rows = monitoring.get_feature_metrics(store.project, "served", granularity="daily", data_source_type="log")
    found = [(row["metric_date"], row["feature_view_name"], row["feature_name"], row["row_count"]) for row in rows]
    assert found == [
        ("2026-01-10", "stats", "city", 2),
        ("2026-01-10", "stats", "real", 2),
        # at(30) less a day is on the same date, and its metrics are replaced.
    ]


def test_without_a_place_for_metrics_the_service_says_which_setting_is_missing(make_store: MakeStore) -> None:
    with pytest.raises(ConfigError, match=r"set offline_store\.monitoring_location"):
        MonitoringService(make_store()).auto_compute()


def test_feast_monitor_run_measures_all_views(
    monitored: FeatureStore, lakes_to_test: Places, monitoring_location: str, tmp_path: Path
) -> None:
    config = {
        "project": monitored.project,
        "provider": "local",
        "registry": str(tmp_path / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(tmp_path / "online.db")},
        "offline_store": {
            "type": "feast_hybrid.HybridSparkOfflineStore",
            "sites": lakes_to_test.sites(),
            "monitoring_location": monitoring_location,
        },
        "entity_key_serialization_version": 3,
    }
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
    arguments = ["--start-date", "2026-01-10", "--end-date", "2026-01-10", "--granularity", "daily", "--set-baseline"]
    done = CliRunner().invoke(cli, ["--chdir", str(tmp_path), "monitor", "run", *arguments])
    assert done.exit_code == 0, done.output
    assert "Features computed: 3" in done.output
    assert "Feature services computed: 1" in done.output
    assert "Baseline: SET" in done.output
    found = HybridSparkOfflineStore.query_monitoring_metrics(
        monitored.config, monitored.project, "feature", {"is_baseline": True}, START_DAY, START_DAY
    )
    assert [row["feature_name"] for row in found] == ["whole", "city", "real"]
