"""What counts as a perfect run of Feast's universal suite."""

from __future__ import annotations

import click
import pytest

from feast_hybrid.testing.universal import __main__ as command
from feast_hybrid.testing.universal.__main__ import configurations
from feast_hybrid.testing.universal.needs_spark import NEEDS_SPARK, listed_in
from feast_hybrid.testing.universal.report import console_table, markdown_page
from feast_hybrid.testing.universal.runs import Configuration, Outcome, outcome_of

HDFS = Configuration("connect", "hdfs")
WITHOUT = Configuration("none", "hdfs")
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


class TestWithoutSpark:
    """``t.py::test_b`` is listed as a test that needs Spark."""

    LISTED = "t.py::test_b[LOCAL:Hdfs:sqlite:python_fs:False]"

    def outcome(self, tests: dict[str, str]) -> Outcome:
        return outcome_of(WITHOUT, tests, [], 1.0, needing={"t.py::test_b": "SQL text"})

    def test_what_is_listed_must_say_that_it_needs_spark(self) -> None:
        outcome = self.outcome({OURS: "passed", self.LISTED: "expected"})
        assert (outcome.perfect, outcome.passed, outcome.need_spark) == (True, 1, 1)

    @pytest.mark.parametrize(
        ("tests", "why"),
        [
            ({OURS: "expected", LISTED: "expected"}, [f"skipped: {OURS}"]),
            ({OURS: "passed", LISTED: "failed"}, [f"failed: {LISTED}"]),
            ({OURS: "passed"}, ["failed: t.py::test_b is listed and was not run"]),
        ],
        ids=["one that is not listed", "a listed one that passed, or failed otherwise", "no such test"],
    )
    def test_a_list_that_is_wrong_is_no_perfect_run(self, tests: dict[str, str], why: list[str]) -> None:
        outcome = self.outcome(tests)
        assert not outcome.perfect
        assert list(outcome.failures) == why

    def test_of_a_part_of_the_suite_only_its_own_tests_have_to_be_there(self) -> None:
        (name, *_) = NEEDS_SPARK
        assert listed_in("tests/integration/offline_store") == NEEDS_SPARK
        assert name in listed_in(name.partition("::")[0])
        assert name in listed_in(f"{name}[a-b]")
        assert listed_in("tests/integration/offline_store/test_persist.py") == {}

    def test_it_is_run_where_pyspark_is_not_installed_and_nowhere_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(click.UsageError, match="without PySpark, and this one has it"):
            configurations(("none",), (), peer=False)
        monkeypatch.setattr(command, "find_pyspark", lambda: None)
        assert configurations((), ("hdfs",), peer=False) == [WITHOUT]
        with pytest.raises(click.UsageError, match="PySpark is not installed"):
            configurations(("local",), (), peer=False)

    def test_its_page_names_what_needs_spark(self) -> None:
        page = markdown_page([self.outcome({OURS: "passed", self.LISTED: "expected"})], 1.0, "0.67.0", "tests")
        assert "| feast-hybrid | hdfs | none | 1 | 1 | 0 | 0 | 0 | 0 | 0:01 min |" in page
        assert "pyspark" not in page
        assert all(f"`{name.removeprefix('tests/integration/')}`: {why}" in page for name, why in NEEDS_SPARK.items())


def test_the_tables_name_store_lake_and_spark_and_the_whole_time() -> None:
    ours = outcome_of(HDFS, {OURS: "passed"}, [], 61.0)
    peer = outcome_of(Configuration("classic", "feast"), {OTHER: "failed"}, [], 2.0)
    console = console_table([ours, peer], 63.0).splitlines()
    assert console[1].split() == ["feast-hybrid", "hdfs", "connect", "1", "0", "0", "0", "0", "0", "1:01", "min"]
    assert console[-1] == "1 passed on feast-hybrid, in 1:03 min altogether"
    page = markdown_page([ours, peer], 63.0, "0.67.0", "tests/integration/offline_store")
    assert "| feast-hybrid | hdfs | connect | 1 | 0 | 0 | 0 | 0 | 0 | 1:01 min |" in page
    assert "| Feast's own | local files | classic | 0 | 0 | 1 | 0 | 0 | 0 | 0:02 min |" in page
    assert f"- failed: `{OTHER}`" in page
