"""A session whose driver of ADLS is of another version than its Hadoop, which would find no files that are there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from feast_hybrid.spark.hadoop_azure import hadoop_version
from feast_hybrid.testing import AdlsLake, artifacts, session_conf
from tests.integration.faulty import MINUTES
from tests.integration.places import abfs_speaks_to_azurite, classic_only
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    classic_only("a server of Spark Connect does not show its jars"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="PySpark 4.0's ABFS driver cannot speak to Azurite"),
]

OTHER = "3.4.1"


@pytest.fixture
def lake() -> Iterator[AdlsLake]:
    with AdlsLake("process") as started:
        started.filesystem().pipe_file("lake/rows/part-0.csv", b"n\n1\n")
        yield started


@MINUTES
@reliability(
    "ADLS",
    "a session whose hadoop-azure is of another version than its Hadoop",
    "refused with both versions",
    "this Spark session has hadoop-azure 3.4.1, but Hadoop",
)
def test_a_driver_of_another_version_is_refused(lake: AdlsLake, promise: Row) -> None:
    jars = artifacts.beside_spark(f"hadoop-azure-{OTHER}", f"org.apache.hadoop:hadoop-azure:{OTHER}").jars()
    spark = {**session_conf(), "spark.jars": ",".join(jars), "spark.ui.enabled": "false"}
    steps = [{"do": "spark", "site": "cloud", "name": "other"}]
    asked = json.dumps({"sites": {"cloud": lake.site("cloud")}, "steps": steps, "spark": spark})
    (answer,) = answers_in(run_python("-m", "tests.integration.faults.signing_in", asked))
    assert answer["error"] == "SessionError", answer
    assert promise.reads in answer["text"]
    assert f"hadoop-azure:{hadoop_version()}" in answer["text"]
