"""``feast-hybrid migrate``: a repository of Feast's own store made one of this store."""

from __future__ import annotations

from pathlib import Path

import click

from feast_hybrid.cli.options import repo_option


@click.command()
@repo_option
@click.option("--apply", "write", is_flag=True, help="Write the changes; without it they are only shown.")
@click.option("--sources", is_flag=True, help="Make Feast's sources a HybridSparkSource, where it is safe.")
@click.option(
    "--site", "sites", multiple=True, metavar="URI", help="A lake that no source names and a site is wanted for."
)
def migrate(repo: Path, write: bool, sources: bool, sites: tuple[str, ...]) -> None:
    """Change feature_store.yaml of Feast's spark, dask or duckdb store to this one; show it as a diff.

    Spark's settings become those of this store, and those that sign in to a lake a site's credential, with secrets by
    reference. Comments, order and all else stay. Secrets are struck out of the diff. Run feast-hybrid check before.
    """
    from feast_hybrid.adopt.migrate import plan_migration

    migration = plan_migration(repo, sources=sources, sites=sites)
    click.echo(migration.diff(), nl=False)
    for note in migration.notes:
        click.echo(f"- {note}", err=True)
    if not migration.changes:
        click.echo("There is nothing to change.", err=True)
    elif write:
        migration.write()
        count = len(migration.changes)
        click.echo(f"{count} file{'' if count == 1 else 's'} written. Next: feast plan, feast apply.", err=True)
    else:
        click.echo("Nothing was written: --apply writes it.", err=True)
