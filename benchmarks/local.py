"""This package without Spark: a process of its own, to which no session and no JVM of the others belongs.

It is told to join, and does so while the one that measures waits. A run begins with the entity rows in their file,
as the runs of the others do, or in a pandas frame where the shape has one. It ends with the answer in Arrow, or in
pandas.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import warnings
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import feature_references, feature_store, our_source
from benchmarks.session import THREADS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import pandas as pd

    from benchmarks.data import Task
    from benchmarks.far import Lakes

#: For so many seconds the process may take to end.
_GRACE = 10.0


class LocalProcess:
    """The process, started and with its repository loaded.

    Raises:
        RuntimeError: there, something failed: its kind and text.
        EOFError: the process has ended.
    """

    def __init__(self, task: Task, heap: str, lakes: Lakes | None = None) -> None:
        # Spawned, not forked: what is loaded here is not loaded there.
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        config = local_store(heap, lakes.sites() if lakes else [])
        self._process = context.Process(target=_serve, args=(theirs, task, config), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()

    def tidy(self) -> None:
        """Collect its garbage."""
        self._ask("tidy")

    def run(self, *, hand_over: bool) -> pd.DataFrame | None:
        """Join; the answer comes over as a pandas frame where it is asked for."""
        found: pd.DataFrame | None = self._ask("hand over" if hand_over else "join")
        return found

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(_GRACE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, what: str) -> Any:
        self._connection.send(what)
        return self._answer()

    def _answer(self) -> Any:
        failed, answer = self._connection.recv()
        if failed:
            raise RuntimeError(failed)
        return answer


def local_store(heap: str, sites: list[dict[str, Any]]) -> dict[str, Any]:
    """``offline_store`` with as many threads as the others have, and as much memory as Spark's driver."""
    return {
        "type": "feast_hybrid.HybridSparkOfflineStore",
        "engine": "local",
        "local": {"threads": THREADS, "memory": f"{heap.removesuffix('g')}GiB"},
        "sites": sites,
    }


def _serve(connection: Connection, task: Task, config: dict[str, Any]) -> None:
    """What the process does: it answers until nobody asks any more."""
    # Not filterwarnings: Feast's modules set filters of their own when they are loaded.
    warnings.showwarning = lambda *_args, **_kwargs: None
    with tempfile.TemporaryDirectory() as folder, suppress(EOFError):
        try:
            joining = _Joining(task, config, Path(folder))
        except Exception as error:
            connection.send((_text(error), None))
            return
        connection.send((None, None))
        while True:
            asked = connection.recv()
            try:
                answer = joining.do(asked)
            except Exception as error:
                connection.send((_text(error), None))
            else:
                connection.send((None, answer))


class _Joining:
    def __init__(self, task: Task, config: dict[str, Any], folder: Path) -> None:
        import pandas as pd

        self._task = task
        self._store = feature_store(folder, config, our_source, task)
        self._frame = pd.read_parquet(task.entities) if task.pandas else None

    def do(self, asked: str) -> pd.DataFrame | None:
        if asked == "tidy":
            gc.collect()
            return None
        answer = self._join()
        if asked != "hand over":
            return None
        refuse_jvm()
        found: pd.DataFrame = answer if self._frame is not None else answer.to_pandas()
        return found

    def _join(self) -> Any:
        import pandas as pd

        rows = self._frame.copy() if self._frame is not None else pd.read_parquet(self._task.entities)
        job = self._store.get_historical_features(
            entity_df=rows, features=feature_references(self._task), full_feature_names=True
        )
        return job.to_df() if self._frame is not None else job.to_arrow()


def refuse_jvm() -> None:
    """Nothing was measured of the local engine where Spark has worked in its process.

    Raises:
        RuntimeError: it has.
    """
    pyspark: Any = sys.modules.get("pyspark")
    if pyspark is not None and pyspark.SparkContext._gateway is not None:
        raise RuntimeError("the local engine's process has started a JVM")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
