"""Features of tables of each format in each place; a module of a Feast repository."""

import json
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.feature_logging import LoggingConfig
from feast.types import Float64, Int64

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource

PLACES: list[str] = json.loads(Path(__file__).with_name("places.json").read_text())
FORMATS = ("parquet", "delta", "iceberg", "orc")

account = Entity(name="account", join_keys=["account"], value_type=ValueType.INT64)


def view_of(place: int, file_format: str) -> FeatureView:
    name = f"{file_format}_{place}"
    uri = f"{PLACES[place]}/{file_format}"
    return FeatureView(
        name=f"by_{name}",
        entities=[account],
        ttl=timedelta(days=1),
        schema=[Field(name="account", dtype=Int64), Field(name="balance", dtype=Float64)],
        source=HybridSparkSource(name=f"of_{name}", timestamp_field="seen", path=uri, file_format=file_format),
    )


views = {(place, each): view_of(place, each) for place in range(len(PLACES)) for each in FORMATS}
services = [
    FeatureService(
        name=f"balances_{place}",
        features=[views[place, "parquet"]],
        logging_config=LoggingConfig(destination=HybridSparkLoggingDestination(path=f"{uri}/logs")),
    )
    for place, uri in enumerate(PLACES)
]
# Feast applies what has a name of its own in a module.
globals().update({view.name: view for view in views.values()}, **{service.name: service for service in services})
