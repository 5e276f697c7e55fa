"""Times the strategies of the as-of join side by side, in one session, on generated Parquet: read the ratios."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from feast_hybrid.asof import AsOfView, asof_join

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

VIEWS = 2


def generate(spark: SparkSession, folder: Path, rows: int, keys: int) -> list[DataFrame]:
    """Histories of ``rows`` hourly rows over ``keys`` keys, five features each."""
    from pyspark.sql import functions as F

    frames = []
    for view in range(VIEWS):
        path = str(folder / f"view{view}")
        hour = (F.col("id") / keys).cast("long")
        features = [F.rand(seed=view * 10 + i).alias(f"f{i}") for i in range(5)]
        times = [F.timestamp_micros(hour * 3_600_000_000).alias(name) for name in ("ts", "created")]
        spark.range(rows).select((F.col("id") % keys).alias("k"), *times, *features).write.parquet(path)
        frames.append(spark.read.parquet(path))
    return frames


def seconds(strategy: str, entities: DataFrame, histories: list[DataFrame]) -> float:
    """One run, with every value asked for and none collected."""
    views = [
        AsOfView(
            name=f"v{n}",
            frame=history,
            keys=[("k", "k")],
            timestamp="ts",
            created="created",
            ttl=timedelta(days=30),
            features=[(f"f{i}", f"v{n}_f{i}") for i in range(2)],
        )
        for n, history in enumerate(histories)
    ]
    began = time.monotonic()
    joined = asof_join(entities, views, timestamp="t", strategy=strategy)
    joined.write.format("noop").mode("overwrite").save()
    return time.monotonic() - began


@click.command()
@click.option("--rows", default=3_000_000, show_default=True, help="Rows of each history.")
@click.option("--keys", default=100_000, show_default=True, help="Distinct join keys.")
@click.option("--entities", default=500_000, show_default=True, help="Entity rows.")
@click.option("--runs", default=3, show_default=True, help="Counted runs of each strategy, after one that is not.")
def main(rows: int, keys: int, entities: int, runs: int) -> None:
    """Compare the strategies of the as-of join."""
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    builder = SparkSession.builder.master("local[2]").appName("feast-hybrid benchmarks")
    for key, value in {"spark.ui.enabled": "false", "spark.driver.memory": "4g", "spark.log.level": "ERROR"}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        histories = generate(spark, Path(folder), rows, keys)
        hours = max(rows // keys, 1)
        at = (F.rand(seed=7) * hours * 3_600_000_000).cast("long")
        rows_in = spark.range(entities).select((F.rand(seed=5) * keys).cast("long").alias("k"), at.alias("t"))
        path = str(Path(folder) / "entities")
        rows_in.select("k", F.timestamp_micros("t").alias("t")).write.parquet(path)
        entity_rows = spark.read.parquet(path)
        strategies = ["window", "native"] if spark.version >= "4.3" else ["window"]
        medians = {}
        for strategy in strategies:
            times = [seconds(strategy, entity_rows, histories) for _ in range(runs + 1)][1:]
            medians[strategy] = statistics.median(times)
    click.echo(
        f"Spark {spark.version}, local[2]: {entities:,} entity rows, {VIEWS} views of {rows:,} rows, {keys:,} keys"
    )
    for strategy, median in medians.items():
        click.echo(f"{strategy:<8} {median:6.1f} s   {median / medians['window']:.2f} × window")
    spark.stop()


if __name__ == "__main__":
    main()
