"""Entries of the registry that this version did not write: whatever they hold, only an error of ours comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.protos.feast.core.FeatureService_pb2 import LoggingConfig as LoggingConfigProto
from feast.protos.feast.core.SavedDataset_pb2 import SavedDatasetStorage as SavedDatasetStorageProto
from hypothesis import given
from hypothesis import strategies as st

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError, SourceError
from tests.integration.reliability import Row, reliability

PATH = "hdfs://lake/flights"


def read_source(entry: bytes) -> Any:
    proto = HybridSparkSource(name="s", path=PATH).to_proto()
    proto.custom_options.configuration = entry
    return DataSource.from_proto(DataSourceProto.FromString(proto.SerializeToString()))


def read_storage(entry: bytes) -> Any:
    proto = SavedDatasetHybridSparkStorage(path=PATH).to_proto()
    proto.custom_storage.configuration = entry
    # Not by Feast's own from_proto, which parses the entry itself to find the class.
    return SavedDatasetHybridSparkStorage.from_proto(SavedDatasetStorageProto.FromString(proto.SerializeToString()))


def read_destination(entry: bytes) -> Any:
    proto = LoggingConfig(HybridSparkLoggingDestination(path=PATH)).to_proto()
    proto.custom_destination.config["spec"] = entry.decode(errors="replace")  # a text to the registry
    return LoggingConfig.from_proto(LoggingConfigProto.FromString(proto.SerializeToString()))


Read = Callable[[bytes], Any]
READERS = {"source 's'": read_source, "a saved dataset": read_storage, "a logging destination": read_destination}
each_reader = pytest.mark.parametrize(("what", "read"), READERS.items(), ids=list(READERS))

KEYS = st.sampled_from(
    ["path", "file_format", "options", "table", "query", "site", "date_partition_column_format", "catalog"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([PATH, "SELECT 1 AS a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@reliability(
    "Text that is code",
    "an entry of the registry that is no JSON, or that holds any bytes",
    "an error of ours, nothing else",
)
@each_reader
@given(entry=st.binary(max_size=200))
def test_any_bytes(what: str, read: Read, entry: bytes) -> None:
    with suppress(HybridError):
        read(entry)


@each_reader
@given(value=VALUES)
def test_any_json(what: str, read: Read, value: Any) -> None:
    with suppress(HybridError):
        read(json.dumps(value).encode())


@reliability(
    "Text that is code",
    "an entry of the registry with values of other types under our keys",
    "an error of ours, nothing else",
)
@each_reader
@given(entry=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_under_our_keys(what: str, read: Read, entry: dict[str, Any]) -> None:
    with suppress(HybridError):
        read(json.dumps(entry).encode())


@reliability(
    "Text that is code",
    "an entry of the registry that is nested 100,000 deep",
    "refused with the entry's name",
    "its entry in the registry is not a ",
)
@each_reader
@pytest.mark.parametrize("before", ["", '{"options": ', '{"path": '], ids=["whole", "options", "path"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_any_depth(what: str, read: Read, before: str, opening: str, closing: str, promise: Row) -> None:
    deep = f"{before}{opening * 100_000}1{closing * 100_000}" + ("}" if before else "")
    with pytest.raises(SourceError, match=f"^{what}: {promise.reads}"):
        read(deep.encode())


def test_a_query_of_any_depth() -> None:
    query = f"SELECT {'(' * 20_000}1{')' * 20_000} AS a"
    with pytest.raises(SourceError, match=r"source 's': query does not parse as Spark SQL: it is nested too deeply"):
        read_source(json.dumps({"query": query}).encode())


@each_reader
@pytest.mark.parametrize("entry", [b"", b"null", b"[]", b'"path"', b"{", b"1" * 5000], ids=str)
def test_what_is_no_entry_is_named(what: str, read: Read, entry: bytes) -> None:
    with pytest.raises(SourceError) as refused:
        read(entry)
    assert str(refused.value).startswith(f"{what}: its entry in the registry is not a ")
    assert str(refused.value).endswith("'s JSON.")


@each_reader
def test_a_key_of_a_newer_version_asks_for_an_upgrade(what: str, read: Read) -> None:
    with pytest.raises(SourceError) as refused:
        read(json.dumps({"path": PATH, "catalog": "x"}).encode())
    assert str(refused.value) == (
        f"{what}: its entry in the registry was written by a newer feast-hybrid; upgrade this one."
    )


@each_reader
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"path": [PATH]}, "has 'path' of type list, not text"),
        ({"path": None}, "has 'path' of type NoneType, not text"),
        ({"path": PATH, "file_format": 1}, "has 'file_format' of type int, not text"),
        ({"path": PATH, "options": "header"}, "has 'options' of type str, not a map of text to text"),
        ({"path": PATH, "options": {"a": 1}}, "has 'options' of type dict, not a map of text to text"),
        ({"path": PATH, "options": {"a": {"b": "c"}}}, "has 'options' of type dict, not a map of text to text"),
        ({"path": "hdfs://lake/\ud800"}, "has 'path' of type str, not text"),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_named(what: str, read: Read, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError) as refused:
        read(json.dumps(entry).encode())
    assert str(refused.value) == (
        f"{what}: its entry in the registry {message}; define it again and run feast apply."
    )


def test_a_destination_without_an_entry() -> None:
    proto = LoggingConfig(HybridSparkLoggingDestination(path=PATH)).to_proto()
    del proto.custom_destination.config["spec"]
    with pytest.raises(SourceError, match=r"^a logging destination: its entry in the registry is not a Hybrid"):
        LoggingConfig.from_proto(proto)


@each_reader
def test_no_value_is_repeated_in_a_message(what: str, read: Read) -> None:
    with pytest.raises(SourceError) as refused:
        read(json.dumps({"path": PATH, "options": {"password": ["canary"]}}).encode())
    assert "canary" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
