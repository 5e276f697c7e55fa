"""An HDFS that does not serve: each verb ends within a minute, names what to look at, and leaves nothing behind."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import (
    AccessDeniedError,
    HybridError,
    RoutingError,
    SourceNotFoundError,
    StorageFullError,
    UnavailableError,
    WriteError,
)
from feast_hybrid.lakes.errors import error_chain
from feast_hybrid.testing import HaHdfsLake
from tests.integration.batches import DRIVER, add, rows, stats
from tests.integration.faults.ha import active, other, place_on, store_on
from tests.integration.faulty import MINUTES
from tests.integration.places import answers, feature_store, hour, retrieve, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

pytestmark = [MINUTES, pytest.mark.connect]

ENTITY_ROWS = pd.DataFrame({"driver_id": [1, 2, 3, 4, 5], "event_timestamp": [hour(1)] * 5})
SECONDS = 60.0


@pytest.fixture(scope="module")
def lake() -> Iterator[HaHdfsLake]:
    with HaHdfsLake() as found:
        yield found


@pytest.fixture
def uri(lake: HaHdfsLake, folder: str) -> str:
    return f"{lake.uri}{folder}"


@pytest.fixture
def store(lake: HaHdfsLake, spark: SparkSession, uri: str, tmp_path: Path) -> FeatureStore:
    place_on(lake).put(f"{uri}/text/part-0.csv", b"driver_id,trips,event_timestamp\n1,10,2026-01-10T00:00:00Z\n")
    texts = view(
        "texts",
        source("text_rows", f"{uri}/text", file_format="csv", options={"header": "true", "inferSchema": "true"}),
        DRIVER,
    )
    return store_on(lake, tmp_path, f"{uri}/rows", texts, staging_location=f"{uri}/staging")


Verb = Callable[["FeatureStore", str], object]


def read(store: FeatureStore, uri: str) -> None:
    retrieve(store, ENTITY_ROWS, ["stats:trips"]).to_arrow()


def read_text(store: FeatureStore, uri: str) -> None:
    retrieve(store, ENTITY_ROWS, ["texts:trips"]).to_arrow()


def apply(store: FeatureStore, uri: str) -> None:
    store.apply([view("more", source("more_rows", f"{uri}/rows"), DRIVER)])


def materialize(store: FeatureStore, uri: str) -> None:
    store.materialize(hour(-1), hour(2), ["stats"])


def write_batch(store: FeatureStore, uri: str) -> None:
    add(store, stats(f"{uri}/rows"), rows(6, 7))


def write_text(store: FeatureStore, uri: str) -> None:
    add(store, stats(f"{uri}/new", file_format="csv", options={"header": "true"}), rows(6, 7))


def persist(store: FeatureStore, uri: str) -> None:
    frame = ENTITY_ROWS.assign(event_timestamp=hour(0.5))
    job = store.get_historical_features(frame, ["stats:trips"])
    job.persist(SavedDatasetHybridSparkStorage(path=f"{uri}/set"), allow_overwrite=True)


def export(store: FeatureStore, uri: str) -> None:
    store.get_historical_features(ENTITY_ROWS, ["stats:trips"]).to_remote_storage()


READS: tuple[Verb, ...] = (read, read_text, apply, materialize)
WRITES: tuple[Verb, ...] = (write_batch, write_text, persist, export)
#: What can be done of an HDFS that was never there.
AWAY: tuple[Verb, ...] = (apply, write_batch, write_text)


def refused(store: FeatureStore, uri: str, verbs: Sequence[Verb], *expected: type[HybridError]) -> dict[str, str]:
    """What verbs, all at the same time, raise within a minute each; it and those behind it are of these classes."""
    with ThreadPoolExecutor(len(verbs)) as pool:
        found = list(pool.map(lambda verb: _refused(store, uri, verb), verbs))
    messages = {}
    for verb, (error, seconds) in zip(verbs, found, strict=True):
        name = verb.__name__
        assert isinstance(error, HybridError), (name, error)
        chain = [type(each) for each in error_chain(error)]
        assert seconds < SECONDS, f"{name}: {seconds:.0f} s: {error}"
        assert not isinstance(error, SourceNotFoundError), (name, error)
        assert "nothing is at" not in str(error)
        assert any(issubclass(each, expected) for each in chain), (name, chain, str(error))
        messages[name] = str(error)
    return messages


def _refused(store: FeatureStore, uri: str, verb: Verb) -> tuple[BaseException | None, float]:
    began = time.monotonic()
    try:
        verb(store, uri)
    except Exception as error:
        return error, time.monotonic() - began
    return None, time.monotonic() - began


def all_say(messages: Mapping[str, str], *texts: str) -> bool:
    missing = {name: message for name, message in messages.items() if not all(text in message for text in texts)}
    assert missing == {}
    return True


def left_over(lake: HaHdfsLake, folder: str) -> list[str]:
    names = [str(path).removeprefix(folder) for path in lake.filesystem().find(folder, withdirs=True)]
    allowed = ("/rows", "/rows/part-0.parquet", "/text", "/text/part-0.csv", "/staging", "")
    return [name for name in names if name not in allowed]


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


@contextmanager
def silent_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield listening.getsockname()[1]


@contextmanager
def all_standby(lake: HaHdfsLake) -> Iterator[None]:
    first = active(lake)
    lake.transition(first, "standby")
    try:
        yield
    finally:
        lake.transition(first, "active")
        lake.wait_until_ready()


@pytest.fixture
def standby(lake: HaHdfsLake, store: FeatureStore) -> Iterator[HaHdfsLake]:
    with all_standby(lake):
        yield lake


def away(folder: Path, addresses: list[str], uri: str = "hdfs://away") -> FeatureStore:
    """A store on an HDFS of which no server answers."""
    site: dict[str, Any] = {"name": "onprem", "uri": uri, "credential": {"type": "simple"}}
    if addresses:
        site["namenodes"] = addresses
    folder.mkdir()
    return feature_store([site], folder)


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(
            "refuses",
            marks=reliability(
                "HDFS",
                "NameNodes that refuse connections",
                "an error within a minute, which names them and the setting that waits longer",
                "dfs.client.failover.max.attempts in the site's options gives it more time",
            ),
        ),
        pytest.param(
            "silent",
            marks=reliability(
                "HDFS",
                "NameNodes that accept connections and say nothing",
                "an error within a minute, which names them and the setting that waits longer",
                "ipc.client.rpc-timeout.ms in the site's options",
            ),
        ),
    ],
)
@pytest.mark.parametrize("form", ["nameservice", "host"])
def test_namenodes_that_do_not_answer_are_named(
    spark: SparkSession, tmp_path: Path, server: str, form: str, promise: Row
) -> None:
    with silent_port() as silent:
        port = silent if server == "silent" else closed_port()
        addresses = [f"127.0.0.1:{port}"] * (2 if form == "nameservice" else 0)
        uri = f"hdfs://away{port}" if addresses else f"hdfs://127.0.0.1:{port}"
        store = away(tmp_path / "store", addresses, uri)
        messages = refused(store, uri, AWAY, UnavailableError, WriteError)
    assert all_say(messages, f"127.0.0.1:{port}", "onprem", promise.reads)


@reliability(
    "HDFS",
    "a nameservice that nobody knows",
    "an error at once, which says where to list its NameNodes",
    "'nowhere' is a nameservice that is not known here (dfs.nameservices): list its servers in the site's namenodes",
)
def test_an_unknown_nameservice_is_named(spark: SparkSession, tmp_path: Path, promise: Row) -> None:
    store = away(tmp_path / "store", [], "hdfs://nowhere")
    assert all_say(refused(store, "hdfs://nowhere", AWAY, UnavailableError, WriteError), promise.reads)


@reliability(
    "HDFS",
    "NameNodes that are all standby, for good",
    "an error within a minute, which names them and the command that shows their states",
    "is active: hdfs haadmin -getAllServiceState",
)
def test_namenodes_that_are_all_standby_are_named(
    standby: HaHdfsLake, store: FeatureStore, uri: str, promise: Row
) -> None:
    messages = refused(store, uri, [*READS, *WRITES], UnavailableError)
    assert all_say(messages, promise.reads, *(standby.address(each) for each in standby.states()))


@reliability(
    "HDFS",
    "one of two NameNodes held still, the other one active",
    "the other one is asked, and each verb is done, which may take two minutes",
)
def test_a_namenode_that_is_held_still_does_not_hold_up_the_other(
    lake: HaHdfsLake, store: FeatureStore, uri: str
) -> None:
    verbs = [read, read_text, write_batch, write_text, persist]
    still = active(lake)
    with lake.service_paused(still):
        lake.transition(other(still), "active")
        with ThreadPoolExecutor(len(verbs)) as pool:
            found = list(pool.map(lambda verb: _refused(store, uri, verb), verbs))
    wait_for_fencing(lake, still)
    assert [error for error, _ in found] == [None] * len(verbs)
    assert max(seconds for _, seconds in found) < 3 * SECONDS  # Spark's tasks ask the one that is still first


def wait_for_fencing(lake: HaHdfsLake, namenode: str) -> None:
    """A NameNode that was active and goes on after another took over ends, or is made standby here."""
    lake.stop_service(namenode)
    lake.start_service(namenode)
    deadline = time.monotonic() + 60
    while lake.states()[namenode] != "standby":
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextmanager
def safe_mode(lake: HaHdfsLake) -> Iterator[None]:
    lake.administer("-safemode", "enter")
    try:
        yield
    finally:
        lake.administer("-safemode", "leave")


@reliability(
    "HDFS",
    "safe mode",
    "what is read is read; what is written ends in an error within a minute, and nothing is left",
    "It is in safe mode, in which nothing can be written",
)
def test_safe_mode_is_named_by_what_writes_and_read_by_what_reads(
    lake: HaHdfsLake, store: FeatureStore, uri: str, folder: str, promise: Row
) -> None:
    with safe_mode(lake):
        assert sorted(answers(retrieve(store, ENTITY_ROWS, ["stats:trips"]), "trips")) == [(n,) for n in range(1, 6)]
        read_text(store, uri)
        assert all_say(refused(store, uri, WRITES, UnavailableError), promise.reads)
    assert left_over(lake, folder) == []


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        pytest.param(
            ("-setSpaceQuota", "1m"),
            "DiskSpace quota of ",
            id="space",
            marks=reliability(
                "HDFS",
                "a folder's quota of space, or a full disk that is watched by one",
                "an error that names the folder, the quota and what was needed; nothing is left",
                "HDFS counts a whole block (dfs.blocksize) for each replica of a file that is being written",
            ),
        ),
        pytest.param(
            ("-setQuota", "6"),
            "NameSpace quota (directories and files) of ",
            id="names",
            marks=reliability(
                "HDFS",
                "a folder's quota of names",
                "an error that names the folder and the quota; nothing is left",
                "have the quota raised (hdfs dfsadmin -setQuota, -setSpaceQuota)",
            ),
        ),
    ],
)
def test_a_quota_is_named_and_nothing_is_left(
    lake: HaHdfsLake, store: FeatureStore, uri: str, folder: str, quota: tuple[str, str], words: str, promise: Row
) -> None:
    lake.filesystem().makedirs(f"{folder}/staging", exist_ok=True)
    lake.administer(*quota, folder)
    assert all_say(refused(store, uri, WRITES, StorageFullError), promise.reads, words, folder)
    assert left_over(lake, folder) == []


@reliability(
    "HDFS",
    "a DataNode that is down",
    "an error within a minute that says so, and nothing is left",
    "no DataNode gives or takes the block",
)
@pytest.mark.parametrize("still", [False, True], ids=["ended", "held still"])
def test_a_datanode_that_is_down_is_named(
    lake: HaHdfsLake, store: FeatureStore, uri: str, folder: str, still: bool, promise: Row
) -> None:
    verbs = (read, read_text, write_batch, write_text)
    if still:
        with lake.service_paused("datanode"):
            found = refused(store, uri, verbs, UnavailableError)
    else:
        lake.stop_service("datanode")
        found = refused(store, uri, verbs, UnavailableError)
        lake.start_service("datanode")
    lake.wait_until_ready()
    assert all_say(found, promise.reads, "onprem")
    assert left_over(lake, folder) == []


@reliability(
    "HDFS",
    "disks of DataNodes that are full",
    "an error that says so, and nothing is left",
    "have room (dfs.datanode.du.reserved)",
)
def test_full_disks_are_named(lake: HaHdfsLake, store: FeatureStore, uri: str, folder: str, promise: Row) -> None:
    lake.restart_datanode({"dfs.datanode.du.reserved": str(2**60)})
    try:
        assert all_say(refused(store, uri, WRITES, UnavailableError), promise.reads)
    finally:
        lake.restart_datanode({})
    assert left_over(lake, folder) == []


@reliability(
    "HDFS",
    "a folder whose permissions forbid it",
    "an error that says who may not do what, and nothing is left",
    "Check the owner and the permissions of the path and of the folders above it",
)
def test_what_permissions_forbid_is_denied_and_not_missing(
    lake: HaHdfsLake, store: FeatureStore, uri: str, folder: str, promise: Row
) -> None:
    filesystem = lake.filesystem()
    filesystem.makedirs(f"{folder}/staging", exist_ok=True)
    for name in ("rows", "staging", ""):
        filesystem.client.set_permission(f"{folder}/{name}".rstrip("/"), 0o555)
    denied = refused(store, uri, WRITES, AccessDeniedError)
    assert all_say(denied, promise.reads, "Permission denied: user=")
    filesystem.client.set_permission(folder, 0o755)
    for name in ("rows/part-0.parquet", "rows", "text"):
        filesystem.client.set_permission(f"{folder}/{name}", 0o000)
    assert all_say(refused(store, uri, READS, AccessDeniedError), promise.reads)
    for name in ("rows", "text", "rows/part-0.parquet"):
        filesystem.client.set_permission(f"{folder}/{name}", 0o755)
    assert left_over(lake, folder) == []


@reliability(
    "HDFS",
    "a path that lies on the other lake, or on none that is configured",
    "refused before anything is asked, with the sites that there are",
    "is under none of the configured sites",
)
def test_a_path_of_another_lake_is_refused_with_the_sites(
    lake: HaHdfsLake, store: FeatureStore, uri: str, promise: Row
) -> None:
    for path in ("abfss://lake@acct.dfs.core.windows.net/rows", "hdfs://other/rows"):
        with pytest.raises(RoutingError) as caught:
            store.apply([view("more", source("more_rows", path), DRIVER)])
        assert promise.reads in str(caught.value)
        assert f"onprem: {lake.uri}" in str(caught.value)
        with pytest.raises(RoutingError, match=re.escape(promise.reads)):
            add(store, stats(path), rows(1))
