"""Run Feast's universal suite on this offline store: ``python -m feast_hybrid.testing.universal``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import click

from feast_hybrid.errors import MissingDependencyError
from feast_hybrid.spark.installed import find_pyspark
from feast_hybrid.testing.universal.report import console_table, markdown_page
from feast_hybrid.testing.universal.runs import LOCAL, NONE, PEER, Configuration, run_suite

#: What "the suite" means: the tests of offline stores.
OFFLINE_STORE_TESTS = "tests/integration/offline_store"

LAKES = ("hdfs", "adls", "hybrid")
SPARKS = ("classic", "connect", LOCAL)


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


def configurations(sparks: tuple[str, ...], lakes: tuple[str, ...], *, peer: bool) -> list[Configuration]:
    """What is to be run: each lake on each kind of Spark and without it; Feast's own store on Spark Classic.

    Raises:
        click.UsageError: PySpark is needed and not installed, or installed where it must not be.
    """
    is_installed = find_pyspark() is not None
    sparks = sparks or (SPARKS if is_installed else (NONE,))
    if is_installed and NONE in sparks:
        raise click.UsageError("--spark none is for an environment without PySpark, and this one has it.")
    if not is_installed and (peer or set(sparks) != {NONE}):
        raise click.UsageError("PySpark is not installed: without it there is --spark none alone, and no --peer.")
    ours = [Configuration(spark, lake) for spark in sparks for lake in lakes or LAKES]
    return [*ours, Configuration("classic", PEER)] if peer else ours


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
    type=click.Choice(LAKES),
    help="Where the tables are; may be repeated. All three by default.",
)
@click.option(
    "--spark",
    "sparks",
    multiple=True,
    type=click.Choice([*SPARKS, NONE]),
    help="The kind of Spark session, or 'local' for the local engine, or 'none' for it where PySpark is not "
    "installed; may be repeated. By default all three, or 'none' there.",
)
@click.option("--peer", is_flag=True, help="Run the suite on Feast's own Spark store too; it does not have to pass.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the table to this file.")
@click.option("--tests", default=OFFLINE_STORE_TESTS, show_default=True, help="What of the suite to run.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(
    feast_repo: Path,
    lakes: tuple[str, ...],
    sparks: tuple[str, ...],
    peer: bool,
    report: Path | None,
    tests: str,
    arguments: tuple[str, ...],
) -> None:
    """Run Feast's universal suite on this offline store, and print the counts.

    ARGUMENTS go to pytest. Ends with 1 if a test failed, was skipped, expected to fail or left out, or did not run
    on this store. Where PySpark is not installed, the tests that are listed as Spark's must say that they need it.

    Its lakes are started for each configuration; under `python -m feast_hybrid.testing run`, those that run are used.
    """
    suite, package = suite_version(feast_repo), version("feast")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="feast-universal-") as folder:
        copy_suite(feast_repo, Path(folder))
        outcomes = [
            run_suite(Path(folder), configuration, tests, arguments)
            for configuration in configurations(sparks, lakes, peer=peer)
        ]
    seconds = time.monotonic() - began
    click.echo("")
    for outcome in outcomes:
        for failure in outcome.failures:
            click.echo(f"{outcome.configuration.spark} {outcome.configuration.tables}: {failure}")
    click.echo(f"Feast's universal suite {suite} on package feast {package}: {tests}")
    if suite.split("-")[0] != package:
        click.echo(f"WARNING: the suite is of {suite}, the installed package is {package}.", err=True)
    click.echo(console_table(outcomes, seconds))
    if report is not None:
        report.write_text(markdown_page(outcomes, seconds, suite, tests), encoding="utf-8")
        click.echo(f"written: {report}")
    ours = [outcome for outcome in outcomes if outcome.configuration.lake != PEER]
    sys.exit(0 if all(outcome.perfect for outcome in ours) else 1)


if __name__ == "__main__":
    main()
