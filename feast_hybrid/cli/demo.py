"""``feast-hybrid demo``: one training set out of two lakes, shown."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
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
    from feast_hybrid.spark.installed import require_pyspark

    require_pyspark("feast-hybrid demo")
    from feast_hybrid.demo import run

    run(repo, flights, keep=keep)
