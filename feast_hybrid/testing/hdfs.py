"""A one-node HDFS of the real server classes."""

from __future__ import annotations

import getpass
import json
import os
import re
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import TestServerError
from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts
from feast_hybrid.testing.lake import Lake
from feast_hybrid.testing.services import HOST, Service

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
FS_SHELL = "org.apache.hadoop.fs.FsShell"
DFS_ADMIN = "org.apache.hadoop.hdfs.tools.DFSAdmin"
JVM = ("-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class HdfsLake(Lake):
    """A NameNode and a DataNode, with replication 1, for the user who runs this process.

    That user is HDFS's superuser; permissions are checked as usual for everybody else.

    Args:
        mode: ``container`` or ``process``; by default what ``LAKES`` says, or else containers.
        more_settings: of both servers, such as ``hadoop.security.key.provider.path``.
        kept: ``data`` and ``first_port``; see :class:`Server`.
    """

    server_type = image = "hdfs"
    superuser = getpass.getuser()
    ports = 5

    def __init__(
        self, mode: str | None = None, *, more_settings: Mapping[str, str] | None = None, **kept: Any
    ) -> None:
        super().__init__(mode, **kept)
        self._given = dict(more_settings or {})
        self._port = self._web_port = self._data_web_port = self._data_port = self._data_ipc_port = 0

    @property
    def uri(self) -> str:
        """``hdfs://127.0.0.1:PORT``."""
        return f"hdfs://{HOST}:{self._port}"

    def site(self, name: str) -> dict[str, Any]:
        """A site with ``simple`` sign-in."""
        return {"name": name, "uri": self.uri, "credential": {"type": "simple"}}

    def hadoop_options(self) -> dict[str, str]:
        """Nothing but the wish to see each block's replica at once."""
        return {"dfs.replication": "1"}

    def filesystem(self) -> Any:
        """``hdfs_native``'s."""
        from hdfs_native.fsspec import HdfsFileSystem

        # Kept out of the cache: fsspec clears it in a forked child, where dropping this client would hang.
        return HdfsFileSystem(host=HOST, port=self._port, skip_instance_cache=True)

    def administer(self, *arguments: str, tool: str = DFS_ADMIN) -> str:
        """Run one of Hadoop's tools as the superuser, on this machine in any mode.

        Args:
            arguments: such as ``-safemode enter``, each word by itself.
            tool: its Java class.

        Returns:
            What it prints.

        Raises:
            TestServerError: it failed.
        """
        assert self.folder is not None
        jars = artifacts.hdfs_jars().path
        settings = self.folder / "core-site.xml"
        settings.write_text("<configuration/>")  # a shell wants the file
        options = as_options({"fs.defaultFS": self.uri, **self.hadoop_options()})
        done = subprocess.run(
            [find_java(), *JVM, "-cp", f"{settings.parent}:{jars}:{jars}/*", tool, *options, *arguments],
            env={**os.environ, "HADOOP_USER_NAME": self.superuser},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise TestServerError(f"{tool} {' '.join(arguments)} failed:\n{done.stdout}")
        return done.stdout

    def bytes_read(self) -> int:
        """How many bytes of blocks the DataNode has sent to readers since its start."""
        # JMX would do, but for its answers being up to ten seconds old.
        with _opener().open(f"http://{HOST}:{self._data_web_port}/prom", timeout=5) as answer:
            found = re.findall(r"^datanode_bytes_read\{.*\} (\d+)$", answer.read().decode(), re.MULTILINE)
        return sum(map(int, found))

    def _fetch(self) -> None:
        if self.mode == "process":
            artifacts.hdfs_jars()

    def _locate(self) -> None:
        ports = self._own_ports(self.ports)
        self._port, self._web_port, self._data_web_port, self._data_port, self._data_ipc_port = ports

    def _plan(self, folder: Path) -> list[Service]:
        where = folder if self.mode == "process" else "/data"
        settings = {
            "fs.defaultFS": self.uri,
            "dfs.replication": "1",
            "dfs.namenode.rpc-address": f"{HOST}:{self._port}",
            "dfs.namenode.http-address": f"{HOST}:{self._web_port}",
            "dfs.namenode.name.dir": f"file://{where}/namenode/name",
            "dfs.datanode.data.dir": f"file://{where}/datanode/data",
            **self._settings_of_a_datanode(),
            **self._more_settings(),
        }
        options = as_options(settings)
        return [
            self._service("namenode", NAMENODE, options),
            self._service("datanode", DATANODE, options),
        ]

    def _settings_of_a_datanode(self) -> dict[str, str]:
        """Where the one DataNode is, by ports on this machine, and that NameNodes take it at once."""
        return {
            "dfs.namenode.safemode.extension": "0",
            "dfs.namenode.datanode.registration.ip-hostname-check": "false",
            "dfs.datanode.hostname": HOST,
            "dfs.datanode.address": f"{HOST}:{self._data_port}",
            "dfs.datanode.ipc.address": f"{HOST}:{self._data_ipc_port}",
            "dfs.datanode.http.address": f"{HOST}:{self._data_web_port}",
            "dfs.heartbeat.interval": "1s",
            "hadoop.prometheus.endpoint.enabled": "true",
        }

    def _more_settings(self) -> dict[str, str]:
        """Settings of all servers beside those that every HDFS here has."""
        return self._given

    def _java_options(self) -> tuple[str, ...]:
        """Java's options of both servers, where they are processes."""
        return JVM

    def _service(self, name: str, main: str, options: tuple[str, ...]) -> Service:
        command: tuple[str, ...] = ()
        if self.mode == "process":
            jars = artifacts.hdfs_jars().path
            run = (find_java(), *self._java_options(), "-cp", f"{jars}:{jars}/*", main, *options)
            # A shell, so that formatting and serving are one service, as they are in the image.
            script = '[ -e name/current/VERSION ] || "$@" -format -nonInteractive || exit; exec "$@"'
            command = ("sh", "-c", script, "sh", *run)
            if name != "namenode":
                command = run
        return Service(
            name=name,
            command=command,
            image="hdfs",
            arguments=(name, *options),
            # The server's user is the superuser, also in a container.
            environment={"HADOOP_USER_NAME": self.superuser},
        )

    def _ready(self) -> str | None:
        state = measured(self._web_port, "FSNamesystemState")
        if state is None:
            return "the NameNode to answer"
        if state.get("FSState") != "Operational":
            return "the NameNode to leave safe mode"
        return None if state["NumLiveDataNodes"] == 1 else "the DataNode to register"


def measured(web_port: int, name: str, *, service: str = "NameNode") -> dict[str, Any] | None:
    """What a server says of itself under a name; empty where it does not yet, None where it does not answer."""
    address = f"http://{HOST}:{web_port}/jmx?qry=Hadoop:service={service},name={name}"
    try:
        with _opener().open(address, timeout=2) as answer:
            beans = json.load(answer)["beans"]
    except (OSError, ValueError):
        return None
    return dict(beans[0]) if beans else {}


def as_options(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Settings as arguments of Hadoop's programs."""
    return tuple(part for key, value in settings.items() for part in ("-D", f"{key}={value}"))


def _opener() -> urllib.request.OpenerDirector:
    """Opens addresses of this machine, whatever proxy the environment names."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
