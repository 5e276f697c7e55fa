"""A Spark Standalone cluster of the installed PySpark: one master, one worker."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

from feast_hybrid.spark.installed import pyspark_home
from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts
from feast_hybrid.testing.adls import KEY_VARIABLE
from feast_hybrid.testing.lake import Server
from feast_hybrid.testing.services import HOST, Service, free_ports

MASTER = "org.apache.spark.deploy.master.Master"
WORKER = "org.apache.spark.deploy.worker.Worker"


def session_conf() -> dict[str, str]:
    """What a session needs from its start to reach both lakes: the ABFS driver's jars, and who commits there."""
    return {
        "spark.jars": ",".join(artifacts.azure_jars().jars()),
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.locality.wait": "0s",
        # For tables that are made outside of feast-hybrid: docs/writing.md says why.
        "spark.hadoop.mapreduce.outputcommitter.factory.scheme.abfs": (
            "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
        ),
    }


class SparkCluster(Server):
    """A master and a worker, whose executors run in processes and folders of their own.

    Processes run Python workers in this interpreter: while the cluster runs, ``PYSPARK_PYTHON`` names it, unless it
    is set already. Containers run them in the image's own ``python3``, which has this package and what it requires,
    in this environment's versions; leave ``PYSPARK_PYTHON`` unset for those. Workers have the keys of the lakes that
    were started before the cluster.

    Args:
        mode: ``container`` or ``process``.
        cores: How many tasks the worker runs at once.
        memory: What the worker may give to executors.
    """

    server_type = image = "spark"

    def __init__(self, mode: str | None = None, *, cores: int = 2, memory: str = "2g") -> None:
        super().__init__(mode)
        self.cores = cores
        self.memory = memory
        self._port = self._web_port = 0
        self._set_python = False

    @property
    def uri(self) -> str:
        """The master: ``spark://127.0.0.1:PORT``."""
        return f"spark://{HOST}:{self._port}"

    @property
    def runs_python(self) -> bool:
        """Whether executors can run this Python's functions; JVM reads and joins need no Python."""
        return runs_python(self.mode)

    def session_conf(self) -> dict[str, str]:
        """The settings of a session on this cluster that reaches both lakes."""
        return {**session_conf(), "spark.master": self.uri, "spark.executor.memory": "1g"}

    def _fetch(self) -> None:
        artifacts.azure_jars()

    def _plan(self, folder: Path) -> list[Service]:
        self._port, self._web_port, worker, worker_web = free_ports(4)
        work = str(folder / "worker" / "work") if self.mode == "process" else "/data"
        return [
            self._service("master", MASTER, ["--port", str(self._port), "--webui-port", str(self._web_port)]),
            self._service(
                "worker",
                WORKER,
                [
                    *("--port", str(worker), "--webui-port", str(worker_web), "--work-dir", work),
                    *("--cores", str(self.cores), "--memory", self.memory, self.uri),
                ],
            ),
        ]

    def _service(self, name: str, main: str, options: list[str]) -> Service:
        environment = {
            "SPARK_DAEMON_MEMORY": "384m",
            # Its port would be the same for every cluster, and nobody needs it.
            "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
        }
        if main == WORKER:
            environment |= lake_keys()
        return spark_service(self.mode, name, (main, "--host", HOST, *options), environment)

    def _ready(self) -> str | None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{HOST}:{self._web_port}/json/", timeout=2) as answer:
                workers = json.load(answer)["aliveworkers"]
        except (OSError, ValueError):
            return "the master to answer"
        return None if workers == 1 else "the worker to register"

    def _started(self) -> None:
        if self.mode == "process" and "PYSPARK_PYTHON" not in os.environ:
            os.environ["PYSPARK_PYTHON"] = sys.executable
            self._set_python = True

    def _stopped(self) -> None:
        if self._set_python:
            os.environ.pop("PYSPARK_PYTHON", None)
            self._set_python = False


def spark_service(
    mode: str, name: str, arguments: tuple[str, ...], environment: dict[str, str], mounts: tuple[str, ...] = ()
) -> Service:
    """A service that runs a class of the installed PySpark: its name, then the class's arguments."""
    environment = {**environment, "SPARK_LOCAL_IP": HOST}
    command: tuple[str, ...] = ()
    if mode == "process":
        home = pyspark_home()
        command = (str(home / "bin" / "spark-class"), *arguments)
        java_home = str(Path(find_java()).resolve().parents[1])
        environment |= {"SPARK_HOME": str(home), "JAVA_HOME": java_home, "PYSPARK_PYTHON": sys.executable}
    return Service(name, command, image="spark", arguments=arguments, environment=environment, mounts=mounts)


def runs_python(mode: str) -> bool:
    """Whether a server's Python workers can run this Python's functions."""
    return mode == "process" or artifacts.workers_run_this_python()


def lake_keys() -> dict[str, str]:
    """The variables of this process in which test lakes keep their keys."""
    return {name: value for name, value in os.environ.items() if KEY_VARIABLE.fullmatch(name)}
