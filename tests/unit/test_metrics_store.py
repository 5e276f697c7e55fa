"""Monitoring metrics on a lake: one row for each key, whoever writes when; here on this machine's disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from feast.monitoring.monitoring_utils import monitoring_table_meta
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError, RetrievalError, RoutingError, WriteError
from feast_hybrid.monitoring import keyed_files, metrics_store

DAY = date(2026, 1, 10)


@pytest.fixture
def store(tmp_path: Path) -> HybridSparkOfflineStoreConfig:
    return HybridSparkOfflineStoreConfig(monitoring_location=f"file://{tmp_path}/metrics")


def metric(feature: str = "trips", day: date = DAY, **more: Any) -> dict[str, Any]:
    return {
        "project_id": "p",
        "feature_view_name": "stats",
        "feature_name": feature,
        "metric_date": day,
        "granularity": "daily",
        "data_source_type": "batch",
        "computed_at": datetime(2026, 1, 11, 12, 30, tzinfo=UTC),
        "is_baseline": False,
        "feature_type": "numeric",
        "row_count": 3,
        **more,
    }


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def found(store: HybridSparkOfflineStoreConfig, *columns: str, **filters: Any) -> list[tuple[Any, ...]]:
    return [tuple(row[c] for c in columns) for row in metrics_store.query_metrics(store, "p", "feature", filters)]


def test_what_is_saved_comes_back_in_feasts_form(store: HybridSparkOfflineStoreConfig) -> None:
    histogram = {"bins": [0.0, 1.0], "counts": [3], "bin_width": 1.0}
    newest = datetime(2026, 1, 10, 23, 59, 59, 999999, tzinfo=UTC)
    metrics_store.save_metrics(store, "feature", [metric(mean=0.5, histogram=histogram, max_event_timestamp=newest)])
    (row,) = metrics_store.query_metrics(store, "p", "feature")
    assert list(row) == monitoring_table_meta("feature")[1]
    assert {name: value for name, value in row.items() if value is not None} == {
        **metric(mean=0.5, histogram=histogram),
        "metric_date": "2026-01-10",
        "computed_at": "2026-01-11T12:30:00+00:00",
        "max_event_timestamp": "2026-01-10T23:59:59.999999+00:00",
    }


def test_nothing_was_saved_yet(store: HybridSparkOfflineStoreConfig) -> None:
    for metric_type in metrics_store.METRIC_TYPES:
        assert metrics_store.query_metrics(store, "p", metric_type) == []


def test_a_metric_of_the_same_key_is_replaced_as_a_whole(store: HybridSparkOfflineStoreConfig) -> None:
    metrics_store.save_metrics(store, "feature", [metric(mean=0.5), metric("fare", mean=7.0)])
    metrics_store.save_metrics(store, "feature", [metric(row_count=4), metric(row_count=5)])
    assert found(store, "feature_name", "row_count", "mean") == [("fare", 3, 7.0), ("trips", 5, None)]


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("project_id", "q"),
        ("feature_view_name", "moods"),
        ("feature_name", "fare"),
        ("metric_date", date(2026, 1, 11)),
        ("granularity", "weekly"),
        ("data_source_type", "log"),
    ],
)
def test_metrics_whose_keys_differ_stay_apart(store: HybridSparkOfflineStoreConfig, column: str, other: Any) -> None:
    metrics_store.save_metrics(store, "feature", [metric(mean=1.0), metric(**{column: other}, mean=2.0)])
    assert sorted(row["mean"] for row in metrics_store.query_metrics(store, "", "feature")) == [1.0, 2.0]
    filters = {column: other} if column != "project_id" else {}
    project = other if column == "project_id" else "p"
    assert [row["mean"] for row in metrics_store.query_metrics(store, project, "feature", filters)] == [2.0]


def test_metrics_are_ordered_by_date_and_cut_at_both_ends_inclusive(store: HybridSparkOfflineStoreConfig) -> None:
    metrics_store.save_metrics(store, "feature", [metric(day=date(2026, 1, day)) for day in (4, 1, 3, 2)])
    rows = metrics_store.query_metrics(store, "p", "feature", start=date(2026, 1, 2), end=date(2026, 1, 3))
    assert [row["metric_date"] for row in rows] == ["2026-01-02", "2026-01-03"]


def test_names_are_data(store: HybridSparkOfflineStoreConfig) -> None:
    for name in ("a/b", "..", "50 % of ü", "x=y", "*"):
        metrics_store.save_metrics(store, "feature", [metric(feature_view_name=name, feature_name=name)])
        assert found(store, "feature_name", feature_view_name=name) == [(name,)]
    assert len(found(store, "feature_name")) == 5


def test_no_number_that_json_lacks_comes_back(store: HybridSparkOfflineStoreConfig) -> None:
    metrics_store.save_metrics(store, "feature", [metric(mean=float("nan"), max_val=float("inf"))])
    assert found(store, "mean", "max_val") == [(None, None)]


def test_a_cleared_baseline_is_none_and_one_saved_later_is(store: HybridSparkOfflineStoreConfig) -> None:
    metrics_store.save_metrics(store, "feature", [metric(is_baseline=True), metric("fare", is_baseline=True)])
    metrics_store.clear_baseline(store, "p", "stats", "trips", "batch")
    assert found(store, "feature_name", is_baseline=True) == [("fare",)]
    assert found(store, "feature_name", is_baseline=False) == [("trips",)]
    metrics_store.save_metrics(store, "feature", [metric(is_baseline=True, day=date(2026, 1, 12))])
    assert found(store, "feature_name", "metric_date", is_baseline=True) == [
        ("fare", "2026-01-10"),
        ("trips", "2026-01-12"),
    ]


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({}, []),
        ({"feature_view_name": "stats"}, []),
        ({"feature_view_name": "moods"}, ["fare", "trips"]),
        ({"feature_name": "fare"}, ["trips"]),
        ({"data_source_type": "log"}, ["fare", "trips"]),
    ],
)
def test_a_clearing_is_of_what_it_names(
    store: HybridSparkOfflineStoreConfig, which: dict[str, str], left: list[str]
) -> None:
    rows = [metric(is_baseline=True), metric("fare", is_baseline=True)]
    metrics_store.save_metrics(store, "feature", [*rows, *({**row, "project_id": "other"} for row in rows)])
    metrics_store.clear_baseline(store, "p", **which)
    assert [name for (name,) in found(store, "feature_name", is_baseline=True)] == left
    assert len(metrics_store.query_metrics(store, "other", "feature", {"is_baseline": True})) == 2


def test_a_metric_saved_while_a_baseline_is_cleared_is_not_lost(
    store: HybridSparkOfflineStoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics_store.save_metrics(store, "feature", [metric(is_baseline=True, mean=1.0)])
    cleared = keyed_files.now_ns()
    metrics_store.save_metrics(store, "feature", [metric(is_baseline=True, mean=2.0)])
    # A slow clearing, whose file comes after a metric that was written later.
    monkeypatch.setattr(keyed_files, "now_ns", lambda: cleared)
    metrics_store.clear_baseline(store, "p")
    assert found(store, "mean", "is_baseline") == [(2.0, True)]


def test_a_job_is_found_without_its_project(store: HybridSparkOfflineStoreConfig) -> None:
    job = {"job_id": "1", "project_id": "p", "job_type": "baseline", "status": "pending", "metric_date": DAY}
    metrics_store.save_metrics(store, "job", [job, {**job, "job_id": "2"}])
    started = datetime(2026, 1, 10, 9, tzinfo=UTC)
    metrics_store.save_metrics(
        store, "job", [{**job, "status": "running", "started_at": started, "parameters": {"a": 1}}]
    )
    (row,) = metrics_store.query_metrics(store, "", "job", {"job_id": "1"})
    assert (row["status"], row["started_at"], row["parameters"]) == ("running", started, '{"a": 1}')
    assert [row["job_id"] for row in metrics_store.query_metrics(store, "p", "job", {"status": "pending"})] == ["2"]


def test_many_writers_lose_nothing_and_leave_few_files(
    store: HybridSparkOfflineStoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_files, "MANY_FILES", 5)
    seen = []

    def write(number: int) -> None:
        metrics_store.save_metrics(store, "feature", [metric(f"f{number}", mean=float(number)), metric("shared")])
        seen.append(f"f{number}" in {name for (name,) in found(store, "feature_name")})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(40)))
    assert seen == [True] * 40
    assert sorted(found(store, "feature_name", "mean")) == sorted(
        [(f"f{number}", float(number)) for number in range(40)] + [("shared", None)], key=str
    )
    assert len(files(tmp_path)) <= 5 + 4
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".writing")]


def test_files_are_merged_without_losing_which_row_is_newest(
    store: HybridSparkOfflineStoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed_files, "MANY_FILES", 3)
    metrics_store.save_metrics(store, "feature", [metric(is_baseline=True, mean=0.0)])
    metrics_store.clear_baseline(store, "p")
    for mean in range(1, 3):
        metrics_store.save_metrics(store, "feature", [metric("fare", mean=float(mean))])
    assert len(files(tmp_path / "metrics/feast_monitoring_feature_metrics")) == 3
    metrics_store.save_metrics(store, "feature", [metric("fare", mean=9.0)])
    (merged,) = files(tmp_path / "metrics/feast_monitoring_feature_metrics")
    assert pq.read_table(merged, partitioning=None).num_rows == 2
    assert found(store, "feature_name", "mean", "is_baseline") == [("fare", 9.0, False), ("trips", 0.0, False)]


def test_a_reader_whose_file_was_merged_away_looks_again(
    store: HybridSparkOfflineStoreConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics_store.save_metrics(store, "feature", [metric(mean=1.0)])
    cat_file = LocalFileSystem.cat_file

    def cat_file_after_a_merge(self: LocalFileSystem, path: str, **arguments: Any) -> bytes:
        monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file)
        (old,) = files(tmp_path)
        old.rename(old.with_name("merged.parquet"))
        content: bytes = cat_file(self, path, **arguments)
        return content

    monkeypatch.setattr(LocalFileSystem, "cat_file", cat_file_after_a_merge)
    assert found(store, "mean") == [(1.0,)]


def test_a_file_without_a_column_that_came_later_is_read(
    store: HybridSparkOfflineStoreConfig, tmp_path: Path
) -> None:
    metrics_store.save_metrics(store, "feature", [metric(mean=1.0)])
    (file,) = files(tmp_path)
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["p99"]), file)
    assert found(store, "mean", "p99") == [(1.0, None)]


def test_without_a_place_the_setting_is_named() -> None:
    store = HybridSparkOfflineStoreConfig()
    for call in (
        lambda: metrics_store.check_location(store),
        lambda: metrics_store.save_metrics(store, "feature", [metric()]),
        lambda: metrics_store.query_metrics(store, "p", "feature"),
        lambda: metrics_store.clear_baseline(store, "p"),
    ):
        with pytest.raises(ConfigError, match=r"set offline_store\.monitoring_location to a folder"):
            call()


def test_a_place_under_no_site_is_refused_at_load() -> None:
    with pytest.raises(RoutingError, match=r"offline_store\.monitoring_location: hdfs://other/m is under none"):
        HybridSparkOfflineStoreConfig(
            sites=[{"name": "a", "uri": "hdfs://lake"}], monitoring_location="hdfs://other/m"
        )


def test_what_cannot_be_a_metric_is_refused(store: HybridSparkOfflineStoreConfig, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="a monitoring metric of type 'feature' lacks feature_name"):
        metrics_store.save_metrics(store, "feature", [metric(), {**metric(), "feature_name": None}])
    with pytest.raises(WriteError, match="row_count cannot be 'many'"):
        metrics_store.save_metrics(store, "feature", [metric(row_count="many")])
    with pytest.raises(ConfigError, match="no monitoring metrics of type 'views'; use feature, feature_view"):
        metrics_store.save_metrics(store, "views", [])
    with pytest.raises(RetrievalError, match="have no column 'view'; they have project_id, feature_view_name"):
        metrics_store.query_metrics(store, "p", "feature", {"view": "stats"})
    assert files(tmp_path) == []


@pytest.mark.parametrize("metric_type", metrics_store.METRIC_TYPES)
def test_each_column_of_feasts_tables_has_a_type(metric_type: str) -> None:
    texts = {"project_id", "feature_view_name", "feature_name", "feature_service_name", "granularity"}
    texts |= {"data_source_type", "feature_type", "histogram"}
    texts |= {"job_id", "job_type", "status", "parameters", "error_message", "result_summary"}
    _, columns, key = monitoring_table_meta(metric_type)
    assert {column for column in columns if str(metrics_store.arrow_type(column)) == "string"} == texts & set(columns)
    assert set(key) <= set(columns)
