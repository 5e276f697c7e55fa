"""Rows go from the executors to the online store: the driver's memory does not grow with them.

``MATERIALISE_ROWS=5000000`` says how many rows of each lake; 150,000 by default.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import yaml

from feast_hybrid.testing import start_spark
from feast_hybrid.testing.redis import RedisServer
from tests.integration.faulty import MINUTES
from tests.integration.places import START, Places, entity, feature_store, hour, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.conftest import Write

ROWS = int(os.environ.get("MATERIALISE_ROWS", "150000"))
LIMIT = 1.5 * 2**30

FEATURES = """
    from feast import Entity, FeatureView, ValueType
    from feast_hybrid import HybridSparkSource

    key = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)

    def view(name, uri):
        rows = HybridSparkSource(name=name + "_rows", path=uri, timestamp_field="event_timestamp")
        return FeatureView(name=name, entities=[key], source=rows)

    onprem = view("onprem", {onprem!r})
    cloud = view("cloud", {cloud!r})
"""


def rows(count: int, name: str) -> pa.Table:
    """One row for each key, a second apart from the other; the value is told by the key."""
    keys = np.arange(count)
    seconds = int(START.timestamp()) + keys % 3600
    return pa.table(
        {
            "key": keys,
            "event_timestamp": pa.array(seconds * 1_000_000, pa.timestamp("us", tz="UTC")),
            name: keys * 3,
        }
    )


def greatest_memory(process: subprocess.Popen[str], seconds: float) -> float:
    """The greatest sum of resident bytes of a process and all that it started, until it ends."""
    top, tree, deadline = 0.0, psutil.Process(process.pid), time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        total = 0
        try:
            for member in (tree, *tree.children(recursive=True)):
                try:
                    total += member.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
        except psutil.NoSuchProcess:
            break
        top = max(top, total)
        time.sleep(0.2)
    return top


# Of aiohttp, below adlfs: this test's files are larger than what other tests put onto a lake.
@MINUTES
@pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")
def test_the_driver_stays_small_while_the_executors_fill_the_online_store(
    lakes_to_test: Places, write: Write, tmp_path: Path
) -> None:
    tables = {}
    for place in lakes_to_test:
        name = place.site_name
        everything = rows(ROWS, name)
        for part, start in enumerate(range(0, ROWS, 250_000)):
            tables[name] = write(place, name, everything.slice(start, 250_000), file=f"part-{part}.parquet")
    (tmp_path / "data").mkdir()
    (tmp_path / "many_features.py").write_text(dedent(FEATURES).format(**tables))

    # A process of its own in any mode: the executors write to a file of this machine, and one at a time, as SQLite
    # wants it.
    with start_spark("process", cores=1) as cluster:
        settings = {**cluster.session_conf(), "spark.driver.memory": "640m", "spark.sql.shuffle.partitions": "8"}
        config = {
            "project": "many",
            "provider": "local",
            "registry": "data/registry.db",
            "online_store": {"type": "sqlite", "path": str(tmp_path / "data" / "online.db")},
            "offline_store": {
                "type": "feast_hybrid.HybridSparkOfflineStore",
                "engine": "spark",
                "sites": lakes_to_test.sites(),
            },
            "batch_engine": {"type": "spark.engine", **settings},
            "entity_key_serialization_version": 3,
        }
        (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
        feast = [sys.executable, "-m", "feast.cli.cli", "--chdir", str(tmp_path)]
        subprocess.run([*feast, "apply"], check=True, capture_output=True, timeout=300)
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [*feast, "materialize", hour(0).isoformat(), hour(5).isoformat()],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                top = greatest_memory(process, seconds=600 + ROWS / 1000)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
    assert process.returncode == 0, (tmp_path / "log").read_text()[-4000:]
    with closing(sqlite3.connect(tmp_path / "data" / "online.db")) as database:
        for name in tables:
            (count,) = database.execute(f"SELECT count(*) FROM many_{name}").fetchone()
            assert count == ROWS, name
    print(f"{ROWS:,} rows of each lake: the driver had {top / 2**30:.2f} GiB at most")
    assert 0.1 * 2**30 < top < LIMIT, f"{top / 2**30:.2f} GiB"


@pytest.mark.filterwarnings("ignore::DeprecationWarning:feast")
def test_executors_fill_a_redis(lakes_to_test: Places, write: Write, spark: SparkSession, tmp_path: Path) -> None:
    key = entity("key")
    views = [
        view(name, source(f"{name}_rows", write(place, name, rows(5000, name))), key)
        for name, place in (("onprem", lakes_to_test.onprem), ("cloud", lakes_to_test.cloud))
    ]
    with RedisServer() as redis:
        online: dict[str, Any] = {"type": "redis", "connection_string": redis.uri}
        store = feature_store(
            lakes_to_test.sites(),
            tmp_path,
            key,
            *views,
            repo={"batch_engine": {"type": "spark.engine"}, "online_store": online},
        )
        store.materialize(hour(0), hour(5))
        found = store.get_online_features(["onprem:onprem", "cloud:cloud"], [{"key": k} for k in (0, 4999, 5000)])
        assert found.to_dict() == {"key": [0, 4999, 5000], "onprem": [0, 14997, None], "cloud": [0, 14997, None]}
        store.teardown()
