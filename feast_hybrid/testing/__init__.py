"""Lakes to test against: HDFS, ADLS Gen2 (Azurite), a Spark cluster, a Spark Connect server; containers or processes.

>>> with start_hdfs() as onprem, start_adls() as cloud:  # doctest: +SKIP
...     sites = [onprem.site("onprem"), cloud.site("cloud")]

Each is a context manager with the same interface however it is run. The mode comes from the argument, or
else from the environment variable ``LAKES`` (``container``, which is the default, or ``process``). Nothing of
Feast or Spark is imported here.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from feast_hybrid.testing.adls import AdlsLake
from feast_hybrid.testing.artifacts import azure_jars
from feast_hybrid.testing.connect import SparkConnectServer
from feast_hybrid.testing.faults import Fault, FaultProxy, RpcFaultProxy
from feast_hybrid.testing.ha_hdfs import HaHdfsLake
from feast_hybrid.testing.hdfs import HdfsLake
from feast_hybrid.testing.kerberos import KerberosRealm
from feast_hybrid.testing.kms import KeyServer
from feast_hybrid.testing.lake import Lake, Mode, Server, resolve_mode
from feast_hybrid.testing.secure_hdfs import SecureHdfsLake
from feast_hybrid.testing.spark import SparkCluster, session_conf

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "RUNNING_LAKES",
    "AdlsLake",
    "Fault",
    "FaultProxy",
    "HaHdfsLake",
    "HdfsLake",
    "KerberosRealm",
    "KeyServer",
    "Lake",
    "Lakes",
    "Mode",
    "RpcFaultProxy",
    "SecureHdfsLake",
    "Server",
    "SparkCluster",
    "SparkConnectServer",
    "azure_jars",
    "lakes",
    "resolve_mode",
    "running_lakes",
    "session_conf",
    "start_adls",
    "start_all",
    "start_connect",
    "start_hdfs",
    "start_kerberos",
    "start_secure_hdfs",
    "start_spark",
]


RUNNING_LAKES = "FEAST_HYBRID_LAKES"
"""The environment variable that names the data folder of lakes which run already, started by another program.

``python -m feast_hybrid.testing run COMMAND`` sets it for its command.
"""


def start_hdfs(mode: str | None = None) -> HdfsLake:
    """Start an HDFS; see :class:`HdfsLake`."""
    return HdfsLake(mode).start()


def start_kerberos(realm: str = "FEAST.TEST", **options: Any) -> KerberosRealm:
    """Start a Kerberos realm; see :class:`KerberosRealm`."""
    return KerberosRealm(realm, **options).start()


def start_secure_hdfs(realm: KerberosRealm, **options: Any) -> SecureHdfsLake:
    """Start an HDFS with Kerberos in a realm; see :class:`SecureHdfsLake`."""
    return SecureHdfsLake(realm, **options).start()


def start_adls(mode: str | None = None) -> AdlsLake:
    """Start a storage account; see :class:`AdlsLake`."""
    return AdlsLake(mode).start()


def start_spark(mode: str | None = None, *, cores: int = 2, memory: str = "2g") -> SparkCluster:
    """Start a Spark Standalone cluster; see :class:`SparkCluster`."""
    return SparkCluster(mode, cores=cores, memory=memory).start()


def start_connect(mode: str | None = None, **options: Any) -> SparkConnectServer:
    """Start a Spark Connect server; see :class:`SparkConnectServer`."""
    return SparkConnectServer(mode, **options).start()


class Lakes(NamedTuple):
    """An on-premises lake and a cloud lake."""

    hdfs: HdfsLake
    adls: AdlsLake

    def sites(self) -> list[dict[str, object]]:
        """The entries of ``offline_store.sites``: ``onprem`` and ``cloud``."""
        return [self.hdfs.site("onprem"), self.adls.site("cloud")]


@contextmanager
def lakes(mode: str | None = None) -> Iterator[Lakes]:
    """Both lakes, for as long as the context lasts; started at the same time."""
    both = Lakes(HdfsLake(mode), AdlsLake(mode))
    with start_all(both):
        yield both


def running_lakes() -> Lakes | None:
    """Both lakes, which another program has started and will end; None where ``FEAST_HYBRID_LAKES`` names none.

    It needs neither Java nor PySpark, as the lakes' servers do.

    Raises:
        TestServerError: they do not run, or have no data there.
    """
    named = os.environ.get(RUNNING_LAKES)
    if not named:
        return None
    data = Path(named)
    return Lakes(HdfsLake("process", data=data).attach(), AdlsLake("process", data=data).attach())


@contextmanager
def start_all(servers: Sequence[Server]) -> Iterator[None]:
    """Start the servers at the same time, and end them all when the context ends."""
    with ExitStack() as stack, ThreadPoolExecutor(max(len(servers), 1)) as pool:
        starts = []
        for server in servers:
            stack.callback(server.stop)
            starts.append(pool.submit(server.start))
        for start in starts:
            start.result()
        yield
