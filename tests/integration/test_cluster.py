"""A Spark Standalone cluster whose workers hold this package: what runs in Python runs there, on both lakes.

The cluster runs as ``LAKES`` says: in containers the image's own Python is what its workers run.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.testing import AdlsLake, start_spark
from feast_hybrid.testing.redis import RedisServer
from tests.integration.places import Places, classic_only, hour, outside_of_spark
from tests.integration.spark_classes import SHORT_LIVED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Write

pytestmark = classic_only("a program whose driver is its own")

PROGRAM = """
import copy, json, os, sys
from pathlib import Path
import pandas as pd
from pyspark.sql import SparkSession
from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import AuthenticationError
from tests.integration.places import entity, feature_store, hour, retrieve, source, view

given = json.loads(sys.argv[1])
conf = given["conf"]
driver = entity("driver", join_key="driver_id")
views = [view(name, source(name + "_rows", path), driver) for name, path in given["tables"].items()]
online = {"type": "redis", "connection_string": given["redis"]}
store = feature_store(
    given["sites"], Path(given["folder"]), driver, *views,
    spark={"master": conf.pop("spark.master"), "conf": conf},
    repo={"batch_engine": {"type": "spark.engine"}, "online_store": online},
)
entity_rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
features = ["stats:trips", "moods:mood"]
job = retrieve(store, entity_rows, features)
history = job.to_df().sort_values("driver_id")
job.persist(SavedDatasetHybridSparkStorage(path=given["saved"]))
context = SparkSession.getActiveSession().sparkContext
executors = len(context._jsc.sc().statusTracker().getExecutorInfos()) - 1
store.materialize(hour(0), hour(5))
served = store.get_online_features(features, [{"driver_id": key} for key in (1, 2, 3)]).to_dict()


def answer(sites):
    job = retrieve(feature_store(sites, Path(given["folder"])), entity_rows, features)
    rows = job.to_df().sort_values("driver_id")[["trips", "mood"]].values.tolist()
    return {"plan": job.explain(), "rows": rows}


changed = {}
if given["key_variable"]:
    right = os.environ[given["key_variable"]]
    os.environ[given["key_variable"]] = given["wrong_key"]
    try:
        changed["wrong"] = answer(given["sites"])
    except AuthenticationError as error:
        changed["wrong"] = str(error)
    os.environ[given["key_variable"]] = right
    changed["right"] = answer(given["sites"])
    # Workers have the environment in which they were started.
    os.environ["CHANGED_KEY"] = right
    sites = copy.deepcopy(given["sites"])
    sites[1]["credential"]["account_key"] = {"env": "CHANGED_KEY"}
    changed["elsewhere"] = answer(sites)
rows = history[["trips", "mood"]].values.tolist()
found = {"plan": job.explain(), "history": rows, "online": served, "executors": executors, "master": context.master}
print(json.dumps({**found, "changed": changed}))
"""
WRONG_KEY = base64.b64encode(b"another key, 64 bytes long as the real ones are ................").decode()


def test_workers_join_by_columns_and_run_feast_s_spark_engine(
    lakes_to_test: Places, write: Write, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = f"{lakes_to_test.cloud.uri}{folder}/saved"
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)]}
    tables = {
        "stats": write(lakes_to_test.onprem, "stats", {**rows, "trips": [10, 20]}),
        "moods": write(lakes_to_test.cloud, "moods", {**rows, "mood": ["a", "b"]}),
    }
    cloud = lakes_to_test.cloud.lake
    key_variable = cloud.key_variable if isinstance(cloud, AdlsLake) else ""
    monkeypatch.setenv("CHANGED_KEY", WRONG_KEY)  # before the workers start
    with start_spark() as cluster, RedisServer() as redis:
        if not cluster.runs_python:
            pytest.skip("the image's Python is of another version than this one")
        environment = outside_of_spark()
        if cluster.mode == "container":
            del environment["PYSPARK_PYTHON"]  # it names this machine's
        given = {
            "sites": lakes_to_test.sites(),
            "tables": tables,
            "folder": str(tmp_path),
            "saved": saved,
            "conf": {**cluster.session_conf(), "spark.executor.extraJavaOptions": SHORT_LIVED},
            "redis": redis.uri,
            "key_variable": key_variable,
            "wrong_key": WRONG_KEY,
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(given)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-6000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for name, site in (("stats", "onprem"), ("moods", "cloud")):
        assert f"view '{name}': columnar" in found["plan"], found["plan"] + done.stderr[-3000:]
        assert f"files on site '{site}'" in found["plan"]
    assert found["master"].startswith("spark://")
    assert found["executors"] >= 1
    assert "_SUCCESS" in lakes_to_test.cloud.names(saved)
    assert found["history"] == [[10, "a"], [20, "b"]]
    assert found["online"] == {"driver_id": [1, 2, 3], "trips": [10, 20, None], "mood": ["a", "b", None]}
    if key_variable:
        changed = found["changed"]
        assert "site 'cloud'" in changed["wrong"]
        assert "does not accept the sign-in" in changed["wrong"]
        assert changed["right"]["rows"] == changed["elsewhere"]["rows"] == found["history"]
        assert "view 'moods': columnar" in changed["right"]["plan"]
        # The tasks' own Python would sign in with what it has: there Spark reads, with the key that it is given.
        assert re.search(
            r"view 'moods': columnar .*; rows by Spark: .*"
            r"CHANGED_KEY( is not set|\): a process has its environment from its start)",
            changed["elsewhere"]["plan"],
        )
