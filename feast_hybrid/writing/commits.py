"""Commits whose answer may be lost: what can be said of the rows then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from feast_hybrid.errors import CommitUnknownError
from feast_hybrid.lakes.errors import error_chain, raise_from, redacted_summary

if TYPE_CHECKING:
    from feast_hybrid.spark.cancellation import Cancellation

#: Iceberg's own word for it; a Connect server, or a JVM, that was lost while it worked.
_ANSWER_LOST = re.compile(
    r"\bCommitStateUnknownException\b|\bStatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED)\b|^Py4JNetworkError\b"
)


@contextmanager
def known_outcome(what: str) -> Iterator[None]:
    """Around a job of Spark's that commits rows.

    Args:
        what: how an error names the rows and the place.

    Raises:
        CommitUnknownError: the answer to its commit may be lost.
    """
    try:
        yield
    except Exception as error:
        if any(_ANSWER_LOST.search(f"{type(each).__name__}: {each}") for each in error_chain(error)):
            unknown = (
                f"{what} failed, and whether the rows were committed before is not known: read them before you "
                f"write again. {redacted_summary(error)}"
            )
            raise_from(CommitUnknownError(unknown), error)
        raise


@contextmanager
def committing_by_spark(cancellation: Cancellation, what: str) -> Iterator[None]:
    """Around a job of Spark's that computes and commits in one; see :func:`known_outcome`."""
    with cancellation.committing(interruptible=True), known_outcome(what):
        yield
