"""``get_historical_features`` over both lakes: which features come back, by which names."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from feast import FeatureService, Field
from feast.types import Float64, Int64

from tests.integration.places import answers, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

from tests.integration.historical.rows import DRIVER, FEATURES, entity_frame

pytestmark = [pytest.mark.connect, pytest.mark.matrix]


# Which features, by which names


def test_full_feature_names_begin_with_the_view(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame().assign(bonus=1), [*FEATURES, "pay:paid"], full_feature_names=True)
    names = ["stats__rate", "stats__trips", "weather__temp", "pay__paid"]
    assert job.to_arrow().column_names[-4:] == names
    assert job.to_spark_df().columns[-4:] == names


def test_a_feature_service_gives_its_projections(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame(), store.get_feature_service("both"))
    assert job.to_arrow().column_names == ["driver_id", "city", "event_timestamp", "note", "rate", "temp", "sky"]


def test_one_view_under_two_names_and_keys(onprem: Place, cloud: Place, write: Write, make_store: MakeStore) -> None:
    location, rider = entity("location"), entity("rider")
    places = write(onprem, "places", {"location": [1, 2], "event_timestamp": [hour(0), hour(0)], "height": [-2, 34]})
    ages = write(cloud, "ages", {"rider": [7], "event_timestamp": [hour(0)], "age": [30]})
    heights = view("heights", source("places", places), location)
    ages_view = view("ages", source("ages", ages), rider)
    store = make_store(location, rider, heights, ages_view)
    heights = store.get_feature_view("heights")
    service = FeatureService(
        name="trip",
        features=[
            heights.with_name("origin").with_join_key_map({"location": "from_id"}),
            heights.with_name("destination").with_join_key_map({"location": "to_id"}),
            store.get_feature_view("ages"),
        ],
    )
    store.apply([service])
    entity_df = pd.DataFrame({"from_id": [1, 2], "to_id": [2, 3], "rider": [7, 8], "event_timestamp": [hour(1)] * 2})
    job = retrieve(store, entity_df, service, full_feature_names=True)
    assert answers(job, "from_id", "to_id", "origin__height", "destination__height", "ages__age") == [
        (1, 2, -2, 34, 30),
        (2, 3, 34, None, None),
    ]


def test_a_field_mapping_renames_keys_features_and_times(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    mapped = source(
        "mapped",
        write(
            onprem,
            "mapped",
            {
                "DRV": [1, 1],
                "when `at`": [hour(0), hour(0)],
                "written; at": [hour(1), hour(2)],
                "val_.*": [5, 6],
            },
        ),
        "created",
        timestamp_field="event_timestamp",
        field_mapping={
            "DRV": "driver_id",
            "when `at`": "event_timestamp",
            "written; at": "created",
            "val_.*": "value",
        },
    )
    other = source("other", write(cloud, "other", {"driver_id": [1], "event_timestamp": [hour(0)], "n": [9]}))
    store = make_store(DRIVER, view("mapped", mapped, DRIVER), view("other", other, DRIVER))
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(3)]})
    job = retrieve(store, entity_df, ["mapped:value", "other:n"])
    assert answers(job, "driver_id", "value", "n") == [(1, 6, 9)]
    by_dates = retrieve(store, None, ["mapped:value"], start_date=hour(0), end_date=hour(1))
    assert answers(by_dates, "driver_id", "event_timestamp", "value") == [(1, hour(0), 6)]


def test_several_views_read_one_source(store: FeatureStore, onprem: Place, make_store: MakeStore) -> None:
    rows = source("shared", f"{onprem.uri}/historical/stats")
    several = make_store(
        DRIVER,
        view("rates", rows, DRIVER, schema=[Field(name="rate", dtype=Float64)], ttl=timedelta(hours=1)),
        view("counts", rows, DRIVER, schema=[Field(name="trips", dtype=Int64)]),
    )
    entity_df = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(3), hour(3)]})
    job = retrieve(several, entity_df, ["rates:rate", "counts:trips"])
    assert answers(job, "driver_id", "rate", "trips") == [(1, None, 2), (2, 0.4, 4)]


def test_a_view_without_entities_answers_every_row(
    onprem: Place, cloud: Place, write: Write, make_store: MakeStore
) -> None:
    rates = write(onprem, "usd", {"event_timestamp": [hour(0), hour(2)], "usd": [1.1, 1.2]})
    trips = write(cloud, "trips", {"driver_id": [1], "event_timestamp": [hour(0)], "trips": [3]})
    store = make_store(DRIVER, view("usd", source("usd", rates)), view("trips", source("trips", trips), DRIVER))
    entity_df = pd.DataFrame({"driver_id": [1, 2, 3], "event_timestamp": [hour(1), hour(2), hour(-1)]})
    job = retrieve(store, entity_df, ["usd:usd", "trips:trips"])
    assert answers(job, "driver_id", "usd", "trips") == [(1, 1.1, 3), (2, 1.2, None), (3, None, None)]


# On-demand feature views

ON_DEMAND = ["stats:trips", "weather:temp", "pay:paid", "heat:fahrenheit", "heat:hot"]


def test_on_demand_views_give_equal_values_in_pandas_arrow_and_spark(store: FeatureStore) -> None:
    entity_df = entity_frame().assign(bonus=[10, 20, 30, 40, 50], city="ams", event_timestamp=[hour(1)] * 5)
    job = retrieve(store, entity_df, ON_DEMAND)
    columns = ("driver_id", "bonus", "paid", "fahrenheit", "hot")
    expected = [(2, 10, 13), (1, 20, 22), (1, 30, 32), (3, 40, 40), (1, 50, 52)]
    arrow = [tuple(round(value, 6) for value in row) for row in answers(job, *columns)]
    assert arrow == [(*row, 51.8, 0) for row in expected]
    pandas = [tuple(round(value, 6) for value in row) for row in job.to_df()[list(columns)].itertuples(index=False)]
    assert pandas == arrow
    spark = [tuple(round(value, 6) for value in row) for row in job.to_spark_df().select(*columns).collect()]
    assert sorted(spark) == sorted(arrow)


def test_only_the_features_of_an_on_demand_view_that_were_asked_for_come_back(store: FeatureStore) -> None:
    job = retrieve(store, entity_frame().assign(bonus=1), ["pay:paid"])
    names = ["driver_id", "city", "event_timestamp", "note", "bonus", "trips", "rate", "paid"]
    assert set(job.to_arrow().column_names) <= set(names)
    assert "unpaid" not in job.to_arrow().column_names
    assert "paid" in job.to_arrow().column_names
    assert sorted(job.to_spark_df().columns) == sorted(job.to_arrow().column_names)


def test_on_demand_views_follow_sql_entity_rows(store: FeatureStore) -> None:
    query = "SELECT driver_id, event_timestamp, CAST(5 AS BIGINT) AS bonus FROM stats_rows"
    job = retrieve(store, query, ["pay:paid"])
    expected = [(1, 6), (1, 7), (2, 8), (2, 9)]
    assert sorted(answers(job, "driver_id", "paid")) == expected
    assert sorted(tuple(row) for row in job.to_spark_df().select("driver_id", "paid").collect()) == expected
