"""The command line. Everything heavy is imported by the command that needs it, so that help is instant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from feast_hybrid.errors import HybridError


class _Commands(click.Group):
    """Commands whose known errors are one line, and not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn a :class:`HybridError` into a message and exit code 1."""
        try:
            return super().invoke(ctx)
        except HybridError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(f"{error}  (feast-hybrid --debug … shows where)") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="feast-hybrid", prog_name="feast-hybrid")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:  # read from the context where an error is shown
    """Features from HDFS and from Azure Data Lake Gen2, joined as of a time by Feast on Spark."""


@main.command()
@click.option(
    "--repo",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("flight-delays"),
    show_default=True,
    help="Where the Feast repo is left; an earlier demo's is replaced.",
)
@click.option(
    "--flights",
    type=click.IntRange(1000),
    default=80_000,
    show_default=True,
    help="How many flights the training set has.",
)
@click.option("--keep", is_flag=True, help="Leave the lakes running at the end, until Ctrl-C.")
def demo(repo: Path, flights: int, keep: bool) -> None:
    """Predict late flights from two lakes, from raw data to online features.

    Starts an HDFS and an ADLS on this machine, as plain processes. Needs Java 17 and
    pip install 'feast-hybrid[demo]'.
    """
    from feast_hybrid.demo import run

    run(repo, flights, keep=keep)


@main.command()
@click.argument("features", nargs=-1, required=True)
@click.option(
    "-c",
    "--chdir",
    "repo",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The Feast repo, the folder of feature_store.yaml; by default this one.",
)
@click.option(
    "--entities",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The entity rows: a Parquet or a CSV file.",
)
@click.option("--sql", help="The entity rows: SQL text in which a source's name stands for its rows.")
@click.option("--start", type=click.DateTime(), help="Without entity rows: the first event time, in UTC.")
@click.option("--end", type=click.DateTime(), help="Without entity rows: the last event time, in UTC.")
def explain(
    features: tuple[str, ...],
    repo: Path,
    entities: Path | None,
    sql: str | None,
    start: datetime | None,
    end: datetime | None,
) -> None:
    """Say how a training set would be joined, and why so, without making it.

    FEATURES are view:feature each, or one feature service. The entity rows are a file's, a query's, or, with
    neither, the views' own between --start and --end.
    """
    from feast_hybrid.cli.explain import explained_retrieval

    click.echo(explained_retrieval(repo, features, entities=entities, sql=sql, dates=(start, end)))
