"""The file systems of a process on real lakes: how many there are after many pushes, and that none is ever stale."""

from __future__ import annotations

import base64
import gc
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from feast import Field
from feast.types import Int64

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.lakes.filesystems import SiteBlobFileSystem, SiteHdfsFileSystem
from tests.integration.faulty import SEEDS
from tests.integration.places import Place, Places, entity, feature_store, hour, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

#: How many are pushed, by whether it is ``make test-faults`` that has the time; one file that is left open by each
#: of 40 is seen as well as of 180. A NameNode gives each file more work than Azurite does.
PUSHES = {"onprem": 60, "cloud": 200} if len(SEEDS) > 1 else {"onprem": 40, "cloud": 60}


@pytest.fixture(params=["onprem", "cloud"])
def place(request: pytest.FixtureRequest, lakes_to_test: Places) -> Place:
    found: Place = getattr(lakes_to_test, request.param)
    return found


@pytest.fixture
def numbers(place: Place, folder: str, tmp_path: Path) -> tuple[FeatureStore, FeatureView]:
    """A store with one view, into which rows can be pushed."""
    return feature_store([place.site()], tmp_path), numbers_at(f"{place.uri}{folder}/numbers")


def numbers_at(uri: str) -> FeatureView:
    columns = [Field(name=name, dtype=Int64) for name in ("n", "v")]
    return view("numbers", source("numbers", uri), entity("n"), schema=columns)


def push(numbers: tuple[FeatureStore, FeatureView], number: int) -> None:
    store, of = numbers
    rows = pa.table(
        {"n": [number], "v": [number], "event_timestamp": pa.array([hour(number)], pa.timestamp("us", "UTC"))}
    )
    HybridSparkOfflineStore.offline_write_batch(store.config, of, rows, None)


def counted() -> dict[str, int]:
    """What a process would gather that closed nothing."""
    gc.collect()
    sockets = [name for name in os.listdir("/proc/self/fd") if _link(name).startswith("socket:")]
    filesystems = [each for each in gc.get_objects() if isinstance(each, (SiteBlobFileSystem, SiteHdfsFileSystem))]
    return {"file systems": len(filesystems), "threads": threading.active_count(), "sockets": len(sockets)}


def _link(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return ""


@reliability("Load", "hundreds of pushes in one process", "file systems, threads and sockets do not grow")
def test_many_pushes_gather_no_file_systems_threads_or_sockets(
    place: Place, folder: str, numbers: tuple[FeatureStore, FeatureView]
) -> None:
    for number in range(20):
        push(numbers, number)
    before = counted()
    for number in range(20, PUSHES[place.site_name]):
        push(numbers, number)
    after = counted()
    assert len(place.names(f"{place.uri}{folder}/numbers")) == PUSHES[place.site_name]
    assert after["file systems"] <= max(before["file systems"], 1)
    assert after["threads"] <= before["threads"] + 2
    assert after["sockets"] <= before["sockets"] + 2


@pytest.fixture
def location(place: Place, folder: str) -> Location:
    return Router([Site.model_validate(place.site())]).locate(f"{place.uri}{folder}/set")


def test_what_somebody_else_does_is_seen_at_once(place: Place, location: Location) -> None:
    def seen() -> tuple[list[str], bool, list[str]]:
        entries = location.fs.ls(location.path, detail=False)
        names = sorted(str(entry).rpartition("/")[2] for entry in entries)
        parent = [str(entry).rstrip("/").rpartition("/")[2] for entry in location.fs.find(location.path)]
        return names, location.child("b").exists(), sorted(parent)

    place.put(str(location.child("a")), b"1")
    assert seen() == (["a"], False, ["a"])
    place.put(str(location.child("b")), b"1")
    assert seen() == (["a", "b"], True, ["a", "b"])
    place.put(str(location.child("b")), b"longer")
    assert location.fs.info(location.child("b").path)["size"] == 6
    place.lake.filesystem().rm(place.inside(str(location.child("b"))))
    assert seen() == (["a"], False, ["a"])


def test_the_containers_of_an_account_are_listed_each_time(lakes_to_test: Places) -> None:
    cloud = lakes_to_test.cloud
    filesystem = Site.model_validate(cloud.site()).filesystem()
    if isinstance(filesystem, SiteBlobFileSystem):
        container = cloud.uri.partition("//")[2].partition("@")[0]
        for _ in range(2):
            # Other tests' containers are in the account too.
            assert container in [name.rstrip("/") for name in filesystem.ls("", detail=False)]


@reliability("Load", "a file system whose last user is gone", "its sockets are closed")
def test_sockets_are_closed_with_the_last_user(place: Place, folder: str) -> None:
    site = Site.model_validate({**place.site(), "options": {"fs.azure.http.read.timeout": "9999"}})
    location = Router([site]).locate(f"{place.uri}{folder}/set")
    before = counted()
    place.put(str(location.child("a")), b"1")
    assert location.exists()
    assert counted()["file systems"] == before["file systems"] + 1
    del site, location
    deadline = time.monotonic() + 5
    while counted()["sockets"] > before["sockets"] + 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    now = counted()
    assert now["file systems"] == before["file systems"]
    assert now["sockets"] <= before["sockets"] + 1, "and the one of the test's own client"


@reliability(
    "Sign-in",
    "a key that is rotated between two pushes",
    "counts at the next push",
    "environment variable ROTATED",
)
def test_a_rotated_key_works_at_once(
    lakes_to_test: Places, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    cloud = lakes_to_test.cloud
    site = cloud.site()
    if "account_key" not in site.get("credential", {}):
        pytest.skip("this PySpark's ABFS driver cannot speak to Azurite: HDFS has both roles")
    key = os.environ[site["credential"]["account_key"]["env"]]
    monkeypatch.setenv(
        "ROTATED", base64.b64encode(b"another key, 64 bytes long as the real ones are ................").decode()
    )
    site["credential"]["account_key"] = {"env": "ROTATED"}
    numbers = feature_store([site], tmp_path), numbers_at(f"{cloud.uri}{folder}/numbers")
    with pytest.raises(WriteError, match="does not accept the sign-in"):
        push(numbers, 1)
    monkeypatch.setenv("ROTATED", key)
    push(numbers, 1)
    monkeypatch.setenv("ROTATED", key[:-6] + "AAAA==")
    with pytest.raises(WriteError, match=promise.reads):
        push(numbers, 2)
    assert len(cloud.names(f"{cloud.uri}{folder}/numbers")) == 1
