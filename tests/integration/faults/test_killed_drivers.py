"""Drivers that are killed in the middle of each verb, on Spark Standalone."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from feast_hybrid.lakes import replace_adls
from feast_hybrid.lakes.leftovers import remove_leftovers
from feast_hybrid.testing import Fault
from tests.integration.batches import rows
from tests.integration.faults.killing import (
    EACH_FORMAT,
    MARKS,
    RIGHT,
    Setting,
    Target,
    again,
    by_spark,
    check_rows,
    check_set,
    driver,
    files_below,
    find,
    kill,
    kill_driver,
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
    "the driver is killed in the middle of a retrieval, or of materialize (local engine, `spark.engine`)",
    "its executors end, and nothing is left on the lakes; asked again the answer is right",
)
@pytest.mark.parametrize("verb", ["columnar", "window", "materialize", "spark.engine"])
def test_a_driver_that_is_killed_while_it_reads_leaves_nothing(
    setting: Setting, target: Target, tmp_path: Path, verb: str
) -> None:
    kill_driver(setting, target, tmp_path, verb)
    for role, uri in target.uris.items():
        assert left_at(setting, role, uri) == []
    assert again(target, tmp_path, verb) == RIGHT


@reliability(
    "Executors and drivers",
    "the driver is killed in the middle of a persist, an export, or a batch that Spark writes",
    "readers see the rows that were there before; `feast-hybrid doctor` finds what is left, and removes "
    "it on request; "
    "written again all is there, once",
)
@pytest.mark.parametrize("verb", ["persist onprem", "persist cloud", "export", "batch by Spark"])
def test_a_driver_that_is_killed_while_it_writes_leaves_what_was_there(
    setting: Setting, target: Target, tmp_path: Path, spark: SparkSession, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "onprem" if verb == "persist onprem" else "cloud"
    place = setting.onprem if role == "onprem" else setting.cloud.place
    old = rows(1, 2, 3, 4, 5)
    for name in ("set", "texts"):
        if name == "set" or verb != "batch by Spark":
            place.write(f"{target.uris[role]}/{name}", old)

    def seen() -> bool:
        """Whether rows are being written beside their place."""
        folder = target.uris[role]
        if verb == "export":
            return place.exists(f"{folder}/staging") and bool(place.names(f"{folder}/staging"))
        return any(name.endswith(".writing") for name in place.names(folder))

    kill_driver(setting, target, tmp_path, verb, seen)

    # Nothing half-written is read.
    assert by_spark(spark, setting, target, role)["trips"].to_pylist() == [1, 2, 3, 4, 5]
    if verb == "batch by Spark":
        names = place.names(target.uris[role])
        assert "texts" not in names or place.names(f"{target.uris[role]}/texts") == []
    found = left_at(setting, role, target.uris[role])
    assert found, "the driver was killed too early or too late"

    # What is left is found, and removed; the rows are still there.
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    assert remove_leftovers(find(setting, role, target.uris[role])) == []
    assert left_at(setting, role, target.uris[role]) == []
    assert by_spark(spark, setting, target, role)["trips"].to_pylist() == [1, 2, 3, 4, 5]

    result = again(target, tmp_path, verb)
    if verb.startswith("persist"):
        check_set(setting, target, role)
    elif verb == "export":
        check_rows(pa.concat_tables([read(place, uri) for uri in result]))
    else:
        assert len(place.names(f"{target.uris[role]}/texts")) == 1
    assert left_at(setting, role, target.uris[role]) == []


@reliability(
    "Executors and drivers",
    "a process is killed while it commits a pushed batch or logged features to ADLS",
    "the rows are there as a whole, or not at all",
)
@pytest.mark.parametrize(("verb", "column"), [("batch", "trips"), ("logs", "stats__trips")])
@pytest.mark.parametrize("delayed", ["comp=block&", "comp=blocklist"])
def test_a_process_that_is_killed_while_it_commits_leaves_all_rows_or_none(
    setting: Setting, target: Target, tmp_path: Path, verb: str, column: str, delayed: str
) -> None:
    place, uri = setting.cloud.place, f"{target.uris['cloud']}/{'pushed' if verb == 'batch' else verb}"
    slow = Fault("delay", "PUT", rf"{uri.rsplit('/', 1)[1]}/.*{delayed}", seconds=2)
    with setting.cloud.proxy.having(slow) as proxy, driver(target.with_verbs(verb), tmp_path / "log") as one:
        deadline = time.monotonic() + 120
        while not proxy.injected:
            assert one.poll() is None, (tmp_path / "log").read_text()[-6000:]
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-6000:]
            time.sleep(0.05)
        kill(one)
        time.sleep(3)  # what was on its way arrives
    files = files_below(place, uri)
    tables = [read(place, f"{uri}/{name}") for name in files]
    assert all(table[column].to_pylist() == [7, 7, 7] for table in tables)
    assert remove_leftovers(find(setting, "cloud", target.uris["cloud"])) == []
    assert files_below(place, uri) == files, "what is there is no leftover"


@reliability(
    "Executors and drivers",
    "the driver is killed while a Delta or Iceberg dataset is saved (on PySpark 4.0 to 4.2, where these "
    "have releases)",
    "readers see the table as it was; saved again it is there, whole",
)
@pytest.mark.parametrize("verb", EACH_FORMAT)
def test_a_driver_that_is_killed_while_it_saves_a_table_leaves_it_as_it_was(
    setting: Setting, target: Target, tmp_path: Path, spark: SparkSession, verb: str
) -> None:
    name = verb.removeprefix("persist ")
    again(target, tmp_path, verb)
    check_rows(by_spark(spark, setting, target, name))
    kill_driver(setting, target, tmp_path, verb)
    check_rows(by_spark(spark, setting, target, name))
    again(target, tmp_path, verb)
    check_rows(by_spark(spark, setting, target, name))
