"""Which views a source belongs to, and what they declare of its columns."""

from __future__ import annotations

import gc
from typing import Any

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, ValueType
from feast.types import Float64, Int64, String

from feast_hybrid import HybridSparkSource
from feast_hybrid.lakes import Router
from feast_hybrid.sources.declared import LiveObjects, agreed_types, declared_types, join_keys, views_of
from feast_hybrid.sources.resolve import pulled_source_spec, source_spec

DRIVER = Entity(name="declared_driver", join_keys=["driver_id"], value_type=ValueType.INT64)


def rows(**more: Any) -> HybridSparkSource:
    return HybridSparkSource(name="rows", path="hdfs://lake/rows", timestamp_field="ts", **more)


def view(name: str, of: HybridSparkSource, **types: Any) -> FeatureView:
    schema = [Field(name=column, dtype=data_type) for column, data_type in {"driver_id": Int64, **types}.items()]
    return FeatureView(name=name, entities=[DRIVER], source=of, schema=schema)


def test_the_views_of_a_source_are_those_that_hold_it() -> None:
    one, other = rows(), rows()
    first, second, unrelated = view("a", one, v=Int64), view("b", one, w=Int64), view("c", other, v=Int64)
    assert {found.name for found in views_of(one)} == {"a", "b"}
    assert views_of(other) == [unrelated]
    vars(first), vars(second)  # makes their attributes dictionaries of their own
    assert {found.name for found in views_of(one)} == {"a", "b"}


def test_a_view_whose_making_failed_is_none() -> None:
    """The error holds it, without a name, for as long as somebody holds the error."""
    unfit: Any = ["an entity's name"]
    with pytest.raises(Exception, match="entities") as failed:
        FeatureView(name="failed", entities=unfit, source=rows())
    made = view("a", rows(), v=Int64)
    views = LiveObjects.find().views
    assert any(each is made for each in views)
    assert all(hasattr(each, "name") for each in views)
    assert failed.value.__traceback__ is not None


def test_a_view_that_was_read_from_the_registry_is_found() -> None:
    stored = FeatureView.from_proto(view("a", rows(), v=Int64).to_proto())
    assert isinstance(stored.batch_source, HybridSparkSource)
    assert views_of(stored.batch_source) == [stored]


def test_a_view_that_is_gone_declares_nothing() -> None:
    source = rows()
    view("a", source, v=Int64)
    gc.collect()
    assert views_of(source) == []
    assert pulled_source_spec(source, Router()).declared == {}


def test_what_is_declared_has_the_names_of_the_source() -> None:
    source = rows(field_mapping={"d": "driver_id", "trip_count": "trips"})
    declaring = view("a", source, trips=Int64, mood=String)
    spec = pulled_source_spec(source, Router())
    declared = {"d": pa.int64(), "trip_count": pa.int64(), "mood": pa.string()}
    assert declared_types(declaring, spec) == declared
    assert spec.declared == declared
    assert join_keys([declaring], spec) == ["d"]


def test_views_that_disagree_on_a_column_declare_nothing_of_it() -> None:
    source = rows()
    views = [view("a", source, v=Int64, w=String), view("b", source, v=Float64, w=String)]
    spec = pulled_source_spec(source, Router())
    assert agreed_types(views, spec) == {"driver_id": pa.int64(), "w": pa.string()}
    assert source_spec(source, Router(), view=views[1]).declared["v"] == pa.float64()
