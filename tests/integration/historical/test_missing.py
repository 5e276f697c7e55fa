"""``get_historical_features`` over both lakes: what is missing is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from feast_hybrid.errors import EntityFrameError, SchemaError
from tests.integration.places import hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore

    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

from tests.integration.historical.rows import DRIVER, FEATURES

pytestmark = [pytest.mark.connect, pytest.mark.matrix]


def test_a_missing_join_key_is_named(store: FeatureStore) -> None:
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    with pytest.raises(EntityFrameError, match=r"city.*driver_id, event_timestamp"):
        retrieve(store, entity_df, FEATURES)


def test_entity_rows_without_a_time_are_refused(store: FeatureStore) -> None:
    with pytest.raises(EntityFrameError, match="no time column"):
        retrieve(store, pd.DataFrame({"driver_id": [1]}), ["stats:trips"])


@pytest.mark.parametrize(
    ("lacking", "named"), [("n", "feature column"), ("driver_id", "key column"), ("event_timestamp", "timestamp")]
)
def test_a_column_that_the_files_lack_is_named_with_its_view(
    lacking: str, named: str, onprem: Place, write: Write, make_store: MakeStore
) -> None:
    columns = {"driver_id": [1], "event_timestamp": [hour(0)], "n": [1], "m": [2]}
    path = write(onprem, "rows", columns)
    store = make_store(DRIVER, view("counts", source("counts", path), DRIVER))
    write(onprem, "rows", {name: values for name, values in columns.items() if name != lacking})
    entity_df = pd.DataFrame({"driver_id": [1], "event_timestamp": [hour(1)]})
    with pytest.raises(SchemaError, match=f"counts.*{named}.*{lacking}|counts.*{lacking}"):
        retrieve(store, entity_df, ["counts:n"])
