from datetime import timedelta

from feast import Entity, FeatureView, Field, ValueType
from feast.types import Float64, Int64
from feast_hybrid import HybridSparkSource

driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
city = Entity(name="city", join_keys=["city"], value_type=ValueType.STRING)
stats = FeatureView(
    name="stats",
    entities=[driver],
    ttl=timedelta(days=1),
    schema=[Field(name="trips", dtype=Int64)],
    source=HybridSparkSource(name="stats", path="hdfs://127.0.0.1:18020/stats", timestamp_field="event_timestamp"),
)
weather = FeatureView(
    name="weather",
    entities=[city],
    ttl=timedelta(hours=3),
    schema=[Field(name="rain", dtype=Float64)],
    source=HybridSparkSource(
        name="weather",
        path="abfs://lake@feasthybrid.dfs.core.windows.net/weather",
        timestamp_field="event_timestamp",
    ),
)
