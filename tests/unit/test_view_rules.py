"""What feature views ask for, checked when they are applied: files of this machine, no Spark."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BatchFeatureView, Entity, FeatureStore, FeatureView, Field, RepoConfig, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.data_source import PushSource
from feast.labeling.conflict_policy import ConflictPolicy
from feast.labeling.label_view import LabelView
from feast.repo_contents import RepoContents
from feast.repo_operations import apply_total_with_repo_instance
from feast.transformation.base import Transformation
from feast.transformation.factory import TRANSFORMATION_CLASS_FOR_TYPE
from feast.types import Int64, String

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import NotSupportedError, SchemaError
from feast_hybrid.sources.view_rules import require_supported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Return type for RayTransformation"),
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


class SparkTransformation(Transformation):
    """As Feast's, which starts a session when it is made: no entry of the registry becomes one again."""


@pytest.mark.parametrize("mode", sorted(TRANSFORMATION_CLASS_FOR_TYPE))
def test_each_mode_of_a_transformation_is_run_or_refused_by_name(
    rows: Callable[..., HybridSparkSource], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mode.startswith("spark"):
        monkeypatch.setitem(TRANSFORMATION_CLASS_FOR_TYPE, mode, f"{__name__}.SparkTransformation")
    made: Any
    if mode == "substrait":
        substrait = pytest.importorskip("feast.transformation.substrait_transformation")
        made = substrait.SubstraitTransformation(substrait_plan=b"", udf=lambda table: table)
    else:
        made = Transformation(mode=mode, udf=identity, udf_string="")
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    view = BatchFeatureView(
        name="made",
        entities=[driver],
        source=rows(),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
        mode=mode,
        feature_transformation=made,
    )
    if mode in ("python", "pandas", "ray"):
        require_supported(view)
        return
    reason = "is run by none of Feast's engines here" if mode == "substrait" else "cannot read .* back from its regis"
    with pytest.raises(NotSupportedError, match=rf"view 'made': .*{reason}.*Write it for 'python' or 'pandas'") as no:
        require_supported(view)
    assert f"mode={mode!r}" in str(no.value)


def identity(frame: pd.DataFrame) -> pd.DataFrame:
    return frame


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


def test_a_transformation_with_aggregations_is_refused_when_it_is_applied(
    store: FeatureStore, rows: Callable[..., HybridSparkSource]
) -> None:
    driver = Entity(name="driver_id", join_keys=["driver_id"], value_type=ValueType.INT64)
    sums = BatchFeatureView(
        name="sums",
        entities=[driver],
        source=rows(),
        schema=[Field(name="driver_id", dtype=Int64), Field(name="sum_trips", dtype=Int64)],
        mode="pandas",
        udf=identity,
        udf_string="",
        aggregations=[Aggregation(column="trips", function="sum")],
    )
    with pytest.raises(NotSupportedError, match=r"view 'sums' has a transformation and aggregations.*does not keep"):
        apply_by_command(store, [driver], [sums])


class TestStreamFeatureViewsWithAFunction:
    """Feast's engines run it on the batch source's rows, and its offline stores show these rows as they are."""

    DRIVER = Entity(name="driver_id", join_keys=["driver_id"], value_type=ValueType.INT64)

    @classmethod
    def view(cls, of: HybridSparkSource, tag: str | None, mode: str = "pandas", **more: Any) -> StreamFeatureView:
        function: Any = identity
        return StreamFeatureView(
            name="trip_stream",
            entities=[cls.DRIVER],
            source=PushSource(name="pushed", batch_source=of),
            schema=[Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)],
            mode=mode,
            udf=function,
            udf_string="",
            tags={} if tag is None else {"feast_hybrid.batch_rows": tag},
            **more,
        )

    def refusal(self, store: FeatureStore, view: StreamFeatureView, verb: str) -> str:
        store.apply([self.DRIVER, view])
        asked = pd.DataFrame({"driver_id": [1], "event_timestamp": [NOW]})
        call: dict[str, Callable[[], object]] = {
            "history": lambda: store.get_historical_features(asked, ["trip_stream:trips"]),
            "materialize": lambda: store.materialize(NOW, NOW, ["trip_stream"]),
        }
        with pytest.raises(NotSupportedError) as refused:
            call[verb]()
        return str(refused.value)

    @pytest.mark.parametrize("verb", ["history", "materialize"])
    def test_without_a_word_on_its_batch_source_it_is_refused(
        self, store: FeatureStore, rows: Callable[..., HybridSparkSource], verb: str
    ) -> None:
        reason = self.refusal(store, self.view(rows(), None), verb)
        assert reason.startswith("view 'trip_stream' has a function, and which rows its batch source holds is not ")
        assert "set its tag 'feast_hybrid.batch_rows' to 'raw' " in reason

    def test_rows_that_it_made_are_not_handed_to_it_again(
        self, store: FeatureStore, rows: Callable[..., HybridSparkSource]
    ) -> None:
        reason = self.refusal(store, self.view(rows(), "transformed"), "materialize")
        assert reason.startswith("view 'trip_stream' has a function, which Feast's engines would run on its batch")

    def test_another_word_is_refused(self, store: FeatureStore, rows: Callable[..., HybridSparkSource]) -> None:
        reason = self.refusal(store, self.view(rows(), "new"), "history")
        assert (
            reason == "view 'trip_stream': its tag feast_hybrid.batch_rows is 'new'; it takes 'raw' or 'transformed'."
        )

    def test_one_with_aggregations_has_no_history(
        self, store: FeatureStore, rows: Callable[..., HybridSparkSource]
    ) -> None:
        sums = [Aggregation(column="trips", function="sum", name="trips")]
        view = self.view(rows(), "raw", aggregations=sums, timestamp_field="event_timestamp")
        assert "view 'trip_stream' has a transformation and aggregations" in self.refusal(store, view, "history")

    @pytest.mark.parametrize("mode", ["spark_sql", "flink"])
    def test_a_mode_whose_function_takes_no_frame(
        self, rows: Callable[..., HybridSparkSource], mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(TRANSFORMATION_CLASS_FOR_TYPE, mode, f"{__name__}.SparkTransformation")
        with pytest.raises(
            NotSupportedError, match=f"view 'trip_stream': .*mode='{mode}' a frame, which it does not"
        ):
            require_supported(self.view(rows(), "raw", mode))

    def test_apply_says_so_once(
        self, store: FeatureStore, rows: Callable[..., HybridSparkSource], caplog: pytest.LogCaptureFixture
    ) -> None:
        view = self.view(rows("stream"), None)
        plain = FeatureView(name="plain", entities=[self.DRIVER], source=rows(), schema=view.schema)
        for _ in range(2):
            apply_by_command(store, [self.DRIVER], [plain])
        said = [record.getMessage() for record in caplog.records if "'trip_stream' has a func" in record.getMessage()]
        assert len(said) == 1


@pytest.mark.parametrize("pushed", [True, False])
def test_a_label_views_policy_is_seen_where_its_source_is_validated(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], pushed: bool
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    of = rows()
    labels = LabelView(
        name="votes",
        entities=[driver],
        source=PushSource(name="pushed", batch_source=of) if pushed else of,
        schema=schema,
        conflict_policy=ConflictPolicy.MAJORITY_VOTE,
    )
    beside = FeatureView(name="beside", entities=[driver], source=of, schema=schema)
    with pytest.raises(NotSupportedError, match="view 'votes': its conflict_policy is 'majority_vote'"):
        apply_by_command(store, [driver], [beside])
    assert labels.batch_source is of


def test_a_label_views_policy_is_said_by_apply_where_feast_asks_for_no_source_of_its_own(
    store: FeatureStore, rows: Callable[..., HybridSparkSource], caplog: pytest.LogCaptureFixture
) -> None:
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    policy = ConflictPolicy.LABELER_PRIORITY
    labels = LabelView(name="ranked", entities=[driver], source=rows("labels"), schema=schema, conflict_policy=policy)
    apply_by_command(store, [driver], [FeatureView(name="other", entities=[driver], source=rows(), schema=schema)])
    assert f"view {labels.name!r}: its conflict_policy is 'labeler_priority'" in caplog.text
