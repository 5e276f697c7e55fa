"""Giving up what writes: it ends before it changes what others see, or is waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from feast_hybrid.errors import WriteCancelledError


class Cancellation:
    """Decides between a writer that is about to commit and a caller who gives up waiting: one of them is first.

    The writer enters :meth:`committing` around the step that changes what others see; the caller calls
    :meth:`cancel`. Once cancelled nothing is committed any more, however late the writer gets there; once a commit
    has begun it cannot be cancelled, and the caller waits for how it ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._commit_begun = False
        self._interruptible = False

    @contextmanager
    def committing(self, *, interruptible: bool = False) -> Iterator[None]:
        """Around the step that changes what others see; may be entered several times.

        Args:
            interruptible: whether the step is a job of Spark's that computes and commits in one, as a write of
                Delta's does. It may be told to stop, and then says itself whether it has committed.

        Raises:
            WriteCancelledError: the caller has given up; nothing may be committed.
        """
        with self._lock:
            if self._cancelled:
                raise WriteCancelledError("The caller has given up waiting; nothing was changed.")
            self._commit_begun, self._interruptible = True, interruptible
        yield

    def cancel(self) -> bool:
        """Give up.

        Returns:
            Whether nothing will be committed. False: a commit has begun, or is done.
        """
        with self._lock:
            self._cancelled = not self._commit_begun
            return self._cancelled

    @property
    def may_interrupt(self) -> bool:
        """Whether Spark's jobs may be told to stop: no commit has begun that would be left half done."""
        with self._lock:
            return not self._commit_begun or self._interruptible
