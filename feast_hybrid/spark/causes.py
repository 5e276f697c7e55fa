"""The chain of causes of an error that Spark raised, alike for Spark Classic and Spark Connect.

What fails in another thread of Spark's, such as a broadcast or a subquery, reaches the caller as ``Exception thrown
in awaitResult``, and nothing else: what happened stands further down. Classic has the chain as Java objects; Connect
has the lines of its stack trace that begin with ``Caused by:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from feast_hybrid.lakes.errors import redacted_summary

_MAX_CAUSES = 32
#: How a message of Spark's begins that has an error condition: with its name, such as ``FAILED_READ_FILE.NO_HINT``.
_CONDITION = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\] ")
#: How a call that failed by itself shows in the text of an error of Connect's client.
_GRPC_STATUS = re.compile(r"<_\w+ of RPC that terminated with:\s*status = StatusCode\.(\w+)")
#: How Connect's client begins the message of a Java exception that it has no class of its own for.
_CLASS_BEFORE_MESSAGE = re.compile(r"\(((?:\w+\.)+[\w$]+)\) ")
#: py4j's own line before a Java exception's text.
_CALLING = re.compile(r"\s*An error occurred while calling .*\n: ")
#: Where a job is given up for a task of it: that task's exception, with its stack trace.
_LOST_TASK = re.compile(r"most recent failure: Lost task \S+ in stage \S+ \(TID \d+\) \([^)]*\): ")
_CAUSED_BY = re.compile(r"^Caused by: ", re.MULTILINE)
_STACK_FRAMES = re.compile(r"\n\s*(?:at |\.\.\. \d+ more)|\n\s*\n(?:JVM stacktrace|Driver stacktrace):")
_CLASS_AND_MESSAGE = re.compile(r"((?:\w+\.)+[\w$]+)(?:: (.*))?$", re.DOTALL)
#: The last line of a traceback from one of Spark's Python workers: the exception's class and message.
_IN_PYTHON = re.compile(
    r"Traceback \(most recent call last\):\n(?:[ \t].*\n)+(?P<name>[A-Za-z_][\w.]*)(?:: (?P<message>.*))?$",
    re.MULTILINE,
)
#: Conditions of Spark's that tell where something failed, and not what.
_TELLS_WHERE = re.compile(
    r"(FAILED_READ_FILE|TASK_WRITE_FAILED|INTERNAL_ERROR|PYTHON_EXCEPTION|FAILED_EXECUTE_UDF)\b"
)


@dataclass(frozen=True)
class Cause:
    """One exception of a chain.

    Attributes:
        exception_class: its full name in Java or Python, such as ``java.net.ConnectException``; empty where unknown.
        message: its text, over several lines perhaps.
        condition: Spark's error condition; empty where it has none. ``GRPC.`` and a status where a Connect server did
            not come to answer.
        in_python: whether a Python worker raised it.
        trace: its stack trace, where there is one: who raised it.
    """

    exception_class: str
    message: str
    condition: str = ""
    in_python: bool = False
    trace: str = ""

    @property
    def own_text(self) -> str:
        """The class and the message, as a traceback has them, without other exceptions in it."""
        message = _IN_PYTHON.sub("", _LOST_TASK.split(self.message, maxsplit=1)[0])
        return f"{self.exception_class}: {message}" if self.exception_class else message

    @property
    def summary(self) -> str:
        """The first line that says something, secrets struck out, led by the condition or the class's short name."""
        if self.condition and not self.message.startswith("["):
            return redacted_summary(f"[{self.condition}] {self.message}")
        if self.condition or not self.exception_class:
            return redacted_summary(self.message)
        name = self.exception_class if self.in_python else self.exception_class.rpartition(".")[2]
        return redacted_summary(f"{name}: {self.message}" if self.message else name)


def causes_of(error: BaseException) -> list[Cause]:
    """An error of Spark's and what caused it, from the outermost to the innermost."""
    found = _java_causes(error) or _text_causes(error)
    return [each for cause in found for each in (cause, *_within(cause))]


def summary_of(causes: Sequence[Cause]) -> str:
    """The last of the causes that says something, after where it happened if Spark names the file."""
    in_python = [cause for cause in causes if cause.in_python]
    if in_python:  # what Java's side of it goes on to say is that the worker is gone
        return in_python[-1].summary
    named = next((cause for cause in causes if cause.condition), None)
    if named is not None and not _TELLS_WHERE.match(named.condition):
        return named.summary
    # A single word is no sentence, such as the name of the class that Spark then looked for.
    last = next((cause for cause in reversed(causes) if len(cause.message.split()) > 1), causes[-1])
    if named is None or named is last:
        return last.summary
    return f"{named.summary.rstrip('. ')}. Cause: {last.summary}"


def _java_causes(error: BaseException) -> list[Cause]:
    """The causes of an error of Spark Classic, by its Java object; none where it has none."""
    throwable: Any = getattr(error, "java_exception", None)
    throwable = getattr(error, "_origin", None) if throwable is None else throwable
    found: list[Cause] = []
    try:
        while throwable is not None and len(found) < _MAX_CAUSES:
            found.append(_cause(_class_of(throwable), throwable.getMessage() or ""))
            throwable = throwable.getCause()
    except Exception:  # the JVM may be gone, or have died of this
        return found
    # Java has the frames of each, one by one; the text has them too.
    traced = _parsed(_trace_of(error))
    if len(traced) == len(found):
        return [replace(cause, trace=other.trace) for cause, other in zip(found, traced, strict=True)]
    return found


def _class_of(throwable: Any) -> str:
    """The class of an exception; of one that a Hadoop server raised the one that it had there."""
    name = str(throwable.getClass().getName())
    return str(throwable.getClassName()) if name == "org.apache.hadoop.ipc.RemoteException" else name


def _trace_of(error: BaseException) -> str:
    """The text of a Java exception with its stack trace; empty where it has none."""
    try:
        return str(getattr(error, "getStackTrace", lambda: None)() or error)
    except Exception:  # the JVM may be gone
        return ""


def _text_causes(error: BaseException) -> list[Cause]:
    """The causes of an error of Spark Connect or of Spark's Python code, by its texts."""
    outermost, *others = _parsed(str(error))
    trace = str(getattr(error, "getStackTrace", lambda: None)() or "")
    traced = _parsed(trace) if trace else []
    name = outermost.exception_class or (traced[0].exception_class if traced else type(error).__name__)
    condition = outermost.condition or _condition_of(error, from_server=bool(trace))
    frames = (traced[:1] or [outermost])[0].trace
    return [Cause(name, outermost.message, condition, trace=frames), *(traced[1:] or others)]


def _condition_of(error: BaseException, *, from_server: bool) -> str:
    condition = str(getattr(error, "getCondition", lambda: None)() or "")
    if condition or from_server:
        return condition
    if in_text := _GRPC_STATUS.match(str(error)):  # all that PySpark 4.0 gives
        return f"GRPC.{in_text[1]}"
    status = getattr(error, "getGrpcStatusCode", lambda: None)()
    return f"GRPC.{status.name}" if status is not None else ""


def _within(cause: Cause) -> Iterator[Cause]:
    """What the message of a cause holds of others: of a task that was lost, of a Python worker."""
    if lost := _LOST_TASK.search(cause.message):
        for each in _parsed(cause.message[lost.end() :]):
            yield each
            yield from _raised_in_python(each)
    yield from _raised_in_python(cause)


def _raised_in_python(cause: Cause) -> Iterator[Cause]:
    for raised in _IN_PYTHON.finditer(cause.message):
        yield Cause(raised["name"], raised["message"] or "", in_python=True, trace=raised[0])


def _parsed(text: str) -> list[Cause]:
    """A Java exception's text, with its stack trace or without, taken apart."""
    segments = _CAUSED_BY.split(_CALLING.sub("", text, count=1))
    found = []
    for segment in segments[:_MAX_CAUSES]:
        head = _STACK_FRAMES.split(segment, maxsplit=1)[0]
        named = _CLASS_AND_MESSAGE.match(head)
        cause = _cause(named[1], named[2] or "") if named else _cause("", head)
        found.append(replace(cause, trace=segment[len(head) :]))
    return found


def _cause(exception_class: str, message: str) -> Cause:
    if not exception_class and (named := _CLASS_BEFORE_MESSAGE.match(message)):
        exception_class, message = named[1], message[named.end() :]
    condition = _CONDITION.match(message)
    return Cause(exception_class, message, condition[1] if condition else "")
