"""What the tests share that kill executors and drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from feast_hybrid.spark.formats import SETTINGS
from feast_hybrid.testing import SparkCluster
from feast_hybrid.testing.redis import RedisServer
from tests.integration.faults.killing import FILES, KEYS, Setting, Target
from tests.integration.faulty import faulty_lake
from tests.integration.places import (
    Place,
    format_jars,
    hour,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from feast_hybrid.testing import Lakes


@pytest.fixture(scope="module")
def setting(lakes: Lakes) -> Iterator[Setting]:
    with faulty_lake() as cloud, SparkCluster("process", cores=2) as cluster, RedisServer("process") as redis:
        yield Setting(cluster, redis, Place("onprem", lakes.hdfs), cloud)


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
    of_formats = [name for name in ("delta", "iceberg") if format_jars(name)]
    conf = setting.cluster.session_conf()
    jars = [conf["spark.jars"], *(jar for name in of_formats for jar in format_jars(name))]
    conf |= SETTINGS["delta"] if "delta" in of_formats else {}
    given = {
        "sites": [onprem.site(), setting.cloud.site()],
        "tables": {"stats": f"{uris['onprem']}/stats", "moods": f"{uris['cloud']}/moods"},
        "target": uris["cloud"],
        "sets": {
            "onprem": f"{uris['onprem']}/set",
            "cloud": f"{uris['cloud']}/set",
            "delta": f"{uris['onprem']}/delta",
            "iceberg": f"{uris['onprem']}/iceberg",
        },
        "master": conf.pop("spark.master"),
        "conf": {
            **conf,
            "spark.jars": ",".join(jars),
            "spark.executor.memory": "640m",
            "spark.cores.max": "2",
            "spark.sql.shuffle.partitions": "2",
        },
        "redis": setting.redis.uri,
        "hour": FILES,
        "folder": str(tmp_path / "driver"),
    }
    return Target(given, uris)
