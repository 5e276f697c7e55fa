"""Will this flight arrive more than 15 minutes late? The features, of two lakes.

The airlines', aircraft's and routes' history is on premises, the weather is in the cloud. `feast apply` registers
what is defined here.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureView, Field, RequestSource, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from feast_hybrid import HybridSparkSource

ONPREM = "hdfs://namenode:8020"
CLOUD = "abfs://lake@account.dfs.core.windows.net"

origin = Entity(name="origin_airport", join_keys=["origin"], value_type=ValueType.STRING)
dest = Entity(name="destination", join_keys=["dest"], value_type=ValueType.STRING)
carrier = Entity(name="airline", join_keys=["carrier"], value_type=ValueType.STRING)
tailnum = Entity(name="plane", join_keys=["tailnum"], value_type=ValueType.STRING)

weather = FeatureView(
    name="weather",
    entities=[origin],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="temp", dtype=Float64, description="°F"),
        Field(name="humid", dtype=Float64, description="relative humidity, %"),
        Field(name="wind_dir", dtype=Float64, description="where the wind comes from, degrees"),
        Field(name="wind_speed", dtype=Float64, description="mph"),
        Field(name="wind_gust", dtype=Float64, description="mph"),
        Field(name="precip", dtype=Float64, description="inches in the hour"),
        Field(name="precip_3h", dtype=Float64, description="inches in three hours"),
        Field(name="pressure", dtype=Float64, description="millibars"),
        Field(name="pressure_change_3h", dtype=Float64, description="millibars"),
        Field(name="visib", dtype=Float64, description="miles"),
    ],
    source=HybridSparkSource(
        name="airport_weather",
        path=f"{CLOUD}/weather",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        date_partition_column="month",
        date_partition_column_format="%Y-%m",
        description="Hourly reports; an hour's report is known when the hour is over",
    ),
)

carrier_delays = FeatureView(
    name="carrier_delays",
    entities=[carrier],
    ttl=timedelta(days=2),
    schema=[
        Field(name="flights_24h", dtype=Int64),
        Field(name="mean_delay_3h", dtype=Float64, description="minutes"),
        Field(name="mean_delay_24h", dtype=Float64, description="minutes"),
        Field(name="late_share_24h", dtype=Float64),
        Field(name="late_share_7d", dtype=Float64),
    ],
    source=HybridSparkSource(
        name="carrier_history",
        path=f"{ONPREM}/flights/carrier_delays",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description="A row for each arrival of an airline",
    ),
)

aircraft_delays = FeatureView(
    name="aircraft_delays",
    entities=[tailnum],
    ttl=timedelta(days=30),
    schema=[
        Field(name="last_delay", dtype=Float64, description="minutes"),
        Field(name="mean_delay_10", dtype=Float64, description="minutes, of the last ten arrivals"),
        Field(name="late_share_10", dtype=Float64, description="of the last ten arrivals"),
        Field(name="flights_7d", dtype=Int64),
        Field(name="seats", dtype=Int64),
        Field(name="built", dtype=Float64, description="year"),
    ],
    source=HybridSparkSource(
        name="aircraft_history",
        path=f"{ONPREM}/flights/aircraft_delays",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description="A row for each arrival of an aircraft",
    ),
)

route_delays = FeatureView(
    name="route_delays",
    entities=[origin, dest],
    ttl=timedelta(days=14),
    schema=[
        Field(name="flights_7d", dtype=Int64),
        Field(name="mean_delay_24h", dtype=Float64, description="minutes"),
        Field(name="mean_delay_7d", dtype=Float64, description="minutes"),
        Field(name="late_share_7d", dtype=Float64),
    ],
    source=HybridSparkSource(
        name="route_history",
        path=f"{ONPREM}/flights/route_delays",
        timestamp_field="event_timestamp",
        created_timestamp_column="created",
        description="A row for each arrival on a route",
    ),
)

flight_plan = RequestSource(
    name="flight_plan",
    schema=[Field(name="bearing", dtype=Float64, description="course at departure, degrees")],
)


@on_demand_feature_view(
    sources=[weather, flight_plan],
    schema=[Field(name="headwind", dtype=Float64), Field(name="crosswind", dtype=Float64)],
)
def wind_on_course(inputs: pd.DataFrame) -> pd.DataFrame:
    """The wind along and across the flight's course, from the weather in the lake and the plan in the request."""
    angle = np.radians(inputs["wind_dir"].astype("float64") - inputs["bearing"].astype("float64"))
    speed = inputs["wind_speed"].astype("float64")
    return pd.DataFrame(
        {"headwind": (speed * np.cos(angle)).round(6), "crosswind": (speed * np.sin(angle)).abs().round(6)}
    )


arrival_delay = FeatureService(
    name="arrival_delay",
    features=[weather, carrier_delays, aircraft_delays, route_delays, wind_on_course],
    description="What is known of a flight two hours before it is due to depart",
)
