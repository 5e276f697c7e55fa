"""Running what may take long: named in Spark's UI, and stopped by a timeout or by Ctrl-C."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pyspark import InheritableThread

from feast_hybrid.errors import CommitUnknownError, ReplacementError, RetrievalTimeoutError
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

T = TypeVar("T")

#: For how long a job is asked to stop, and how often: 10 seconds, five times a second.
_CANCEL_SECONDS, _CANCEL_PAUSE_SECONDS = 10.0, 0.2
#: How long a Connect server may take from a call to its first stage before it is interrupted all the same.
_PLANNING_SECONDS = 5.0


def run(
    spark: SparkSession,
    action: Callable[[], T],
    *,
    timeout: float | None,
    what: str,
    cancellation: Cancellation | None = None,
) -> T:
    """Run an action of Spark's that may be cancelled, in a thread of its own.

    The thread takes over the caller's local properties (scheduler pool, job group), and adds to them a description
    and a group of its own where the caller has set none; on Spark Connect, where a server describes its jobs
    itself, the description is one of the job's tags. The caller's thread keeps what it had.

    Args:
        spark: the session in which the action runs.
        action: what to run.
        timeout: seconds; None for no limit.
        what: how Spark's UI and an error name it.
        cancellation: of an action that writes: it commits within this token's ``committing``. Without one the action
            changes nothing that others see.

    Raises:
        RetrievalTimeoutError: the time ran out. The job was told to stop; so it is when the caller is interrupted.
            What was at its last step and succeeded all the same is no error, and a commit that had begun is waited
            for: its failure is raised as it is.
    """
    tag = f"feast-hybrid-{uuid.uuid4().hex}"
    described = f"feast-hybrid: {what}"
    outcome: dict[str, Any] = {}
    begun = threading.Event()
    # Not the thread's own join and is_alive: after a Ctrl-C in join, Python 3.11 takes a running thread for ended.
    ended = threading.Event()

    def named() -> None:
        try:
            _name_jobs(spark, tag, described)
            with _noted_when_begun(spark, begun):
                outcome["result"] = action()
        except BaseException as error:
            outcome["error"] = error
        finally:
            ended.set()

    thread = InheritableThread(target=named, session=spark, name=described, daemon=True)
    thread.start()
    cancellation = cancellation or Cancellation()
    late = True
    try:
        late = not ended.wait(timeout)
    finally:
        if not ended.is_set():
            abandoned = cancellation.cancel()
            if cancellation.may_interrupt:
                # In a thread too: a server that is gone must not hold up the one who waits.
                seconds = _CANCEL_SECONDS if abandoned else math.inf
                threading.Thread(target=_cancel, args=(spark, tag, begun, ended, seconds), daemon=True).start()
            ended.wait(_CANCEL_SECONDS if abandoned else None)
    if isinstance(outcome.get("error"), (ReplacementError, CommitUnknownError)):
        raise outcome["error"]  # what it says of the rows must not be lost, however late it is
    # What was done before it could be stopped is not cancelled; what failed while it committed has failed.
    if late and "result" not in outcome and cancellation.may_interrupt:
        raise RetrievalTimeoutError(f"{what} did not end within {timeout:g} s and was cancelled.")
    if "error" in outcome:
        raise outcome["error"]
    result: T = outcome["result"]
    return result


def _name_jobs(spark: SparkSession, tag: str, described: str) -> None:
    """Name what this thread runs from now on, and tag it.

    Classic collects Arrow in a JVM thread of its own, which inherits the context's tags but not the session's.
    """
    if is_connect(spark):
        spark.addTag(tag)
        spark.addTag(described.replace(",", ";"))  # a comma ends a tag
        return
    context = spark.sparkContext
    context.addJobTag(tag)
    for key, value in (("spark.job.description", described), ("spark.jobGroup.id", tag)):
        if context.getLocalProperty(key) is None:
            context.setLocalProperty(key, value)


@contextmanager
def _noted_when_begun(spark: SparkSession, begun: threading.Event) -> Iterator[None]:
    """Set the event when the first stage of what this thread runs has begun, on Spark Connect."""
    if not is_connect(spark):
        yield
        return
    thread = threading.current_thread()

    def progressed(stages: Any, **_: Any) -> None:
        if stages and threading.current_thread() is thread:
            begun.set()

    session: Any = spark
    session.registerProgressHandler(progressed)
    try:
        yield
    finally:
        session.removeProgressHandler(progressed)


def _cancel(spark: SparkSession, tag: str, begun: threading.Event, ended: threading.Event, seconds: float) -> None:
    """Tell the tagged jobs to stop, again and again: Spark may still be planning, and only begun jobs are known."""
    if is_connect(spark):
        # A Connect server that is interrupted in its planning ends the operation, and begins its job all the same,
        # which nobody can stop any more (seen with 4.3.0). It reports each two seconds what it is doing.
        begun.wait(_PLANNING_SECONDS)
    deadline = time.monotonic() + seconds
    while not ended.is_set() and time.monotonic() < deadline:
        with suppress(Exception):  # a server that does not answer now may do so the next time
            if is_connect(spark):
                spark.interruptTag(tag)
            else:
                spark.sparkContext.cancelJobsWithTag(tag)
        ended.wait(_CANCEL_PAUSE_SECONDS)
