"""Drivers on Spark Standalone for tests that kill them or their executors, and what they leave on the lakes.

The cluster's executors are processes of this machine. ADLS is read and written through a proxy that delays each
request, so that a verb's tasks run for seconds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.lakes import Router, Site
from feast_hybrid.lakes.leftovers import find_leftovers
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.testing import Fault, SparkCluster
from tests.integration.faults.killed_program import of_application
from tests.integration.faulty import MINUTES, Lake, located
from tests.integration.places import (
    Place,
    abfs_speaks_to_azurite,
    classic_only,
    format_jars,
    outside_of_spark,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from feast_hybrid.testing.redis import RedisServer


MARKS = [
    MINUTES,
    classic_only("a driver of its own"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark"),
]

FILES = 12
KEYS = range(10)
SLOW = (Fault("delay", "GET", r"moods/.*parquet", seconds=0.4), Fault("delay", "PUT", seconds=0.3))
RIGHT = [[(FILES - 1) * 10 + key for key in KEYS], [f"mood {FILES - 1} {key}" for key in KEYS]]


class Setting(NamedTuple):
    """Where the drivers run, and what is on the lakes."""

    cluster: SparkCluster
    redis: RedisServer
    onprem: Place
    cloud: Lake


class Target(NamedTuple):
    """What a driver is given, and where it writes."""

    given: dict[str, Any]
    uris: dict[str, str]

    def with_verbs(self, *verbs: str, kill_executors: bool = False) -> str:
        return json.dumps({**self.given, "verbs": verbs, "kill_executors": kill_executors})


EACH_FORMAT = [
    pytest.param(
        f"persist {name}",
        marks=pytest.mark.skipif(not format_jars(name), reason=f"no release of {name} runs on this PySpark"),
    )
    for name in ("delta", "iceberg")
]


@contextmanager
def driver(given: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """The program, in a group of processes of its own, its JVM among them."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.integration.faults.killed_program", given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=outside_of_spark(),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a driver, with its JVM and all."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def kill_driver(
    setting: Setting, target: Target, tmp_path: Path, verb: str, seen: Callable[[], bool] | None = None
) -> None:
    """Run a verb in a driver, and kill that once its tasks have run for a moment, or something is seen; its executors
    end.
    """
    log = tmp_path / "killed"
    with setting.cloud.proxy.having(*SLOW), driver(target.with_verbs(verb), log) as process:
        assert process.stdout is not None
        started = process.stdout.readline().split()
        assert started[:1] == ["started"], log.read_text()[-6000:]
        if seen is None:
            assert any(line == f"runs {verb}\n" for line in process.stdout), log.read_text()[-6000:]
        while seen is not None and not seen():
            assert process.poll() is None, log.read_text()[-6000:]
            time.sleep(0.02)
        kill(process)
    deadline = time.monotonic() + 60
    while of_application(started[1]):
        assert time.monotonic() < deadline, "its executors go on"
        time.sleep(0.2)
    time.sleep(1)  # requests that were on their way


def again(target: Target, tmp_path: Path, verb: str) -> Any:
    """Run a verb to its end."""
    with driver(target.with_verbs(verb), tmp_path / "again") as process:
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, (tmp_path / "again").read_text()[-6000:]
    return json.loads(printed.splitlines()[-1])["result"]


def find(setting: Setting, role: str, uri: str) -> list[Any]:
    place = setting.onprem if role == "onprem" else setting.cloud.place
    return find_leftovers(located(place.site(), uri), older_than=timedelta(0))


def left_at(setting: Setting, role: str, uri: str) -> list[str]:
    return [f"{each.location}: {each.what}" for each in find(setting, role, uri)]


def files_below(place: Place, uri: str) -> list[str]:
    """The files of a folder and its partitions, relative to it; none where there is no folder."""
    filesystem, inside = place.lake.filesystem(), place.inside(uri)
    found = filesystem.find(inside) if filesystem.exists(inside) else []
    return sorted(path.split(f"{inside.strip('/')}/", 1)[1] for path in found)


def read(place: Place, uri: str) -> pa.Table:
    """A file's rows; its URI may lead through the proxy's."""
    content = place.lake.filesystem().cat_file(place.inside(uri))
    return pq.read_table(pa.BufferReader(content))


def by_spark(spark: SparkSession, setting: Setting, target: Target, name: str) -> pa.Table:
    """What this store's reader finds of a set, in order of its drivers."""
    place = setting.cloud.place if name == "cloud" else setting.onprem
    of = HybridSparkSource(
        name="set",
        path=target.given["sets"][name],
        file_format=name if name in ("delta", "iceberg") else "parquet",
        timestamp_field="event_timestamp",
    )
    router = Router([Site.model_validate(place.site())])
    return Reader(spark, router).read(source_spec(of, router)).orderBy("driver_id").toArrow()


def check_set(setting: Setting, target: Target, role: str) -> None:
    """Compare a saved dataset, as it lies on its lake."""
    place, uri = setting.onprem if role == "onprem" else setting.cloud.place, target.given["sets"][role]
    names = place.names(uri)
    assert not [name for name in names if name.startswith(BEING_REPLACED)]
    tables = [read(place, f"{uri}/{name}") for name in names if name.endswith(".parquet")]
    check_rows(pa.concat_tables(tables))


def check_rows(table: pa.Table) -> None:
    found = table.sort_by("driver_id")
    assert found["driver_id"].to_pylist() == [*KEYS]
    assert [found["trips"].to_pylist(), found["mood"].to_pylist()] == RIGHT
