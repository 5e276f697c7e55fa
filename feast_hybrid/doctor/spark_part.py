"""Spark as a retrieval uses it: a session, its Hadoop, the workers' Python, and a probe on each site."""

from __future__ import annotations

import importlib
import json
import platform
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from feast_hybrid.doctor.checking import Checks, GaveUpError, noting_warnings
from feast_hybrid.doctor.machine import installed
from feast_hybrid.doctor.report import Check, Status
from feast_hybrid.errors import HybridError
from feast_hybrid.lakes.removal import remove_tree
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.jobs import run
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.runtime import is_connect, jar_of
from feast_hybrid.spark.session import get_session

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.spark.config import SparkConfig

#: The steps on each site.
TRIED_BY_SPARK = ("write", "read", "delete")
_ABFS = "org.apache.hadoop.fs.azurebfs.AzureBlobFileSystem"
#: Until a job of one row is given up: some clusters start executors when there is work.
JOB_SECONDS = 180.0
_ADVICE = (
    "Spark reads by itself until then, which takes longer: install feast-hybrid there, or set PYSPARK_PYTHON, before "
    "the session starts, to a Python that has it."
)
#: What workers need of the driver's, in their very versions or nearly so.
_OF_WORKERS = ("feast-hybrid", "pyarrow", "pandas", "numpy")


def look_at_spark(config: SparkConfig, router: Router, probes: Sequence[Location]) -> list[Check]:
    """Start or find the session, and try it out.

    Args:
        config: of the session.
        router: knows all sites.
        probes: a folder on each site that is to be looked at; they are made and deleted again.
    """
    checks = Checks("spark")
    of_sites = [Checks("site by spark", probe.site.name) for probe in probes]
    is_ours = SparkSession.getActiveSession() is None
    try:
        spark = _session(checks, config, router)
    except GaveUpError:
        for made in of_sites:
            made.skip(TRIED_BY_SPARK, "there is no Spark session")
    else:
        try:
            _hadoop(checks, spark)
            _workers(checks, spark)
            for made, probe in zip(of_sites, probes, strict=True):
                with suppress(GaveUpError):
                    _site(made, spark, probe)
        finally:
            if is_ours:
                spark.stop()
    return [check for made in (checks, *of_sites) for check in made.made]


def _session(checks: Checks, config: SparkConfig, router: Router) -> SparkSession:
    with checks.step("session"), noting_warnings(checks, "session"):
        spark = get_session(config, router)
        master = config.remote.partition(";")[0] if config.remote else spark.conf.get("spark.master", None)
        checks.ok(
            f"Spark {spark.version} on {master}, time zone {spark.conf.get('spark.sql.session.timeZone', None)}"
        )
    return spark


def _hadoop(checks: Checks, spark: SparkSession) -> None:
    """Which Hadoop Spark has, and of which version its ABFS driver is."""
    with suppress(GaveUpError), checks.step("Hadoop"):
        ask = "java_method('org.apache.hadoop.util.VersionInfo', 'getVersion')"
        hadoop = _value(spark, ask, "a question to Spark, which Hadoop it has,")
        zone = _value(spark, "java_method('java.time.ZoneId', 'systemDefault')", "a question to Spark for its zone")
        driver = None if is_connect(spark) else jar_of(spark, _ABFS)
        found = f"Hadoop {hadoop}, its JVMs' time zone {zone}"
        if driver and str(hadoop) not in driver:
            checks.fail(
                f"{found}, but {driver}", f"Start Spark with hadoop-azure {hadoop}: both must be of one version."
            )
            return
        checks.ok(found + (f", {driver}" if driver else ""))


def _value(spark: SparkSession, expression: str, what: str) -> Any:
    with translate_spark_errors(what, "while it ran"):
        (row,) = run(spark, spark.range(1).selectExpr(expression).collect, timeout=JOB_SECONDS, what=what)
    return row[0]


def _workers(checks: Checks, spark: SparkSession) -> None:
    """What Python Spark's tasks run in: another minor version cannot run them, another package answers otherwise."""

    # A function within a function travels by value, and so arrives where this package is not installed.
    def look(_: int) -> str:
        metadata = importlib.import_module("importlib.metadata")
        found: dict[str, str | None] = {}
        for name in _OF_WORKERS:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = None
        return json.dumps({"python": platform.python_version(), "path": sys.executable, "packages": found})

    checks.begin("workers' Python")
    asked = spark.range(0, 2, 1, 2).select(F.udf(look, "string", useArrow=False)("id"))
    what = "a question to Spark's workers, which Python they have,"
    try:
        with translate_spark_errors(what, "while it ran"):
            rows = run(spark, asked.collect, timeout=JOB_SECONDS, what=what)
    except HybridError as error:  # retrieval works all the same
        checks.add(Status.WARNING, str(error), _ADVICE)
        return
    for answer in sorted({row[0] for row in rows}):
        _note_worker(checks, json.loads(answer))


def _note_worker(checks: Checks, worker: dict[str, Any]) -> None:
    here = installed(_OF_WORKERS)
    found = f"{worker['python']}, {worker['path']}"
    missing = [name for name, version in worker["packages"].items() if version is None]
    others = [
        f"{name} {version} there, {here[name]} here"
        for name, version in worker["packages"].items()
        if version is not None and version != here[name]
    ]
    if missing:
        checks.add(Status.WARNING, f"{found} lacks {', '.join(missing)}", _ADVICE)
    elif others:
        checks.add(Status.WARNING, f"{found} has {', '.join(others)}", _ADVICE)
    else:
        checks.ok(f"{found}, this package and what it needs in the same versions")


def _site(checks: Checks, spark: SparkSession, probe: Location) -> None:
    """Write, read, and replace rows below a folder by Spark; the folder is removed without it."""
    rows = probe.child("rows")

    def tried(name: str, action: Any) -> Any:
        what = f"doctor: {name}"
        with translate_spark_errors(what, f"at {rows.describe()}", [probe.site]):
            return run(spark, action, timeout=JOB_SECONDS, what=what)

    frame = spark.range(3)
    try:
        with checks.step("write"):
            path = spark_path(spark, rows, "parquet")
            tried("write", lambda: frame.write.options(**path.settings).parquet(path.uri))
            checks.ok(f"three rows at {rows}")
        with checks.step("read"):
            found = tried("read", lambda: spark.read.options(**path.settings).parquet(path.uri).count())
            if found != 3:
                raise HybridError(f"{found} rows were read where 3 had been written")
            checks.ok("the same rows")
        with checks.step("delete"):
            replaced = frame.limit(1).write.mode("overwrite").options(**path.settings)
            tried("delete", lambda: replaced.parquet(path.uri))
            checks.ok("the rows were replaced by others")
    finally:
        _remove(checks, probe)


def _remove(checks: Checks, probe: Location) -> None:
    checks.begin("remove the probe")
    try:
        if probe.exists():
            remove_tree(probe)
    except Exception as error:
        checks.add(
            Status.WARNING,
            f"{probe} could not be removed without Spark ({type(error).__name__})",
            "Delete that folder; it is hidden from readers.",
        )
