"""``feast apply`` on Feast's own sources: files of this machine, no Spark, the registry as Feast itself writes it."""

from __future__ import annotations

import sys
import warnings
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd  # noqa: TC002 - Feast looks up what a function gives
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import BigQuerySource, Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.data_format import ParquetFormat
from feast.data_source import PushSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_contents import RepoContents
from feast.repo_operations import apply_total_with_repo_instance
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Bool, Float32, Float64, Int32, Int64, String, UnixTimestamp

from feast_hybrid.errors import NotSupportedError, SchemaError, SourceError, SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    pytest.mark.filterwarnings("ignore:The spark data source API is an experimental feature:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:Entity value_type will be mandatory"),
]

NOW = datetime(2026, 1, 10, tzinfo=UTC)
OURS = {"type": "feast_hybrid.HybridSparkOfflineStore"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one Parquet file, in the repository."""
    columns = {
        "account": pa.array([1, 2]),
        "seen": pa.array([NOW, NOW], pa.timestamp("us", tz="UTC")),
        "balance": pa.array([0.5, 1.5]),
        "share": pa.array([0.5, 1.5], pa.float32()),
        "cards": pa.array([1, 2], pa.int32()),
        "is_new": pa.array([True, False]),
        "city": pa.array(["Basel", "Zürich"]),
    }
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "data" / "part.parquet")
    return tmp_path / "data"


def spark_source(folder: Path, **given: Any) -> SparkSource:
    return SparkSource(**{"name": "rows", "path": str(folder), "file_format": "parquet", **given})


def file_source(folder: Path, **given: Any) -> FileSource:
    return FileSource(**{"name": "rows", "path": str(folder), "file_format": ParquetFormat(), **given})


def relative_file_source(folder: Path, **given: Any) -> FileSource:
    return file_source(folder, path="data", **given)


SOURCES: list[Callable[..., Any]] = [spark_source, file_source, relative_file_source]


def store_with(tmp_path: Path, offline_store: dict[str, Any], name: str = "registry", **more: Any) -> FeatureStore:
    config = RepoConfig(
        project="loans",
        provider="local",
        registry=str(tmp_path / f"{name}.db"),
        online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        offline_store=offline_store,
        entity_key_serialization_version=3,
        **more,
    )
    config.repo_path = tmp_path
    return FeatureStore(config=config)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return store_with(tmp_path, OURS)


def apply_by_command(store: FeatureStore, *objects: Any) -> None:
    views = [found for found in objects if isinstance(found, FeatureView)]
    contents = RepoContents(
        projects=[],
        data_sources=[view.batch_source for view in views if view.batch_source is not None],
        entities=[found for found in objects if isinstance(found, Entity)],
        feature_views=views,
        on_demand_feature_views=[],
        stream_feature_views=[],
        feature_services=[],
        permissions=[],
        label_views=[],
    )
    apply_total_with_repo_instance(store, store.project, store.registry, contents, skip_source_validation=False)


APPLY: list[Callable[..., None]] = [apply_by_command, lambda store, *objects: store.apply(list(objects))]


def account() -> Entity:
    return Entity(name="account", join_keys=["account"], value_type=ValueType.INT64)


@pytest.mark.parametrize("apply", APPLY, ids=["feast apply", "FeatureStore.apply"])
@pytest.mark.parametrize("source", SOURCES)
def test_times_and_features_are_inferred_without_spark(
    store: FeatureStore, folder: Path, source: Callable[..., Any], apply: Callable[..., None]
) -> None:
    apply(store, account(), FeatureView(name="balances", entities=[account()], source=source(folder)))
    view = store.get_feature_view("balances")
    assert view.batch_source is not None
    assert view.batch_source.timestamp_field == "seen"
    assert type(view.batch_source) is type(source(folder))
    assert {field.name: field.dtype for field in view.features} == {
        "balance": Float64,
        "share": Float32,
        "cards": Int32,
        "is_new": Bool,
        "city": String,
    }
    session = sys.modules.get("pyspark.sql")
    assert session is None or session.SparkSession.getActiveSession() is None


def test_the_registry_is_what_feast_writes_for_its_own_store(tmp_path: Path, folder: Path) -> None:
    """What is inferred too; but for the times of writing, which are taken over from one to the other."""
    protos = []
    for number, offline_store in enumerate([OURS, {"type": "dask"}]):
        store = store_with(tmp_path, offline_store, f"registry{number}")
        store.apply([account(), FeatureView(name="balances", entities=[account()], source=file_source(folder))])
        view, source = store.get_feature_view("balances").to_proto(), store.get_data_source("rows").to_proto()
        for meta in (view.meta, source.meta, view.spec.batch_source.meta):
            meta.Clear()
        protos.append((view.SerializeToString(deterministic=True), source.SerializeToString(deterministic=True)))
    assert protos[0] == protos[1]


def test_a_source_keeps_its_bytes_whatever_is_asked_of_it(store: FeatureStore, folder: Path) -> None:
    tags = {"team": "risk"}
    given = spark_source(folder, timestamp_field="seen", tags=tags, owner="a@corp", date_partition_column="day")
    before = given.to_proto().SerializeToString(deterministic=True)
    with pytest.raises(SchemaError, match="date_partition_column is 'day'"):
        given.validate(store.config)
    with pytest.raises(SourceError):
        SparkSource(name="q", query="DELETE FROM t").validate(store.config)
    assert given.to_proto().SerializeToString(deterministic=True) == before


class TestRefusals:
    @pytest.mark.parametrize("source", SOURCES)
    def test_of_a_place_where_nothing_is(
        self, store: FeatureStore, tmp_path: Path, source: Callable[..., Any]
    ) -> None:
        lost = source(tmp_path / "lost") if source is not relative_file_source else file_source(tmp_path, path="lost")
        view = FeatureView(name="balances", entities=[account()], source=lost)
        with pytest.raises(SourceNotFoundError, match=r"source 'rows': .*file://.*/lost"):
            apply_by_command(store, account(), view)

    def test_of_a_class_that_no_site_reads(self, store: FeatureStore) -> None:
        source = BigQuerySource(name="rows", table="t", timestamp_field="seen")
        view = FeatureView(name="b", entities=[account()], source=source, schema=[Field(name="x", dtype=Int64)])
        with pytest.raises(
            SourceError, match="source 'rows' is a BigQuerySource; this offline store reads and writes"
        ):
            apply_by_command(store, account(), view)

    @pytest.mark.parametrize("apply", APPLY, ids=["feast apply", "FeatureStore.apply"])
    def test_of_a_join_key_that_the_source_lacks(
        self, store: FeatureStore, folder: Path, apply: Callable[..., None]
    ) -> None:
        client = Entity(name="client_without_column")
        schema = [Field(name="balance", dtype=Float64)]
        view = FeatureView(name="balances", entities=[client], source=spark_source(folder), schema=schema)
        with pytest.raises(
            SchemaError, match=r"'client_without_column', which source 'rows' .* lacks; it has account"
        ):
            apply(store, client, view)

    def test_of_a_column_that_feast_has_no_type_for(self, store: FeatureStore, tmp_path: Path) -> None:
        amounts = pa.array([1, 2], pa.decimal128(9, 2))
        (tmp_path / "amounts").mkdir()
        table = pa.table({"account": [1, 2], "seen": pa.array([NOW, NOW], pa.timestamp("us")), "amount": amounts})
        pq.write_table(table, tmp_path / "amounts" / "part.parquet")
        source = file_source(tmp_path / "amounts", timestamp_field="seen")
        view = FeatureView(name="amounts", entities=[account()], source=source)
        with pytest.raises(
            SchemaError,
            match=r"view 'amounts': no feature .* 'amount' .*FileSource has no type .*Give the view a schema",
        ):
            store.apply([account(), view])

    def test_of_a_spark_source_that_feasts_spark_engine_would_write_by_itself(
        self, tmp_path: Path, folder: Path
    ) -> None:
        store = store_with(tmp_path, OURS, batch_engine={"type": "spark.engine"})
        schema = [Field(name="balance", dtype=Float64)]
        source = spark_source(folder, timestamp_field="seen")
        view = FeatureView(name="balances", entities=[account()], source=source, schema=schema, offline=True)
        with pytest.raises(
            NotSupportedError, match=r"view 'balances' has offline=True and a SparkSource.*spark.engine"
        ):
            apply_by_command(store, account(), view)


def test_dates_are_times_of_features_and_no_candidates_for_the_event_time(
    store: FeatureStore, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({"account": [1], "seen": pa.array([NOW], pa.timestamp("us")), "born": [NOW.date()]})
    pq.write_table(table, tmp_path / "data" / "part.parquet")
    for number, source in enumerate(SOURCES):
        made = source(tmp_path / "data", name=f"rows{number}")
        store.apply([account(), FeatureView(name=f"people{number}", entities=[account()], source=made)])
        view = store.get_feature_view(f"people{number}")
        assert view.batch_source is not None
        assert view.batch_source.timestamp_field == "seen"
        assert [(field.name, field.dtype) for field in view.features] == [("born", UnixTimestamp)]


def test_a_push_source_on_top_of_one(store: FeatureStore, folder: Path) -> None:
    pushed = PushSource(name="pushed", batch_source=spark_source(folder))
    store.apply([account(), pushed, FeatureView(name="balances", entities=[account()], source=pushed)])
    kept = store.get_data_source("pushed")
    assert isinstance(kept, PushSource)
    found = kept.batch_source
    assert isinstance(found, SparkSource)
    assert found.timestamp_field == "seen"


def doubled(rows: pd.DataFrame) -> pd.DataFrame:
    made: pd.DataFrame = rows[["balance"]].rename(columns={"balance": "doubled"}) * 2
    return made


def test_an_on_demand_view_on_top_of_one(store: FeatureStore, folder: Path) -> None:
    view = FeatureView(name="balances", entities=[account()], source=spark_source(folder))
    on_demand = OnDemandFeatureView(
        name="twice",
        sources=[view],
        schema=[],
        feature_transformation=PandasTransformation(udf=doubled, udf_string="doubled"),
        mode="pandas",
    )
    store.apply([account(), view, on_demand])
    assert [field.name for field in store.get_on_demand_feature_view("twice").features] == ["doubled"]


def test_other_stores_of_the_process_ask_feasts_sources_as_before(tmp_path: Path, folder: Path) -> None:
    store_with(tmp_path, OURS)
    dask = store_with(tmp_path, {"type": "dask"}, "other")
    source = file_source(folder, timestamp_field="seen")
    found = dict(source.get_table_column_names_and_types(dask.config))
    assert (found["seen"], found["balance"]) == ("timestamp[us, tz=UTC]", "double")
    with warnings.catch_warnings(record=True):
        source.validate(dask.config)


def test_a_view_that_is_fresh_for_a_day_is_applied_again_as_it_is(store: FeatureStore, folder: Path) -> None:
    def view() -> FeatureView:
        ttl = timedelta(days=1)
        return FeatureView(name="balances", entities=[account()], source=spark_source(folder), ttl=ttl)

    store.apply([account(), view()])
    first = store.get_data_source("rows")
    store.apply([account(), view()])
    assert store.get_data_source("rows") == first
