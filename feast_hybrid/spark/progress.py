"""A progress bar for jobs on Spark Connect. Spark Classic has its own, which is drawn by its JVM."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

_NAMED = "feast-hybrid: "


def is_watched() -> bool:
    """Whether somebody looks at what this process writes to its standard error: in a terminal or a notebook."""
    return sys.stderr is not None and (sys.stderr.isatty() or _in_notebook())


def _in_notebook() -> bool:
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in shell.config


def show_progress(spark: Any) -> None:
    """Draw a bar for each job of a Connect session while it runs, where somebody sees it."""
    if is_watched():
        spark.registerProgressHandler(_Bars())


class _Bars:
    """PySpark's ``ProgressHandler``: is told of an operation's stages as they advance."""

    def __init__(self) -> None:
        self._bars: dict[str | None, Any] = {}

    def __call__(
        self,
        stages: Iterable[Any] | None,
        inflight_tasks: int,  # noqa: ARG002  # told by name
        operation_id: str | None,
        done: bool,
    ) -> None:
        if done:
            bar = self._bars.pop(operation_id, None)
            if bar is not None:
                bar.close()
            return
        known = list(stages or ())
        bar = self._bars.get(operation_id)
        if bar is None:
            bar = self._bars[operation_id] = _bar()
        bar.total = sum(stage.num_tasks for stage in known)
        bar.n = sum(stage.num_completed_tasks for stage in known)
        bar.refresh()


def _bar() -> Any:
    from tqdm.auto import tqdm  # warns in a notebook without widgets, which sees no bar of Spark Classic's

    name = threading.current_thread().name
    what = name.removeprefix(_NAMED) if name.startswith(_NAMED) else "Spark"
    return tqdm(desc=what, unit="task", leave=False, file=sys.stderr)
