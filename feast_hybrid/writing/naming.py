"""The names of the files that hold batches: a task that is run again gives its files the names they had."""

from __future__ import annotations

import re
import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyspark import TaskContext

from feast_hybrid.errors import WriteError
from feast_hybrid.files.globs import name_matcher

if TYPE_CHECKING:
    from feast_hybrid.files.selection import FileSelection


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
    task = TaskContext.get()
    application = task and task.getLocalProperty("spark.app.id")
    if task is None or not application:
        return BatchName(f"batch-{uuid.uuid4().hex}", replaces=False)
    number = _next_number(task.taskAttemptId(), place)
    text = f"part-{task.stageId():05d}-{task.partitionId():05d}-{number:05d}-{application}"
    return BatchName(re.sub(r"[^A-Za-z0-9_-]", "-", text), replaces=True)


def require_selected(name: str, selection: FileSelection, *, what: str) -> None:
    """Refuse to write a file that the source's own options would hide from readers, or give other columns.

    Args:
        name: the file's, or one like it.
        selection: which files the source reads.
        what: how an error names the rows and the place.

    Raises:
        WriteError: names the option.
    """
    if selection.name_pattern is not None and not name_matcher(selection.name_pattern)(name):
        reason = f"its option pathGlobFilter, {selection.name_pattern!r}, leaves out a file such as {name}"
    elif selection.before is not None:
        reason = "its option modifiedBefore leaves out what is written later"
    elif selection.base is not None:
        reason = "its option basePath takes columns from folders above the path"
    else:
        return
    raise WriteError(f"{what}: rows that are written there would not be read back: {reason}. Leave the option out.")


def in_spark_task() -> bool:
    """Whether this is an executor's Python, where there is no session."""
    return TaskContext.get() is not None


def _next_number(attempt: int, place: str) -> int:
    """Counts from zero in each attempt; a worker runs one after another."""
    global _current
    with _lock:
        if _current is None or _current.attempt != attempt:
            _current = _Task(attempt)
        number = _current.batches.get(place, 0)
        _current.batches[place] = number + 1
        return number
