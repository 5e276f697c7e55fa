"""The data of a shape: generated from a seed by NumPy and pyarrow, and kept in the project's cache."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.shapes import START, Entities, History, Shape
from feast_hybrid.testing.artifacts import fetch

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SEED = 20_260_101
FORMAT = 2  # of what is generated: another number makes all anew
FILE_ROWS = 1_250_000
GROUP_ROWS = 625_000
MICRO = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class View:
    """A feature view, as the contenders see it.

    Attributes:
        history: what its rows are like.
        path: the folder of its files, as a path of this machine or as a URI.
        generated: the folder of the Parquet files from which they were made, where they are others.
    """

    history: History
    path: str
    generated: str | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.history.name

    @property
    def features(self) -> list[str]:
        """What is asked for."""
        return [f"f{i}" for i in range(self.history.used_features)]

    @property
    def on_path(self) -> View:
        """The view as a path of the Parquet files that were generated."""
        return replace(self, history=replace(self.history, form="parquet"), path=self.generated or self.path)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be joined. The answer's columns: ``row``, the keys, ``event_timestamp``, ``view__feature``."""

    entities: str
    keys: tuple[str, ...]
    views: tuple[View, ...]
    pandas: bool

    @property
    def features(self) -> list[str]:
        return [f"{view.name}__{feature}" for view in self.views for feature in view.features]


def task(shape: Shape) -> Task:
    """The shape's files, generated where they are missing."""
    paths = _histories(shape.histories)
    entities = fetch(
        "bench-entities", f"{FORMAT} {shape.entities!r}", lambda folder: _write_entities(shape.entities, folder)
    ).path
    return Task(
        entities=str(entities / "entities.parquet"),
        keys=tuple(key for key, _ in shape.entities.keys),
        views=tuple(View(history=h, path=p) for h, p in zip(shape.histories, paths, strict=True)),
        pandas=shape.entities.pandas,
    )


def _histories(histories: tuple[History, ...]) -> list[str]:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_history, histories))


def _history(history: History) -> str:
    # What is asked for and how long it lasts changes no row.
    spec = f"{FORMAT} {replace(history, used_features=0, ttl=None, file_steps=None, form='parquet')!r}"
    if history.file_steps is not None:
        spec += f" in files of {history.file_steps} steps"
    kept = fetch(f"bench-{history.name}", spec, lambda folder: write_history(history, folder / "rows"))
    return str(kept.path / "rows")


def write_history(history: History, folder: Path) -> None:
    """Write the rows as Parquet files of some 75 MB in the order of time, or of a day where days are partitions."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = _random(history.name, history.key, history.keys, history.steps)
    steps = (_step(history, number, random) for number in range(history.steps))
    for name, tables in _files(history, steps):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.concat_tables(tables),
            path,
            row_group_size=GROUP_ROWS,
            use_dictionary=[history.key],
            compression="snappy",
        )


def _files(history: History, steps: Iterator[pa.Table]) -> Iterator[tuple[str, list[pa.Table]]]:
    held: list[pa.Table] = []
    written = 0
    for number, table in enumerate(steps, start=1):
        held.append(table)
        if history.partitioned:
            day = (START + (number - 1) * history.step).date()
            full = (START + number * history.step).date() != day
            name = f"day={day}/part-0.parquet"
        else:
            full = len(held) == history.file_steps or sum(map(len, held)) + len(table) > FILE_ROWS
            name = f"part-{written:05}.parquet"
        if full or number == history.steps:
            yield name, held
            held = []
            written += 1


def _step(history: History, number: int, random: np.random.Generator) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    begin = _micros(START + number * history.step)
    length = history.step // MICRO
    count = int(history.keys * history.share)
    first = 1 if history.hot else 0  # key 0 is the hot one
    keys = random.permutation(history.keys)[:count] + first
    times = random.integers(0, length, count)
    if history.hot:
        hot = history.hot // history.steps
        keys = np.concatenate([keys, np.zeros(hot, dtype=keys.dtype)])
        times = np.concatenate([times, np.arange(hot) * (length // hot)])
    order = np.argsort(times, kind="stable")
    instants = begin + times[order]
    columns: dict[str, Any] = {
        history.key: pa.array(keys[order]),
        "ts": _times(instants),
        "created": _times(instants + random.integers(0, 300_000_000, len(instants))),
    }
    for feature in range(history.features):
        columns[f"f{feature}"] = pa.array(random.random(len(instants)))
    return pa.table(columns)


def _write_entities(entities: Entities, folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = _random("entities", entities.rows, entities.keys)
    columns: dict[str, Any] = {"row": pa.array(np.arange(entities.rows))}
    for key, count in entities.keys:
        drawn = random.integers(0, max(count // entities.every, 1), entities.rows) * entities.every
        if entities.hot:
            drawn = np.where(random.random(entities.rows) < entities.hot, 0, drawn + 1)
        columns[key] = pa.array(drawn)
    since, until = _micros(entities.since), _micros(entities.until)
    columns["event_timestamp"] = _times(random.integers(since, until, entities.rows))
    pq.write_table(pa.table(columns), folder / "entities.parquet", use_dictionary=False)


def _random(*what: object) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng([SEED, zlib.crc32(repr(what).encode())])


def _times(micros: np.ndarray[Any, Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(micros, type=pa.int64()).cast(pa.timestamp("us", tz="UTC"))


def _micros(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=START.tzinfo)) // MICRO
