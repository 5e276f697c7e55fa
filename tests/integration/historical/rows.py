"""Entity rows over the two views of these tests, and their features."""

from __future__ import annotations

from typing import Any

import pandas as pd
from feast import ValueType

from tests.integration.places import entity, hour

DRIVER = entity("driver", join_key="driver_id")
CITY = entity("city", ValueType.STRING)

FEATURES = ["stats:rate", "stats:trips", "weather:temp"]
ENTITY_ROWS = [(2, "ams", 1.5), (1, "ber", 0), (1, "ams", 2), (3, None, 0), (1, "ams", 2)]
FEATURE_ROWS = [(0.3, 3, 11), (0.1, 1, 20), (0.2, 2, 11), (None, None, None), (0.2, 2, 11)]
ROWS = [(key, city, *answer) for (key, city, _), answer in zip(ENTITY_ROWS, FEATURE_ROWS, strict=True)]
COLUMNS = ("driver_id", "city", "rate", "trips", "temp")


def entity_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "driver_id": [key for key, _, _ in ENTITY_ROWS],
            "city": [city for _, city, _ in ENTITY_ROWS],
            "event_timestamp": [hour(hours) for _, _, hours in ENTITY_ROWS],
            "note": ["a", None, "c", "d", "e"],
        },
        index=[9, 3, 3, 1, 0],
    )


def by_text(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=str)
