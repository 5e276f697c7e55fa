"""Materialisation and what it pulls: the latest rows, all rows, and only the partitions that can hold them."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SchemaError
from tests.integration.places import Place, Places, answers, entity, hour, on_connect, plan_of, source, view

if TYPE_CHECKING:
    from tests.integration.conftest import MakeStore, Write

pytestmark = [pytest.mark.connect, pytest.mark.matrix]

STATS: dict[str, list[Any]] = {
    "driver_id": [1, 1, 1, 2, 2, None],
    "event_timestamp": [hour(0), hour(2), hour(2), hour(1), hour(9), hour(1)],
    "created": [hour(0), None, hour(3), hour(1), hour(9), hour(1)],
    "trips": [1, 9, 3, 4, 5, 6],
}


def pulled(store: Any, verb: str, of: Any, start: Any, end: Any, created: str | None = "created") -> Any:
    pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
    return pull(store.config, of, ["driver_id"], ["trips"], "event_timestamp", created, start, end)


@pytest.mark.parametrize("role", ["onprem", "cloud"])
def test_the_latest_row_is_the_one_that_the_join_would_take(
    make_store: MakeStore, write: Write, lakes_to_test: Places, role: str
) -> None:
    place: Place = getattr(lakes_to_test, role)
    stats = source("stats", write(place, "stats", STATS), "created")
    job = pulled(make_store(), "latest", stats, hour(0), hour(5))
    # A null created time ranks lowest, whatever the values; a row after the end is not seen, and a null key
    # can not be looked up.
    assert sorted(answers(job, "driver_id", "trips")) == [(1, 3), (2, 4)]


def test_all_rows_between_the_bounds_are_pulled_bounds_included(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    stats = source("stats", write(onprem, "stats", STATS), "created")
    job = pulled(make_store(), "all", stats, hour(1), hour(2))
    assert sorted(answers(job, "trips")) == [(3,), (4,), (6,), (9,)]


def test_naive_bounds_are_utc_whatever_the_session_says(
    make_store: MakeStore, write: Write, cloud: Place, session_zone: Any
) -> None:
    stats = source("stats", write(cloud, "stats", STATS), "created")
    with session_zone("America/New_York"):
        job = pulled(make_store(), "all", stats, datetime(2026, 1, 10, 1), datetime(2026, 1, 10, 1))
        assert sorted(answers(job, "trips")) == [(4,), (6,)]


@pytest.mark.parametrize("verb", ["all", "latest"])
def test_columns_have_the_names_that_they_are_asked_by(
    make_store: MakeStore, write: Write, onprem: Place, verb: str
) -> None:
    rows = {"Driver_ID": [1, 2], "EVENT_TIMESTAMP": [hour(0), hour(1)], "Trips": [3, 4]}
    job = pulled(make_store(), verb, source("stats", write(onprem, "stats", rows)), hour(0), hour(5), created=None)
    assert sorted(answers(job, "driver_id", "event_timestamp", "trips")) == [(1, hour(0), 3), (2, hour(1), 4)]


@pytest.mark.parametrize("verb", ["all", "latest"])
def test_partitions_outside_of_the_range_are_not_read(
    make_store: MakeStore, write: Write, onprem: Place, verb: str
) -> None:
    for day in range(1, 9):
        rows = {"driver_id": [day], "event_timestamp": [datetime.fromisoformat(f"2026-01-{day:02}T12:00Z")]}
        uri = write(onprem, f"stats/dt=2026-01-{day:02}", {**rows, "trips": [day]})
    stats = source("stats", uri.rpartition("/")[0], date_partition_column="dt")
    job = pulled(make_store(), verb, stats, datetime(2026, 1, 4), datetime(2026, 1, 5), created=None)
    assert answers(job, "trips") == [(4,)]
    plan = plan_of(job.to_spark_df())
    # One day more on both sides, for partitions that are named by a local day.
    assert "PartitionFilters: [(isnull(dt" in plan
    assert "2026-01-03" in plan
    assert "2026-01-06" in plan


def test_online_values_are_the_offline_ones_of_both_lakes(
    make_store: MakeStore, write: Write, onprem: Place, cloud: Place
) -> None:
    driver = entity("driver", join_key="driver_id")
    known = {name: values[:5] for name, values in STATS.items()}
    moods = {"driver_id": [1, 2], "event_timestamp": [hour(1), hour(2)], "mood": ["calm", None]}
    store = make_store(
        driver,
        view("stats", source("stats_rows", write(onprem, "stats", known), "created"), driver),
        view("moods", source("mood_rows", write(cloud, "moods", moods)), driver),
    )
    features = ["stats:trips", "moods:mood"]
    store.materialize(hour(0), hour(5))
    online = store.get_online_features(features, [{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3}]).to_dict()
    assert online == {"driver_id": [1, 2, 3], "trips": [3, 4, None], "mood": ["calm", None, None]}
    store.materialize_incremental(hour(9))
    online = store.get_online_features(features, [{"driver_id": 2}]).to_dict()
    assert online == {"driver_id": [2], "trips": [5], "mood": [None]}


def test_rows_of_many_files_all_go_online(make_store: MakeStore, write: Write, onprem: Place) -> None:
    # Feast's default engine writes the first piece of an Arrow table and leaves the others out.
    for n in range(1, 7):
        rows = {"driver_id": [n], "event_timestamp": [hour(n / 10)], "trips": [n * 10]}
        uri = write(onprem, "stats", rows, file=f"part-{n}.parquet")
    driver = entity("driver", join_key="driver_id")
    stats = source("stats_rows", uri)
    store = make_store(driver, view("stats", stats, driver))
    job = pulled(store, "all", stats, hour(0), hour(5), created=None)
    if not on_connect():
        assert job.to_spark_df().toArrow()["trips"].num_chunks > 1
    assert job.to_arrow()["trips"].num_chunks == 1
    store.materialize(hour(0), hour(5))
    online = store.get_online_features(["stats:trips"], [{"driver_id": n} for n in range(1, 7)]).to_dict()
    assert online["trips"] == [10, 20, 30, 40, 50, 60]


def test_a_created_time_that_is_none_is_named_with_its_source(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(1)], "made": [1], "trips": [1]}
    numbers = source("numbers", write(onprem, "numbers", rows), "made")
    with pytest.raises(SchemaError, match=r"source 'numbers' \(site 'onprem', hdfs://.*'made' is bigint"):
        pulled(make_store(), "latest", numbers, hour(0), hour(5), created="made")


def test_text_for_an_event_time_is_refused_not_cast_in_the_session_s_zone(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    rows = {"driver_id": [1], "event_timestamp": ["2026-01-10 01:00:00"], "trips": [1]}
    for verb in ("all", "latest"):
        with pytest.raises(SchemaError, match=r"source 'text'.*'event_timestamp' is string"):
            pulled(make_store(), verb, source("text", write(onprem, "text", rows)), hour(0), hour(5), created=None)


def test_a_month_that_is_kept_as_a_date_is_not_taken_for_its_first_day(
    make_store: MakeStore, write: Write, onprem: Place
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [datetime.fromisoformat("2026-01-20T00:00Z")], "trips": [5]}
    uri = write(onprem, "stats/month=2026-01-01", rows).rpartition("/")[0]
    stats = source("stats", uri, date_partition_column="month", date_partition_column_format="%Y-%m")
    job = pulled(make_store(), "all", stats, datetime(2026, 1, 19), datetime(2026, 1, 21), created=None)
    assert answers(job, "trips") == [(5,)]


def test_a_start_on_the_last_day_of_all_is_a_start_too(make_store: MakeStore, write: Write, onprem: Place) -> None:
    days = write(onprem, "days", {"driver_id": [1], "event_timestamp": [date(9999, 12, 30)], "trips": [5]})
    noon = datetime(9999, 12, 31, 12)
    assert answers(pulled(make_store(), "all", source("days", days), noon, noon, created=None), "trips") == []
    before = datetime(9999, 12, 30)
    assert answers(pulled(make_store(), "all", source("days", days), before, noon, created=None), "trips") == [(5,)]
