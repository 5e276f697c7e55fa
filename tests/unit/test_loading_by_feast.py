"""Feast finds the classes by ``offline_store.type``, and ``feast apply`` of a Parquet path needs no Spark."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, ValueType
from feast.feature_logging import LoggingConfig

from feast_hybrid import (
    HybridSparkLoggingDestination,
    HybridSparkOfflineStore,
    HybridSparkOfflineStoreConfig,
    HybridSparkSource,
)
from feast_hybrid.errors import ConfigError, SchemaError, SourceError, SourceNotFoundError

TYPE = "feast_hybrid.HybridSparkOfflineStore"
#: What Feast writes anew each time.
TIMES = {"created_timestamp", "last_updated_timestamp", "last_updated", "version_id"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "weather"
    folder.mkdir(parents=True)
    rows = {
        "station": pa.array([1], pa.int64()),
        "ts": pa.array([datetime(2024, 1, 1, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        "wind": pa.array([1.5], pa.float64()),
        "words": pa.array([["calm"]], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(rows), folder / "part-0.parquet")
    return folder


def repo(folder: Path, offline_store: dict[str, Any] | None = None) -> Path:
    """A repository's folder with its ``feature_store.yaml``."""
    config = {
        "project": "bank",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "offline_store": {"type": TYPE, **(offline_store or {})},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize("store_type", [TYPE, "feast_hybrid.offline_store.HybridSparkOfflineStore"])
def test_feast_finds_store_and_configuration_by_the_type(store_type: str, tmp_path: Path) -> None:
    store = FeatureStore(
        repo_path=str(repo(tmp_path, {"type": store_type, "sites": [{"name": "a", "uri": "hdfs://lake"}]}))
    )
    assert isinstance(store.config.offline_store, HybridSparkOfflineStoreConfig)
    assert store.config.offline_store.router.route("hdfs://lake/x").name == "a"
    assert isinstance(store.provider.offline_store, HybridSparkOfflineStore)


def test_feast_raises_our_error_for_a_configuration_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"offline_store\.sitez: unknown key; did you mean 'sites'\?"):
        FeatureStore(repo_path=str(repo(tmp_path, {"sitez": []})))


def test_feast_expands_variables_and_we_refuse_the_ones_it_could_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKE", "prodlake")
    sites = [{"name": "a", "uri": "hdfs://${LAKE}"}]
    store = FeatureStore(repo_path=str(repo(tmp_path, {"sites": sites})))
    assert store.config.offline_store.sites[0].uri == "hdfs://prodlake"
    monkeypatch.delenv("LAKE")
    with pytest.raises(ConfigError) as refused:
        FeatureStore(repo_path=str(repo(tmp_path, {"sites": sites})))
    assert str(refused.value) == "offline_store.sites[0].uri: environment variable ${LAKE} is not set."


def objects(data: Path) -> list[Any]:
    """A repository's definitions, new at each call, as each ``feast apply`` makes them."""
    source = HybridSparkSource(
        name="weather", path=f"file://{data}", timestamp_field="ts", tags={"team": "risk"}, owner="a@corp"
    )
    station = Entity(name="station", join_keys=["station"], value_type=ValueType.INT64)
    view = FeatureView(name="weather", entities=[station], source=source, ttl=timedelta(days=1))
    logs = LoggingConfig(HybridSparkLoggingDestination(path=f"file://{data.parent}/logs"))
    return [source, station, view, FeatureService(name="delays", features=[view], logging_config=logs)]


def timeless(message: Any) -> Any:
    """A copy of a protobuf message without what Feast writes anew each time."""
    copy = type(message)()
    copy.CopyFrom(message)
    _without_times(copy)
    return copy


def _without_times(message: Any) -> None:
    for field, value in message.ListFields():
        if field.name in TIMES:
            message.ClearField(field.name)
            continue
        items = value.values() if hasattr(value, "values") else value if hasattr(value, "append") else [value]
        for item in items:
            if hasattr(item, "ListFields"):
                _without_times(item)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(repo_path=str(repo(tmp_path)))


def test_apply_infers_features_from_a_parquet_footer(store: FeatureStore, data: Path) -> None:
    store.apply(objects(data))
    features = store.get_feature_view("weather").features
    assert {feature.name: str(feature.dtype) for feature in features} == {"wind": "Float64", "words": "Array(String)"}
    assert store.get_data_source("weather") == objects(data)[0]


def test_apply_starts_no_spark(store: FeatureStore, data: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from feast import FeatureStore, FeatureView, Entity, ValueType\n"
        "from feast_hybrid import HybridSparkSource\n"
        f"store = FeatureStore(repo_path={str(tmp_path)!r})\n"
        f"source = HybridSparkSource(name='w', path='file://{data}', timestamp_field='ts')\n"
        "entity = Entity(name='station', value_type=ValueType.INT64)\n"
        "store.apply([entity, source, FeatureView(name='w', entities=[entity], source=source)])\n"
        "print('py4j' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[-1:] == ["False"], done.stderr


def test_a_second_apply_changes_nothing(store: FeatureStore, data: Path) -> None:
    store.apply(objects(data))
    before = timeless(store.registry.proto())
    store.apply(objects(data))
    assert timeless(store.registry.proto()) == before


def test_a_second_apply_changes_no_source_service_or_entity(store: FeatureStore, data: Path) -> None:
    store.apply(objects(data))
    before = timeless(store.registry.proto())
    store.apply(objects(data))
    after = timeless(store.registry.proto())
    for object_type in ("data_sources", "entities", "feature_services"):
        assert list(getattr(after, object_type)) == list(getattr(before, object_type))


def test_a_changed_source_is_applied(store: FeatureStore, data: Path) -> None:
    store.apply(objects(data))
    changed = objects(data)
    changed[0].options = {"mergeSchema": "false"}
    store.apply(changed[0])
    assert store.get_data_source("weather") == changed[0]


class TestValidation:
    def test_nothing_there_names_source_site_and_path(self, store: FeatureStore, tmp_path: Path) -> None:
        source = HybridSparkSource(name="w", path=f"file://{tmp_path}/nothing", timestamp_field="ts")
        with pytest.raises(SourceNotFoundError) as refused:
            source.validate(store.config)
        assert str(refused.value) == f"source 'w': nothing is at site 'local', file://{tmp_path}/nothing."

    def test_a_folder_without_files_is_told_apart(self, store: FeatureStore, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        source = HybridSparkSource(name="w", path=f"file://{tmp_path}/empty", timestamp_field="ts")
        with pytest.raises(SourceNotFoundError) as refused:
            source.validate(store.config)
        assert str(refused.value) == f"source 'w': site 'local', file://{tmp_path}/empty holds no Parquet files."

    def test_a_file_of_another_format_is_told_apart(self, store: FeatureStore, tmp_path: Path) -> None:
        (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
        source = HybridSparkSource(name="w", path=f"file://{tmp_path}/rows.csv", timestamp_field="ts")
        with pytest.raises(SourceError, match=r"site 'local', .*/rows.csv is no Parquet file, or a damaged one"):
            source.validate(store.config)

    @pytest.mark.parametrize(
        ("changes", "role"),
        [
            ({"timestamp_field": "time"}, "timestamp_field is 'time'"),
            ({"created_timestamp_column": "made"}, "created_timestamp_column is 'made'"),
            ({"date_partition_column": "day"}, "date_partition_column is 'day'"),
            ({"field_mapping": {"gust": "g"}}, "field_mapping names 'gust'"),
        ],
    )
    def test_a_column_that_is_missing_is_named_with_those_there_are(
        self, store: FeatureStore, data: Path, changes: dict[str, Any], role: str
    ) -> None:
        named = {"name": "w", "path": f"file://{data}", "timestamp_field": "ts"} | changes
        with pytest.raises(SchemaError) as refused:
            HybridSparkSource(**named).validate(store.config)
        assert str(refused.value) == (
            f"source 'w' (site 'local', file://{data}): {role}, but the columns are station, ts, wind, words."
        )

    def test_nanoseconds_are_microseconds_once_they_are_read(self, store: FeatureStore, tmp_path: Path) -> None:
        rows = pa.table({"ts": pa.array([0], pa.timestamp("ns"))})
        pq.write_table(rows, tmp_path / "nanos.parquet")
        source = HybridSparkSource(name="w", path=f"file://{tmp_path}/nanos.parquet", timestamp_field="ts")
        source.validate(store.config)
        assert list(source.get_table_column_names_and_types(store.config)) == [("ts", "timestamp_ntz")]
