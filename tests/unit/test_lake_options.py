"""How long Spark tries ADLS: long enough for a busy account, and not for long."""

from __future__ import annotations

import pytest

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
    assert pauses(0.8) > 26


@pytest.mark.parametrize(("seconds", "most"), [(0, 60), (READ_TIMEOUT, 100)], ids=["refuses", "is silent"])
def test_an_account_that_is_down_is_given_up(seconds: float, most: float) -> None:
    looks = 2  # Spark swallows what its first look at a path meets
    assert looks * (pauses(1.2) + (RETRIES + 1) * seconds) < most
