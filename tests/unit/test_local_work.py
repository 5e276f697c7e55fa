"""Threads of the local engine end when their work does, however it ends."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable

import pytest

from feast_hybrid.asof.local import work
from feast_hybrid.asof.local.work import DeadlineError, Watch, run_all


class Busy:
    """A worker whose items take long, unless the work is given up."""

    def __init__(self, watch: Watch, begin: Callable[[], None]) -> None:
        self._watch, self._begin = watch, begin

    def take(self, item: int) -> None:
        self._begin()
        until = time.monotonic() + 20 + item
        while time.monotonic() < until:
            time.sleep(0.01)
            self._watch.check()

    def finish(self) -> None:
        raise AssertionError("it was given up")


def own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("feast-hybrid-read-")]


def run(begin: Callable[[], None] = lambda: None, **more: float) -> None:
    watch = Watch()
    run_all(range(8), lambda: Busy(watch, begin), watch, threads=4, **more)


def test_an_interrupt_ends_all_threads() -> None:
    begun = threading.Barrier(4, _thread.interrupt_main)

    def begin() -> None:
        begun.wait(10)

    with pytest.raises(KeyboardInterrupt):
        run(begin)
    assert own_threads() == []


def test_the_deadline_ends_all_threads() -> None:
    with pytest.raises(DeadlineError):
        run(deadline=time.monotonic() + 0.2)
    assert own_threads() == []


def test_a_fault_of_one_thread_ends_all() -> None:
    begun = threading.Barrier(4)

    def begin() -> None:
        if begun.wait(10) == 0:
            raise OSError("no such row")

    with pytest.raises(OSError, match="no such row"):
        run(begin)
    assert own_threads() == []


def test_threads_that_were_started_end_where_no_more_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def start_two(thread: threading.Thread) -> None:
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run()
    assert own_threads() == []


def test_a_fault_is_told_while_another_thread_waits_for_a_lake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "_GRACE", 0.2)
    answers = threading.Event()

    class Waits:
        def take(self, item: int) -> None:
            if item:
                raise ValueError("broken")
            answers.wait(30)

        def finish(self) -> None:
            """Nothing came of it."""

    began = time.monotonic()
    with pytest.raises(ValueError, match="broken"):
        run_all([0, 1], Waits, Watch(), threads=2)
    assert time.monotonic() - began < 10
    answers.set()
