"""Retrievals that are large, wide or share names: many entity rows, many features, the same features in two views."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from feast.errors import FeatureNameCollisionError

from tests.integration.places import answers, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

DRIVER = entity("driver", join_key="driver_id")
HOURS, DRIVERS, MILLION = 48, 500, 1_000_000


def history(seed: int) -> dict[str, Any]:
    """An hourly row for each driver, whose value says of which driver and hour it is."""
    hours, drivers = np.divmod(np.random.default_rng(seed).permutation(HOURS * DRIVERS), DRIVERS)
    start = int(hour(0).timestamp() * 1_000_000)
    times = start + hours.astype("int64") * 3_600_000_000
    return {
        "driver_id": pa.array(drivers, pa.int64()),
        "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
        "value": pa.array(seed * 1_000_000 + drivers * 1_000 + hours, pa.int64()),
    }


def test_a_million_entity_rows_come_back_in_their_order_with_the_answers_of_both_lakes(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    store = make_store(
        DRIVER,
        view("near", source("near", write(onprem, "near", history(1))), DRIVER, ttl=timedelta(hours=2)),
        view("far", source("far", write(cloud, "far", history(2))), DRIVER),
    )
    random = np.random.default_rng(7)
    drivers = random.integers(0, DRIVERS + 50, MILLION)
    seconds = random.integers(-3_600, (HOURS + 4) * 3_600, MILLION)
    entity_df = pd.DataFrame(
        {
            "driver_id": drivers,
            "event_timestamp": pd.Timestamp(hour(0)) + pd.to_timedelta(seconds, unit="s"),
            "row": np.arange(MILLION),
        }
    )
    found = retrieve(store, entity_df, ["near:value", "far:value"], full_feature_names=True).to_arrow()

    assert found["row"].to_numpy().tolist() == list(range(MILLION))
    latest = np.minimum(seconds // 3_600, HOURS - 1)
    known = (drivers < DRIVERS) & (seconds >= 0)
    fresh = known & (seconds - latest * 3_600 <= 2 * 3_600)
    for name, seed, inserted in (("near__value", 1, fresh), ("far__value", 2, known)):
        expected = np.where(inserted, seed * 1_000_000 + drivers * 1_000 + latest, -1)
        answered = found[name].fill_null(-1).to_numpy()
        assert np.array_equal(answered, expected), np.flatnonzero(answered != expected)[:5]


@pytest.mark.parametrize("full", [True, False])
def test_views_of_a_hundred_features_each_come_back_whole(
    full: bool, onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    features: dict[str, list[str]] = {}
    objects = []
    for number, (name, place) in enumerate({"left": onprem, "right": cloud}.items()):
        features[name] = [f"{name}_{i}" for i in range(100)]
        columns = {feature: [number * 1_000 + i] for i, feature in enumerate(features[name])}
        path = write(place, name, {"driver_id": [1], "event_timestamp": [hour(0)], **columns})
        objects.append(view(name, source(name, path), DRIVER))
    store = make_store(DRIVER, *objects)
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    refs = [f"{name}:{feature}" for name, all_of_it in features.items() for feature in all_of_it]
    found = retrieve(store, entity_df, refs, full_feature_names=full).to_arrow()
    names = [ref.replace(":", "__") if full else ref.partition(":")[2] for ref in refs]
    assert found.column_names == ["driver_id", "event_timestamp", *names]
    assert [found[name].to_pylist() for name in names] == [
        [number * 1_000 + i] for number in (0, 1) for i in range(100)
    ]


def test_views_that_share_feature_names_need_full_names_and_do_not_mix(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)]}
    store = make_store(
        DRIVER,
        view("a", source("a", write(onprem, "a", {**rows, "value": [1], "b__value": [3]})), DRIVER),
        view("b", source("b", write(cloud, "b", {**rows, "value": [2]})), DRIVER),
    )
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    with pytest.raises(FeatureNameCollisionError):
        store.get_historical_features(entity_df, ["a:value", "b:value"])
    job = retrieve(store, entity_df, ["a:value", "b:value", "a:b__value"], full_feature_names=True)
    assert answers(job, "a__value", "b__value", "a__b__value") == [(1, 2, 3)]


def test_an_entity_column_may_have_the_name_of_a_source_s_column_that_was_not_asked_for(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rows = {"driver_id": [1], "event_timestamp": [hour(0)], "created": [hour(0)], "label": [7]}
    store = make_store(
        DRIVER,
        view("a", source("a", write(onprem, "a", {**rows, "x": [1]}), "created"), DRIVER),
        view("b", source("b", write(cloud, "b", {**rows, "y": [2]}), "created"), DRIVER),
    )
    when = datetime(2020, 1, 1, tzinfo=UTC)
    entity_df = pd.DataFrame(
        {"driver_id": [1], "event_timestamp": [hour(1)], "label": ["bought"], "created": [when], "ts": ["text"]}
    )
    job = retrieve(store, entity_df, ["a:x", "b:y"])
    assert answers(job, "label", "created", "ts", "x", "y") == [("bought", when, "text", 1, 2)]
    by_spark = job.to_spark_df().select("label", "ts", "x", "y").collect()
    assert [tuple(row) for row in by_spark] == [("bought", "text", 1, 2)]
