"""What is said when a lake cannot be read: which site, what is wrong, and never a key."""

from __future__ import annotations

import base64
import re
import socket
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import (
    AuthenticationError,
    HybridError,
    SessionError,
    SourceNotFoundError,
    StorageError,
    UnavailableError,
    WriteError,
)
from feast_hybrid.lakes import Router, Site
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.testing import AdlsLake
from tests.integration.faulty import MINUTES
from tests.integration.places import (
    Place,
    Places,
    abfs_speaks_to_azurite,
    entity,
    feature_store,
    format_jars,
    hour,
    retrieve,
    source,
    view,
)
from tests.integration.reliability import Row, reliability

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


@reliability(
    "HDFS",
    "a NameNode that refuses connections, when reading",
    "unavailable, with the site",
    "is unavailable: ",
)
@pytest.mark.parametrize("file_format", ["parquet", "json"])
def test_an_hdfs_that_is_down_is_named_with_its_site(
    spark: SparkSession, tmp_path: Path, file_format: str, promise: Row
) -> None:
    uri = f"hdfs://127.0.0.1:{closed_port()}"
    tries = {"dfs.client.failover.max.attempts": "1", "ipc.client.connect.max.retries": "0"}
    site = {"name": "onprem", "uri": uri, "options": tries}
    error = refusal(site, source("rows", f"{uri}/rows", file_format=file_format), tmp_path)
    assert type(error) is UnavailableError
    assert str(error).startswith(f"source 'rows': site 'onprem', {uri}/rows {promise.reads}")


@reliability(
    "HDFS",
    "a NameNode that refuses connections, when writing",
    "unavailable, with the view and the site",
    "unavailable: ",
)
@pytest.mark.parametrize("file_format", ["parquet", "orc"])
def test_a_write_to_an_hdfs_that_is_down_names_the_view_and_the_site(
    spark: SparkSession, tmp_path: Path, file_format: str, promise: Row
) -> None:
    uri = f"hdfs://127.0.0.1:{closed_port()}"
    tries = {"dfs.client.failover.max.attempts": "1", "ipc.client.connect.max.retries": "0"}
    store = feature_store([{"name": "onprem", "uri": uri, "options": tries}], tmp_path)
    key = entity("n")
    of = view("numbers", source("rows", f"{uri}/rows", file_format=file_format), key)
    rows = pa.table({"n": [1], "event_timestamp": pa.array([hour(0)])})
    with pytest.raises(WriteError, match=f"to site .onprem., {uri}/rows: .*{promise.reads}"):
        HybridSparkOfflineStore.offline_write_batch(store.config, of, rows, None)


@reliability(
    "Sign-in",
    "a lake that is not there, of either type, in `feast apply`",
    "an error within 35 seconds",
)
def test_validation_waits_not_much_longer_than_20_seconds_for_a_lake_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)

    def validate(folder: Path, port: int, lake: str) -> tuple[str, float]:
        folder.mkdir()
        site: dict[str, Any] = emulator(f"127.0.0.1:{port}", "lake@unheard.dfs.core.windows.net")
        if lake == "hdfs":
            # By themselves they wait for a failover: tests/integration/faults.
            tries = {"ipc.client.rpc-timeout.ms": "15000", "dfs.client.failover.max.attempts": "6"}
            site = {"name": "onprem", "uri": f"hdfs://127.0.0.1:{port}", "options": tries}
        config = feature_store([site], folder).config
        began = time.monotonic()
        with pytest.raises(UnavailableError) as refused:
            source("rows", f"{site['uri']}/rows").validate(config)
        return str(refused.value), time.monotonic() - began

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        # A silent ADLS is waited for longer: it may be busy. See faults/test_adls_without_spark.py.
        cases = [(closed_port(), "hdfs"), (closed_port(), "adls"), (silent.getsockname()[1], "hdfs")]
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
@reliability(
    "ADLS", "an account to which there is no connection", "an error after 20 s", "Check the host and the port"
)
def test_an_adls_that_is_down_is_named_with_its_site(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    tries = {"fs.azure.io.retry.max.retries": "0"}
    site = emulator(f"127.0.0.1:{closed_port()}", "lake@closedport.dfs.core.windows.net", options=tries)
    error = refusal(site, source("rows", site["uri"] + "/rows", file_format="json"), tmp_path)
    assert type(error) is UnavailableError
    assert "site 'cloud', abfs://lake@closedport.dfs.core.windows.net/rows is unavailable" in str(error)
    assert promise.reads in str(error)
    assert WRONG_KEY not in "".join(traceback.format_exception(error))


@MINUTES
@needs_azurite
@reliability(
    "ADLS",
    "an account that Spark alone finds refusing connections, or silent",
    "an error after 70 s, or 110 s: Spark looks twice",
    "fs.azure.io.retry.max.retries",
)
def test_spark_alone_gives_up_an_adls_that_refuses_or_is_silent(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)

    def read(account: str, port: int) -> tuple[HybridError, float]:
        site = Site.model_validate(emulator(f"127.0.0.1:{port}", f"lake@{account}.dfs.core.windows.net"))
        place = Router([site]).locate(f"{site.uri}/rows")
        path = spark_path(spark, place, "parquet")
        began = time.monotonic()
        with (
            pytest.raises(StorageError) as caught,
            translate_spark_errors("source 'rows'", place.describe(), [site]),
        ):
            spark.read.options(**path.settings).parquet(path.uri)
        return caught.value, time.monotonic() - began

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        cases = {"refusinglake": closed_port(), "silentlake": silent.getsockname()[1]}
        with ThreadPoolExecutor(len(cases)) as pool:
            found = dict(zip(cases, pool.map(read, *zip(*cases.items(), strict=True)), strict=True))
    for account, (error, _) in found.items():
        assert isinstance(error, UnavailableError)
        assert f"site 'cloud', abfs://lake@{account}.dfs.core.windows.net/rows" in str(error)
        assert promise.reads in str(error)
    times = {account: seconds for account, (_, seconds) in found.items()}
    assert times["refusinglake"] < 75, times
    assert times["silentlake"] < 115, times


@reliability(
    "Sign-in",
    "a wrong account key",
    "refused with the site, the credential and where the key is from, without the key",
    "does not accept the sign-in",
)
@needs_azurite
@pytest.mark.parametrize("file_format", ["parquet", "json"])
def test_a_wrong_key_is_said_to_be_refused_and_not_shown(
    spark: SparkSession, cloud: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_format: str, promise: Row
) -> None:
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    # Another container: Hadoop goes on using a file system that it has once opened with the right key.
    _, _, host = cloud.uri.removeprefix("abfs://").partition("@")
    site = emulator(cloud.lake.endpoint, f"wrong-{file_format}@{host}")  # type: ignore[union-attr]
    error = refusal(site, source("rows", site["uri"] + "/rows", file_format=file_format), tmp_path)
    assert type(error) is AuthenticationError
    assert f"site 'cloud', {site['uri']}/rows {promise.reads}" in str(error)
    assert "credential type 'emulator' with account_key from environment variable WRONG_KEY" in str(error)
    assert WRONG_KEY not in "".join(traceback.format_exception(error))


@reliability(
    "Sign-in",
    "a wrong account key while a dataset is saved",
    "refused with the site and the credential, without the key",
    "does not accept the sign-in",
)
@needs_azurite
@pytest.mark.parametrize("file_format", ["parquet", "delta"])
def test_a_sign_in_that_is_refused_while_saving_names_its_site_and_credential(
    lakes_to_test: Places,
    write: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file_format: str,
    promise: Row,
) -> None:
    if file_format == "delta" and not format_jars("delta"):
        pytest.skip("no release of Delta runs on this PySpark")
    monkeypatch.setenv("WRONG_KEY", WRONG_KEY)
    _, _, host = lakes_to_test.cloud.uri.removeprefix("abfs://").partition("@")
    assert isinstance(lakes_to_test.cloud.lake, AdlsLake)
    site = emulator(lakes_to_test.cloud.lake.endpoint, f"wrong-save-{file_format}@{host}")
    rows = source("rows", write(lakes_to_test.onprem, "rows", {"k": [1], "event_timestamp": [hour(0)], "f": [1]}))
    key = entity("k")
    store = feature_store([lakes_to_test.onprem.site(), site], tmp_path, key, view("stats", rows, key))
    job = retrieve(store, pd.DataFrame({"k": [1], "event_timestamp": [hour(1)]}), ["stats:f"])
    with pytest.raises(WriteError, match=f"site 'cloud' {promise.reads}") as caught:
        job.persist(SavedDatasetHybridSparkStorage(path=f"{site['uri']}/set", file_format=file_format))
    assert "credential type 'emulator' with account_key from environment variable WRONG_KEY" in str(caught.value)
    assert WRONG_KEY not in "".join(traceback.format_exception(caught.value))


def test_a_format_that_the_session_lacks_is_named(
    make_store: MakeStore, write: Write, onprem: Place, spark: SparkSession
) -> None:
    uri = write(onprem, "rows", {"k": [1]})
    with pytest.raises(SessionError, match=r"source 'rows' .*does not know this file format.*spark\.jars\.packages"):
        source("rows", uri, file_format="no_such_format").validate(make_store(file_formats=["no_such_format"]).config)
