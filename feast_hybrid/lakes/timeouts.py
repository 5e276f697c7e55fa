"""For how long the file systems that need no JVM wait for a lake that does not answer.

By themselves hdfs-native tries a NameNode that refuses for three minutes and waits for a silent one without end.
``feast apply`` is to say within some 20 seconds which site is down. What is done about ADLS is in
:mod:`feast_hybrid.lakes.patience`.
Each limit has the name of Hadoop's setting for the same thing, and a site's ``options`` can set it; Spark does not
see these defaults, and has those of :mod:`feast_hybrid.spark.lake_options`.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Milliseconds until a question to a NameNode is given up, all tries together.
RPC_TIMEOUT = "ipc.client.rpc-timeout.ms"

#: hdfs-native doubles its pauses up to the longest one: here 1, 2, 3, 3 and 3 s, each more or less by chance.
HDFS = {
    "dfs.client.failover.max.attempts": "5",
    "dfs.client.failover.sleep.max.millis": "3000",
    RPC_TIMEOUT: "20000",
}

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


def hdfs_options(options: Mapping[str, str]) -> dict[str, str]:
    """The options of a site with those that bound its waiting, where it does not set them itself."""
    return {**HDFS, **options}
