"""Feast's monitoring: Spark finds what Feast's own calculator finds, and the metrics are kept on a lake."""

from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
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
from feast_hybrid.errors import ConfigError, SchemaError, SourceNotFoundError
from feast_hybrid.monitoring import distribution, keyed_files, metrics_store
from tests.integration.places import Place, Places, at, entity, source, view

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write, Zone

HOURS = 50
START_DAY = at(0).date()
#: No two categories are equally frequent, since Feast's calculator leaves their order to the order of the rows.
CITIES = [city for count, city in enumerate("abcdefghi", 1) for _ in range(count)] + [None] * 5
ROWS = pa.table(
    {
        "driver_id": pa.array(range(HOURS), pa.int64()),
        "event_timestamp": [at(hour) for hour in range(HOURS)],
        "whole": pa.array([hour * hour % 17 for hour in range(HOURS)], pa.int32()),
        "real": pa.array([None if hour % 7 == 0 else math.sin(hour) for hour in range(HOURS)], pa.float64()),
        "single": pa.array([hour / 3 for hour in range(HOURS)], pa.float32()),
        "money": pa.array([Decimal(hour) / 4 for hour in range(HOURS)], pa.decimal128(9, 2)),
        "constant": pa.array([0.1] * HOURS, pa.float64()),
        "once": pa.array([2.5] + [None] * (HOURS - 1), pa.float64()),
        "never": pa.array([None] * HOURS, pa.float64()),
        # On the very edges of the bins, where rounding decides.
        "tenths": pa.array([hour % 21 / 10 for hour in range(HOURS)], pa.float64()),
        "city": pa.array(CITIES, pa.string()),
        "flag": pa.array([None if hour == 1 else hour % 3 == 0 for hour in range(HOURS)], pa.bool_()),
        "code": pa.array([hour * hour % 7 + 2 for hour in range(HOURS - 3)] + [1, 1, None], pa.int64()),
        "nobody": pa.array([None] * HOURS, pa.string()),
        "a.b;`c": pa.array([float(hour) for hour in range(HOURS)], pa.float64()),
    }
)
NUMBERS = ["whole", "real", "single", "money", "constant", "once", "never", "tenths", "a.b;`c"]
FEATURES = [
    ("city", "categorical"),
    *((name, "numeric") for name in NUMBERS),
    ("flag", "categorical"),
    ("nobody", "categorical"),
]


def measured(
    store: FeatureStore, of: Any, features: Sequence[tuple[str, str]], start: Any = None, end: Any = None, **more: Any
) -> list[dict[str, Any]]:
    return HybridSparkOfflineStore.compute_monitoring_metrics(
        store.config, of, list(features), "event_timestamp", start, end, **more
    )


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same metrics, floating-point numbers up to the order of their additions; counts exactly."""
    assert [row["feature_name"] for row in found] == [row["feature_name"] for row in expected]
    for mine, theirs in zip(found, expected, strict=True):
        name = mine["feature_name"]
        assert set(mine) == set(theirs)
        for key, value in theirs.items():
            if key == "histogram" and value and "bins" in value:
                assert mine[key]["bins"] == pytest.approx(value["bins"], rel=1e-12, abs=1e-12), name
                assert (name, mine[key]["counts"]) == (name, value["counts"])
                assert mine[key]["bin_width"] == pytest.approx(value["bin_width"], rel=1e-9)
            elif isinstance(value, float):
                assert mine[key] == pytest.approx(value, rel=1e-9, abs=1e-12), (name, key)
            else:
                assert (name, key, mine[key]) == (name, key, value)


@pytest.mark.parametrize(("role", "bins", "top"), [("onprem", 20, 10), ("cloud", 1, 3), ("cloud", 7, 1)])
def test_spark_finds_what_feasts_calculator_finds(
    make_store: MakeStore, write: Write, lakes_to_test: Places, role: str, bins: int, top: int
) -> None:
    stats = source("stats", write(getattr(lakes_to_test, role), "stats", ROWS))
    found = measured(make_store(), stats, FEATURES, histogram_bins=bins, top_n=top)
    assert_same(found, MetricsCalculator(bins, top).compute_all(ROWS, FEATURES))


def test_only_rows_between_the_bounds_are_measured_bounds_included(
    make_store: MakeStore, write: Write, onprem: Place, session_zone: Zone
) -> None:
    stats = source("stats", write(onprem, "stats", ROWS))
    store = make_store()
    expected = MetricsCalculator().compute_all(ROWS.slice(5, 11), FEATURES)
    assert_same(measured(store, stats, [("whole", "numeric")], at(5), at(15)), expected[1:2])
    with session_zone("America/New_York"):
        naive = (at(5).replace(tzinfo=None), at(15).replace(tzinfo=None))
        assert_same(measured(store, stats, [("whole", "numeric")], *naive), expected[1:2])
        assert HybridSparkOfflineStore.get_monitoring_max_timestamp(store.config, stats, "event_timestamp") == at(49)


def test_no_rows_are_a_metric_too(make_store: MakeStore, write: Write, cloud: Place) -> None:
    stats = source("stats", write(cloud, "stats", ROWS))
    found = measured(make_store(), stats, FEATURES, at(1000), at(2000))
    assert_same(found, MetricsCalculator().compute_all(ROWS.slice(0, 0), FEATURES))


def test_with_more_values_than_memory_percentiles_are_near(
    make_store: MakeStore, write: Write, onprem: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"event_timestamp": [at(0)] * 3000, "many": [float(i) for i in range(3000)], "few": [1.0, 2.0, 4.0] * 1000}
    stats = source("stats", write(onprem, "stats", rows))
    monkeypatch.setattr(distribution, "EXACT_VALUES", 100)
    many, few = measured(make_store(), stats, [("many", "numeric"), ("few", "numeric")])
    exact = MetricsCalculator().compute_all(pa.table(rows), [("few", "numeric")])
    assert_same([few], exact)
    # One rank in 10,000 of 3,000 rows is the nearest row.
    assert [many[p] for p in ("p50", "p75", "p90", "p95", "p99")] == pytest.approx(
        [1499.5, 2249.25, 2699.1, 2849.05, 2969.01], abs=1
    )
    assert sum(many["histogram"]["counts"]) == 3000


def test_what_is_no_finite_number_is_counted_and_shown_nowhere(
    make_store: MakeStore, write: Write, cloud: Place
) -> None:
    numbers = [1.0, 2.0, 3.0, float("nan"), None]
    rows = {"event_timestamp": [at(0)] * 5, "nans": numbers, "infinite": [*numbers[:3], float("inf"), None]}
    rows["apart"] = [-1.7e308, 1.7e308, 0.0, 0.0, 0.0]
    rows["near"] = [1e16, 1e16 + 2, None, None, None]
    stats = source("stats", write(cloud, "stats", rows))
    names = ["nans", "infinite", "apart", "near"]
    nans, infinite, apart, near = measured(make_store(), stats, [(name, "numeric") for name in names])
    for metric in (nans, infinite):
        assert (metric["row_count"], metric["null_count"], metric["mean"], metric["stddev"]) == (5, 1, None, None)
        assert metric["min_val"] == 1.0
        assert sum(metric["histogram"]["counts"]) == 3
        assert metric["histogram"]["bins"][-1] == 3.0
    assert (nans["max_val"], infinite["max_val"]) == (3.0, None)
    assert (nans["p50"], infinite["p50"]) == (2.0, 2.5)
    # No histogram where NumPy has no bins.
    assert (apart["min_val"], apart["max_val"], apart["histogram"]) == (-1.7e308, 1.7e308, None)
    assert (near["min_val"], near["max_val"], near["histogram"]) == (1e16, 1e16 + 2, None)


def test_equally_frequent_values_are_in_the_order_of_their_text_and_typed_as_their_column(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    rows = {"event_timestamp": [at(0)] * 4, "code": [3, 2, 2, 3], "day": [date(2026, 1, 2)] * 4, "x": [0.5] * 4}
    stats = source("stats", write(onprem, "stats", rows))
    features = [(name, "categorical") for name in ("code", "day", "x")]
    found = [metric["histogram"]["values"] for metric in measured(make_store(), stats, features)]
    assert found[0] == [{"value": 2, "count": 2}, {"value": 3, "count": 2}]
    assert found[1:] == [[{"value": "2026-01-02", "count": 4}], [{"value": 0.5, "count": 4}]]


def test_a_feature_that_cannot_be_measured_is_left_out_with_a_warning(
    make_store: MakeStore, write: Write, onprem: Place, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"event_timestamp": [at(0)], "trips": [1], "list": [[1.0]], "text": ["a"]}
    stats = source("stats", write(onprem, "stats", rows))
    features = [("list", "numeric"), ("text", "numeric"), ("gone", "numeric"), ("trips", "numeric")]
    with caplog.at_level(logging.WARNING, logger=distribution.__name__):
        found = measured(make_store(), stats, [*features, ("list", "categorical")])
    assert [metric["feature_name"] for metric in found] == ["trips"]
    assert [record.message for record in caplog.records] == [
        "source 'stats': no metrics of feature 'list', which is numeric in a column of array<double>",
        "source 'stats': no metrics of feature 'text', which is numeric in a column of string",
        "source 'stats': no metrics of feature 'gone', there is no column 'gone'",
        "source 'stats': no metrics of feature 'list', which is categorical in a column of array<double>",
    ]


def test_features_and_event_time_are_found_by_their_mapped_names(
    make_store: MakeStore, write: Write, cloud: Place
) -> None:
    rows = {"when": [datetime(2026, 1, 1), datetime(2026, 1, 2)], "n": [1, 2]}
    stats = source(
        "stats", write(cloud, "stats", rows), timestamp_field="seen", field_mapping={"n": "trips", "when": "seen"}
    )
    store = make_store()
    for name in ("seen", "when"):
        found = HybridSparkOfflineStore.compute_monitoring_metrics(
            store.config, stats, [("trips", "numeric")], name, datetime(2026, 1, 2), None
        )
        assert [(metric["feature_name"], metric["mean"]) for metric in found] == [("trips", 2.0)]
        latest = HybridSparkOfflineStore.get_monitoring_max_timestamp(store.config, stats, name)
        assert latest == datetime(2026, 1, 2, tzinfo=UTC)


def test_the_latest_time_of_no_rows_is_none_and_a_lake_that_is_silent_is_an_error(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    latest = HybridSparkOfflineStore.get_monitoring_max_timestamp
    config = make_store().config
    nothing = write(onprem, "nothing", ROWS.slice(0, 0))
    assert latest(config, source("empty", nothing), "event_timestamp") is None
    assert latest(config, source("unwritten", f"{nothing}_yet"), "event_timestamp") is None
    with pytest.raises(SchemaError, match="lacks the event time 'when'"):
        latest(config, source("empty", nothing), "when")
    with pytest.raises(SchemaError, match="source 'empty': timestamp column 'city' is string"):
        latest(config, source("empty", nothing), "city")
    with pytest.raises(SourceNotFoundError, match="nothing is at"):
        measured(make_store(), source("unwritten", f"{nothing}_yet"), FEATURES)


# The service, as `feast monitor` and the servers use it


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


@pytest.mark.parametrize("keeper", ["onprem", "cloud"])
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
    assert {row["metric_date"] for row in daily} == {(at(HOURS - 1) - timedelta(days=1)).date().isoformat()}
    assert {row["max_event_timestamp"] for row in daily} == {at(HOURS - 1).isoformat()}

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
        metrics_store.save_metrics(store, "feature", [{**metric, "computed_at": at(0), "feature_type": "numeric"}])

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

    served = {"__log_timestamp": [at(1), at(2), at(30)], "driver_id": [1, 2, 3]}
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


# The command line


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
