"""Ctrl-C while rows are collected or written: the caller has control again, and Spark's job has ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.testing import session_conf
from tests.integration.places import Place, on_connect
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.connect

#: Runs a job of many minutes in each way, and says on its standard output when it runs and when none runs any more.
SCRIPT = """
import json, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background may have it ignored
from pyspark.sql import SparkSession
from feast_hybrid import HybridSparkOfflineStoreConfig, SavedDatasetHybridSparkStorage
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.spark.session import get_session
from tests.integration.jobs import ClassicJobs, ended

settings = json.loads(sys.stdin.readline())
config = HybridSparkOfflineStoreConfig(sites=settings["sites"], spark=settings["spark"])
spark = get_session(config.spark, config.router)
if settings["server"]:
    from tests.integration.jobs import ConnectJobs
    from feast_hybrid.testing import SparkConnectServer
    server = SparkConnectServer("process")
    server.web_port = settings["server"]
    jobs = ConnectJobs(server)
else:
    jobs = ClassicJobs(spark)

def say_when_it_runs():
    while not jobs.running():
        time.sleep(0.2)
    print("runs", flush=True)

slow = spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7) AS total")
job = HybridSparkRetrievalJob(
    FrameRows(slow, "a slow sum"), router=config.router, staging_location=settings["staging"]
)
ways = {
    "to_df": job.to_df,
    "to_arrow": job.to_arrow,
    "persist": lambda: job.persist(SavedDatasetHybridSparkStorage(path=settings["saved"])),
    "to_remote_storage": job.to_remote_storage,
}
for name in settings["ways"]:
    threading.Thread(target=say_when_it_runs, daemon=True).start()
    try:
        ways[name]()
    except KeyboardInterrupt:
        print(name, "idle" if ended(jobs) else f"still runs {jobs.running()}", flush=True)
print(spark.range(3).count(), flush=True)
"""


@reliability(
    "Executors and drivers",
    "Ctrl-C while rows are collected, saved or exported",
    "Spark's job ends, the session goes on, and nothing is left behind",
)
def test_ctrl_c_ends_the_job_and_the_session_goes_on(
    request: pytest.FixtureRequest, cloud: Place, folder: str, tmp_path: Path
) -> None:
    ways = ["to_df", "to_arrow", "persist", "to_remote_storage"]
    settings = {
        "sites": [cloud.site()],
        "spark": {"master": "local[2]", "conf": session_conf()},
        "server": 0,
        "saved": f"{cloud.uri}{folder}/saved",
        "staging": f"{cloud.uri}{folder}/staging",
        "ways": ways,
    }
    if on_connect():
        server = request.getfixturevalue("connect_server")
        settings |= {"spark": {"remote": server.uri}, "server": server.web_port}
    log = tmp_path / "errors.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
            for name in ways:
                assert process.stdout.readline() == "runs\n", log.read_text()[-3000:]
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == f"{name} idle\n", log.read_text()[-3000:]
            assert process.stdout.readline() == "3\n", log.read_text()[-3000:]
        finally:
            process.kill()
    assert not cloud.exists(f"{cloud.uri}{folder}/saved")
    assert not cloud.exists(f"{cloud.uri}{folder}/staging")
