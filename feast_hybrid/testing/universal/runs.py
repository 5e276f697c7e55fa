"""One run of the suite in one configuration, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CREATOR_VARIABLE = "FEAST_HYBRID_CREATOR"
SPARK_VARIABLE = "FEAST_HYBRID_SPARK"
REPORT_VARIABLE = "FEAST_HYBRID_REPORT"
"""How a run of pytest knows which configuration it is, and where to report."""

CREATOR_IDS = {"hdfs": "Hdfs", "adls": "Adls", "hybrid": "Hybrid", "feast": "FeastSpark"}
"""What a test's id carries when it runs on our creator of that name."""

PEER = "feast"

LOCAL = "local"
"""What stands for the kind of Spark session where the local engine answers, and no Spark may be started."""


@dataclass(frozen=True)
class Configuration:
    """What is run.

    Attributes:
        spark: ``classic``, ``connect``, or ``local`` for the local engine.
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
    """

    configuration: Configuration
    passed: int
    failed: int
    skipped: int
    left_out: int
    foreign: int
    failures: tuple[str, ...]
    seconds: float

    @property
    def perfect(self) -> bool:
        """Whether every test ran, on the store that is meant, and passed."""
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
    return outcome_of(configuration, found["tests"], found["left_out"], seconds, ended=ended)


def outcome_of(
    configuration: Configuration, tests: dict[str, str], left_out: list[str], seconds: float, *, ended: int = 0
) -> Outcome:
    """Count what the plugin wrote down.

    Args:
        configuration: what was run.
        tests: by id ``passed``, ``failed``, ``skipped`` or ``expected``.
        left_out: the ids of deselected tests.
        seconds: of the whole run.
        ended: pytest's exit code. Where it is neither 0 nor 1 some tests may not have run at all.
    """
    mark = f":{CREATOR_IDS[configuration.lake]}:"
    failed = [name for name, how in tests.items() if how == "failed"]
    if ended and (ended != 1 or not failed):
        failed.append(f"pytest ended with {ended}")
    skipped = [name for name, how in tests.items() if how in ("skipped", "expected")]
    passed = [name for name, how in tests.items() if how == "passed"]
    foreign = [name for name in passed if mark not in name]
    named = (("failed", failed), ("skipped", skipped), ("left out", left_out), ("on another store", foreign))
    return Outcome(
        configuration,
        passed=len(passed) - len(foreign),
        failed=len(failed),
        skipped=len(skipped),
        left_out=len(left_out),
        foreign=len(foreign),
        failures=tuple(f"{outcome}: {name}" for outcome, names in named for name in names),
        seconds=seconds,
    )
