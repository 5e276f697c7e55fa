"""A Spark Connect server of the installed PySpark, with the driver of both lakes."""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

from feast_hybrid.testing import artifacts
from feast_hybrid.testing.lake import Server
from feast_hybrid.testing.services import HOST, Service, free_ports
from feast_hybrid.testing.spark import lake_keys, runs_python, spark_service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUBMIT = "org.apache.spark.deploy.SparkSubmit"
CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"


class SparkConnectServer(Server):
    """A Spark application of its own that clients reach by ``sc://127.0.0.1:PORT``.

    It runs local executors; Python functions run in this interpreter, and in a container in the image's, as
    :class:`~feast_hybrid.testing.spark.SparkCluster` says.

    Args:
        mode: ``container`` or ``process``.
        cores: how many tasks run at once.
        memory: of the one JVM, in Java's spelling.
        hadoop_azure: whether the ABFS driver is on its class path; False for a server as it is without care.
        conf: further settings of Spark, or others than the ones here.

    Attributes:
        web_port: where Spark's own pages and their JSON are served, once it has started.
    """

    server_type = "spark-connect"
    image = "spark"

    def __init__(
        self,
        mode: str | None = None,
        *,
        cores: int = 2,
        memory: str = "1g",
        hadoop_azure: bool = True,
        conf: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(mode)
        self.cores = cores
        self.memory = memory
        self.hadoop_azure = hadoop_azure
        self.conf = dict(conf or {})
        self._port = self.web_port = 0

    @property
    def uri(self) -> str:
        """What ``offline_store.spark.remote`` takes: ``sc://127.0.0.1:PORT``."""
        return f"sc://{HOST}:{self._port}"

    @property
    def runs_python(self) -> bool:
        """Whether it can run this Python's functions; reads and joins of the JVM need no Python."""
        return runs_python(self.mode)

    def jobs(self, status: str | None = None) -> list[dict[str, Any]]:
        """The jobs that Spark's UI shows, newest first, as its REST interface gives them.

        Args:
            status: ``running``, ``succeeded``, ``failed`` or ``unknown``; None for all.
        """
        (application,) = self.get_json("applications")
        query = f"?status={status}" if status else ""
        found: list[dict[str, Any]] = self.get_json(f"applications/{application['id']}/jobs{query}")
        return found

    def get_json(self, what: str) -> Any:
        """What Spark's REST interface answers, such as to ``applications``."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{self.web_port}/api/v1/{what}", timeout=60) as answer:
            return json.load(answer)

    def _fetch(self) -> None:
        artifacts.azure_jars()

    def _plan(self, folder: Path) -> list[Service]:
        self._port, self.web_port = free_ports(2)
        local = str(folder / "connect") if self.mode == "process" else "/data"
        settings = {
            "spark.connect.grpc.binding.address": HOST,
            "spark.connect.grpc.binding.port": str(self._port),
            "spark.connect.grpc.port.maxRetries": "0",
            "spark.driver.host": HOST,
            "spark.driver.bindAddress": HOST,
            "spark.ui.port": str(self.web_port),
            "spark.port.maxRetries": "0",
            "spark.sql.warehouse.dir": f"{local}/warehouse",
            "spark.sql.session.timeZone": "UTC",
            "spark.locality.wait": "0s",
        }
        mounts: tuple[str, ...] = ()
        if self.hadoop_azure:
            settings["spark.jars"] = ",".join(artifacts.azure_jars().jars())
            mounts = (str(artifacts.azure_jars().path),)
        settings |= self.conf
        options = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
        environment = {**lake_keys(), "PYSPARK_PYTHON": sys.executable if self.mode == "process" else "python3"}
        if user := os.environ.get("HADOOP_USER_NAME"):
            environment["HADOOP_USER_NAME"] = user
        arguments = (
            *(SUBMIT, "--class", CONNECT, "--name", "Spark Connect server"),
            *("--master", f"local[{self.cores}]", "--driver-memory", self.memory, *options, "spark-internal"),
        )
        return [spark_service(self.mode, "connect", arguments, environment, mounts)]

    def _ready(self) -> str | None:
        # Its port is the last thing that a server opens.
        try:
            socket.create_connection((HOST, self._port), timeout=2).close()
        except OSError:
            return "the server to answer"
        return None
