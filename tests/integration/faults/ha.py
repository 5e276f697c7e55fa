"""An HDFS with two NameNodes, and what happens to them while a verb of Feast's is at work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from feast_hybrid.testing.ha_hdfs import NAMENODES, HaHdfsLake
from tests.integration.batches import DRIVER, rows, stats
from tests.integration.places import Place, feature_store

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore

#: A failover takes so long by itself: two programs of Hadoop's.
TOOLS = 3.0


def active(lake: HaHdfsLake) -> str:
    """The NameNode that is active."""
    (found,) = [name for name, state in lake.states().items() if state == "active"]
    return found


def other(namenode: str) -> str:
    (found,) = [name for name in NAMENODES if name != namenode]
    return found


@contextmanager
def gap(lake: HaHdfsLake, seconds: float, *, dies: bool = False, waits: bool = True) -> Iterator[None]:
    """No NameNode is active for so long, from the beginning of the context on; then the other one is.

    Args:
        lake: whose.
        seconds: from when the one is no more active until the other one is.
        dies: whether the one ends, so that nothing listens on its port, or is standby.
        waits: whether what is done within has to end after that: a verb that needed no NameNode would show nothing.
    """
    first = active(lake)
    if dies:
        lake.stop_service(first)
    else:
        lake.transition(first, "standby")
    began = time.monotonic()
    ended: list[float] = []

    def take_over() -> None:
        time.sleep(max(seconds - TOOLS, 0))
        lake.transition(other(first), "active")
        ended.append(time.monotonic())

    thread = threading.Thread(target=take_over)
    thread.start()
    try:
        yield
        done = time.monotonic()
    finally:
        thread.join()
        if dies:
            lake.start_service(first)
            wait_for_standby(lake, first)
    assert ended[0] - began > seconds - TOOLS
    assert not waits or done > ended[0] - TOOLS, "what was done did not wait for a NameNode"


def wait_for_standby(lake: HaHdfsLake, namenode: str) -> None:
    deadline = time.monotonic() + 60
    while lake.states()[namenode] != "standby":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def place_on(lake: HaHdfsLake) -> Place:
    return Place("onprem", lake)


def store_on(lake: HaHdfsLake, folder: Path, uri: str, *more: Any, **offline_store: Any) -> FeatureStore:
    """A store whose one view has five rows at a place of the lake."""
    place_on(lake).write(uri, rows(*range(1, 6)))
    return feature_store([lake.site("onprem")], folder, DRIVER, stats(uri), *more, **offline_store)
