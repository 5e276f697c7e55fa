"""``feast-hybrid doctor``: what works, and what to do for what does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from feast_hybrid.cli.options import repo_option


@click.command()
@repo_option
@click.option("--site", "sites", multiple=True, metavar="NAME", help="Look at this site alone; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")
@click.option("--no-spark", is_flag=True, help="Leave Spark out: seconds in place of half a minute.")
@click.option("--no-write", is_flag=True, help="Write no probe: list and read only.")
@click.option("--clean", is_flag=True, help="List what killed writers have left, and remove it when you say so.")
@click.option("--yes", is_flag=True, help="With --clean: remove it without asking.")
@click.option(
    "--older-than",
    type=click.FloatRange(1),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="The age from which on something was left by a writer that is dead.",
)
def doctor(
    repo: Path,
    sites: tuple[str, ...],
    as_json: bool,
    no_spark: bool,
    no_write: bool,
    clean: bool,
    yes: bool,
    older_than: float,
) -> None:
    """Try out what retrieval and writing need, and say what to do for what does not work.

    Looks at this machine's Java, Python and packages, at each site's servers, sign-in and files, first without a JVM
    and then by Spark. On each site a hidden folder is written and deleted again. No secret is printed.

    Exit code: 0 all works, 1 something does not, 2 feature_store.yaml cannot be read.
    """
    from feast_hybrid.doctor.run import diagnose, find_all_leftovers, remove_all_leftovers

    age = timedelta(hours=older_than)
    if not clean:
        report = diagnose(repo, sites=sites, write=not no_write, with_spark=not no_spark, older_than=age)
        click.echo(report.to_json() if as_json else report.to_text())
    else:
        report, found = find_all_leftovers(repo, sites=sites, older_than=age)
        removable = sum(leftover.can_be_removed for leftover in found)
        if not as_json:
            click.echo(report.to_text())
        if removable and (yes or (not as_json and click.confirm(f"Remove {removable} of these {len(found)}?"))):
            report = remove_all_leftovers(found)
            if not as_json:
                click.echo(report.to_text())
        if as_json:
            click.echo(report.to_json())
    click.get_current_context().exit(report.exit_code)
