"""How Feast's Spark engine recognises our jobs: a virtual subclass, registered when somebody asks."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from feast_hybrid import HybridSparkRetrievalJob
from feast_hybrid.lakes import Router

store = "feast.infra.offline_stores.contrib.spark_offline_store.spark"
before = HybridSparkRetrievalJob(None, router=Router([]))
assert store not in sys.modules, "a job alone loads Feast's Spark store"
assert "pyspark" not in sys.modules, "a job alone loads Spark"

from feast.infra.compute_engines.spark import nodes

job = HybridSparkRetrievalJob(None, router=Router([]))
assert isinstance(job, nodes.SparkRetrievalJob)
assert nodes.SparkRetrievalJob not in type(job).__mro__
"""


def test_feasts_spark_engine_takes_our_jobs_for_spark_jobs_and_nothing_is_inherited() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
