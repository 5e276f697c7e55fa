"""For how long the file systems that need no JVM wait for a lake that does not answer.

By themselves hdfs-native tries a NameNode that refuses for three minutes and waits for a silent one without end. Here
half a minute is carried, in which NameNodes change places, and an end comes within a minute. What is done about ADLS
is in :mod:`feast_hybrid.lakes.patience`.
Each limit has the name of Hadoop's setting for the same thing, and a site's ``options`` can set it; Spark does not
see these defaults, and has those of :mod:`feast_hybrid.spark.lake_options`.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Milliseconds until a call to a NameNode is given up, all tries together.
RPC_TIMEOUT = "ipc.client.rpc-timeout.ms"
ATTEMPTS = "dfs.client.failover.max.attempts"

#: hdfs-native tries all NameNodes one after another, then makes a pause: of 1 s, and then of 2 s. Those that refuse
#: are so tried for 35 s, and on a busy machine for longer.
HDFS = {
    "dfs.client.failover.sleep.max.millis": "2000",
    "dfs.client.socket-timeout": "15000",
    RPC_TIMEOUT: "52000",
}
_PAUSES = 18
#: NameNodes that a name may have which only Hadoop's own files know.
_USUAL_NAMENODES = 2

BLOB_RETRIES = "fs.azure.io.retry.max.retries"
BLOB_SHORTEST_PAUSE = "fs.azure.io.retry.min.backoff.interval"
BLOB_PAUSE = "fs.azure.io.retry.backoff.interval"
BLOB_LONGEST_PAUSE = "fs.azure.io.retry.max.backoff.interval"
BLOB_CONNECT_TIMEOUT = "fs.azure.http.connection.timeout"
BLOB_READ_TIMEOUT = "fs.azure.http.read.timeout"

#: Settings that this module reads itself, as whole numbers.
NUMBERS = frozenset(
    {
        RPC_TIMEOUT,
        BLOB_RETRIES,
        BLOB_SHORTEST_PAUSE,
        BLOB_PAUSE,
        BLOB_LONGEST_PAUSE,
        BLOB_CONNECT_TIMEOUT,
        BLOB_READ_TIMEOUT,
    }
)


def hdfs_options(options: Mapping[str, str], namenodes: int) -> dict[str, str]:
    """The options of a site with those that bound its waiting, where it does not set them itself.

    Args:
        options: of the site.
        namenodes: how many there are; zero where that is not known.
    """
    # A try of another NameNode counts as an attempt, with a pause or without.
    return {**HDFS, ATTEMPTS: str(_PAUSES * (namenodes or _USUAL_NAMENODES)), **options}
