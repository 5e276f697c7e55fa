"""For how long the file systems that need no JVM wait for a lake that refuses, or that accepts and says nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.core.exceptions import AzureError

from feast_hybrid.errors import ConfigError, StorageTimeoutError, UnavailableError
from feast_hybrid.lakes import Site
from feast_hybrid.lakes.errors import classify_storage_error

SHORT_HDFS = {"dfs.client.failover.max.attempts": "0", "ipc.client.rpc-timeout.ms": "500"}
SHORT_ADLS = {"fs.azure.io.retry.max.retries": "0", "fs.azure.http.read.timeout": "500"}


@pytest.fixture
def refusing() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def hdfs(port: int, **options: str) -> Any:
    return Site(name="onprem", uri=f"hdfs://127.0.0.1:{port}", options=options).filesystem()


@pytest.fixture
def adls(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("THE_KEY", "a2V5")

    def make(port: int, **options: str) -> Any:
        credential = {"type": "emulator", "account_key": {"env": "THE_KEY"}, "endpoint": f"127.0.0.1:{port}"}
        uri = "abfs://lake@acct.dfs.core.windows.net"
        return Site.model_validate(
            {"name": "cloud", "uri": uri, "credential": credential, "options": options}
        ).filesystem()

    return make


def test_an_hdfs_that_refuses_is_given_up_after_the_tries_of_its_options(refusing: int) -> None:
    began = time.monotonic()
    with pytest.raises(OSError, match="Connection refused") as raised:
        hdfs(refusing, **SHORT_HDFS).ls("/a")
    assert time.monotonic() - began < 5
    assert classify_storage_error(raised.value) is UnavailableError


@pytest.mark.parametrize("method", ["ls", "info", "open", "du", "exists"])
def test_an_hdfs_that_is_silent_is_given_up_after_the_time_of_its_options(silent: int, method: str) -> None:
    files = hdfs(silent, **SHORT_HDFS)
    began = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        getattr(files, method)("/a")
    assert 0.4 < time.monotonic() - began < 5
    assert str(raised.value) == "timed out: no answer within 0.5 s (ipc.client.rpc-timeout.ms in the site's options)"
    assert classify_storage_error(raised.value) is StorageTimeoutError


@pytest.mark.parametrize(("server", "meaning"), [("refusing", UnavailableError), ("silent", StorageTimeoutError)])
def test_an_adls_that_does_not_answer_is_given_up_after_the_limits_of_its_options(
    adls: Any, server: str, meaning: type[UnavailableError], request: pytest.FixtureRequest
) -> None:
    files = adls(request.getfixturevalue(server), **SHORT_ADLS)
    began = time.monotonic()
    with pytest.raises(AzureError) as raised:
        files.ls("lake/a")
    assert time.monotonic() - began < 5
    assert classify_storage_error(raised.value) is meaning


@pytest.mark.parametrize("option", [*SHORT_ADLS, "ipc.client.rpc-timeout.ms", "fs.azure.http.connection.timeout"])
@pytest.mark.parametrize("value", ["30s", "-1", "1.5", ""])
def test_a_limit_is_a_whole_number(option: str, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Site(name="onprem", uri="hdfs://lake", options={option: value})
    assert str(refused.value) == f"site 'onprem': option {option!r} must be a whole number."
