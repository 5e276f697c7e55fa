"""Materialisation onto both lakes, by Feast's engine in this process and by its Spark engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import BatchFeatureView, Field
from feast.aggregation import Aggregation
from feast.infra.common.materialization_job import MaterializationTask
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from tests.integration.places import Place, Places, entity, feature_store, hour, source, view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write

pytestmark = pytest.mark.connect

LATEST = {"pull_latest_features": True}

alpha = pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning")


@pytest.fixture(params=["local", "spark.engine"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store_with(lakes_to_test: Places, spark: SparkSession, tmp_path: Path) -> Callable[..., FeatureStore]:
    """``store_with(engine, entity, view, …, materialization=…)``"""

    def make(engine: str, *objects: Any, materialization: dict[str, Any] | None = None) -> FeatureStore:
        return feature_store(
            lakes_to_test.sites(),
            tmp_path,
            *objects,
            repo={"batch_engine": {"type": engine}, "materialization": materialization or {}},
        )

    return make


def online(store: FeatureStore, features: list[str], **keys: list[Any]) -> dict[str, list[Any]]:
    """The online values by the features' names; the keys are left out."""
    rows = [dict(zip(keys, values, strict=True)) for values in zip(*keys.values(), strict=True)]
    found = store.get_online_features(features, rows).to_dict()
    return {name: values for name, values in found.items() if name not in keys}


def offline(store: FeatureStore, features: list[str], when: Any, **keys: list[Any]) -> dict[str, list[Any]]:
    """What the point-in-time join says of the same keys at one time."""
    rows = pd.DataFrame({**keys, "event_timestamp": [pd.Timestamp(when)] * len(next(iter(keys.values())))})
    table = store.get_historical_features(rows, features).to_arrow()
    return {feature.partition(":")[2]: table[feature.partition(":")[2]].to_pylist() for feature in features}


#: By driver: the latest by event time; by created time, where a null one ranks lowest; a null value that is the
#: latest; a row older than the ttl; a row after the end; rows that tie on everything but the value.
STATS: dict[str, list[Any]] = {
    "driver_id": [1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6],
    "event_timestamp": [hour(h) for h in (6, 7, 7, 7, 7, 6, 8, 1, 8, 12, 9, 9, 9)],
    "created": [hour(h) if h else None for h in (6, 7, 7, 9, None, 6, 8, 1, 8, 12, 9, 9, 9)],
    "trips": [1, 2, 3, 4, 5, 6, None, 7, 8, 9, 20, 22, 21],
}
DRIVERS = [1, 2, 3, 4, 5, 6, 7]


def test_online_values_are_those_of_the_join_at_that_time(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, cloud: Place, engine: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    moods = {**STATS, "mood": [None if trips is None else f"mood {trips}" for trips in STATS["trips"]]}
    ttl = timedelta(hours=5)
    store = store_with(
        engine,
        driver,
        view("stats", source("stats_rows", write(onprem, "stats", STATS), "created"), driver, ttl=ttl),
        view("moods", source("mood_rows", write(cloud, "moods", moods), "created"), driver, ttl=ttl),
        materialization=LATEST,
    )
    features = ["stats:trips", "moods:mood"]
    store.materialize((hour(10) - ttl).replace(tzinfo=None), hour(10))  # naive times are UTC
    found = online(store, features, driver_id=DRIVERS)
    assert found == offline(store, features, hour(10), driver_id=DRIVERS)
    assert found["trips"] == [2, 4, None, None, 8, 22, None]

    store.materialize_incremental(hour(12))
    assert online(store, features, driver_id=[5])["trips"] == [9]


def test_feasts_own_way_to_pick_the_latest_row_agrees_where_no_rows_tie(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, cloud: Place, engine: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    rows = {name: values[:10] for name, values in STATS.items()}
    store = store_with(
        engine,
        driver,
        view("stats", source("stats_rows", write(onprem, "stats", rows), "created"), driver),
        view("moods", source("mood_rows", write(cloud, "moods", rows), "created"), driver),
    )
    store.materialize(hour(0), hour(10))
    for features in (["stats:trips"], ["moods:trips"]):
        assert online(store, features, driver_id=DRIVERS) == offline(store, features, hour(10), driver_id=DRIVERS)


def test_a_field_mapping_renames_keys_times_and_features(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, engine: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    rows = {
        "fahrer": [1, 1, 2],
        "zeit": [hour(1), hour(2), hour(1)],
        "erfasst": [hour(1), hour(2), hour(1)],
        "fahrten": [1, 2, 3],
    }
    mapping = {"fahrer": "driver_id", "zeit": "event_timestamp", "erfasst": "created", "fahrten": "trips"}
    stats = source("stats_rows", write(cloud, "stats", rows), "created", field_mapping=mapping)
    schema = [Field(name="trips", dtype=Int64)]
    store = store_with(engine, driver, view("stats", stats, driver, schema=schema))
    store.materialize(hour(0), hour(5))
    assert online(store, ["stats:trips"], driver_id=[1, 2]) == {"trips": [2, 3]}


def test_a_view_without_entities_has_one_row(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, engine: str
) -> None:
    rates = {"event_timestamp": [hour(1), hour(3), hour(2)], "rate": [0.1, 0.3, 0.2]}
    store = store_with(
        engine, view("rates", source("rate_rows", write(onprem, "rates", rates))), materialization=LATEST
    )
    store.materialize(hour(0), hour(5))
    assert online(store, ["rates:rate"], asked=[1, 2]) == {"rate": [0.3, 0.3]}


@alpha
def test_a_batch_view_transforms_columns_that_are_not_features(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place
) -> None:
    driver = entity("driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(1), hour(2)], "km": [90.0, 20.0], "hours": [2.0, 1.0]}

    def speed(frame: Any) -> Any:
        return frame.withColumn("speed", frame["km"] / frame["hours"]).drop("km", "hours")

    batch = BatchFeatureView(
        name="speeds",
        entities=[driver],
        mode="python",
        udf=speed,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="speed", dtype=Float64)],
        source=source("trip_rows", write(cloud, "trips", rows)),
        online=True,
    )
    store = store_with("spark.engine", driver, batch)
    store.materialize(hour(0), hour(5))
    assert online(store, ["speeds:speed"], driver_id=[1, 2]) == {"speed": [45.0, 20.0]}


@alpha
def test_a_batch_view_aggregates_in_spark(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place
) -> None:
    driver = entity("driver_id")
    rows = {"driver_id": [1, 1, 2], "event_timestamp": [hour(1), hour(2), hour(2)], "trips": [1, 2, 5]}
    batch = BatchFeatureView(
        name="sums",
        entities=[driver],
        aggregations=[
            Aggregation(column="trips", function="sum"),
            Aggregation(column="event_timestamp", function="max", name="event_timestamp"),
        ],
        schema=[Field(name="driver_id", dtype=Int64), Field(name="sum_trips", dtype=Int64)],
        source=source("trip_rows", write(onprem, "trips", rows)),
        online=True,
    )
    store = store_with("spark.engine", driver, batch)
    # Feast's registry does not keep a batch view's aggregations: the engine must have the view itself.
    task = MaterializationTask(project=store.project, feature_view=batch, start_time=hour(0), end_time=hour(5))
    provider: Any = store.provider
    (job,) = provider.batch_engine.materialize(store.registry, task)
    assert job.error() is None
    assert online(store, ["sums:sum_trips"], driver_id=[1, 2]) == {"sum_trips": [3, 5]}


def test_an_on_demand_view_that_is_kept_online_is_computed_from_both_lakes(
    store_with: Callable[..., FeatureStore], write: Write, onprem: Place, cloud: Place, engine: str
) -> None:
    driver = entity("driver", join_key="driver_id")
    keys = {"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]}
    prices = view("prices", source("price_rows", write(onprem, "prices", {**keys, "price": [10.0, 20.0]})), driver)
    taxes = view("taxes", source("tax_rows", write(cloud, "taxes", {**keys, "tax": [1.0, 2.0]})), driver)

    @on_demand_feature_view(
        entities=[driver],
        sources=[prices, taxes],
        schema=[Field(name="total", dtype=Float64)],
        write_to_online_store=True,
    )
    def totals(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"total": rows["price"] + rows["tax"]})

    store = store_with(engine, driver, prices, taxes)
    store.apply([totals])
    store.materialize(hour(0), hour(5))
    assert online(store, ["totals:total"], driver_id=[1, 2]) == {"total": [11.0, 22.0]}


def test_the_answer_is_the_same_whatever_the_sessions_time_zone(
    store_with: Callable[..., FeatureStore], write: Write, cloud: Place, engine: str, session_zone: Any
) -> None:
    driver = entity("driver", join_key="driver_id")
    stats = view("stats", source("stats_rows", write(cloud, "stats", STATS), "created"), driver)
    store = store_with(engine, driver, stats, materialization=LATEST)
    with session_zone("America/New_York"):
        store.materialize(hour(7), hour(8))
    assert online(store, ["stats:trips"], driver_id=DRIVERS)["trips"] == [2, 4, None, None, 8, None, None]
