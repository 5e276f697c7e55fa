"""Work that is shared out among threads of this process, and ends when it is done, fails, or is given up."""

from __future__ import annotations

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)
Found_co = TypeVar("Found_co", covariant=True)
Item = TypeVar("Item")
Found = TypeVar("Found")

#: Where Linux says how much memory a container has: of the second and of the first version of control groups.
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

#: And how many microseconds of each period it may use of cores, or "max".
_CONTAINER_CORES = Path("/sys/fs/cgroup/cpu.max")

#: Threads that read from servers, at the most, but for machines with more cores.
_MOST_FAR = 16
#: Seconds for which threads are waited for that were told to stop: each looks after a batch of rows. Who waits for a
#: lake does not look; such a thread ends by itself, and keeps no process from ending.
_GRACE = 1.0
#: Seconds after which the waiting thread looks whether it was interrupted.
_LOOK = 0.1


class GivenUpError(Exception):
    """The work was given up, in a thread that notices it."""


class DeadlineError(Exception):
    """The time is over."""


class MemoryLimitError(Exception):
    """The rows that are kept take more memory than they may.

    Attributes:
        size: Bytes that they take by now, about.
        limit: Those that they may take.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size:,} bytes of rows are held, and {limit:,} may be")
        self.size, self.limit = size, limit


class HeldMemory:
    """How many bytes all threads keep of rows, beside those that they are looking through.

    Args:
        limit: How many they may keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._held = 0

    def add(self, size: int) -> None:
        """Count more bytes, before they are taken where that can be; fewer where it is below zero.

        Raises:
            MemoryLimitError: They are too many now.
        """
        with self._lock:
            self._held += size
            held = self._held
        if size > 0 and held > self._limit:
            raise MemoryLimitError(held, self._limit)


class Watch:
    """Whether the work is still wanted.

    Args:
        advanced: Called with the bytes of each part that is done.
    """

    def __init__(self, advanced: Callable[[float], None] | None = None) -> None:
        self._given_up = threading.Event()
        self._advanced = advanced
        self._lock = threading.Lock()

    def give_up(self) -> None:
        """Have the threads stop at the next batch of rows."""
        self._given_up.set()

    def check(self) -> None:
        """Raise where the work was given up.

        Raises:
            GivenUpError: It was.
        """
        if self._given_up.is_set():
            raise GivenUpError

    def advance(self, size: float) -> None:
        """Tell that a part of so many bytes is done."""
        if self._advanced is not None:
            with self._lock:
                self._advanced(size)


class Worker(Protocol[Item_contra, Found_co]):
    """What one thread does."""

    def take(self, item: Item_contra) -> None:
        """Do one item."""

    def finish(self) -> Found_co:
        """What came of all items that this thread has done."""


def cores() -> int:
    """How many threads can run at once: as many as the machine has cores, or as its container may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    found = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = _CONTAINER_CORES.read_text().split()
        if quota != "max":
            found = min(found, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, found)


def threads_for(*, far: bool) -> int:
    """How many threads read at once where nobody says it: one for each core.

    Args:
        far: Whether files are on servers. Then there are twice as many, up to 16, or the cores if these are more: a
            thread waits for the servers half of the time (docs/adr/0016 has the figures).
    """
    found = cores()
    return max(found, min(2 * found, _MOST_FAR)) if far else found


def machine_memory() -> int:
    """Bytes of memory that this process can have: the machine's, or its container's where that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CONTAINER_LIMITS:
        try:
            limit = path.read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            found = min(found, int(limit))
    return found


def run_all(
    items: Sequence[Item],
    make_worker: Callable[[], Worker[Item, Found]],
    watch: Watch,
    *,
    threads: int,
    deadline: float | None = None,
) -> list[Found]:
    """Do all items on some threads, each of which takes the next one when it has done one.

    Args:
        items: In the order in which they are begun.
        make_worker: Makes what a thread does; called in the thread.
        watch: Which the workers look at.
        threads: How many, at the most.
        deadline: By :func:`time.monotonic`; None for none.

    Returns:
        What each thread's worker came to, in no particular order.

    Raises:
        DeadlineError: The time was over.
        Exception: The first that a worker raised. In each case all threads have ended, but for one that waits for a
            lake, which ends when that answers or its time-out is over.
    """
    waiting: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    results: list[Found] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            worker = make_worker()
            while True:
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    break
                watch.check()
                worker.take(item)
            results.append(worker.finish())
        except GivenUpError:
            pass
        except BaseException as error:  # raised again by who waits
            errors.append(error)
            watch.give_up()

    running = [
        threading.Thread(target=work, name=f"feast-hybrid-read-{n}", daemon=True)
        for n in range(max(1, min(threads, len(items))))
    ]
    try:
        for thread in running:
            thread.start()
        _wait(running, errors, deadline)
    except BaseException:  # an interrupt too, and that there are no more threads
        watch.give_up()
        _join([thread for thread in running if thread.ident is not None], time.monotonic() + _GRACE)
        raise
    if errors:
        _join(running, time.monotonic() + _GRACE)
        raise errors[0]
    return results


def _wait(running: Sequence[threading.Thread], errors: Sequence[BaseException], deadline: float | None) -> None:
    """Wait until all threads have ended, or one has failed."""
    for thread in running:
        while thread.is_alive() and not errors:
            if deadline is not None and time.monotonic() > deadline:
                raise DeadlineError
            thread.join(_LOOK)


def _join(running: Sequence[threading.Thread], until: float) -> None:
    for thread in running:
        thread.join(max(0.0, until - time.monotonic()))
