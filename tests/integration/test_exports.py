"""Results as files under the staging location, and as SQL text, which there is not."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64

from feast_hybrid.errors import (
    NotSupportedError,
)
from tests.integration.places import Place, Places, entity, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write
from tests.integration.datasets import ROWS, trips_store

pytestmark = pytest.mark.connect


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    return trips_store(make_store, write, onprem)


class TestExports:
    @pytest.mark.parametrize("role", ["onprem", "cloud"])
    def test_a_result_is_put_as_parquet_files_under_the_staging_location(
        self, make_store: MakeStore, write: Write, lakes_to_test: Places, folder: str, role: str
    ) -> None:
        place: Place = getattr(lakes_to_test, role)
        driver = entity("driver", join_key="driver_id")
        rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "trips": [10, 20]}
        stats = view("stats", source("stats_rows", write(place, "stats", rows)), driver)

        @on_demand_feature_view(sources=[stats], schema=[Field(name="double", dtype=Int64)])
        def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"double": inputs["trips"] * 2})

        store = make_store(driver, stats, doubled, staging_location=f"{place.uri}{folder}/staging")
        job = retrieve(store, ROWS, ["stats:trips", "doubled:double"])
        assert job.supports_remote_storage_export()
        first, second = job.to_remote_storage(), job.to_remote_storage()
        assert first
        assert not set(first) & set(second)
        assert all(uri.startswith(f"{place.uri}{folder}/staging/") and uri.endswith(".parquet") for uri in first)
        read = [pq.read_table(BytesIO(place.lake.filesystem().cat_file(place.inside(uri)))) for uri in first]
        assert sorted(pa.concat_tables(read).select(["driver_id", "trips", "double"]).to_pylist(), key=str) == [
            {"driver_id": 1, "trips": 10, "double": 20},
            {"driver_id": 2, "trips": 20, "double": 40},
        ]

    def test_without_a_staging_location_the_setting_is_named(self, store: FeatureStore) -> None:
        job = retrieve(store, ROWS, ["stats:trips"])
        assert not job.supports_remote_storage_export()
        with pytest.raises(NotSupportedError, match=r"set offline_store\.staging_location in feature_store\.yaml"):
            job.to_remote_storage()

    def test_a_result_has_no_sql_text_and_says_what_to_use(self, store: FeatureStore) -> None:
        with pytest.raises(NotImplementedError, match="createOrReplaceTempView"):
            retrieve(store, ROWS, ["stats:trips"]).to_sql()
