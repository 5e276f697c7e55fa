"""One run of the suite in one configuration, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from feast_hybrid.testing.universal.needs_spark import listed_in, name_of

CREATOR_VARIABLE = "FEAST_HYBRID_CREATOR"
SPARK_VARIABLE = "FEAST_HYBRID_SPARK"
REPORT_VARIABLE = "FEAST_HYBRID_REPORT"
"""How a run of pytest knows which configuration it is, and where to report."""

CREATOR_IDS = {"hdfs": "Hdfs", "adls": "Adls", "hybrid": "Hybrid", "feast": "FeastSpark"}
"""What a test's id carries when it runs on our creator of that name."""

PEER = "feast"

LOCAL = "local"
"""What stands for the kind of Spark session where the local engine answers, and Spark only what it alone can."""

NONE = "none"
"""What stands for it where PySpark is not installed."""

BY_LOCAL_ENGINE = (LOCAL, NONE)


@dataclass(frozen=True)
class Configuration:
    """What is run.

    Attributes:
        spark: ``classic``, ``connect``, ``local`` for the local engine, or ``none`` for it without PySpark.
        lake: ``hdfs``, ``adls`` or ``hybrid``; ``feast`` for Feast's own Spark store on local files.
    """

    spark: str
    lake: str

    @property
    def store(self) -> str:
        """Whose store it is."""
        return "Feast's own" if self.lake == PEER else "feast-hybrid"

    @property
    def tables(self) -> str:
        """Where its tables are."""
        return "local files" if self.lake == PEER else self.lake


@dataclass(frozen=True)
class Outcome:
    """The counts of one run.

    Attributes:
        configuration: what was run.
        passed: tests that passed.
        failed: tests that failed or broke off.
        skipped: tests that were skipped or expected to fail.
        left_out: tests of the suite that were deselected, Feast's benchmarks apart.
        foreign: passed tests whose id does not carry our creator's name, so that they prove nothing.
        failures: what did not pass, with its id.
        seconds: of the whole run, servers included.
        need_spark: tests that said that they need Spark, where there is none, and are listed so.
    """

    configuration: Configuration
    passed: int
    failed: int
    skipped: int
    left_out: int
    foreign: int
    failures: tuple[str, ...]
    seconds: float
    need_spark: int = 0

    @property
    def perfect(self) -> bool:
        """Whether every test ran, on the store that is meant, and passed or needs a Spark that is not installed."""
        return self.passed > 0 and not (self.failed or self.skipped or self.left_out or self.foreign)


def run_suite(folder: Path, configuration: Configuration, tests: str, arguments: tuple[str, ...]) -> Outcome:
    """Run the suite in one configuration, with its output on ours."""
    report = folder / f"{configuration.spark}-{configuration.lake}.json"
    environment = {
        **os.environ,
        CREATOR_VARIABLE: configuration.lake,
        SPARK_VARIABLE: configuration.spark,
        REPORT_VARIABLE: str(report),
        "FULL_REPO_CONFIGS_MODULE": "feast_hybrid.testing.universal.configs",
        "FEAST_IS_LOCAL_TEST": "True",
        "IS_TEST": "True",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])),
    }
    command = [sys.executable, "-m", "pytest", "-p", "feast_hybrid.testing.universal.plugin", "--integration"]
    command += ["-m", "universal_offline_stores", *arguments, tests]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    seconds = time.monotonic() - began
    if not report.is_file():
        return Outcome(configuration, 0, 1, 0, 0, 0, ("failed: pytest wrote no report",), seconds)
    found = json.loads(report.read_text(encoding="utf-8"))
    needing = listed_in(tests) if configuration.spark == NONE else {}
    return outcome_of(configuration, found["tests"], found["left_out"], seconds, ended=ended, needing=needing)


def outcome_of(
    configuration: Configuration,
    tests: dict[str, str],
    left_out: list[str],
    seconds: float,
    *,
    ended: int = 0,
    needing: Mapping[str, str] | None = None,
) -> Outcome:
    """Count what the plugin wrote down.

    Args:
        configuration: what was run.
        tests: by id ``passed``, ``failed``, ``skipped`` or ``expected``.
        left_out: the ids of deselected tests.
        seconds: of the whole run.
        ended: pytest's exit code. Where it is neither 0 nor 1 some tests may not have run at all.
        needing: the tests, by name, that must have said that they need Spark; each has to be among those that ran.
    """
    mark = f":{CREATOR_IDS[configuration.lake]}:"
    failed = [name for name, how in tests.items() if how == "failed"]
    if ended and (ended != 1 or not failed):
        failed.append(f"pytest ended with {ended}")
    refused = [name for name, how in tests.items() if how == "expected" and name_of(name) in (needing or {})]
    failed += [f"{name} is listed and was not run" for name in needing or {} if name not in map(name_of, tests)]
    skipped = [name for name, how in tests.items() if how in ("skipped", "expected") and name not in refused]
    passed = [name for name, how in tests.items() if how == "passed"]
    foreign = [name for name in (*passed, *refused) if mark not in name]
    named = (("failed", failed), ("skipped", skipped), ("left out", left_out), ("on another store", foreign))
    return Outcome(
        configuration,
        passed=sum(mark in name for name in passed),
        failed=len(failed),
        skipped=len(skipped),
        left_out=len(left_out),
        foreign=len(foreign),
        failures=tuple(f"{outcome}: {name}" for outcome, names in named for name in names),
        seconds=seconds,
        need_spark=sum(mark in name for name in refused),
    )
