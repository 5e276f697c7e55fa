"""What counts as a perfect run of Feast's universal suite."""

from __future__ import annotations

import pytest

from feast_hybrid.testing.universal.__main__ import configurations
from feast_hybrid.testing.universal.report import console_table, markdown_page
from feast_hybrid.testing.universal.runs import Configuration, outcome_of

HDFS = Configuration("connect", "hdfs")
OURS = "t.py::test_a[LOCAL:Hdfs:sqlite:python_fs:False]"
OTHER = "t.py::test_a[LOCAL:File:sqlite:python_fs:False]"


def test_a_run_in_which_every_test_passed_on_our_store_is_perfect() -> None:
    assert outcome_of(HDFS, {OURS: "passed"}, [], 1.0).perfect


@pytest.mark.parametrize(
    ("tests", "left_out", "why"),
    [
        ({}, [], None),
        ({OURS: "failed"}, [], f"failed: {OURS}"),
        ({OURS: "passed", "b": "skipped"}, [], "skipped: b"),
        ({OURS: "passed", "b": "expected"}, [], "skipped: b"),
        ({OURS: "passed"}, ["b"], "left out: b"),
        ({OURS: "passed", OTHER: "passed"}, [], f"on another store: {OTHER}"),
    ],
)
def test_a_run_is_not_perfect_where_anything_else_happened(
    tests: dict[str, str], left_out: list[str], why: str | None
) -> None:
    outcome = outcome_of(HDFS, tests, left_out, 1.0)
    assert not outcome.perfect
    assert outcome.failures == ((why,) if why else ())


@pytest.mark.parametrize("code", [1, 2, 3, -9])
def test_a_run_that_broke_off_is_not_perfect_whatever_passed_before(code: int) -> None:
    outcome = outcome_of(HDFS, {OURS: "passed"}, [], 1.0, ended=code)
    assert not outcome.perfect
    assert outcome.failures == (f"failed: pytest ended with {code}",)


def test_all_lakes_on_each_kind_of_spark_and_without_it_are_run_unless_said_otherwise() -> None:
    assert len(configurations((), (), peer=False)) == 9
    assert configurations(("connect",), ("hdfs",), peer=True) == [HDFS, Configuration("classic", "feast")]


def test_the_tables_name_store_lake_and_spark_and_the_whole_time() -> None:
    ours = outcome_of(HDFS, {OURS: "passed"}, [], 61.0)
    peer = outcome_of(Configuration("classic", "feast"), {OTHER: "failed"}, [], 2.0)
    console = console_table([ours, peer], 63.0).splitlines()
    assert console[1].split() == ["feast-hybrid", "hdfs", "connect", "1", "0", "0", "0", "0", "1:01", "min"]
    assert console[-1] == "1 passed on feast-hybrid, in 1:03 min altogether"
    page = markdown_page([ours, peer], 63.0, "0.67.0", "tests/integration/offline_store")
    assert "| feast-hybrid | hdfs | connect | 1 | 0 | 0 | 0 | 0 | 1:01 min |" in page
    assert "| Feast's own | local files | classic | 0 | 1 | 0 | 0 | 0 | 0:02 min |" in page
    assert f"- failed: `{OTHER}`" in page
