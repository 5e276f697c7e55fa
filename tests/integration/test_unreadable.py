"""What is said when a lake cannot be read: which site, what is wrong, and never a key."""

from __future__ import annotations

import base64
import re
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import (
    AuthenticationError,
    HybridError,
    SessionError,
    SourceNotFoundError,
    StorageError,
    UnavailableError,
    WriteError,
)
from tests.integration.places import Place, abfs_speaks_to_azurite, entity, feature_store, hour, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from feast_hybrid import HybridSparkSource
    from tests.integration.conftest import MakeStore, Write

needs_azurite = pytest.mark.skipif(
    not abfs_speaks_to_azurite(), reason="this PySpark's ABFS driver is older than the Blob endpoint"
)

WRONG_KEY = base64.b64encode(b"canary of a wrong account key, 64 bytes long as the real ones....").decode()


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def emulator(endpoint: str, authority: str, **more: Any) -> dict[str, Any]:
    credential = {"type": "emulator", "account_key": {"env": "WRONG_KEY"}, "endpoint": endpoint}
    return {"name": "cloud", "uri": f"abfs://{authority}", "credential": credential, **more}


def refusal(site: dict[str, Any], of: HybridSparkSource, folder: Path) -> HybridError:
    """What validation raises on a source of this one site."""
    with pytest.raises(StorageError) as caught:
        of.validate(feature_store([site], folder).config)
    assert not isinstance(caught.value, SourceNotFoundError)
    return caught.value


@pytest.mark.parametrize("file_format", ["parquet", "json"])
def test_an_hdfs_that_is_down_is_named_with_its_site(spark: SparkSession, tmp_path: Path, file_format: str) -> None:
    uri = f"hdfs://127.0.0.1:{closed_port()}"
    tries = {"dfs.client.failover.max.attempts": "1", "ipc.client.connect.max.retries": "0"}
    site = {"name": "onprem", "uri": uri, "options": tries}
    error = refusal(site, source("rows", f"{uri}/rows", file_format=file_format), tmp_path)
    assert type(error) is UnavailableError
    assert str(error).startswith(f"source 'rows': site 'onprem', {uri}/rows is unavailable: ")


@pytest.mark.parametrize("file_format", ["parquet", "orc"])
def test_a_write_to_an_hdfs_that_is_down_names_the_view_and_the_site(
    spark: SparkSession, tmp_path: Path, file_format: str
) -> None:
    uri = f"hdfs://127.0.0.1:{closed_port()}"
    tries = {"dfs.client.failover.max.attempts": "1", "ipc.client.connect.max.retries": "0"}
    store = feature_store([{"name": "onprem", "uri": uri, "options": tries}], tmp_path)
    key = entity("n")
    of = view("numbers", source("rows", f"{uri}/rows", file_format=file_format), key)
    rows = pa.table({"n": [1], "event_timestamp": pa.array([hour(0)])})
    with pytest.raises(WriteError, match=f"to site .onprem., {uri}/rows: .*unavailable: "):
        HybridSparkOfflineStore.offline_write_batch(store.config, of, rows, None)


def test_validation_waits_for_no_lake_much_longer_than_20_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)

    def validate(folder: Path, port: int, lake: str) -> tuple[str, float]:
        folder.mkdir()
        site: dict[str, Any] = emulator(f"127.0.0.1:{port}", "lake@unheard.dfs.core.windows.net")
        if lake == "hdfs":
            site = {"name": "onprem", "uri": f"hdfs://127.0.0.1:{port}"}
        config = feature_store([site], folder).config
        began = time.monotonic()
        with pytest.raises(UnavailableError) as refused:
            source("rows", f"{site['uri']}/rows").validate(config)
        return str(refused.value), time.monotonic() - began

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cases = [(port, lake) for lake in ("hdfs", "adls") for port in (closed_port(), silent.getsockname()[1])]
        with ThreadPoolExecutor(len(cases)) as pool:
            tries = [pool.submit(validate, tmp_path / str(n), *case) for n, case in enumerate(cases)]
            found = [each.result() for each in tries]
    for (_, lake), (message, seconds) in zip(cases, found, strict=True):
        site_name = {"hdfs": "onprem", "adls": "cloud"}[lake]
        assert re.match(
            rf"source 'rows': site '{site_name}', \S+/rows (is unavailable|did not answer in time): ", message
        )
        assert seconds < 35


@needs_azurite
def test_an_adls_that_is_down_is_named_with_its_site(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    tries = {"fs.azure.io.retry.max.retries": "0"}
    site = emulator(f"127.0.0.1:{closed_port()}", "lake@closedport.dfs.core.windows.net", options=tries)
    error = refusal(site, source("rows", site["uri"] + "/rows", file_format="json"), tmp_path)
    assert type(error) is UnavailableError
    assert "site 'cloud', abfs://lake@closedport.dfs.core.windows.net/rows is unavailable" in str(error)
    assert WRONG_KEY not in "".join(traceback.format_exception(error))


@needs_azurite
@pytest.mark.parametrize("file_format", ["parquet", "json"])
def test_a_wrong_key_is_said_to_be_refused_and_not_shown(
    spark: SparkSession, cloud: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    # Another container: Hadoop goes on using a file system that it has once opened with the right key.
    _, _, host = cloud.uri.removeprefix("abfs://").partition("@")
    site = emulator(cloud.lake.endpoint, f"wrong-{file_format}@{host}")  # type: ignore[union-attr]
    error = refusal(site, source("rows", site["uri"] + "/rows", file_format=file_format), tmp_path)
    assert type(error) is AuthenticationError
    assert f"site 'cloud', {site['uri']}/rows does not accept the sign-in" in str(error)
    assert WRONG_KEY not in "".join(traceback.format_exception(error))


def test_a_format_that_the_session_lacks_is_named(
    make_store: MakeStore, write: Write, onprem: Place, spark: SparkSession
) -> None:
    uri = write(onprem, "rows", {"k": [1]})
    with pytest.raises(SessionError, match=r"source 'rows' .*does not know this file format.*spark\.jars\.packages"):
        source("rows", uri, file_format="no_such_format").validate(make_store().config)
