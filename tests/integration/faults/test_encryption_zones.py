"""Encryption zones of HDFS, whose keys a KMS has: what is in them is read, or refused by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import AccessDeniedError, HybridError, SourceNotFoundError, UnavailableError
from feast_hybrid.lakes.errors import error_chain
from feast_hybrid.testing import HdfsLake, KeyServer
from feast_hybrid.testing.hdfs import FS_SHELL
from feast_hybrid.testing.kms import CRYPTO_ADMIN, KEY_SHELL
from tests.integration.batches import DRIVER, add, rows, stats
from tests.integration.faulty import MINUTES
from tests.integration.places import Place, answers, feature_store, hour, retrieve, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

pytestmark = [MINUTES, pytest.mark.connect]

ENTITY_ROWS = pd.DataFrame({"driver_id": [1, 2, 3], "event_timestamp": [hour(1)] * 3})
EACH = [(number, number) for number in (1, 2, 3)]
SECONDS = 60.0


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    with KeyServer(closed_keys=("closed",)) as found:
        yield found


@pytest.fixture(scope="module")
def lake(keys: KeyServer) -> Iterator[HdfsLake]:
    with HdfsLake("process", more_settings={"hadoop.security.key.provider.path": keys.uri}) as found:
        for name in ("open", "closed"):
            found.administer("create", name, "-provider", keys.uri, tool=KEY_SHELL)
            found.filesystem().makedirs(f"/{name}")
            found.administer("-createZone", "-keyName", name, "-path", f"/{name}", tool=CRYPTO_ADMIN)
        yield found


@pytest.fixture
def store(lake: HdfsLake, keys: KeyServer, spark: SparkSession, folder: str, tmp_path: Path) -> FeatureStore:
    """A store whose view has three rows in a zone, put there by Hadoop's own client."""
    uri = zone(lake, folder)
    local = tmp_path / "rows.parquet"
    write_parquet(local)
    for command in (["-mkdir", "-p", f"{uri}/rows"], ["-put", str(local), f"{uri}/rows/part-0.parquet"]):
        lake.administer(*command, tool=FS_SHELL)
    return feature_store([site(lake, keys)], tmp_path, DRIVER, stats(f"{uri}/rows"))


def write_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(rows(1, 2, 3), path)


def site(lake: HdfsLake, keys: KeyServer) -> dict[str, Any]:
    return {**lake.site("onprem"), "options": {"hadoop.security.key.provider.path": keys.uri}}


def zone(lake: HdfsLake, folder: str, name: str = "open") -> str:
    return f"{lake.uri}/{name}{folder}"


def is_encrypted(lake: HdfsLake, uri: str) -> bool:
    """Whether a Parquet file is no Parquet file on the disks."""
    stored = lake.filesystem().cat_file(f"/.reserved/raw{uri.removeprefix(lake.uri)}")
    return bool(stored[:4] != b"PAR1")


@pytest.mark.parametrize(
    "strategy",
    [
        pytest.param(
            "columnar",
            marks=reliability(
                "HDFS",
                "an encryption zone, read by `columnar` and written in Python",
                "read and written, as elsewhere",
            ),
        ),
        pytest.param(
            "window",
            marks=reliability(
                "HDFS", "an encryption zone, read and written by Spark", "read and written, as elsewhere"
            ),
        ),
    ],
)
def test_what_is_in_an_encryption_zone_is_read_and_written(
    lake: HdfsLake, keys: KeyServer, store: FeatureStore, folder: str, tmp_path: Path, strategy: str
) -> None:
    uri = f"{zone(lake, folder)}/rows"
    assert is_encrypted(lake, f"{uri}/part-0.parquet")
    (tmp_path / strategy).mkdir()
    more = {"join": {"strategy": strategy}}
    with_strategy = feature_store([site(lake, keys)], tmp_path / strategy, DRIVER, stats(uri), **more)
    assert answers(retrieve(with_strategy, ENTITY_ROWS, ["stats:trips"]), "driver_id", "trips") == EACH

    with_strategy.apply([view("more", source("more_rows", uri), DRIVER)])
    assert [each.name for each in with_strategy.get_feature_view("more").features] == ["trips"]

    add(store, stats(uri), rows(4))
    place = Place("onprem", lake)
    assert len(place.names(uri)) == 2
    assert all(is_encrypted(lake, f"{uri}/{name}") for name in place.names(uri))
    later = pd.DataFrame({"driver_id": [4], "event_timestamp": [hour(1)]})
    assert answers(retrieve(with_strategy, later, ["stats:trips"]), "trips") == [(4,)]

    of = stats(f"{zone(lake, folder)}/text", file_format="csv", options={"header": "true"})
    add(with_strategy, of, rows(6, 7))
    target = f"{zone(lake, folder)}/set"
    for _ in range(2):
        job = retrieve(with_strategy, ENTITY_ROWS, ["stats:trips"])
        job.persist(SavedDatasetHybridSparkStorage(path=target), allow_overwrite=True)
    assert sorted(place.names(zone(lake, folder))) == ["rows", "set", "text"]
    saved = stats(target)
    again = feature_store([site(lake, keys)], tmp_path / strategy, DRIVER, saved)
    assert answers(retrieve(again, ENTITY_ROWS, ["stats:trips"]), "driver_id", "trips") == EACH


def refused(work: Any, *expected: type[HybridError]) -> str:
    began = time.monotonic()
    with pytest.raises(HybridError) as caught:
        work()
    assert time.monotonic() - began < SECONDS
    assert not isinstance(caught.value, SourceNotFoundError)
    found = [type(each) for each in error_chain(caught.value)]
    assert any(issubclass(each, expected) for each in found), (found, str(caught.value))
    return str(caught.value)


@reliability(
    "HDFS",
    "an encryption zone whose key the KMS does not give",
    "an error that says so, and nothing is left",
    "does not give its key to this user",
)
def test_a_key_that_the_kms_does_not_give_is_said_to_be_refused(
    lake: HdfsLake, keys: KeyServer, spark: SparkSession, folder: str, tmp_path: Path, promise: Row
) -> None:
    uri = zone(lake, folder, "closed")
    store = feature_store([site(lake, keys)], tmp_path)
    of = stats(f"{uri}/rows")
    assert promise.reads in refused(lambda: add(store, of, rows(1)), AccessDeniedError)
    text = stats(f"{uri}/text", file_format="csv", options={"header": "true"})
    assert promise.reads in refused(lambda: add(store, text, rows(1)), AccessDeniedError)
    assert list(lake.filesystem().find(uri)) == []


@reliability(
    "HDFS",
    "an encryption zone whose KMS nobody has named",
    "an error that says which option names it; never the bytes as they are stored",
    "It lies in an encryption zone: set hadoop.security.key.provider.path in the site's options",
)
def test_an_encryption_zone_without_a_kms_is_refused_by_name(
    lake: HdfsLake, store: FeatureStore, folder: str, tmp_path: Path, promise: Row
) -> None:
    (tmp_path / "without").mkdir()
    uri = f"{zone(lake, folder)}/rows"
    without = feature_store([lake.site("onprem")], tmp_path / "without")
    assert promise.reads in refused(
        lambda: without.apply([DRIVER, view("more", source("more_rows", uri), DRIVER)]), AccessDeniedError
    )
    assert promise.reads in refused(lambda: add(without, stats(uri), rows(4)), AccessDeniedError)
    assert Place("onprem", lake).names(uri) == ["part-0.parquet"]


@reliability(
    "HDFS",
    "an encryption zone whose KMS is down",
    "an error within a minute that names the KMS, and nothing is left",
    "does not answer: see that it runs and is reached",
)
def test_a_kms_that_is_down_is_named(
    lake: HdfsLake, keys: KeyServer, store: FeatureStore, folder: str, tmp_path: Path, promise: Row
) -> None:
    uri = zone(lake, folder)
    verbs = {
        "read": lambda: retrieve(store, ENTITY_ROWS, ["stats:trips"]).to_arrow(),
        "apply": lambda: store.apply([view("more", source("more_rows", f"{uri}/rows"), DRIVER)]),
        "batch": lambda: add(store, stats(f"{uri}/rows"), rows(4)),
        "text": lambda: add(store, stats(f"{uri}/text", file_format="csv"), rows(4)),
    }
    keys.stop_service("kms")
    try:
        found = {name: refused(verb, UnavailableError) for name, verb in verbs.items()}
    finally:
        keys.start_service("kms")
        keys.wait_until_ready()
    for name, message in found.items():
        assert f"its KMS ({keys.uri}) {promise.reads}" in message, (name, message)
    assert Place("onprem", lake).names(uri) == ["rows"]
