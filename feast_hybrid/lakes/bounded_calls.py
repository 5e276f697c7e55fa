"""Calls that are given up after a time, on few threads: for clients that may wait for an answer without end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

#: Calls at once, answered or not. A call to a NameNode that is well takes milliseconds.
MAX_THREADS = 8


class HungError(TimeoutError):
    """All threads wait for answers that were given up: nothing more is asked until one comes."""


class _Call:
    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.done = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None
        self.started = False
        self.given_up = False


class BoundedCalls:
    """Runs functions on up to :data:`MAX_THREADS` daemon threads, and waits so long for each.

    A function that is given up goes on: a thread cannot be ended. It keeps its thread until it returns. The threads
    never keep the process from ending.

    Args:
        seconds: how long a caller waits.
        setting: what says so, for messages.
        name: of the threads.
    """

    def __init__(self, seconds: float, *, setting: str, name: str) -> None:
        self._seconds = seconds
        self._limit = f"{seconds:g} s ({setting})"
        self._name = name
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads = 0
        self._waiting = 0  # calls that no thread has begun
        self._idle = 0
        self._hung = 0
        self._hung_since = 0.0

    @property
    def hung(self) -> int:
        """How many threads wait for an answer that was given up."""
        return self._hung

    @property
    def seconds_hung(self) -> float:
        """For how long all threads have been waiting for answers that were given up; zero if not all are."""
        with self._lock:
            return time.monotonic() - self._hung_since if self._hung >= MAX_THREADS else 0.0

    def run(self, function: Callable[[], Any], seconds: float | None = None) -> Any:
        """What the function returns or raises.

        Args:
            function: to run.
            seconds: how long to wait, if not as long as usual.

        Raises:
            HungError: all threads wait for answers that were given up; the function was not begun.
            TimeoutError: the time is over. If the function was begun, it goes on.
        """
        call = _Call(function)
        with self._lock:
            if self._hung >= MAX_THREADS:
                raise HungError(f"timed out: {self._hung} earlier calls still have no answer within {self._limit}")
            self._waiting += 1
            if self._waiting > self._idle and self._threads < MAX_THREADS:
                self._threads += 1
                self._idle += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            self._calls.put(call)
        try:
            call.done.wait(self._seconds if seconds is None else seconds)
        finally:
            answered = self._has_answer(call)
        if not answered:
            raise TimeoutError(f"timed out: no answer within {self._limit}")
        if call.error is not None:
            raise call.error
        return call.result

    def close(self) -> None:
        """Have the threads end when they have nothing to do; calls after this are not answered."""
        # Without the lock: a garbage collection may call this where a thread holds it.
        for _ in range(self._threads):
            self._calls.put(None)

    def _has_answer(self, call: _Call) -> bool:
        """Whether there is an answer; if there is none yet, the call is given up."""
        with self._lock:
            if call.done.is_set():
                return True
            call.given_up = True
            if call.started:
                self._hung += 1
                self._hung_since = time.monotonic()
            return False

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            with self._lock:
                self._waiting -= 1
                if call.given_up:
                    continue
                self._idle -= 1
                call.started = True
            try:
                call.result = call.function()
            except BaseException as error:
                call.error = error
            with self._lock:
                call.done.set()
                self._idle += 1
                self._hung -= int(call.given_up)
            del call
