"""Whether executors can open a view's files: they try it once, in a tiny job."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.asof.scan import Ineligible, Scan
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: The places and sign-ins with which executors can open files: for each session of Spark Connect, which has its own
#: Python files, and for each application of Spark Classic, whose sessions share their executors.
_readable_by_session: weakref.WeakKeyDictionary[Any, set[tuple[str, str]]] = weakref.WeakKeyDictionary()
_readable_by_application: dict[str | None, set[tuple[str, str]]] = {}


def check_executors(session: SparkSession, scan: Scan, parallelism: int | None = None) -> Ineligible | None:
    """Why the session's executors cannot read a scan's files, if they cannot.

    Runs a job until a session or application has once succeeded for a place, unless there is nothing to check.
    """
    if scan.check is None:
        return None
    if is_connect(session):
        readable = _readable_by_session.setdefault(session, set())
    else:
        readable = _readable_by_application.setdefault(session.conf.get("spark.app.id", None), set())
    place = (scan.where, repr(scan.open))
    if place in readable:
        return None
    failures = _run_check(session, scan, parallelism or 2)
    if failures:
        return Ineligible(f"executors cannot open files on {scan.where}: {', '.join(failures)}")
    readable.add(place)  # not what failed, which may be fixed
    return None


def _run_check(session: SparkSession, scan: Scan, tasks: int) -> list[str]:
    """The errors' classes, or the modules that were not found."""
    check = scan.check

    # A function within a function travels by value, and so arrives where this package is not installed.
    def probe(batches: Iterator[Any]) -> Iterator[Any]:
        failures = []
        for _ in batches:
            try:
                importlib.import_module("feast_hybrid.asof.columnar.read")
                if check is not None:
                    check()
            except Exception as error:
                # The error's own text might hold what was given to a file system.
                failures.append(getattr(error, "name", None) or type(error).__name__)
        yield pa.RecordBatch.from_pydict({"failure": pa.array(failures, pa.string())})

    try:
        rows = session.range(0, tasks, 1, tasks).mapInArrow(probe, "failure string").collect()
    except Exception as error:
        # A check that cannot be unpickled there fails before it is called.
        return [type(error).__name__]
    return sorted({row["failure"] for row in rows})
