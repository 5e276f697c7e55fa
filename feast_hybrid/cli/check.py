"""``feast-hybrid check``: what would change with this store, for a repository of any store."""

from __future__ import annotations

from pathlib import Path

import click

from feast_hybrid.cli.options import repo_option


@click.command()
@repo_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
def check(repo: Path, as_json: bool) -> None:
    """Say view by view what would change with this store: where it is read, what is refused, which answers differ.

    For a Feast repository of any offline store, whose packages need not be installed. Imports its Python files, as
    feast apply does. Starts no Spark and asks no lake; files on this machine are looked at. No secret is printed.

    Exit code: 0 nothing is refused, 1 something is, 2 the repository or a part of it cannot be read.
    """
    from feast_hybrid.adopt.check import check as look

    report = look(repo)
    click.echo(report.to_json() if as_json else report.to_text())
    click.get_current_context().exit(report.exit_code)
