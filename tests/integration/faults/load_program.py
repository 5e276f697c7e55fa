"""Retrievals and pushes of many threads on one session, and what the process and its JVM have gathered meanwhile.

``GIVEN`` is JSON: the sites, where the rows are, a folder, how many threads, and after how many operations of each
kind to count. The last line is JSON: what was counted each time, and what went wrong.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
from feast import PushSource
from feast.data_source import PushMode
from pyspark.sql import SparkSession

from tests.integration.batches import SCHEMA
from tests.integration.places import entity, feature_store, hour, retrieve, source, view

DRIVER = entity("driver", join_key="driver_id")


class Load:
    """Operations by number; each says what was wrong, or nothing."""

    def __init__(self, given: dict[str, Any]) -> None:
        views = [view(name, source(f"{name}_rows", uri), DRIVER) for name, uri in given["tables"].items()]
        pushes = [
            PushSource(name=f"pushes_{role}", batch_source=source(f"pushed_rows_{role}", uri))
            for role, uri in given["pushed"].items()
        ]
        pushed = [view(f"of_{each.name}", each, DRIVER, schema=SCHEMA) for each in pushes]  # type: ignore[arg-type]
        self._roles = [*given["pushed"]]
        self._stores = {}
        for strategy in ("columnar", "window"):
            folder = Path(given["folder"]) / strategy
            folder.mkdir()
            self._stores[strategy] = feature_store(
                given["sites"],
                folder,
                DRIVER,
                *views,
                *pushes,
                *pushed,
                spark={"master": "local[2]", "conf": given["conf"]},
                join={"strategy": strategy},
            )

    def retrieve(self, number: int) -> str | None:
        """Features of both lakes for a few rows, whose answer is told by the number."""
        dice = random.Random(number)
        keys = dice.sample(range(100), 3)
        hours = [dice.randrange(10) for _ in keys]
        frame: Any = pd.DataFrame({"driver_id": keys, "event_timestamp": [hour(each + 0.5) for each in hours]})
        form = ("columnar", "spark", "columnar", "window", "sql")[number % 5]
        if form == "spark":
            frame = SparkSession.active().createDataFrame(frame)
        elif form == "sql":
            rows = ", ".join(
                f"({key}L, timestamp'{time:%Y-%m-%d %H:%M:%S}Z')" for key, time in frame.itertuples(index=False)
            )
            frame = f"SELECT * FROM VALUES {rows} AS t(driver_id, event_timestamp)"
        store = self._stores["window" if form == "window" else "columnar"]
        table = retrieve(store, frame, ["stats:trips", "moods:mood"]).to_arrow()
        found = sorted(zip(*(table[name].to_pylist() for name in ("driver_id", "trips", "mood")), strict=True))
        right = sorted((key, 100 * each + key, f"mood {each} {key}") for key, each in zip(keys, hours, strict=True))
        return None if found == right else f"{form}: {found} and not {right}"

    def push(self, number: int) -> str | None:
        """A batch of three rows that have the number."""
        rows = {"driver_id": [1, 2, 3], "trips": [number] * 3, "event_timestamp": [hour(1)] * 3}
        role = self._roles[number % len(self._roles)]
        self._stores["columnar"].push(f"pushes_{role}", pd.DataFrame(rows), to=PushMode.OFFLINE)
        return None


def counted(folder: Path) -> dict[str, float]:
    """What a process and its JVM would gather that closed nothing. Memory is in MiB."""
    spark = SparkSession.active()
    context = spark.sparkContext
    java: Any = context._jvm
    gateway: Any = context._gateway
    gc.collect()
    for _ in range(3):  # Spark's cleaner removes what the one before has found
        java.System.gc()
        time.sleep(1)
    heap = java.java.lang.management.ManagementFactory.getMemoryMXBean().getHeapMemoryUsage()
    jvm = psutil.Process(gateway.proc.pid)
    python = psutil.Process()
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        "views": len(spark.catalog.listTables()),
        "threads": python.num_threads(),
        "threads of the JVM": jvm.num_threads(),
        "sockets": _sockets(python),
        "sockets of the JVM": _sockets(jvm),
        "file descriptors": python.num_fds(),
        "file descriptors of the JVM": jvm.num_fds(),
        "temporary files": len(files),
        "persisted frames": context._jsc.getPersistentRDDs().size(),
        "Python workers": len(jvm.children(recursive=True)),
        "MiB": python.memory_info().rss / 2**20,
        "MiB of the JVM": heap.getUsed() / 2**20,
        "MiB of Python workers": sum(each.memory_info().rss for each in jvm.children(recursive=True)) / 2**20,
    }


def _sockets(process: psutil.Process) -> int:
    folder = Path(f"/proc/{process.pid}/fd")
    links = []
    for name in os.listdir(folder):
        try:
            links.append(os.readlink(folder / name))
        except FileNotFoundError:
            continue
    return sum(link.startswith("socket:") for link in links)


def main() -> None:
    given = json.loads(sys.argv[1])
    load, wrong, done, counts = Load(given), [], 0, []
    load.retrieve(0)  # starts the session

    def tried(operation: Callable[[int], str | None], number: int) -> None:
        try:
            found = operation(number)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found is not None:
            wrong.append(f"{operation.__name__} {number}: {found}")

    with ThreadPoolExecutor(given["threads"]) as pool:
        for until in given["counts"]:
            began = time.monotonic()
            running = [
                pool.submit(tried, operation, number)
                for number in range(done, until)
                for operation in (load.retrieve, load.push)
            ]
            for each in running:
                each.result()
            done = until
            counts.append({**counted(Path(given["temporary"])), "seconds": time.monotonic() - began})
            print(counts[-1], file=sys.stderr, flush=True)
    print(json.dumps({"counts": counts, "wrong": wrong[:20]}))


if __name__ == "__main__":
    main()
