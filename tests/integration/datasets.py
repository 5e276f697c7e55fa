"""A store over a few trips, whose training set the tests of persist save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from tests.integration.places import Place, entity, hour, source, view

if TYPE_CHECKING:
    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write

ROWS = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [hour(1), hour(2)]})


def trips_store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    driver = entity("driver", join_key="driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "trips": [10, 20]}
    return make_store(driver, view("stats", source("stats_rows", write(onprem, "stats", rows)), driver))


def saved(store: FeatureStore, name: str) -> list[tuple[Any, ...]]:
    frame = store.get_saved_dataset(name).to_df()
    return sorted(zip(frame["driver_id"], frame["trips"], strict=True))
