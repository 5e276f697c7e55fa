"""Calls to a server that may never answer: given up after a time, on few threads, and no reason to stay alive."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from feast_hybrid.errors import StorageTimeoutError
from feast_hybrid.lakes import Site, bounded_hdfs
from feast_hybrid.lakes.bounded_calls import MAX_THREADS, BoundedCalls, HungError
from feast_hybrid.lakes.errors import classify_storage_error

NAME = "feast-hybrid-test"


def threads(name: str = NAME) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    return condition()


def fail() -> None:
    raise KeyError("x")


@pytest.fixture
def calls() -> Iterator[BoundedCalls]:
    made = BoundedCalls(0.1, setting="the.limit", name=NAME)
    yield made
    made.close()


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """Until it is set, nothing is answered."""
    event = threading.Event()
    yield event
    event.set()


def test_what_the_function_returns_or_raises_is_given_on(calls: BoundedCalls) -> None:
    assert calls.run(lambda: 7) == 7
    with pytest.raises(KeyError, match="x"):
        calls.run(fail)


def test_calls_one_after_another_take_one_thread(calls: BoundedCalls) -> None:
    assert [calls.run(partial(abs, number)) for number in range(50)] == list(range(50))
    assert threads() <= 2  # a thread may not be waiting again when the next call comes


def test_many_calls_at_once_wait_for_each_other() -> None:
    calls = BoundedCalls(30, setting="the.limit", name=NAME)
    done: list[int] = []

    def work(number: int) -> None:
        time.sleep(0.005)
        done.append(number)

    def call(number: int) -> None:
        calls.run(partial(work, number))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(40)]
    for thread in callers:
        thread.start()
    assert threads() <= MAX_THREADS
    for thread in callers:
        thread.join()
    assert sorted(done) == list(range(40))
    calls.close()


def test_when_all_threads_wait_in_vain_a_call_fails_at_once_until_an_answer_comes(
    calls: BoundedCalls, answer: threading.Event
) -> None:
    for _ in range(MAX_THREADS):
        with pytest.raises(TimeoutError, match=r"timed out: no answer within 0\.1 s \(the\.limit\)"):
            calls.run(answer.wait)
    assert calls.hung == MAX_THREADS
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(HungError, match=r"timed out: 8 earlier calls still have no answer within 0\.1 s"):
            calls.run(answer.wait)
    assert time.monotonic() - began < 1
    assert threads() == MAX_THREADS
    assert calls.seconds_hung > 0
    answer.set()
    assert eventually(lambda: calls.hung == 0)
    assert calls.run(lambda: 7) == 7
    assert calls.seconds_hung == 0


def test_a_call_that_no_thread_has_begun_is_dropped_when_it_is_given_up(answer: threading.Event) -> None:
    calls = BoundedCalls(30, setting="the.limit", name=NAME)
    entered: list[int] = []

    def wait() -> None:
        entered.append(1)
        answer.wait()

    callers = [threading.Thread(target=calls.run, args=(wait,)) for _ in range(MAX_THREADS)]
    for thread in callers:
        thread.start()
    assert eventually(lambda: len(entered) == MAX_THREADS)
    begun: list[int] = []
    with pytest.raises(TimeoutError):
        calls.run(lambda: begun.append(1), 0.1)
    answer.set()
    for thread in callers:
        thread.join()
    assert calls.run(lambda: 7) == 7
    assert begun == []
    calls.close()


def test_threads_end_when_the_pool_is_closed() -> None:
    calls = BoundedCalls(1, setting="the.limit", name="feast-hybrid-closed")
    calls.run(lambda: None)
    assert threads("feast-hybrid-closed") == 1
    calls.close()
    assert eventually(lambda: threads("feast-hybrid-closed") == 0)


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def process_threads() -> int:
    """All threads of this process, those of Rust included."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


class TestNameNode:
    def site(self, port: int) -> Site:
        options = {"dfs.client.failover.max.attempts": "0", "ipc.client.rpc-timeout.ms": "100"}
        return Site(name="onprem", uri=f"hdfs://127.0.0.1:{port}", options=options)

    def test_fifty_questions_to_one_that_hangs_take_a_bounded_number_of_threads(self, silent: int) -> None:
        site = self.site(silent)
        assert site.filesystem()
        before = process_threads()
        for _ in range(50):
            with pytest.raises(TimeoutError) as raised:
                site.filesystem().info("/a")
            assert classify_storage_error(raised.value) is StorageTimeoutError
        assert process_threads() - before <= MAX_THREADS + 8, "and hdfs-native's own, one for each processor"
        assert threads("feast-hybrid-hdfs") == MAX_THREADS
        assert isinstance(raised.value, HungError)

    def test_after_a_while_a_new_client_is_tried_and_not_for_ever(
        self, silent: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounded_hdfs, "_SECONDS_UNTIL_NEW_CLIENT", 0.0)
        site = self.site(silent)
        assert eventually(lambda: threads("feast-hybrid-hdfs") == 0), "those of others end with their connections"
        monkeypatch.setattr("feast_hybrid.lakes.bounded_calls.MAX_THREADS", 2)
        for _ in range(30):
            with pytest.raises(TimeoutError):
                site.filesystem().info("/a")
        assert threads("feast-hybrid-hdfs") == 2 * (bounded_hdfs._MAX_HUNG_CLIENTS + 1)
        with pytest.raises(HungError):
            site.filesystem().info("/a")

    def test_the_end_of_the_process_waits_for_no_answer(self, silent: int) -> None:
        program = (
            "from feast_hybrid.lakes import Site\n"
            f"site = Site(name='onprem', uri='hdfs://127.0.0.1:{silent}', "
            "options={'ipc.client.rpc-timeout.ms': '100'})\n"
            "try:\n    site.filesystem().info('/a')\nexcept TimeoutError:\n    print('timed out')\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == "timed out\n"
