"""A timeout stops what is collected, and says so only where it was stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from feast_hybrid.errors import (
    RetrievalTimeoutError,
)
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.spark.jobs import run
from tests.integration.jobs import Jobs, ended
from tests.integration.places import Place, retrieve
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write
from tests.integration.datasets import ROWS, trips_store

pytestmark = pytest.mark.connect


@pytest.fixture
def store(make_store: MakeStore, write: Write, onprem: Place) -> FeatureStore:
    return trips_store(make_store, write, onprem)


def test_what_was_done_when_it_was_to_be_cancelled_is_not_called_cancelled(spark: SparkSession) -> None:
    import time

    done: list[int] = []

    def last_step() -> int:
        time.sleep(1)
        done.append(1)
        return len(done)

    assert run(spark, last_step, timeout=0.2, what="a renaming") == 1


@reliability(
    "Executors and drivers",
    "a retrieval that does not end within its timeout",
    "Spark's job is cancelled, and the session goes on",
    "did not end within 1 s",
)
def test_a_timeout_cancels_the_job_and_the_session_goes_on(
    store: FeatureStore, spark: SparkSession, jobs: Jobs, promise: Row
) -> None:
    import time

    # Two tasks of some minutes. The second call runs anew: it does not report that the first was cancelled.
    slow = spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7)")
    job = HybridSparkRetrievalJob(FrameRows(slow, "a slow sum"), router=store.config.offline_store.router)
    for collect in (job.to_df, job.to_arrow):
        began = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match=f"a slow sum {promise.reads}"):
            collect(timeout=1)
        assert time.monotonic() - began < 20
    assert ended(jobs)
    assert len(retrieve(store, ROWS, ["stats:trips"]).to_df(timeout=60)) == 2
