"""Run Feast's universal suite on this offline store: ``python -m feast_hybrid.testing.universal``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import click

from feast_hybrid.errors import MissingDependencyError

#: What "the suite" means: the tests of offline stores.
OFFLINE_STORE_TESTS = "tests/integration/offline_store"
_CREATOR_IDS = {"hdfs": "Hdfs", "adls": "Adls", "hybrid": "Hybrid"}


@dataclass(frozen=True)
class Outcome:
    """The counts of one run.

    Attributes:
        lake: the configuration.
        passed: tests that passed.
        failed: tests that failed or broke off.
        skipped: tests that were skipped or expected to fail.
        foreign: passed tests whose id does not carry our creator's name, so that they prove nothing.
        failures: the ids of what failed or was skipped.
    """

    lake: str
    passed: int
    failed: int
    skipped: int
    foreign: int
    failures: tuple[str, ...]

    @property
    def perfect(self) -> bool:
        """Whether every test ran, on our store, and passed."""
        return self.passed > 0 and not (self.failed or self.skipped or self.foreign)


def suite_version(repository: Path) -> str:
    """The version of a checkout: its tag by git, else its charts' version.

    Returns:
        ``unknown`` where neither can be read.
    """
    described = subprocess.run(
        ["git", "-C", str(repository), "describe", "--tags", "--match", "v*"],
        capture_output=True,
        text=True,
        check=False,
    )
    if described.returncode == 0:
        return described.stdout.strip().removeprefix("v")
    chart = repository / "infra" / "charts" / "feast" / "Chart.yaml"
    if chart.is_file() and (found := re.search(r"^version: *(\S+)", chart.read_text(encoding="utf-8"), re.MULTILINE)):
        return found[1]
    return "unknown"


def copy_suite(repository: Path, folder: Path) -> None:
    """Copy the suite, and nothing else of the checkout: beside its package it would test that one.

    Raises:
        MissingDependencyError: this is no checkout of Feast.
    """
    root = next(
        (root for root in (repository / "sdk" / "python", repository) if (root / "tests/universal").is_dir()), None
    )
    if root is None:
        raise MissingDependencyError(
            f"{repository} holds no sdk/python/tests/universal: give the root of a checkout of feast-dev/feast."
        )
    shutil.copytree(root / "tests", folder / "tests")
    shutil.copy(root / "pytest.ini", folder / "pytest.ini")


def run_suite(folder: Path, lake: str, tests: str, arguments: tuple[str, ...]) -> Outcome:
    """Run the suite in one configuration, with its output on ours."""
    report = folder / f"{lake}.xml"
    environment = {
        **os.environ,
        "FEAST_HYBRID_CREATOR": lake,
        "FULL_REPO_CONFIGS_MODULE": "feast_hybrid.testing.universal.configs",
        "FEAST_IS_LOCAL_TEST": "True",
        "IS_TEST": "True",
        "PYTHONPATH": str(folder),
    }
    command = [sys.executable, "-m", "pytest", "-p", "feast_hybrid.testing.universal.plugin", "--integration"]
    command += ["-m", "universal_offline_stores", f"--junitxml={report}", *arguments, tests]
    subprocess.run(command, cwd=folder, env=environment, check=False)
    if not report.is_file():
        return Outcome(lake, 0, 1, 0, 0, ("pytest wrote no report",))
    return read_report(report, lake)


def read_report(report: Path, lake: str) -> Outcome:
    """Count a run's outcomes from its JUnit report."""
    passed = failed = skipped = foreign = 0
    failures = []
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            failures.append(f"failed: {name}")
        elif case.find("skipped") is not None:
            skipped += 1
            failures.append(f"skipped: {name}")
        elif f":{_CREATOR_IDS[lake]}:" not in (case.get("name") or ""):
            foreign += 1
            failures.append(f"not on our store: {name}")
        else:
            passed += 1
    return Outcome(lake, passed, failed, skipped, foreign, tuple(failures))


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--feast-repo",
    envvar="FEAST_REPO",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A checkout of feast-dev/feast.",
)
@click.option(
    "--lake",
    "lakes",
    multiple=True,
    type=click.Choice(list(_CREATOR_IDS)),
    help="A configuration; may be repeated. All three by default.",
)
@click.option("--tests", default=OFFLINE_STORE_TESTS, show_default=True, help="What of the suite to run.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(feast_repo: Path, lakes: tuple[str, ...], tests: str, arguments: tuple[str, ...]) -> None:
    """Run Feast's universal suite on this offline store, and print the counts.

    ARGUMENTS go to pytest. Ends with 1 if a test failed, was skipped, or did not run on this store.
    """
    suite, package = suite_version(feast_repo), version("feast")
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="feast-universal-") as folder:
        copy_suite(feast_repo, Path(folder))
        for lake in lakes or tuple(_CREATOR_IDS):
            outcomes.append(run_suite(Path(folder), lake, tests, arguments))
    click.echo("")
    for outcome in outcomes:
        for failure in outcome.failures:
            click.echo(f"{outcome.lake}: {failure}")
    click.echo(f"Feast's universal suite {suite} on package feast {package}: {tests}")
    if suite.split("-")[0] != package:
        click.echo(f"WARNING: the suite is of {suite}, the installed package is {package}.", err=True)
    click.echo(f"{'tables on':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'elsewhere':>10}")
    for outcome in outcomes:
        counts = f"{outcome.passed:>7} {outcome.failed:>7} {outcome.skipped:>8} {outcome.foreign:>10}"
        click.echo(f"{outcome.lake:<10} {counts}")
    sys.exit(0 if all(outcome.perfect for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
