"""Executors and drivers that are killed in the middle of each verb, on Spark Standalone.

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
from feast_hybrid.lakes import Router, Site, replace_adls
from feast_hybrid.lakes.leftovers import find_leftovers, remove_leftovers
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.testing import Fault, SparkCluster
from feast_hybrid.testing.redis import RedisServer
from tests.integration.batches import rows
from tests.integration.faults.killed_program import KILLS, of_application
from tests.integration.faulty import MINUTES, Lake, faulty_lake, located
from tests.integration.places import (
    Place,
    abfs_speaks_to_azurite,
    classic_only,
    hour,
    outside_of_spark,
)
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from feast_hybrid.testing import Lakes

pytestmark = [
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


@pytest.fixture(scope="module")
def setting(lakes: Lakes) -> Iterator[Setting]:
    with faulty_lake() as cloud, SparkCluster("process", cores=2) as cluster, RedisServer("process") as redis:
        yield Setting(cluster, redis, Place("onprem", lakes.hdfs), cloud)


class Target(NamedTuple):
    """What a driver is given, and where it writes."""

    given: dict[str, Any]
    uris: dict[str, str]

    def with_verbs(self, *verbs: str, kill_executors: bool = False) -> str:
        return json.dumps({**self.given, "verbs": verbs, "kill_executors": kill_executors})


@pytest.fixture
def target(setting: Setting, folder: str, tmp_path: Path) -> Target:
    onprem, cloud = setting.onprem, setting.cloud.place
    uris = {"onprem": f"{onprem.uri}{folder}", "cloud": f"{cloud.uri}{folder}"}
    for number in range(FILES):
        keys = {"driver_id": [*KEYS], "event_timestamp": [hour(number)] * len(KEYS)}
        trips = {**keys, "trips": [number * 10 + key for key in KEYS]}
        moods = {**keys, "mood": [f"mood {number} {key}" for key in KEYS]}
        onprem.write(f"{uris['onprem']}/stats", trips, file=f"part-{number}.parquet")
        cloud.write(f"{uris['cloud']}/moods", moods, file=f"part-{number}.parquet")
    conf = setting.cluster.session_conf()
    given = {
        "sites": [onprem.site(), setting.cloud.site()],
        "tables": {"stats": f"{uris['onprem']}/stats", "moods": f"{uris['cloud']}/moods"},
        "target": uris["cloud"],
        "sets": {
            "onprem": f"{uris['onprem']}/set",
            "cloud": f"{uris['cloud']}/set",
        },
        "master": conf.pop("spark.master"),
        "conf": {
            **conf,
            "spark.executor.memory": "640m",
            "spark.cores.max": "2",
            "spark.sql.shuffle.partitions": "2",
        },
        "redis": setting.redis.uri,
        "hour": FILES,
        "folder": str(tmp_path / "driver"),
    }
    return Target(given, uris)


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


@reliability(
    "Executors and drivers",
    "executors are killed in the middle of each verb, twice: retrieval (columnar, window), materialize "
    "(local engine, "
    "`spark.engine`), persist, batches that Spark writes, exports",
    "Spark runs their tasks again: the answers are right, no row is lost or twice, and nothing is left behind",
)
@pytest.mark.parametrize(
    "verbs",
    [
        ["columnar", "window"],
        ["materialize", "spark.engine"],
        ["persist onprem", "persist cloud", "export", "batch by Spark"],
    ],
    ids=["retrieval", "materialize", "writes"],
)
def test_killed_executors_lose_nothing(setting: Setting, target: Target, tmp_path: Path, verbs: list[str]) -> None:
    found = with_killed_executors(setting, target, tmp_path, verbs)
    for verb in verbs:
        if found[verb]["result"] is not None and verb != "export":
            assert found[verb]["result"] == RIGHT, verb
        if verb != "batch by Spark":  # its one task may be over before
            assert found[verb]["killed"], verb
    assert sum(each["killed"] for each in found.values()) > len(verbs) / 2, f"of {KILLS} each"
    for role in [verb.removeprefix("persist ") for verb in verbs if verb.startswith("persist")]:
        check_set(setting, target, role)
    if "export" in verbs:
        table = pa.concat_tables([read(setting.cloud.place, uri) for uri in found["export"]["result"]])
        check_rows(table)
    if "batch by Spark" in verbs:
        assert len(setting.cloud.place.names(f"{target.uris['cloud']}/texts")) == 1
    for role, uri in target.uris.items():
        assert left_at(setting, role, uri) == []


def with_killed_executors(
    setting: Setting, target: Target, tmp_path: Path, verbs: list[str]
) -> dict[str, dict[str, Any]]:
    log = tmp_path / "log"
    given = target.with_verbs(*verbs, kill_executors=True)
    with setting.cloud.proxy.having(*SLOW), driver(given, log) as process:
        assert process.stdout is not None
        printed = [line for line in process.stdout if line.startswith("{")]
        process.wait(60)
    assert process.returncode == 0, log.read_text()[-6000:]
    return {each["verb"]: each for each in map(json.loads, printed)}


@reliability(
    "Executors and drivers",
    "the driver is killed in the middle of a retrieval, or of materialize (local engine, `spark.engine`)",
    "its executors end, and nothing is left on the lakes; asked again the answer is right",
)
@pytest.mark.parametrize("verb", ["columnar", "window", "materialize", "spark.engine"])
def test_a_driver_that_is_killed_while_it_reads_leaves_nothing(
    setting: Setting, target: Target, tmp_path: Path, verb: str
) -> None:
    kill_driver(setting, target, tmp_path, verb)
    for role, uri in target.uris.items():
        assert left_at(setting, role, uri) == []
    assert again(target, tmp_path, verb) == RIGHT


@reliability(
    "Executors and drivers",
    "the driver is killed while it saves a dataset, on each lake",
    "readers see the rows that were there before; `feast-hybrid doctor` finds what is left, and removes "
    "it on request; saved again all is there, once",
)
@pytest.mark.parametrize("verb", ["persist onprem", "persist cloud"])
def test_a_driver_that_is_killed_while_it_writes_leaves_what_was_there(
    setting: Setting, target: Target, tmp_path: Path, spark: SparkSession, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "onprem" if verb == "persist onprem" else "cloud"
    place = setting.onprem if role == "onprem" else setting.cloud.place
    old = rows(1, 2, 3, 4, 5)
    place.write(f"{target.uris[role]}/set", old)

    def seen() -> bool:
        """Whether rows are being written beside their place."""
        return any(name.endswith(".writing") for name in place.names(target.uris[role]))

    kill_driver(setting, target, tmp_path, verb, seen)

    # Nothing half-written is read.
    assert by_spark(spark, setting, target, role)["trips"].to_pylist() == [1, 2, 3, 4, 5]
    found = left_at(setting, role, target.uris[role])
    assert found, "the driver was killed too early or too late"

    # What is left is found, and removed; the rows are still there.
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    assert remove_leftovers(find(setting, role, target.uris[role])) == []
    assert left_at(setting, role, target.uris[role]) == []
    assert by_spark(spark, setting, target, role)["trips"].to_pylist() == [1, 2, 3, 4, 5]

    again(target, tmp_path, verb)
    check_set(setting, target, role)
    assert left_at(setting, role, target.uris[role]) == []


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
