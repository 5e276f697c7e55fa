"""How features are distributed: Spark finds what Feast's own calculator finds on the same rows."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from feast.monitoring.metrics_calculator import MetricsCalculator

from feast_hybrid import (
    HybridSparkOfflineStore,
)
from feast_hybrid.errors import SchemaError, SourceNotFoundError
from feast_hybrid.monitoring import distribution
from tests.integration.places import Place, Places, hour, source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write, Zone
from tests.integration.measured_rows import FEATURES, ROWS, assert_same


def measured(
    store: FeatureStore, of: Any, features: Sequence[tuple[str, str]], start: Any = None, end: Any = None, **more: Any
) -> list[dict[str, Any]]:
    return HybridSparkOfflineStore.compute_monitoring_metrics(
        store.config, of, list(features), "event_timestamp", start, end, **more
    )


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
    assert_same(measured(store, stats, [("whole", "numeric")], hour(5), hour(15)), expected[1:2])
    with session_zone("America/New_York"):
        naive = (hour(5).replace(tzinfo=None), hour(15).replace(tzinfo=None))
        assert_same(measured(store, stats, [("whole", "numeric")], *naive), expected[1:2])
        assert HybridSparkOfflineStore.get_monitoring_max_timestamp(store.config, stats, "event_timestamp") == hour(
            49
        )


def test_no_rows_are_a_metric_too(make_store: MakeStore, write: Write, cloud: Place) -> None:
    stats = source("stats", write(cloud, "stats", ROWS))
    found = measured(make_store(), stats, FEATURES, hour(1000), hour(2000))
    assert_same(found, MetricsCalculator().compute_all(ROWS.slice(0, 0), FEATURES))


def test_with_more_values_than_memory_percentiles_are_near(
    make_store: MakeStore, write: Write, onprem: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {
        "event_timestamp": [hour(0)] * 3000,
        "many": [float(i) for i in range(3000)],
        "few": [1.0, 2.0, 4.0] * 1000,
    }
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
    rows = {"event_timestamp": [hour(0)] * 5, "nans": numbers, "infinite": [*numbers[:3], float("inf"), None]}
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
    rows = {"event_timestamp": [hour(0)] * 4, "code": [3, 2, 2, 3], "day": [date(2026, 1, 2)] * 4, "x": [0.5] * 4}
    stats = source("stats", write(onprem, "stats", rows))
    features = [(name, "categorical") for name in ("code", "day", "x")]
    found = [metric["histogram"]["values"] for metric in measured(make_store(), stats, features)]
    assert found[0] == [{"value": 2, "count": 2}, {"value": 3, "count": 2}]
    assert found[1:] == [[{"value": "2026-01-02", "count": 4}], [{"value": 0.5, "count": 4}]]


def test_a_feature_that_cannot_be_measured_is_left_out_with_a_warning(
    make_store: MakeStore, write: Write, onprem: Place, caplog: pytest.LogCaptureFixture
) -> None:
    rows = {"event_timestamp": [hour(0)], "trips": [1], "list": [[1.0]], "text": ["a"]}
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
    with pytest.raises(SchemaError, match=r"source 'empty' .*there is no column 'when'"):
        latest(config, source("empty", nothing), "when")
    with pytest.raises(SchemaError, match=r"source 'empty' .*: timestamp column 'city' is string"):
        latest(config, source("empty", nothing), "city")
    with pytest.raises(SourceNotFoundError, match="nothing is at"):
        measured(make_store(), source("unwritten", f"{nothing}_yet"), FEATURES)
