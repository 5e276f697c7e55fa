"""The store of these tests: its views are on two lakes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from feast import FeatureService, Field, RequestSource
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from tests.integration.places import feature_store, hour, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.places import Places

from tests.integration.historical.rows import CITY, DRIVER


@pytest.fixture(scope="package")
def store(lakes_to_test: Places, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Drivers' statistics on premises, weather in the cloud, and on-demand views over both and a request."""
    onprem, cloud = lakes_to_test
    stats = onprem.write(
        f"{onprem.uri}/historical/stats",
        {
            "driver_id": [1, 1, 2, 2],
            "event_timestamp": [hour(0), hour(1), hour(0), hour(2)],
            "created": [hour(0), hour(1), hour(0), hour(9)],
            "rate": [0.1, 0.2, 0.3, 0.4],
            "trips": [1, 2, 3, 4],
        },
    )
    weather = cloud.write(
        f"{cloud.uri}/historical/weather",
        {
            "city": ["ams", "ams", "ber"],
            "event_timestamp": [hour(0), hour(1), hour(0)],
            "temp": [10, 11, 20],
            "sky": ["grey", "blue", "red"],
        },
    )
    stats_view = view("stats", source("stats_rows", stats, "created"), DRIVER, ttl=timedelta(days=1))
    weather_view = view("weather", source("weather_rows", weather), CITY, ttl=timedelta(days=1))
    request = RequestSource(name="request", schema=[Field(name="bonus", dtype=Int64)])

    @on_demand_feature_view(
        sources=[stats_view, request],
        schema=[Field(name="paid", dtype=Int64), Field(name="unpaid", dtype=Int64)],
        mode="python",
    )
    def pay(inputs: dict[str, Any]) -> dict[str, Any]:
        pairs = list(zip(inputs["trips"], inputs["bonus"], strict=True))
        return {"paid": [(trips or 0) + bonus for trips, bonus in pairs], "unpaid": [0 for _ in pairs]}

    @on_demand_feature_view(
        sources=[weather_view],
        schema=[Field(name="fahrenheit", dtype=Float64), Field(name="hot", dtype=Int64)],
        mode="pandas",
    )
    def heat(inputs: pd.DataFrame) -> pd.DataFrame:
        fahrenheit = inputs["temp"].astype("float64") * 1.8 + 32
        return pd.DataFrame({"fahrenheit": fahrenheit, "hot": (fahrenheit > 60).astype("int64")})

    service = FeatureService(name="both", features=[stats_view[["rate"]], weather_view])
    return feature_store(
        lakes_to_test.sites(),
        tmp_path_factory.mktemp("historical"),
        *(DRIVER, CITY, stats_view, weather_view, pay, heat, service),
    )
