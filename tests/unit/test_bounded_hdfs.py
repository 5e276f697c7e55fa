"""A client of HDFS with an end to its waiting: which NameNode is asked, what is done again, and for how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from feast_hybrid.lakes import Site, bounded_hdfs
from feast_hybrid.lakes.answering import note_first
from feast_hybrid.lakes.bounded_hdfs import BoundedClient

LOST = OSError("RPC listener disconnected")
STANDBY = RuntimeError('RPCError("org.apache.hadoop.ipc.StandbyException", "state standby")')
STARTING = RuntimeError('RPCError("org.apache.hadoop.ipc.RetriableException", "NameNode still not started")')


class Servers:
    """NameNodes: each call is noted, and answered as told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str, str]] = []
        self.silent: set[int] = set()
        self.errors: list[BaseException] = []
        self.end = threading.Event()

    def connect(self, first: int) -> Any:
        def call(name: str) -> Callable[..., Any]:
            return lambda path, *_: self._answer(first, name, path)

        return SimpleNamespace(**{name: call(name) for name in ("get_file_info", "mkdirs", "rename", "delete")})

    def _answer(self, server: int, name: str, path: str) -> Any:
        self.calls.append((server, name, path))
        if server in self.silent:
            self.end.wait(20)
        if self.errors and name != "get_file_info":
            raise self.errors.pop(0)
        return SimpleNamespace(server=server)


@pytest.fixture
def servers() -> Iterator[Servers]:
    found = Servers()
    yield found
    found.end.set()


def test_a_question_that_one_namenode_leaves_open_is_put_to_the_next(servers: Servers) -> None:
    client = BoundedClient(servers.connect, 2.0, 2)
    servers.silent = {0}
    assert client.get_file_info("/a").server == 1
    assert client.get_file_info("/b").server == 1
    assert [call[0] for call in servers.calls] == [0, 1, 1]


def test_a_change_goes_to_the_namenode_that_answers(servers: Servers) -> None:
    client = BoundedClient(servers.connect, 2.0, 2)
    servers.silent = {0}
    client.rename("/a", "/b", False)
    assert servers.calls == [(0, "get_file_info", "/a"), (1, "get_file_info", "/a"), (1, "rename", "/a")]


def test_a_change_that_hangs_is_put_to_nobody_else(servers: Servers) -> None:
    client = BoundedClient(servers.connect, 0.5, 2)
    client.get_file_info("/a")
    servers.silent = {0}
    with pytest.raises(TimeoutError):
        client.rename("/a", "/b", False)
    assert servers.calls[1:] == [(0, "rename", "/a")]


@pytest.mark.parametrize(("method", "times"), [("mkdirs", 2), ("delete", 2), ("rename", 1)])
def test_what_may_be_done_twice_is_done_again_where_its_answer_was_lost(
    servers: Servers, method: str, times: int
) -> None:
    client = BoundedClient(servers.connect, 2.0)
    servers.errors = [LOST]
    arguments = {"mkdirs": ("/a", 0o755, True), "delete": ("/a", True), "rename": ("/a", "/b", False)}[method]
    if times == 1:
        with pytest.raises(OSError, match="disconnected"):
            getattr(client, method)(*arguments)
    else:
        getattr(client, method)(*arguments)
    assert [call[1] for call in servers.calls].count(method) == times


def test_a_namenode_that_asks_for_patience_gets_it(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_hdfs, "_PAUSE_SECONDS", 0.01)
    client = BoundedClient(servers.connect, 2.0)
    servers.errors = [STARTING, STARTING]
    client.mkdirs("/a", 0o755, True)
    assert [call[1] for call in servers.calls].count("mkdirs") == 3


def test_an_hdfs_that_was_waited_for_in_vain_is_not_waited_for_as_long_again_until_it_answers(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_hdfs, "_SECONDS_ONCE_AWAY", 0.1)
    client = BoundedClient(servers.connect, 1.0)
    servers.silent = {0}

    def seconds() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            client.get_file_info("/a")
        return time.monotonic() - began

    assert seconds() > 0.9
    assert seconds() < 0.5
    servers.silent = set()
    servers.end.set()
    assert client.get_file_info("/a")
    servers.end.clear()
    servers.silent = {0}
    assert seconds() > 0.9


def test_a_refusal_that_comes_at_once_leaves_the_patience_as_it_is(servers: Servers) -> None:
    client = BoundedClient(servers.connect, 1.0)
    servers.errors = [STANDBY]
    with pytest.raises(RuntimeError, match="StandbyException"):
        client.rename("/a", "/b", False)
    assert client._patience() == 1.0


def test_a_file_is_closed_once_so_that_a_garbage_collection_waits_for_no_lock(servers: Servers) -> None:
    closed: list[int] = []
    file = SimpleNamespace(close=lambda: closed.append(1))
    client = BoundedClient(lambda _: SimpleNamespace(create=lambda *_: file, get_file_info=lambda _: None), 2.0)
    opened = client.create("/a", SimpleNamespace(overwrite=True))
    opened.close()
    with client._calls._lock, client._lock:
        opened.close()
    assert closed == [1]


def test_spark_begins_with_the_namenode_that_is_asked_next() -> None:
    given = {"name": "onprem", "uri": "hdfs://heldstill", "namenodes": ["127.0.0.1:1", "127.0.0.1:2"]}
    site = Site.model_validate(given)
    names = "dfs.ha.namenodes.heldstill"
    assert site.hadoop_options()[names] == "nn1,nn2"
    note_first("heldstill", "nn2")
    assert site.hadoop_options()[names] == "nn2,nn1"
    assert Site.model_validate(given).hadoop_options()[names] == "nn2,nn1", "all sites of a nameservice alike"


class File:
    """An open file, whose DataNodes are away for some reads, each of which moves it all the same."""

    def __init__(self, lost: int, error: Exception) -> None:
        self.position, self.lost, self.error = 0, lost, error

    def tell(self) -> int:
        return self.position

    def seek(self, position: int) -> None:
        self.position = position

    def read(self, size: int) -> bytes:
        found = self.read_range(self.position, size)
        self.position += size
        return found

    def read_range(self, offset: int, size: int) -> bytes:
        if self.lost:
            self.lost -= 1
            self.position += 1
            raise self.error
        return b"0123456789"[offset : offset + size]


AWAY = RuntimeError('DataTransferError("All DataNodes failed: [DatanodeInfoProto {}]")')


def opened(file: File) -> Any:
    client = BoundedClient(lambda _: SimpleNamespace(read=lambda _: file), 2.0, 1)
    return client.read("/a")


def test_a_read_whose_datanodes_come_back_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_hdfs, "_FIRST_PAUSE_OF_READS", 0.01)
    file = File(2, AWAY)
    reader = opened(file)
    reader.seek(3)
    assert reader.read(4) == b"3456"
    assert reader.tell() == 7
    file.lost = 3
    assert reader.read_range(1, 2) == b"12"


def test_a_read_whose_datanodes_stay_away_ends_and_the_next_does_not_wait_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_hdfs, "_SECONDS_OF_READS", 0.3)
    monkeypatch.setattr(bounded_hdfs, "_FIRST_PAUSE_OF_READS", 0.05)
    file = File(1000, AWAY)
    reader = opened(file)
    with pytest.raises(RuntimeError, match="All DataNodes failed"):
        reader.read(4)
    assert 2 <= 1000 - file.lost <= 5
    monkeypatch.setattr(bounded_hdfs, "_SECONDS_ONCE_AWAY", 0.0)
    before = file.lost
    with pytest.raises(RuntimeError, match="All DataNodes failed"):
        reader.read_range(0, 1)
    assert before - file.lost == 1


def test_a_read_that_fails_otherwise_is_not_done_again() -> None:
    file = File(2, PermissionError("no"))
    with pytest.raises(PermissionError):
        opened(file).read(1)
    assert file.lost == 1
