"""Measures one shape, in a process and a JVM of its own: ``python -m benchmarks.measure``, which ``make bench`` runs.

All contenders of Spark's share one session; the local engine has a process of its own. Each has a first run, in which
its answer is compared with the oracle's, and further ones until it has run for long enough that the JVM is warm; then
they take turns (A B C A B C …), so that whatever drifts hits them all.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import contenders, data, far, forms, oracle
from benchmarks.environment import read_environment
from benchmarks.local import LocalProcess
from benchmarks.results import Outcome, Result, save
from benchmarks.session import (
    OverLimitError,
    StuckError,
    limited,
    spilled,
    stages_so_far,
    start_session,
    tidy,
    warm_up,
)
from benchmarks.shapes import Shape, shapes

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

STUCK = 75
"""The exit code where a contender cannot be stopped. The output file then says which, and it is to be left out."""

#: For so many seconds each contender runs before its runs count.
WARM = 15.0
#: The same of those that no JVM has to get warm for.
WARM_WITHOUT_JVM = 3.0
WITHOUT_JVM = ("local", "duckdb")
#: For so many seconds any peer is waited for, however fast ours is.
FLOOR = 30.0


class Contest:
    """One shape, its session and those who take part.

    Args:
        limited: whether peers are stopped after a while: without ours, nothing says what is too long.
    """

    def __init__(
        self, shape: Shape, task: data.Task, spark: SparkSession, lakes: far.Lakes | None, *, limited: bool
    ) -> None:
        self.shape = shape
        self.task = task
        self.spark = spark
        self.lakes = lakes
        self.limit = FLOOR if limited else None
        self.local: LocalProcess | None = None
        self.outcomes: dict[str, Outcome] = {}
        self._runs: dict[str, Callable[[bool], list[str]]] = {}
        self._pandas: pd.DataFrame | None = None
        if task.pandas:
            import pandas as pd

            self._pandas = pd.read_parquet(task.entities)

    def enter(self, name: str) -> None:
        """Let a contender take part: its first run, and those that warm it up."""
        self.outcomes[name] = Outcome()
        try:
            if name == "duckdb":
                self._runs[name] = self._duckdb()
            elif name == "local":
                self._runs[name] = self._local()
            else:
                self._runs[name] = self._spark(contenders.SPARK_CONTENDERS[name](self.spark, self.task, self.lakes))
        except Exception as error:
            self._fail(name, error)
            return
        took = self._run(name, check=True, counts=False)
        self.outcomes[name].warm_up = took
        if name == "ours" and took is not None:
            self.limit = max(FLOOR, self.shape.give_up_factor * took)
        warm, enough = took, WARM_WITHOUT_JVM if name in WITHOUT_JVM else WARM
        while warm is not None and warm < enough:
            took = self._run(name, check=False, counts=False)
            warm = None if took is None else warm + took

    def round(self) -> None:
        """One counted run of each."""
        for name in list(self._runs):
            before = self.lakes.bytes_read() if self.lakes else {}
            took = self._run(name, check=False)
            if took is not None:
                self.outcomes[name].seconds.append(took)
                if self.lakes:
                    after = self.lakes.bytes_read()
                    self.outcomes[name].bytes_read.append({k: after[k] - before[k] for k in after})

    def _run(self, name: str, *, check: bool, counts: bool = True) -> float | None:
        tidy(self.spark)
        if name == "local" and self.local is not None:
            self.local.tidy()
        outcome = self.outcomes[name]
        before = stages_so_far(self.spark)
        began = time.monotonic()
        # Ours is what all is about: it may take what it takes.
        limit = None if name in ("ours", "local") else self.limit
        try:
            with limited(self.spark, limit):
                outcome.differs += self._runs[name](check)
            took = time.monotonic() - began
        except OverLimitError:
            outcome.limit = limit
            del self._runs[name]
            _log(f"{self.shape.name:<8} {name:<14} over its limit of {limit:.0f} s")
            return None
        except StuckError:
            outcome.limit = limit
            raise
        except Exception as error:
            self._fail(name, error)
            return None
        outcome.spilled += spilled(self.spark, before)
        remark = "" if counts else " (warm-up)"
        if check and outcome.differs:
            remark += f", another answer: {outcome.differs[0]}"
        _log(f"{self.shape.name:<8} {name:<14} {took:7.2f} s{remark}")
        return took

    def _fail(self, name: str, error: Exception) -> None:
        self._runs.pop(name, None)
        lines = str(error).strip().splitlines() or [""]
        self.outcomes[name].failed = f"{type(error).__name__}: {lines[0][:300]}"
        _log(f"{self.shape.name:<8} {name:<14} failed: {self.outcomes[name].failed}")

    def _spark(self, contender: contenders.SparkContender) -> Callable[[bool], list[str]]:
        def run(check: bool) -> list[str]:
            if self._pandas is not None:
                found = contender.to_pandas(self._pandas)
                return self._compare_rows(found) if check else []
            frame = contender.to_spark()
            if check:
                return oracle.differences(oracle.checksum(self.task_on_disk), oracle.spark_checksum(self.task, frame))
            frame.write.format("noop").mode("overwrite").save()
            return []

        return run

    def _local(self) -> Callable[[bool], list[str]]:
        local = self.local = LocalProcess(self.task, self.shape.heap, self.lakes)

        def run(check: bool) -> list[str]:
            found = local.run(hand_over=check)
            return [] if found is None else self._compare_rows(found)

        return run

    def close(self) -> None:
        """End the process that it has started."""
        if self.local is not None:
            self.local.close()

    def _duckdb(self) -> Callable[[bool], list[str]]:
        duck, task = oracle.connection(self.shape.heap.upper() + "B"), self.task_on_disk

        def run(_check: bool) -> list[str]:
            oracle.run(duck, task, self._pandas)
            return []

        return run

    def _compare_rows(self, found: pd.DataFrame) -> list[str]:
        with oracle.connection("8GB") as duck:
            expected = oracle.answer(duck, self.task_on_disk, self._pandas)
        return oracle.row_differences(self.task, expected, found)

    @property
    def task_on_disk(self) -> data.Task:
        """The task on the generated local files, which DuckDB reads."""
        return data.task(self.shape)


def measure(shape: Shape, names: list[str], runs: int, without: Mapping[str, float], out: Path) -> None:
    """Measure a shape, and save the result beside ``out``."""
    local = task = data.task(shape)
    if not task.pandas:
        oracle.checksum(task)  # now, so that it is in nobody's time
    with ExitStack() as stack:
        lakes = stack.enter_context(far.started()) if shape.lakes else None
        if lakes:
            task = far.upload(task, lakes)
        catalog = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        more = forms.session_settings(task, catalog) | (lakes.conf() if lakes else {})
        spark = start_session(shape.heap, more)
        stack.callback(spark.stop)
        warm_up(spark, task.views[0].path, task.views[0].history.key)
        task = forms.prepared(spark, task)
        contest = Contest(shape, task, spark, lakes, limited="ours" in names)
        stack.callback(contest.close)
        try:
            for name in names:
                if name not in without:
                    contest.enter(name)
            for _ in range(runs):
                contest.round()
        except StuckError:
            stuck = next(n for n, o in contest.outcomes.items() if o.limit is not None and n in contest._runs)
            out.write_text(json.dumps({"stuck": stuck, "limit": contest.limit}))
            sys.exit(STUCK)
        outcomes = contest.outcomes | {name: Outcome(limit=limit) for name, limit in without.items()}
        result = Result(
            shape=shape.name,
            what=shape.what,
            history_rows=shape.history_rows,
            entity_rows=shape.entities.rows,
            heap=shape.heap,
            outcomes={name: outcomes[name] for name in names},
            environment=read_environment(),
        )
        if lakes:
            result.needed = far.needed_bytes(local, shape.entities.since, shape.entities.until)
        save(result, out.parent)


def _log(text: str) -> None:
    click.echo(text, err=True)


@click.command()
@click.option("--shape", "name", required=True)
@click.option("--scale", type=float, required=True)
@click.option("--runs", type=int, required=True)
@click.option("--contenders", "names", required=True, help="With commas between them.")
@click.option("--without", multiple=True, type=(str, float), help="A contender and the limit that it exceeded.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(name: str, scale: float, runs: int, names: str, without: tuple[tuple[str, float], ...], out: Path) -> None:
    """Measure one shape."""
    # Not filterwarnings: Feast's modules set filters of their own when they are loaded.
    warnings.showwarning = lambda *_args, **_kwargs: None
    out.parent.mkdir(parents=True, exist_ok=True)
    measure(shapes(scale)[name], names.split(","), runs, dict(without), out)


if __name__ == "__main__":
    main()
