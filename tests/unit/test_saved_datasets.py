"""Where saved datasets and logs are kept: how that travels through Feast's registry."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from feast.feature_logging import LoggingConfig
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto
from feast.saved_dataset import SavedDataset, SavedDatasetStorage

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError, RoutingError, SourceError

PATH = "abfss://features@acct.dfs.core.windows.net/saved/zürich"
KEPT: list[dict[str, Any]] = [
    {"path": PATH},
    {"path": PATH, "file_format": "orc", "options": {"compression": "zstd"}},
    {"table": "db.saved"},
    {"table": "db.saved", "site": "cloud"},
]


@pytest.mark.parametrize("kept", KEPT, ids=str)
class TestRoundTrips:
    def test_a_saved_datasets_storage(self, kept: dict[str, Any]) -> None:
        storage = SavedDatasetHybridSparkStorage(**kept)
        written = SavedDatasetStorageProto.FromString(storage.to_proto().SerializeToString())
        again = SavedDatasetStorage.from_proto(written)
        assert isinstance(again, SavedDatasetHybridSparkStorage)
        assert again == storage
        assert hash(again) == hash(storage)
        assert again.to_data_source() == storage.to_data_source()

    def test_a_logs_destination(self, kept: dict[str, Any]) -> None:
        config = LoggingConfig(HybridSparkLoggingDestination(**kept), sample_rate=0.5)
        written = LoggingConfigProto.FromString(config.to_proto().SerializeToString())
        again = LoggingConfig.from_proto(written)
        assert again is not None
        assert isinstance(again.destination, HybridSparkLoggingDestination)
        assert again.destination == config.destination
        assert again.destination.to_data_source() == config.destination.to_data_source()
        assert again.sample_rate == pytest.approx(0.5)

    def test_the_source_that_reads_it(self, kept: dict[str, Any]) -> None:
        for keeper in (SavedDatasetHybridSparkStorage(**kept), HybridSparkLoggingDestination(**kept)):
            source = keeper.to_data_source()
            assert isinstance(source, HybridSparkSource)
            assert (source.path, source.table) == (kept.get("path"), kept.get("table"))
            assert source.site == kept.get("site")
            assert kept.get("options", {}).items() <= source.options.items()

    def test_a_source_can_be_where_a_dataset_is_saved(self, kept: dict[str, Any]) -> None:
        source = HybridSparkSource(name="s", timestamp_field="ts", **kept)
        assert SavedDatasetHybridSparkStorage.from_data_source(source) == SavedDatasetHybridSparkStorage(**kept)

    def test_a_whole_saved_dataset(self, kept: dict[str, Any]) -> None:
        dataset = SavedDataset(
            name="d", features=["v:f"], join_keys=["k"], storage=SavedDatasetHybridSparkStorage(**kept)
        )
        assert SavedDataset.from_proto(dataset.to_proto()) == dataset


def test_places_differ() -> None:
    assert len({SavedDatasetHybridSparkStorage(**kept) for kept in KEPT}) == len(KEPT)
    assert SavedDatasetHybridSparkStorage(path=PATH) != HybridSparkLoggingDestination(path=PATH)


def test_a_place_is_told_in_words() -> None:
    assert repr(SavedDatasetHybridSparkStorage(path=PATH)) == f"SavedDatasetHybridSparkStorage(location={PATH!r})"
    assert repr(HybridSparkLoggingDestination(table="t")) == "HybridSparkLoggingDestination(location='table t')"


def test_logs_of_other_features_are_read_together() -> None:
    assert HybridSparkLoggingDestination(path=PATH).to_data_source().options == {"mergeSchema": "true"}
    assert HybridSparkLoggingDestination(path=PATH, file_format="orc").to_data_source().options == {}


def test_feasts_offline_server_finds_the_storage_of_a_source_and_its_name() -> None:
    source = HybridSparkSource(name="kept", path=PATH)
    storage = SavedDatasetStorage.from_data_source(source)
    assert storage == SavedDatasetHybridSparkStorage(path=PATH)
    assert storage.to_data_source().name == "kept"


@pytest.mark.parametrize("cls", [SavedDatasetHybridSparkStorage, HybridSparkLoggingDestination])
@pytest.mark.parametrize(
    ("kept", "error"),
    [
        ({"path": "/tmp/x"}, RoutingError),
        ({"path": PATH, "options": {"fs.azure.account.key": "x"}}, SourceError),
        ({"path": PATH, "site": "cloud"}, SourceError),
    ],
)
def test_a_place_is_checked_as_a_sources_is(cls: Any, kept: dict[str, Any], error: type[HybridError]) -> None:
    with pytest.raises(error):
        cls(**kept)


def test_a_query_is_no_place_to_save_to() -> None:
    with pytest.raises(SourceError, match="a saved dataset needs the path or table of a HybridSparkSource"):
        SavedDatasetHybridSparkStorage.from_data_source(HybridSparkSource(name="s", query="select 1 as a"))


@pytest.mark.parametrize("cls", [SavedDatasetHybridSparkStorage, HybridSparkLoggingDestination])
@pytest.mark.parametrize(("kept", "found"), [({}, "neither"), ({"path": PATH, "table": "t"}, "path and table")])
def test_a_place_is_asked_for_in_words_of_its_own(cls: Any, kept: dict[str, Any], found: str) -> None:
    with pytest.raises(SourceError) as refused:
        cls(**kept)
    assert str(refused.value) == f"{cls.__name__}: give exactly one of path and table; found {found}."


def test_another_process_that_loads_the_repos_configuration_can_read_a_destination() -> None:
    """Feast knows the kind of a destination only when its class is loaded; the configuration loads it."""
    written = LoggingConfig(HybridSparkLoggingDestination(path=PATH)).to_proto().SerializeToString()
    program = (
        "from feast.repo_config import RepoConfig\n"
        "from feast.feature_logging import LoggingConfig\n"
        "from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as Proto\n"
        "RepoConfig(project='p', provider='local', registry='r.db', online_store=None,\n"
        "           offline_store={'type': 'feast_hybrid.HybridSparkOfflineStore'})\n"
        f"print(LoggingConfig.from_proto(Proto.FromString({written!r})).destination)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"HybridSparkLoggingDestination(location={PATH!r})", done.stderr


def test_another_process_that_reads_a_source_from_the_registry_can_read_all_the_rest() -> None:
    """As a registry server does that has another offline store, or none."""
    source = HybridSparkSource(name="s", path=PATH).to_proto().SerializeToString()
    storage = SavedDatasetHybridSparkStorage(path=PATH).to_proto().SerializeToString()
    destination = LoggingConfig(HybridSparkLoggingDestination(path=PATH)).to_proto().SerializeToString()
    program = (
        "from feast.data_source import DataSource\n"
        "from feast.feature_logging import LoggingConfig\n"
        "from feast.saved_dataset import SavedDatasetStorage\n"
        "from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto\n"
        "from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingProto\n"
        "from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as StorageProto\n"
        f"print(SavedDatasetStorage.from_proto(StorageProto.FromString({storage!r})))\n"
        f"print(repr(DataSource.from_proto(DataSourceProto.FromString({source!r}))))\n"
        f"print(LoggingConfig.from_proto(LoggingProto.FromString({destination!r})).destination)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        f"SavedDatasetHybridSparkStorage(location={PATH!r})",
        f"HybridSparkSource(name='s', location={PATH!r})",
        f"HybridSparkLoggingDestination(location={PATH!r})",
    ], done.stderr
