"""What feature views ask for, checked when they are applied: files of this machine, no Spark."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BatchFeatureView, Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.labeling.conflict_policy import ConflictPolicy
from feast.labeling.label_view import LabelView
from feast.repo_contents import RepoContents
from feast.repo_operations import apply_total_with_repo_instance
from feast.transformation.base import Transformation
from feast.types import Float64, Int64, String

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import NotSupportedError, SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Entity value_type will be mandatory"),
]

NOW = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., HybridSparkSource]:
    """``rows(name, …)``: a source whose file has ``driver_id``, ``event_timestamp`` and ``trips``."""

    def make(name: str = "rows", **more: Any) -> HybridSparkSource:
        (tmp_path / name).mkdir()
        pq.write_table(
            pa.table({"driver_id": [1, 2], "event_timestamp": [NOW, NOW], "trips": [3, 4]}),
            tmp_path / name / "part.parquet",
        )
        given = {"timestamp_field": "event_timestamp", **more}
        return HybridSparkSource(name=name, path=f"file://{tmp_path}/{name}", **given)

    return make


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(
        config=RepoConfig(
            project="rules",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
            offline_store={"type": "feast_hybrid.HybridSparkOfflineStore"},
            entity_key_serialization_version=3,
        )
    )


def apply_by_command(store: FeatureStore, entities: list[Entity], views: list[FeatureView]) -> None:
    """What ``feast apply`` does, which validates sources."""
    sources = [view.batch_source for view in views if view.batch_source is not None]
    contents = RepoContents(
        projects=[],
        data_sources=sources,
        entities=entities,
        feature_views=views,
        on_demand_feature_views=[],
        stream_feature_views=[],
        feature_services=[],
        permissions=[],
        label_views=[],
    )
    apply_total_with_repo_instance(store, store.project, store.registry, contents, skip_source_validation=False)


APPLY: list[Callable[[FeatureStore, list[Entity], list[FeatureView]], None]] = [
    apply_by_command,
    lambda store, entities, views: store.apply([*entities, *views]),
]


@pytest.fixture(params=APPLY, ids=["feast apply", "FeatureStore.apply"])
def apply(request: pytest.FixtureRequest, store: FeatureStore) -> Callable[..., None]:
    return lambda entities, *views: request.param(store, entities, list(views))


def test_a_join_key_that_the_source_lacks(apply: Callable[..., None], rows: Callable[..., HybridSparkSource]) -> None:
    """As ``feast init -t spark`` makes it: the entity is called ``driver``, the column ``driver_id``."""
    driver = Entity(name="driver_without_column")
    stats = FeatureView(name="stats", entities=[driver], source=rows(), schema=[Field(name="trips", dtype=Int64)])
    with pytest.raises(SchemaError) as refused:
        apply([driver], stats)
    assert "view 'stats': entity 'driver_without_column' has the join key 'driver_without_column'" in str(
        refused.value
    )
    assert "it has driver_id, event_timestamp, trips" in str(refused.value)


def test_a_join_key_by_a_field_mapping(apply: Callable[..., None], rows: Callable[..., HybridSparkSource]) -> None:
    driver = Entity(name="driver_mapped", join_keys=["driver"], value_type=ValueType.INT64)
    mapped = rows(field_mapping={"driver_id": "driver"})
    stats = FeatureView(name="mapped", entities=[driver], source=mapped, schema=[Field(name="trips", dtype=Int64)])
    apply([driver], stats)


def test_a_view_without_entities(apply: Callable[..., None], rows: Callable[..., HybridSparkSource]) -> None:
    apply([], FeatureView(name="rates", source=rows(), schema=[Field(name="trips", dtype=Int64)]))


def test_a_negative_ttl(store: FeatureStore, rows: Callable[..., HybridSparkSource]) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    stats = FeatureView(name="stats", entities=[driver], source=rows(), ttl=timedelta(hours=-1))
    with pytest.raises(NotSupportedError, match="view 'stats': its ttl is -3600 seconds; give one above zero"):
        apply_by_command(store, [driver], [stats])


def test_a_negative_ttl_that_was_applied_without_validation(
    store: FeatureStore, rows: Callable[..., HybridSparkSource]
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    store.apply(
        [
            driver,
            FeatureView(name="stats", entities=[driver], source=rows(), schema=schema, ttl=timedelta(seconds=-0.5)),
        ]
    )
    asked = pa.table({"driver_id": [1], "event_timestamp": [NOW]}).to_pandas()
    with pytest.raises(NotSupportedError, match=r"view 'stats': its ttl is -0.5 seconds"):
        store.get_historical_features(asked, ["stats:trips"])


def test_a_view_of_several_views_without_a_sink_to_read(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], tmp_path: Path
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    merged: Any = lambda left, right: left.merge(right)  # noqa: E731
    parents: Any = [
        FeatureView(name=name, entities=[driver], source=rows(name), schema=schema) for name in ("left", "right")
    ]
    both = BatchFeatureView(
        name="both",
        entities=[driver],
        source=parents,
        sink_source=HybridSparkSource(name="sink", path=f"file://{tmp_path}/sink", timestamp_field="event_timestamp"),
        schema=schema,
        mode="pandas",
        udf=merged,
        udf_string="",
    )
    with pytest.raises(NotSupportedError, match=r"view 'both' is made of several views.*offline=True and a sink"):
        apply_by_command(store, [driver], [*parents, both])


def test_a_transformation_that_the_registry_does_not_give_back(
    store: FeatureStore, rows: Callable[..., HybridSparkSource]
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    doubled = BatchFeatureView(
        name="doubled",
        entities=[driver],
        source=rows(),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="double", dtype=Float64)],
        mode="sql",
        feature_transformation=Transformation(mode="sql", udf=lambda name: f"SELECT * FROM {name}", udf_string=""),
    )
    with pytest.raises(NotSupportedError, match="view 'doubled': Feast cannot read a transformation with mode='sql'"):
        apply_by_command(store, [driver], [doubled])


def test_what_a_transformation_makes_may_have_other_types_than_the_source(
    store: FeatureStore, rows: Callable[..., HybridSparkSource]
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    as_lists = BatchFeatureView(
        name="as_text",
        entities=[driver],
        source=rows(),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=String)],
        mode="pandas",
        udf=lambda frame: frame.assign(trips="t"),
        udf_string="",
    )
    apply_by_command(store, [driver], [as_lists])


def test_a_sink_may_not_be_there_yet(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], tmp_path: Path
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    stats: Any = FeatureView(name="stats", entities=[driver], source=rows(), schema=schema)
    sink = HybridSparkSource(name="sink", path=f"file://{tmp_path}/sink", timestamp_field="event_timestamp")
    made = BatchFeatureView(
        name="made",
        entities=[driver],
        source=stats,
        sink_source=sink,
        schema=schema,
        mode="pandas",
        udf=lambda frame: frame,
        udf_string="",
    )
    apply_by_command(store, [driver], [stats, made])


def test_key_types_of_two_views_that_differ_are_said(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], caplog: pytest.LogCaptureFixture
) -> None:
    driver = Entity(name="driver_of_two_types", join_keys=["driver_id"])
    views = [
        FeatureView(
            name=f"typed_{data_type}",
            entities=[driver],
            source=rows(f"rows_{data_type}"),
            schema=[Field(name="driver_id", dtype=data_type), Field(name="trips", dtype=Int64)],
        )
        for data_type in (Int64, String)
    ]
    with caplog.at_level(logging.WARNING):
        apply_by_command(store, [driver], views)
    (note,) = [record.getMessage() for record in caplog.records if "join key" in record.getMessage()]
    assert note == (
        "join key 'driver_id' is declared Int64 in view 'typed_Int64' and String in view 'typed_String': their rows "
        "and online keys do not match each other. Declare one type."
    )


@pytest.mark.parametrize("policy", [ConflictPolicy.MAJORITY_VOTE, ConflictPolicy.LABELER_PRIORITY])
def test_a_label_views_policy(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], policy: ConflictPolicy
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    labels = LabelView(
        name="labels",
        entities=[driver],
        source=rows(),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        conflict_policy=policy,
    )
    store.apply([driver, labels])
    asked = pa.table({"driver_id": [1], "event_timestamp": [NOW]}).to_pandas()
    with pytest.raises(NotSupportedError, match=f"view 'labels': its conflict_policy is '{policy.value}'"):
        store.get_historical_features(asked, ["labels:trips"])


def test_a_transformation_that_would_be_written_into_its_own_source_is_refused(
    store: FeatureStore, rows: Callable[..., HybridSparkSource]
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    view = BatchFeatureView(
        name="doubled",
        entities=[driver],
        mode="pandas",
        udf=lambda frame: frame,
        udf_string="lambda frame: frame",
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        source=rows(),
        ttl=timedelta(days=1),
        online=True,
        offline=True,
    )
    with pytest.raises(NotSupportedError, match=r"'doubled' has a transformation and offline=True"):
        apply_by_command(store, [driver], [view])
