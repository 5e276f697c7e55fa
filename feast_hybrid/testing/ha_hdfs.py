"""An HDFS of two NameNodes, of which one is active, for tests of what happens when they change places."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts
from feast_hybrid.testing.hdfs import DATANODE, FS_SHELL, JVM, NAMENODE, HdfsLake, as_options, measured
from feast_hybrid.testing.services import HOST, Service, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HA_ADMIN = "org.apache.hadoop.hdfs.tools.DFSHAAdmin"
NAMENODES = ("nn1", "nn2")


class HaHdfsLake(HdfsLake):
    """Two NameNodes, which share their edits by a folder, and a DataNode, as plain processes in any mode.

    The first NameNode is active at the start. What they hold outlives them: :meth:`stop_service` and
    :meth:`start_service` restart one. The superuser is ``hdfs``, so that whoever runs this process is an ordinary
    user; everybody may write to the root.

    Args:
        more_settings: of all servers, such as ``dfs.namenode.heartbeat.recheck-interval``.
    """

    superuser = "hdfs"

    def __init__(self, more_settings: Mapping[str, str] | None = None) -> None:
        super().__init__("process", more_settings=more_settings)
        self._ports: dict[str, tuple[int, int]] = {}
        self._datanode: tuple[str, ...] = ()

    @property
    def nameservice(self) -> str:
        """The host of its URIs; a new one for each start, since clients remember the servers of a name."""
        return f"lake{self._ports[NAMENODES[0]][0]}"

    @property
    def uri(self) -> str:
        """``hdfs://NAMESERVICE``."""
        return f"hdfs://{self.nameservice}"

    def address(self, namenode: str) -> str:
        """``host:port`` of a NameNode's calls."""
        return f"{HOST}:{self._ports[namenode][0]}"

    def site(self, name: str) -> dict[str, Any]:
        """A site that lists both NameNodes."""
        namenodes = [self.address(each) for each in NAMENODES]
        return {**super().site(name), "namenodes": namenodes}

    def hadoop_options(self) -> dict[str, str]:
        """What Hadoop has to know of the nameservice."""
        service = self.nameservice
        return {
            **super().hadoop_options(),
            "dfs.nameservices": service,
            f"dfs.ha.namenodes.{service}": ",".join(NAMENODES),
            f"dfs.client.failover.proxy.provider.{service}": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
            **{f"dfs.namenode.rpc-address.{service}.{each}": self.address(each) for each in NAMENODES},
        }

    def filesystem(self) -> Any:
        """``hdfs_native``'s."""
        from hdfs_native.fsspec import HdfsFileSystem

        options: dict[str, Any] = self.hadoop_options()
        return HdfsFileSystem(host=self.nameservice, skip_instance_cache=True, **options)

    def states(self) -> dict[str, str | None]:
        """``active`` or ``standby`` of each NameNode; None of one that does not answer."""
        found = {each: measured(self._ports[each][1], "NameNodeStatus") for each in NAMENODES}
        return {each: state.get("State") if state is not None else None for each, state in found.items()}

    def transition(self, namenode: str, state: str) -> None:
        """Have a NameNode become ``active`` or ``standby``; the other one is not asked."""
        force = ["--forceactive"] if state == "active" else []
        self.administer(f"-transitionTo{state.capitalize()}", *force, namenode, tool=HA_ADMIN)

    def _locate(self) -> None:
        *ports, self._data_port, self._data_ipc_port, self._data_web_port = free_ports(2 * len(NAMENODES) + 3)
        self._ports = {each: (ports.pop(), ports.pop()) for each in NAMENODES}

    def _plan(self, folder: Path) -> list[Service]:
        service, kept = self.nameservice, folder / "data"
        settings = {
            **self.hadoop_options(),
            "fs.defaultFS": self.uri,
            **{f"dfs.namenode.http-address.{service}.{each}": f"{HOST}:{self._ports[each][1]}" for each in NAMENODES},
            "dfs.namenode.shared.edits.dir": f"file://{kept}/shared",
            "dfs.ha.standby.checkpoints": "false",
            "dfs.ha.tail-edits.period": "1s",
            "dfs.datanode.data.dir": f"file://{kept}/datanode",
            **self._settings_of_a_datanode(),
            **self._more_settings(),
        }
        first, second = NAMENODES
        # Both begin with one image: the first formats it and copies it, the second waits for that.
        ready = kept / "formatted"
        scripts = {
            first: f'[ -e {ready} ] || {{ "$@" -format -nonInteractive && cp -r {kept}/{first} {kept}/{second} '
            f'&& touch {ready}; }} || exit; exec "$@"',
            second: f'until [ -e {ready} ]; do sleep 0.2; done; exec "$@"',
        }
        kept.mkdir()
        services = []
        for each in NAMENODES:
            own = {"dfs.ha.namenode.id": each, "dfs.namenode.name.dir": f"file://{kept}/{each}"}
            command = ("sh", "-c", scripts[each], "sh", *_java(NAMENODE, {**settings, **own}))
            services.append(self._process(each, command))
        self._datanode = _java(DATANODE, settings)
        return [*services, self._process("datanode", self._datanode)]

    def _process(self, name: str, command: tuple[str, ...]) -> Service:
        return Service(name, command, image="hdfs", arguments=(), environment={"HADOOP_USER_NAME": self.superuser})

    def _ready(self) -> str | None:
        states = self.states()
        if None in states.values():
            return "the NameNodes to answer"
        active = next((each for each, state in states.items() if state == "active"), None)
        if active is None:
            self.transition(NAMENODES[0], "active")
            return "a NameNode to be active"
        state = measured(self._ports[active][1], "FSNamesystemState") or {}
        if state.get("FSState") != "Operational":
            return "the NameNode to leave safe mode"
        data_node = measured(self._data_web_port, "DataNodeInfo", service="DataNode") or {}
        registered = "RUNNING" in str(data_node.get("BPServiceActorInfo")) and state["NumLiveDataNodes"] == 1
        return None if registered else "the DataNode to register"

    def _started(self) -> None:
        self.administer("-chmod", "777", "/", tool=FS_SHELL)

    def restart_datanode(self, more_settings: Mapping[str, str]) -> None:
        """Have the DataNode begin anew with these settings beside its own; its blocks stay.

        Raises:
            TestServerError: it does not get ready.
        """
        self.stop_service("datanode")
        planned = self._services["datanode"]
        command = (*self._datanode, *as_options(more_settings))
        self._services["datanode"] = replace(planned, command=command)
        self.start_service("datanode")
        self.wait_until_ready()


def _java(main: str, settings: dict[str, str]) -> tuple[str, ...]:
    jars = artifacts.hdfs_jars().path
    return (find_java(), *JVM, "-cp", f"{jars}:{jars}/*", main, *as_options(settings))
