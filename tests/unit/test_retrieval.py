"""The retrieval job: what becomes of collected rows on their way to the caller."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field, RequestSource
from feast.on_demand_feature_view import OnDemandFeatureView, on_demand_feature_view
from feast.types import Int64

from feast_hybrid import HybridSparkRetrievalJob
from feast_hybrid.lakes import Router, Site
from feast_hybrid.retrieval.job import HybridRetrievalMetadata
from feast_hybrid.retrieval.request import retrieval_metadata

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MAP = pa.map_(pa.string(), pa.int64())
TABLE = pa.table(
    {
        "n": pa.array([1, 2], pa.int64()),
        "map": pa.array([[("a", 1), ("b", 2)], None], MAP),
        "list": pa.array([[[("a", 1)]], [None, []]], pa.list_(MAP)),
        "struct": pa.array([{"m": [("a", 1)]}, {"m": None}], pa.struct([("m", MAP)])),
        "nested": pa.array([[("x", [("a", 1)])], []], pa.map_(pa.string(), MAP)),
    }
)


class Collected:
    """Rows that Spark has given already."""

    what = "rows"
    plan = None
    reads = ""
    engine = ""

    def to_spark(self) -> DataFrame:
        raise NotImplementedError

    def kept_spark(self) -> DataFrame:
        raise NotImplementedError

    def exported_spark(self) -> DataFrame:
        raise NotImplementedError

    def kept_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """See :meth:`JobRows.kept_arrow`."""
        return self.to_arrow(timeout, sites)

    is_local = False

    def as_saved(self, table: pa.Table) -> pa.Table:
        """See :meth:`JobRows.as_saved`."""
        return table

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:  # noqa: ARG002
        return TABLE


def doubled() -> OnDemandFeatureView:
    request = RequestSource(name="request", schema=[Field(name="n", dtype=Int64)])

    @on_demand_feature_view(sources=[request], schema=[Field(name="twice", dtype=Int64)], mode="pandas")
    def double(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": inputs["n"] * 2})

    return cast("OnDemandFeatureView", double)


def job(*on_demand: OnDemandFeatureView) -> HybridSparkRetrievalJob:
    return HybridSparkRetrievalJob(
        Collected(),
        router=Router(),
        on_demand_feature_views=on_demand,
        feature_refs=["double:twice"],
        metadata=lambda: HybridRetrievalMetadata(versions={}, features=["double:twice"], keys=[]),
    )


@pytest.mark.parametrize("on_demand", [[], [doubled()]], ids=["plain", "on demand"])
def test_maps_are_dicts_in_pandas_at_every_depth(on_demand: list[Any]) -> None:
    frame = job(*on_demand).to_df()
    assert frame["map"].tolist() == [{"a": 1, "b": 2}, None]
    assert [list(cell) for cell in frame["list"]] == [[{"a": 1}], [None, {}]]
    assert frame["struct"].tolist() == [{"m": {"a": 1}}, {"m": None}]
    assert frame["nested"].tolist() == [{"x": {"a": 1}}, {}]
    assert ("twice" in frame) is bool(on_demand)


def test_maps_are_maps_in_arrow() -> None:
    assert job().to_arrow().equals(TABLE)


@pytest.mark.parametrize(
    "last", [datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_feast_can_add_its_second_to_the_last_time_of_a_saved_dataset(last: datetime) -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    rows: Any = SimpleNamespace(columns=["k", "ts"], timestamp="ts", bounds=lambda: (first, last))
    found = retrieval_metadata(rows, ["view:n"], {})
    assert found.min_event_timestamp == first
    assert found.max_event_timestamp is not None
    # As Feast does when it reads a dataset back that was saved: no row may be beyond.
    assert found.max_event_timestamp <= last <= found.max_event_timestamp + timedelta(seconds=1)
