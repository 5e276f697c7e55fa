"""For how long Spark tries an HDFS whose servers are away, change places, or say nothing.

By itself Hadoop gives up a NameNode that has no second at its first failure, so that a restart fails each job; and it
tries two that are both standby for three minutes, two that say nothing for half an hour. Here a call is tried for
some 40 s where it is refused at once, so that a failover with half a minute between is carried. A silent server is
given up after 10 s for each try; what a verb asks without a JVM, which is before Spark does, has an end of its own
(:mod:`feast_hybrid.lakes.timeouts`).

The n-th pause is the base times 2^n, at most the longest one, and more or less by half by chance; there is none
before the first try of another server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site

#: Times in milliseconds.
LIMITS = {
    "dfs.client.failover.max.attempts": "22",
    "dfs.client.failover.sleep.base.millis": "500",
    "dfs.client.failover.sleep.max.millis": "2000",
    # of a NameNode that asks for patience, as one does that is starting
    "dfs.client.retry.max.attempts": "22",
    "ipc.client.connect.timeout": "5000",
    "ipc.client.rpc-timeout.ms": "10000",
    # DataNodes: a block is looked for four times, with pauses of up to 1, 3 and 5 s
    "dfs.client.socket-timeout": "8000",
    "dfs.client.retry.window.base": "1000",
}

#: Has a NameNode without a second tried as often as two are, and needs no name for them.
_SINGLE = "org.apache.hadoop.hdfs.server.namenode.ha.IPFailoverProxyProvider"


def hdfs_limits(site: Site) -> dict[str, str]:
    """Hadoop's settings that bound the waiting for a site of HDFS."""
    host, separator, _ = site.root.authority.partition(":")
    # Without a port it may be a name that Hadoop's own files know.
    if separator and site.root.scheme == "hdfs":
        return {**LIMITS, f"dfs.client.failover.proxy.provider.{host}": _SINGLE}
    return dict(LIMITS)
