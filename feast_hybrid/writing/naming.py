"""The names of the files that hold batches: a task that is run again gives its files the names they had."""

from __future__ import annotations

import re
import sys
import threading
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

#: The names of files that tasks of Spark's write by :func:`batch_name`.
TASK_FILE = re.compile(r"part-\d{5,}-\d{5,}-\d{5,}-.*\.parquet")
#: Within so long a task may be run again, and its file must be where it was: else its rows would be there twice.
TASKS_MAY_RETRY = timedelta(days=1)


@dataclass
class _Task:
    attempt: int
    batches: dict[str, int] = field(default_factory=dict)


_lock = threading.Lock()
_current: _Task | None = None


@dataclass(frozen=True)
class BatchName:
    """What a batch is called at its place.

    Attributes:
        text: without a suffix.
        replaces: whether a file of that name holds the same batch, written by another attempt of this task.
    """

    text: str
    replaces: bool


def batch_name(place: str) -> BatchName:
    """A name for the next batch that goes to a place.

    Inside a Spark task it is made of the application, the stage, the partition and the batch's number within the
    task, so that what a retried or speculative task writes takes the place of what the first one wrote. Elsewhere
    it is new.

    Args:
        place: tells the places apart that one task writes to.
    """
    task = _task()
    application = task and task.getLocalProperty("spark.app.id")
    if task is None or not application:
        return BatchName(f"batch-{uuid.uuid4().hex}", replaces=False)
    number = _next_number(task.taskAttemptId(), place)
    text = f"part-{task.stageId():05d}-{task.partitionId():05d}-{number:05d}-{application}"
    return BatchName(re.sub(r"[^A-Za-z0-9_-]", "-", text), replaces=True)


def in_spark_task() -> bool:
    """Whether this is an executor's Python, where there is no session."""
    return _task() is not None


def _task() -> Any:
    """The Spark task that this process runs; None elsewhere. A process that runs one has loaded PySpark for it."""
    of_tasks = sys.modules.get("pyspark.taskcontext")
    return None if of_tasks is None else of_tasks.TaskContext.get()


def _next_number(attempt: int, place: str) -> int:
    """Counts from zero in each attempt; a worker runs one after another."""
    global _current
    with _lock:
        if _current is None or _current.attempt != attempt:
            _current = _Task(attempt)
        number = _current.batches.get(place, 0)
        _current.batches[place] = number + 1
        return number
