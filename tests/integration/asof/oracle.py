"""The as-of join in plain Python, by brute force; and many small worlds joined by Spark at once.

A *world* is a few entity rows and a few rows of each view. Worlds that share a :class:`Setting` are joined in one
Spark job: the world's number is one more join key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import types as T

from feast_hybrid.asof import AsOfView
from tests.integration.asof.scanned import join

#: Near the hour that New York skips: 02:00 to 03:00 local time on this day.
BASE = datetime(2024, 3, 10, 0, 0, tzinfo=UTC)

Key = tuple[int | str | None, ...]


@dataclass(frozen=True)
class Source:
    """A row of a view: keys, times as numbers of steps after :data:`BASE`, features."""

    key: Key
    ts: int | None
    created: int | None = None
    values: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Entity:
    """An entity row: keys, and the time as a number of steps after :data:`BASE`."""

    key: Key
    time_steps: int | None


@dataclass(frozen=True)
class World:
    """Entity rows, and the rows of each view."""

    entities: tuple[Entity, ...]
    views: tuple[tuple[Source, ...], ...]

    @property
    def size(self) -> int:
        return len(self.entities) + sum(map(len, self.views))

    def __str__(self) -> str:
        lines = [f"  entity row  key={e.key} at={e.time_steps}" for e in self.entities]
        for n, view in enumerate(self.views):
            lines += [f"  view {n} row  key={s.key} ts={s.ts} created={s.created} values={s.values}" for s in view]
        return "\n".join(lines)


@dataclass(frozen=True)
class Shape:
    """How a view is declared."""

    ttl: int | None = None
    has_created: bool = True
    time_type: str = "timestamp"


@dataclass(frozen=True)
class Setting:
    """What all worlds of one Spark job share.

    ``names`` are the columns' names: two keys, entity time; keys, time, created, features of the views.
    """

    shapes: tuple[Shape, ...] = (Shape(),)
    by_created: bool = False
    step: timedelta = timedelta(minutes=30)
    entity_key_types: tuple[str, ...] = ("int",)
    view_key_types: tuple[str, ...] = ("bigint",)
    entity_time_type: str = "timestamp"
    feature_types: tuple[str, ...] = ("double", "string")
    names: dict[str, str] = field(default_factory=dict)

    def name(self, role: str) -> str:
        return self.names.get(role, role)


def rank(value: Any) -> tuple[Any, ...]:
    """Null, then numbers with -0.0 below 0.0 and NaN last, text by its bytes."""
    if value is None:
        return (0,)
    if isinstance(value, float):
        if math.isnan(value):
            return (2,)
        return (1, value, math.copysign(1, value))
    return (1, value.encode()) if isinstance(value, str) else (1, value)


def expected(world: World, setting: Setting) -> list[list[tuple[Any, ...]]]:
    """For each entity row, for each view: the features."""
    nothing = (None,) * len(setting.feature_types)
    # Ties are ranked by the features in the order of their source names.
    by_name = sorted(range(len(nothing)), key=lambda i: setting.name(f"f{i}"))
    answers = []
    for entity in world.entities:
        row = []
        for shape, sources in zip(setting.shapes, world.views, strict=True):
            best = None
            for source in sources:
                if entity.time_steps is None or source.ts is None:
                    continue
                if any(a is None or b is None or a != b for a, b in zip(entity.key, source.key, strict=True)):
                    continue
                if source.ts > entity.time_steps:
                    continue
                if shape.ttl is not None and shape.ttl > 0 and source.ts < entity.time_steps - shape.ttl:
                    continue
                created = source.created if shape.has_created else None
                if setting.by_created and shape.has_created and (created is None or created > entity.time_steps):
                    continue
                values = [rank(source.values[i]) for i in by_name]
                score = (source.ts, -math.inf if created is None else created, *values)
                if best is None or score > best[0]:
                    best = (score, source.values)
            row.append(nothing if best is None else best[1])
        answers.append(row)
    return answers


def _time(steps: int | None, setting: Setting, data_type: str) -> datetime | date | None:
    if steps is None:
        return None
    time = BASE + steps * setting.step
    if data_type == "date":
        assert (time.hour, time.minute) == (0, 0)
        return time.date()
    return time.replace(tzinfo=None) if data_type == "timestamp_ntz" else time


def _schema(columns: Sequence[tuple[str, str]]) -> T.StructType:
    return T.StructType([T.StructField(name, T.DataType.fromDDL(data_type)) for name, data_type in columns])


def joined(
    spark: SparkSession, worlds: Sequence[World], setting: Setting, strategy: str
) -> list[list[list[tuple[Any, ...]]]]:
    """What Spark answers: for each world, what :func:`expected` gives."""
    name = setting.name
    keys = [f"k{i}" for i in range(len(setting.entity_key_types))]
    entities = spark.createDataFrame(
        [
            (w, i, *entity.key, _time(entity.time_steps, setting, setting.entity_time_type))
            for w, world in enumerate(worlds)
            for i, entity in enumerate(world.entities)
        ],
        _schema(
            [
                ("world", "int"),
                ("i", "int"),
                *((name(key), data_type) for key, data_type in zip(keys, setting.entity_key_types, strict=True)),
                (name("entity_ts"), setting.entity_time_type),
            ]
        ),
    )
    views = []
    for v, shape in enumerate(setting.shapes):
        features = [f"f{i}" for i in range(len(setting.feature_types))]
        columns = [
            ("wørld", "bigint"),
            *((name(f"s{key}"), data_type) for key, data_type in zip(keys, setting.view_key_types, strict=True)),
            (name("ts"), shape.time_type),
            *zip(map(name, features), setting.feature_types, strict=True),
        ]
        rows = [
            (w, *source.key, _time(source.ts, setting, shape.time_type), *source.values)
            + ((_time(source.created, setting, shape.time_type),) if shape.has_created else ())
            for w, world in enumerate(worlds)
            for source in world.views[v]
        ]
        if shape.has_created:
            columns.append((name("created"), shape.time_type))
        views.append(
            AsOfView(
                name=f"view {v}",
                frame=spark.createDataFrame(rows, _schema(columns)),
                keys=[("world", "wørld"), *((name(key), name(f"s{key}")) for key in keys)],
                timestamp=name("ts"),
                created=name("created") if shape.has_created else None,
                ttl=None if shape.ttl is None else shape.ttl * setting.step,
                features=[(name(f), f"{v}: {name(f)}") for f in features],
            )
        )
    result = join(
        entities,
        views,
        timestamp=name("entity_ts"),
        filter_by_created_timestamp=setting.by_created,
        strategy=strategy,
    )
    assert result.columns[: len(entities.columns)] == entities.columns
    answers: list[list[list[tuple[Any, ...]]]] = [[[] for _ in world.entities] for world in worlds]
    width = len(setting.feature_types)
    for row in result.collect():
        cells = tuple(row)[len(entities.columns) :]
        place = answers[row[0]][row[1]]
        assert not place, f"world {row[0]}: entity row {row[1]} came back twice"
        place.extend(cells[n : n + width] for n in range(0, len(cells), width))
    return answers


def same(left: Any, right: Any) -> bool:
    """Equal to the last bit: NaN is NaN, and -0.0 is not 0.0."""
    return repr(left) == repr(right)


def check(spark: SparkSession, worlds: Sequence[World], setting: Setting, strategy: str) -> None:
    """Join all worlds at once; of those that Spark gets wrong, show the smallest."""
    answers = joined(spark, worlds, setting, strategy)
    wrong = [
        (world.size, str(world), got, want)
        for world, got in zip(worlds, answers, strict=True)
        if not same(got, want := expected(world, setting))
    ]
    if wrong:
        _, world, got, want = min(wrong, key=lambda each: each[0])
        raise AssertionError(
            f"{len(wrong)} of {len(worlds)} worlds differ with {strategy!r} and {setting}; the smallest:\n"
            f"{world}\n  expected {want}\n  found    {got}"
        )
