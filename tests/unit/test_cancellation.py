"""A writer and a caller who gives up: the first of them decides."""

from __future__ import annotations

import threading

import pytest

from feast_hybrid.errors import WriteCancelledError
from feast_hybrid.spark.cancellation import Cancellation


def test_what_was_cancelled_before_its_commit_is_never_committed() -> None:
    cancellation = Cancellation()
    assert cancellation.cancel()
    committed = []
    for _ in range(2):
        with pytest.raises(WriteCancelledError, match="nothing was changed"), cancellation.committing():
            committed.append(1)
    assert committed == []
    assert cancellation.may_interrupt


def test_a_commit_that_has_begun_cannot_be_cancelled_nor_can_what_follows_it() -> None:
    cancellation = Cancellation()
    with cancellation.committing():
        assert not cancellation.cancel()
        assert not cancellation.may_interrupt
    assert not cancellation.cancel()
    with cancellation.committing():
        pass


def test_a_commit_that_spark_takes_back_by_itself_may_be_told_to_stop() -> None:
    cancellation = Cancellation()
    with cancellation.committing(interruptible=True):
        assert not cancellation.cancel()
        assert cancellation.may_interrupt


def test_of_a_writer_and_its_caller_exactly_one_is_first() -> None:
    for _ in range(200):
        cancellation, together = Cancellation(), threading.Barrier(2)
        committed: list[bool] = []

        def write(cancellation: Cancellation = cancellation, together: threading.Barrier = together) -> None:
            together.wait()
            try:
                with cancellation.committing():
                    committed.append(True)  # noqa: B023  # joined below, in the same round
            except WriteCancelledError:
                pass

        writer = threading.Thread(target=write)
        writer.start()
        together.wait()
        abandoned = cancellation.cancel()
        writer.join()
        assert bool(committed) != abandoned
