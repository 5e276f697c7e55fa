"""Trying things out: each step becomes a check, whatever it raises, and ends within a time."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from feast_hybrid.doctor.report import Check, Status
from feast_hybrid.errors import HybridError
from feast_hybrid.lakes.errors import redacted, redacted_summary


class GaveUpError(Exception):
    """A step failed, and was noted: what follows from it need not be tried."""


@dataclass
class Checks:
    """Collects the checks of one area, or of one site in it.

    Attributes:
        area: as :class:`Check` has it.
        site: likewise.
        made: the checks so far.
        doing: the step that is being tried.
    """

    area: str
    site: str | None = None
    made: list[Check] = field(default_factory=list)
    doing: str = ""
    _began: float = field(default_factory=time.monotonic)

    def begin(self, name: str) -> None:
        """Say what is tried next; its time begins."""
        self.doing, self._began = name, time.monotonic()

    def add(self, status: Status, found: str, advice: str = "", *, name: str = "") -> None:
        """Note how the step that was begun, or another one, is."""
        seconds = 0.0 if name else time.monotonic() - self._began
        self.made.append(
            Check(self.area, name or self.doing, status, redacted(found), redacted(advice), self.site, seconds)
        )

    def ok(self, found: str) -> None:
        """Note that the step that was begun works."""
        self.add(Status.OK, found)

    def fail(self, found: str, advice: str = "") -> None:
        """Note that the step that was begun does not work."""
        self.add(Status.FAILED, found, advice)

    def skip(self, names: Iterable[str], reason: str) -> None:
        """Note what was not tried, and why."""
        for name in names:
            self.add(Status.NOT_TRIED, reason, name=name)

    @contextmanager
    def step(self, name: str, translate: Callable[[Exception], HybridError | None] | None = None) -> Iterator[None]:
        """Try something; what it raises becomes a failed check. Inside, :meth:`ok` notes that it works.

        Args:
            name: of the step.
            translate: what an exception means that is none of ours.

        Raises:
            GaveUpError: it failed.
        """
        self.begin(name)
        try:
            yield
        except GaveUpError:
            raise
        except HybridError as error:
            self.fail(str(error))
        except Exception as error:
            meant = translate(error) if translate else None
            self.fail(redacted_summary(error) if meant is None else str(meant))
        else:
            return
        raise GaveUpError(name)


@contextmanager
def noting_warnings(checks: Checks, name: str) -> Iterator[None]:
    """Note the warnings of what is done inside; each once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            texts = [str(warning.message) for warning in caught if warning.category is UserWarning]
            for text in dict.fromkeys(texts):
                checks.add(Status.WARNING, text, name=name)


def run_all(
    works: Sequence[tuple[Checks, Callable[[Checks], object]]],
    *,
    seconds: float,
    late: Status = Status.FAILED,
    advice: str = "",
) -> list[Check]:
    """Do each work in a thread of its own; what has not ended in time is left behind.

    Args:
        works: where to note, and what to do.
        seconds: for all.
        late: how a step is that has not ended.
        advice: what to do then.
    """
    threads = []
    for checks, work in works:
        thread = threading.Thread(
            target=_until_given_up, args=(checks, work), name="feast-hybrid-doctor", daemon=True
        )
        thread.start()
        threads.append(thread)
    deadline = time.monotonic() + seconds
    made: list[Check] = []
    for (checks, _), thread in zip(works, threads, strict=True):
        thread.join(max(deadline - time.monotonic(), 0))
        is_late = thread.is_alive()
        made += list(checks.made)
        if is_late:
            found = f"not ended within {seconds:g} s"
            made.append(Check(checks.area, checks.doing, late, found, advice, checks.site, seconds))
    return made


def _until_given_up(checks: Checks, work: Callable[[Checks], object]) -> None:
    try:
        work(checks)
    except GaveUpError:
        return
    except Exception as error:
        checks.fail(redacted_summary(error))
