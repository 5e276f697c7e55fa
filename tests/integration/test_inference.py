"""What ``feast apply`` infers: the features of views on both lakes, and of on-demand views made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest
from feast import FeatureView, Field, RequestSource
from feast.errors import SpecifiedFeaturesNotPresentError
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Array, Float64, Int64, String

from tests.integration.places import Place, Places, entity, feature_store, hour, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Write

KEYS = {"item_id": [1, 2], "event_timestamp": [hour(1), hour(1)]}
ITEM = entity("item", join_key="item_id")
REQUEST = RequestSource(name="request", schema=[Field(name="factor", dtype=Float64)])


@pytest.fixture
def views(write: Write, onprem: Place, cloud: Place) -> list[FeatureView]:
    """A view of numbers on one lake, and of lists on the other; both without a schema."""
    prices = {**KEYS, "price": [1.0, 2.0], "sold": [3, 4]}
    vectors = {**KEYS, "vector": [[1.0, 2.0], [3.0, 4.0]], "label": ["a", None]}
    return [
        view("prices", source("price_rows", write(onprem, "prices", prices)), ITEM),
        view("vectors", source("vector_rows", write(cloud, "vectors", vectors)), ITEM),
    ]


def scaled(rows: pd.DataFrame) -> pd.DataFrame:
    lengths = [0.0 if vector is None else float(len(vector)) for vector in rows["vector"]]
    return pd.DataFrame(
        {
            "scaled": rows["price"] * rows["factor"],
            "sold_too": rows["sold"].astype("int64"),
            "named": rows["label"].astype(str),
            "length": lengths,
        }
    )


def on_demand(views: list[FeatureView], schema: list[Field]) -> OnDemandFeatureView:
    return OnDemandFeatureView(
        name="scaled_prices",
        sources=[*views, REQUEST],
        schema=schema,
        feature_transformation=PandasTransformation(udf=scaled, udf_string="scaled"),
        mode="pandas",
    )


def test_the_features_of_a_view_are_its_sources_columns(
    views: list[FeatureView], lakes_to_test: Places, tmp_path: Path
) -> None:
    store = feature_store(lakes_to_test.sites(), tmp_path, ITEM, *views)
    found = {
        made.name: {field.name: field.dtype for field in made.features} for made in store.list_batch_feature_views()
    }
    assert found == {
        "prices": {"price": Float64, "sold": Int64},
        "vectors": {"vector": Array(Float64), "label": String},
    }


def test_the_features_of_an_on_demand_view_are_what_it_returns(
    views: list[FeatureView], lakes_to_test: Places, tmp_path: Path
) -> None:
    store = feature_store(lakes_to_test.sites(), tmp_path, ITEM, *views)
    store.apply([on_demand(views, [])])
    kept = store.get_on_demand_feature_view("scaled_prices")
    assert {field.name: field.dtype for field in kept.features} == {
        "scaled": Float64,
        "sold_too": Int64,
        "named": String,
        "length": Float64,
    }


def test_a_schema_may_name_some_of_them(views: list[FeatureView], lakes_to_test: Places, tmp_path: Path) -> None:
    store = feature_store(lakes_to_test.sites(), tmp_path, ITEM, *views)
    store.apply([on_demand(views, [Field(name="scaled", dtype=Float64)])])
    kept = store.get_on_demand_feature_view("scaled_prices")
    assert [(field.name, field.dtype) for field in kept.features] == [("scaled", Float64)]


def test_a_feature_that_it_does_not_return_is_refused(
    views: list[FeatureView], lakes_to_test: Places, tmp_path: Path
) -> None:
    store = feature_store(lakes_to_test.sites(), tmp_path, ITEM, *views)
    with pytest.raises(SpecifiedFeaturesNotPresentError, match="absent"):
        store.apply([on_demand(views, [Field(name="absent", dtype=Float64)])])
