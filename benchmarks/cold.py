"""What a new process takes from its start to its first features: the shape ``small``, in this process, without Spark.

Measured beside it: Feast's own start, to which the retrieval comes, and DuckDB's join of the same files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import contenders, data, forms, oracle
from benchmarks.applying import no_java
from benchmarks.environment import read_environment
from benchmarks.local import local_store
from benchmarks.results import Outcome, Result
from benchmarks.session import THREADS

if TYPE_CHECKING:
    from feast.data_source import DataSource

    from benchmarks.data import View
    from benchmarks.shapes import Shape

#: So many times as many runs as of a shape count, since what a process takes to start varies.
TIMES = 3

# What they are given: the repository or the query's file, the entity rows, where the answer goes in the run that is
# checked. Entity rows are pickled, which loads nothing that the retrieval could find loaded.
START = """\
import sys
from feast import FeatureStore
import pandas as pd

store = FeatureStore(repo_path=sys.argv[1])
views = store.list_feature_views()
entities = pd.read_pickle(sys.argv[2])
"""
LOCAL = (
    START
    + """\
features = [f"{view.name}:{name}" for view in views for name in FEATURES[view.name]]
answer = store.get_historical_features(entity_df=entities, features=features, full_feature_names=True).to_df()
if len(sys.argv) > 3:
    answer.to_pickle(sys.argv[3])
"""
)
DUCKDB = f"""\
import sys
import duckdb
import pandas as pd

entity_rows = pd.read_pickle(sys.argv[2])
duck = duckdb.connect(config={{"threads": {THREADS}}})
answer = duck.execute(open(sys.argv[1]).read()).df()
if len(sys.argv) > 3:
    answer.to_pickle(sys.argv[3])
"""


def measure_cold(shape: Shape, runs: int) -> Result:
    """Seconds of whole processes, in turns; a first run of each is not counted, and its answer is compared."""
    task = data.task(shape)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entities = _pickled(task, folder / "entities.pkl")
        features = f"FEATURES = { ({view.name: view.features for view in task.views})!r}\n"
        ours = _repo(folder / "ours", local_store(shape.heap, []), contenders.our_source, task)
        files = _repo(folder / "files", {"type": "file"}, _file_source, task)
        (folder / "query.sql").write_text(oracle.query(task))
        commands = {
            "start": [START, ours],
            "start-file": [START, files],
            "local": [features + LOCAL, ours],
            "duckdb": [DUCKDB, str(folder / "query.sql")],
        }
        marks, environment = no_java(folder)
        answers = {name: folder / f"{name}.pkl" for name in ("local", "duckdb")}
        outcomes = {}
        for name, command in commands.items():
            checked = [str(answers[name])] if name in answers else []
            outcomes[name] = Outcome(warm_up=_process([*command, entities, *checked], environment))
        _compare(task, answers["local"], answers["duckdb"], outcomes["local"])
        for _ in range(runs * TIMES):
            for name, command in commands.items():
                outcomes[name].seconds.append(_process([*command, entities], environment))
        if marks.exists():
            raise RuntimeError("the local engine's process has started a JVM")
    return Result(
        shape="cold",
        what=f"{shape.what}, from the start of a process to its end",
        entity_rows=shape.entities.rows,
        history_rows=shape.history_rows,
        outcomes=outcomes,
        environment=read_environment(),
    )


def _pickled(task: data.Task, path: Path) -> str:
    import pandas as pd

    pd.read_parquet(task.entities).to_pickle(path)
    return str(path)


def _repo(folder: Path, store: dict[str, Any], source: Callable[[View], DataSource], task: data.Task) -> str:
    folder.mkdir()
    contenders.feature_store(folder, store, source, task)
    return str(folder)


def _file_source(view: View) -> DataSource:
    from feast import FileSource

    return FileSource(name=f"{view.name}_rows", path=forms.as_uri(view.path), **contenders.columns(view))


def _process(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", *command], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"a new process failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return time.monotonic() - began


def _compare(task: data.Task, found: Path, expected: Path, outcome: Outcome) -> None:
    import pandas as pd

    frames: list[pd.DataFrame] = [pd.read_pickle(path) for path in (expected, found)]  # noqa: S301 (our own)
    outcome.differs = oracle.row_differences(task, *frames)
