"""How long lakes are tried: long enough for a busy account and for a failover, and not for long."""

from __future__ import annotations

import random

import pytest

from feast_hybrid.lakes import Site
from feast_hybrid.lakes.timeouts import hdfs_options
from feast_hybrid.spark.hdfs_limits import LIMITS, hdfs_limits
from feast_hybrid.spark.lake_options import ABFS_LIMITS

RETRIES = int(ABFS_LIMITS["fs.azure.io.retry.max.retries"])
SHORTEST, BACKOFF, LONGEST = (
    int(ABFS_LIMITS[f"fs.azure.io.retry.{name}.interval"]) / 1000
    for name in ("min.backoff", "backoff", "max.backoff")
)
READ_TIMEOUT = int(ABFS_LIMITS["fs.azure.http.read.timeout"]) / 1000


def pauses(chance: float) -> float:
    """Seconds of all pauses of ABFS's ExponentialRetryPolicy, whose backoff varies from 0.8 to 1.2."""
    return sum(min(SHORTEST + (2.0**n - 1) * BACKOFF * chance, LONGEST) for n in range(1, RETRIES + 1))


def test_half_a_minute_of_a_busy_account_is_carried() -> None:
    assert pauses(0.8) > 30


@pytest.mark.parametrize(("seconds", "most"), [(0, 70), (READ_TIMEOUT, 110)], ids=["refuses", "is silent"])
def test_an_account_that_is_down_is_given_up(seconds: float, most: float) -> None:
    look = pauses(1.2) + (RETRIES + 1) * seconds
    assert look < 60
    assert 2 * look < most  # Spark swallows what its first look at a path meets


FAILOVERS = int(LIMITS["dfs.client.failover.max.attempts"])
FIRST, MOST = (int(LIMITS[f"dfs.client.failover.sleep.{name}.millis"]) / 1000 for name in ("base", "max"))


def seconds_of_failovers(chances: list[float]) -> float:
    """Seconds of all pauses of Hadoop's FailoverOnNetworkExceptionRetry; the first failover has none."""
    return sum(min(FIRST * 2.0**n, MOST) * chance for n, chance in zip(range(1, FAILOVERS), chances, strict=True))


def test_a_failover_of_half_a_minute_is_carried_by_spark_and_a_minute_is_not_waited() -> None:
    dice = random.Random(7)
    found = sorted(
        seconds_of_failovers([dice.uniform(0.5, 1.5) for _ in range(FAILOVERS - 1)]) for _ in range(10_000)
    )
    assert found[10] > 30  # once in a thousand it may be less
    assert found[-1] < 55


@pytest.mark.parametrize("namenodes", [1, 2, 3])
def test_python_makes_as_many_pauses_however_many_namenodes_there_are(namenodes: int) -> None:
    options = hdfs_options({}, namenodes)
    assert int(options["dfs.client.failover.max.attempts"]) == 18 * namenodes
    assert (
        hdfs_options({"dfs.client.failover.max.attempts": "3"}, namenodes)["dfs.client.failover.max.attempts"] == "3"
    )


def test_a_namenode_without_a_second_is_tried_as_often_as_two_and_a_name_is_left_to_hadoops_files() -> None:
    single = hdfs_limits(Site(name="onprem", uri="hdfs://nn1.corp:8020"))
    assert single["dfs.client.failover.proxy.provider.nn1.corp"].endswith(".IPFailoverProxyProvider")
    assert single.items() > LIMITS.items()
    for uri in ("hdfs://lake", "viewfs://cluster"):
        assert hdfs_limits(Site(name="onprem", uri=uri)) == LIMITS
