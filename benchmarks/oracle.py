"""DuckDB's as-of join of the same files: the yardstick, and the answer that all others are compared with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.session import THREADS
from feast_hybrid.testing.artifacts import fetch

if TYPE_CHECKING:
    import duckdb
    import pandas as pd
    from pyspark.sql import DataFrame

    from benchmarks.data import Task, View

#: Sums of doubles depend on their order in the last digits; one wrong row of a million shows in the sixth.
TOLERANCE = 1e-9
WEIGHTS = 1021  # a prime: values that change places between rows change the weighted sum


def connection(memory: str) -> duckdb.DuckDBPyConnection:
    """DuckDB in this process, with as many threads as Spark has."""
    import duckdb

    return duckdb.connect(config={"threads": THREADS, "memory_limit": memory})


def query(task: Task) -> str:
    """The join in DuckDB's SQL. Entity rows in pandas are a table called ``entity_rows``."""
    features, joins = [], []
    for view in task.views:
        name, key = view.name, view.history.key
        for feature in view.features:
            value = f"{name}.{feature}"
            if view.history.ttl is not None:
                ttl = view.history.ttl // timedelta(microseconds=1)
                value = f"CASE WHEN epoch_us({name}.ts) >= epoch_us(e.event_timestamp) - {ttl} THEN {value} END"
            features.append(f"{value} AS {name}__{feature}")
        joins.append(
            f"ASOF LEFT JOIN (SELECT {key}, ts, {', '.join(view.features)} FROM {_files(view)}) {name} "
            f"ON e.{key} = {name}.{key} AND e.event_timestamp >= {name}.ts"
        )
    entities = "entity_rows" if task.pandas else f"'{task.entities}'"
    return f"SELECT e.*, {', '.join(features)} FROM {entities} e {' '.join(joins)}"


def _files(view: View) -> str:
    return f"read_parquet('{view.path}/**/*.parquet', hive_partitioning = false)"


def run(duck: duckdb.DuckDBPyConnection, task: Task, entities: pd.DataFrame | None) -> pd.DataFrame | None:
    """The join: into a pandas frame where the entity rows are one, else batch by batch, of which none is kept."""
    if entities is None:
        batches: Any = duck.sql(query(task)).to_arrow_reader(100_000)
        for _ in batches:
            pass
        return None
    return answer(duck, task, entities)


def answer(duck: duckdb.DuckDBPyConnection, task: Task, entities: pd.DataFrame | None) -> pd.DataFrame:
    """The join, all of it, in a pandas frame."""
    if entities is not None:
        duck.register("entity_rows", entities)
    joined: pd.DataFrame = duck.execute(query(task)).df()
    return joined


def expressions(task: Task, micros: str) -> dict[str, str]:
    """What is compared: the number of rows, and for each column of the answer what no order of the rows changes.

    Args:
        task: whose answer it is.
        micros: the engine's function from a time to its microseconds.
    """
    found = {"rows": "count(*)", "row": "sum(row)", "event_timestamp": f"sum({micros}(event_timestamp) % 1000003)"}
    found |= {key: f"sum({key})" for key in task.keys}
    for feature in task.features:
        found[f"count of {feature}"] = f"count({feature})"
        found[f"sum of {feature}"] = f"sum({feature})"
        found[f"weighted sum of {feature}"] = f"sum({feature} * (row % {WEIGHTS} + 1))"
    return found


def checksum(task: Task) -> dict[str, float]:
    """The oracle's checksum, computed once for each task."""
    spec = f"{WEIGHTS} {task!r}"

    def compute(folder: Path) -> None:
        named = expressions(task, "epoch_us")
        with connection("8GB") as duck:
            duck.execute(f"SET temp_directory = '{folder}/spill'")
            selected = ", ".join(named.values())
            row = duck.execute(f"SELECT {selected} FROM ({query(task)})").fetchone()
        assert row is not None
        (folder / "checksum.json").write_text(json.dumps(dict(zip(named, map(_number, row), strict=True))))

    found: dict[str, float] = json.loads((fetch("bench-oracle", spec, compute).path / "checksum.json").read_text())
    return found


def spark_checksum(task: Task, frame: DataFrame) -> dict[str, float]:
    """The checksum of an answer in Spark. Computes every column of it."""
    from pyspark.sql import functions as F

    named = expressions(task, "unix_micros")
    (row,) = frame.agg(*(F.expr(text).alias(f"c{i}") for i, text in enumerate(named.values()))).collect()
    return dict(zip(named, map(_number, row), strict=True))


def _number(value: Any) -> float:
    return 0 if value is None else int(value) if isinstance(value, int) else float(value)


def differences(expected: Mapping[str, float], found: Mapping[str, float]) -> list[str]:
    """In words; none where they are equal."""
    return [
        f"{name} is {found[name]!r} instead of {value!r}"
        for name, value in expected.items()
        if not math.isclose(value, found[name], rel_tol=TOLERANCE)
    ]


def row_differences(task: Task, expected: pd.DataFrame, found: pd.DataFrame) -> list[str]:
    """As :func:`differences`, row by row and value by value."""
    if len(expected) != len(found):
        return [f"{len(found)} rows instead of {len(expected)}"]
    left, right = (frame.sort_values("row", ignore_index=True) for frame in (expected, found))
    names = ["row", *task.keys, *task.features]
    return [
        f"{name} differs in {int(wrong.sum())} rows"
        for name in names
        if (wrong := (left[name] != right[name]) & ~(left[name].isna() & right[name].isna())).any()
    ]
