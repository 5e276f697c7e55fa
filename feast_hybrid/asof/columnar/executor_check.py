"""Whether executors can open a view's files: asked of them once, by a tiny job."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.asof.scan import Scan

#: The places and sign-ins with which executors can open files: for each session of Spark Connect, which has its own
#: Python files, and for each application of Spark Classic, whose sessions share their executors.
_of_sessions: weakref.WeakKeyDictionary[Any, set[tuple[str, str]]] = weakref.WeakKeyDictionary()
_of_applications: dict[str | None, set[tuple[str, str]]] = {}


def is_remote(session: SparkSession) -> bool:
    """Whether it is one of Spark Connect."""
    return type(session).__module__.startswith("pyspark.sql.connect")


def executors_fail(session: SparkSession, scan: Scan, parallelism: int | None = None) -> str | None:
    """Why the session's executors cannot read a scan's files, if they cannot.

    Runs a job until a session or application has once succeeded for a place, unless there is nothing to check.
    """
    if scan.check is None:
        return None
    if is_remote(session):
        answers = _of_sessions.setdefault(session, set())
    else:
        answers = _of_applications.setdefault(session.conf.get("spark.app.id", None), set())
    place = (scan.where, repr(scan.open))
    if place in answers:
        return None
    failure = _ask(session, scan, parallelism or 2)
    if not failure:
        answers.add(place)  # what failed may be mended
    return failure or None


def _ask(session: SparkSession, scan: Scan, tasks: int) -> str:
    check = scan.check

    # A function within a function travels by value, and so arrives where this package is not installed.
    def probe(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        said = []
        for _ in batches:
            try:
                import importlib

                importlib.import_module("feast_hybrid.asof.columnar.read")
                check_here()
            except Exception as error:
                # The error's own text might hold what was given to a file system.
                said.append(getattr(error, "name", None) or type(error).__name__)
        yield pa.RecordBatch.from_pydict({"said": pa.array(said, pa.string())})

    def check_here() -> None:
        if check is not None:
            check()

    try:
        answers = session.range(0, tasks, 1, tasks).mapInArrow(probe, "said string").collect()
    except Exception as error:
        # A check that cannot be unpickled there fails before it is called.
        return f"executors cannot open files on {scan.where}: {type(error).__name__}"
    said = sorted({row["said"] for row in answers})
    return f"executors cannot open files on {scan.where}: {', '.join(said)}" if said else ""
