"""The progress bar of Spark Connect's jobs: drawn where somebody sees it, and only there."""

from __future__ import annotations

import io
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_hybrid.spark.progress import is_watched, show_progress

if TYPE_CHECKING:
    import pytest


@dataclass
class Stage:
    num_tasks: int
    num_completed_tasks: int


class Session:
    """What ``show_progress`` asks of a session."""

    def __init__(self) -> None:
        self.handlers: list[object] = []

    def registerProgressHandler(self, handler: object) -> None:
        self.handlers.append(handler)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_drawn_where_errors_go_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    session = Session()
    show_progress(session)
    assert not is_watched()
    assert session.handlers == []


def test_a_terminal_sees_the_tasks_of_all_stages_and_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    session = Session()
    show_progress(session)
    (handler,) = session.handlers
    assert callable(handler)

    def collect() -> None:
        for completed in (1, 3):
            stages = [Stage(4, completed), Stage(6, 0)]
            handler(stages=stages, inflight_tasks=1, operation_id="a", done=False)
        assert "features of trips" in terminal.getvalue()
        assert "3/10" in terminal.getvalue()
        handler(stages=[], inflight_tasks=0, operation_id="a", done=True)

    thread = threading.Thread(target=collect, name="feast-hybrid: features of trips")
    thread.start()
    thread.join()
    assert terminal.getvalue().rpartition("\r")[0].rstrip(" ").endswith("\r")  # the line is empty again


def test_an_operation_without_stages_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    session = Session()
    show_progress(session)
    session.handlers[0](stages=[], inflight_tasks=0, operation_id="a", done=True)  # type: ignore[operator]
    assert terminal.getvalue() == ""
