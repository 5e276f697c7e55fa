"""A commit whose answer may be lost is never said to have changed nothing."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JNetworkError

from feast_hybrid.errors import CommitUnknownError, WriteCancelledError
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.writing.commits import committing_by_spark, known_outcome


def behind(wrapper: Exception, cause: Exception) -> Exception:
    wrapper.__cause__ = cause
    return wrapper


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("org.apache.iceberg.exceptions.CommitStateUnknownException: timed out"),
        RuntimeError("status = StatusCode.UNAVAILABLE"),
        RuntimeError("status = StatusCode.DEADLINE_EXCEEDED"),
        Py4JNetworkError("Answer from Java side is empty"),
        behind(ValueError("it failed"), RuntimeError("status = StatusCode.UNAVAILABLE")),
    ],
)
def test_a_lost_answer_says_that_the_rows_may_be_there(error: Exception) -> None:
    unknown = pytest.raises(CommitUnknownError, match="saving to t failed, and whether the rows were committed")
    with unknown, known_outcome("saving to t"):
        raise error


def test_another_failure_passes() -> None:
    with pytest.raises(ValueError, match="a row of UNAVAILABLE rooms"), known_outcome("saving to t"):
        raise ValueError("a row of UNAVAILABLE rooms")


def test_once_cancelled_nothing_is_committed() -> None:
    cancellation = Cancellation()
    assert cancellation.cancel()
    with pytest.raises(WriteCancelledError), committing_by_spark(cancellation, "saving to t"):
        raise AssertionError
