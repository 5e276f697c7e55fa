"""Executors that are killed in the middle of each verb, on Spark Standalone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.integration.faults.killed_program import KILLS
from tests.integration.faults.killing import (
    EACH_FORMAT,
    MARKS,
    RIGHT,
    SLOW,
    Setting,
    Target,
    by_spark,
    check_rows,
    check_set,
    driver,
    left_at,
    read,
)
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


pytestmark = MARKS


@reliability(
    "Executors and drivers",
    "executors are killed in the middle of each verb, twice: retrieval (columnar, window), materialize "
    "(local engine, "
    "`spark.engine`), persist, batches that Spark writes, exports",
    "Spark runs their tasks again: the answers are right, no row is lost or twice, and nothing is left behind",
)
@pytest.mark.parametrize(
    "verbs",
    [
        ["columnar", "window"],
        ["materialize", "spark.engine"],
        ["persist onprem", "persist cloud", "export", "batch by Spark"],
    ],
    ids=["retrieval", "materialize", "writes"],
)
def test_killed_executors_lose_nothing(setting: Setting, target: Target, tmp_path: Path, verbs: list[str]) -> None:
    found = with_killed_executors(setting, target, tmp_path, verbs)
    for verb in verbs:
        if found[verb]["result"] is not None and verb != "export":
            assert found[verb]["result"] == RIGHT, verb
        if verb != "batch by Spark":  # its one task may be over before
            assert found[verb]["killed"], verb
    assert sum(each["killed"] for each in found.values()) > len(verbs) / 2, f"of {KILLS} each"
    for role in [verb.removeprefix("persist ") for verb in verbs if verb.startswith("persist")]:
        check_set(setting, target, role)
    if "export" in verbs:
        table = pa.concat_tables([read(setting.cloud.place, uri) for uri in found["export"]["result"]])
        check_rows(table)
    if "batch by Spark" in verbs:
        assert len(setting.cloud.place.names(f"{target.uris['cloud']}/texts")) == 1
    for role, uri in target.uris.items():
        assert left_at(setting, role, uri) == []


@reliability(
    "Executors and drivers",
    "executors are killed while a Delta or Iceberg dataset is saved (on PySpark 4.0 to 4.2, where these "
    "have releases)",
    "the table is there, whole",
)
@pytest.mark.parametrize("verb", EACH_FORMAT)
def test_killed_executors_lose_nothing_of_a_table(
    setting: Setting, target: Target, tmp_path: Path, verb: str, spark: SparkSession
) -> None:
    found = with_killed_executors(setting, target, tmp_path, [verb])
    assert found[verb]["killed"]
    check_rows(by_spark(spark, setting, target, verb.removeprefix("persist ")))


def with_killed_executors(
    setting: Setting, target: Target, tmp_path: Path, verbs: list[str]
) -> dict[str, dict[str, Any]]:
    log = tmp_path / "log"
    given = target.with_verbs(*verbs, kill_executors=True)
    with setting.cloud.proxy.having(*SLOW), driver(given, log) as process:
        assert process.stdout is not None
        printed = [line for line in process.stdout if line.startswith("{")]
        process.wait(60)
    assert process.returncode == 0, log.read_text()[-6000:]
    return {each["verb"]: each for each in map(json.loads, printed)}
