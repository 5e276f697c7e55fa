"""What the join means, as a table of cases: one view, one key, times in minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.asof.conftest import STRATEGIES
from tests.integration.asof.oracle import Entity, Setting, Shape, Source, World, expected, joined, same

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.matrix

NAN = float("nan")


@dataclass(frozen=True)
class Case:
    """``entities`` are (key, at); ``rows`` are (key, ts, created, value); ``answers`` one value per entity."""

    id: str
    entities: list[tuple[Any, int | None]]
    rows: list[tuple[Any, int | None, int | None, float | None]]
    answers: list[float | None]
    ttl: int | None = None
    by_created: bool = False


CASES = [
    Case("the latest row at or before the time", [("a", 5)], [("a", 1, 0, 1.0), ("a", 4, 0, 4.0)], [4.0]),
    Case("a row at the very time counts", [("a", 5)], [("a", 4, 0, 4.0), ("a", 5, 0, 5.0)], [5.0]),
    Case("a later row does not count", [("a", 5)], [("a", 6, 0, 6.0)], [None]),
    Case("rows may come in any order", [("a", 5)], [("a", 4, 0, 4.0), ("a", 1, 0, 1.0)], [4.0]),
    Case("no history", [("a", 5), ("b", 6)], [], [None, None]),
    Case("no entity rows", [], [("a", 5, 0, 1.0)], []),
    Case("other keys do not count", [("a", 5), ("b", 5)], [("a", 1, 0, 1.0)], [1.0, None]),
    Case("a null key matches no null key", [(None, 5)], [(None, 1, 0, 1.0)], [None]),
    Case("an empty key is a key", [("", 5), (None, 5)], [("", 1, 0, 1.0)], [1.0, None]),
    Case("a null time of a row is never a candidate", [("a", 5)], [("a", None, 0, 1.0)], [None]),
    Case("an entity row without a time has no candidate", [("a", None)], [("a", 1, 0, 1.0)], [None]),
    Case("duplicate entity rows all come back", [("a", 5)] * 3, [("a", 1, 0, 1.0)], [1.0] * 3),
    Case("a null feature of the latest row is the answer", [("a", 5)],
         [("a", 1, 0, 1.0), ("a", 4, 0, None)], [None]),
    Case("each entity row has its own time", [("a", t) for t in range(5)],
         [("a", 1, 0, 1.0), ("a", 3, 0, 3.0)], [None, 1.0, 1.0, 3.0, 3.0]),
    # ttl
    Case("a row as old as the ttl counts", [("a", 5)], [("a", 3, 0, 3.0)], [3.0], ttl=2),
    Case("a row older than the ttl does not", [("a", 5)], [("a", 2, 0, 2.0)], [None], ttl=2),
    Case("a ttl of zero is no ttl", [("a", 500)], [("a", 2, 0, 2.0)], [2.0], ttl=0),
    Case("a negative ttl is no ttl", [("a", 500)], [("a", 2, 0, 2.0)], [2.0], ttl=-1),
    Case("no ttl reaches back for ever", [("a", 10**8)], [("a", 0, 0, 2.0)], [2.0]),
    # created
    Case("of one time, the last created", [("a", 5)], [("a", 4, 9, 9.0), ("a", 4, 8, 8.0)], [9.0]),
    Case("time goes before created", [("a", 5)], [("a", 4, 1, 4.0), ("a", 3, 9, 3.0)], [4.0]),
    Case("a null created ranks lowest", [("a", 5)], [("a", 4, None, 9.0), ("a", 4, -9, 1.0)], [1.0]),
    Case("a null created still counts", [("a", 5)], [("a", 4, None, 9.0)], [9.0]),
    Case("a row created later counts without the filter", [("a", 5)], [("a", 4, 6, 4.0)], [4.0]),
    Case("a row created later does not with it", [("a", 5)], [("a", 4, 6, 4.0)], [None], by_created=True),
    Case("a row created at the very time does", [("a", 5)], [("a", 4, 5, 4.0)], [4.0], by_created=True),
    Case("the filter falls back on an earlier row", [("a", 5)], [("a", 4, 6, 4.0), ("a", 1, 2, 1.0)], [1.0],
         by_created=True),
    Case("the filter falls back on the earlier version", [("a", 5), ("a", 6)],
         [("a", 4, 6, 6.0), ("a", 4, 4, 4.0)], [4.0, 6.0], by_created=True),
    Case("a null created fails the filter", [("a", 5)], [("a", 4, None, 4.0)], [None], by_created=True),
    Case("a row that is written late does not replace a newer one", [("a", 9)],
         [("a", 4, 4, 4.0), ("a", 1, 8, 1.0)], [4.0], by_created=True),
    Case("created before its time counts from its time on", [("a", 3), ("a", 4)], [("a", 4, 1, 4.0)],
         [None, 4.0], by_created=True),
    Case("filter and ttl together", [("a", 5), ("a", 6), ("a", 7)], [("a", 4, 6, 4.0), ("a", 3, 3, 3.0)],
         [3.0, 4.0, None], ttl=2, by_created=True),
    # ties
    Case("a tie goes to the greatest value", [("a", 5)], [("a", 4, 1, 1.0), ("a", 4, 1, 3.0)], [3.0]),
    Case("null is the least of a tie", [("a", 5)], [("a", 4, 1, None), ("a", 4, 1, -1.0)], [-1.0]),
    Case("NaN is the greatest of a tie", [("a", 5)], [("a", 4, 1, NAN), ("a", 4, 1, 3.0)], [NAN]),
    Case("0.0 is greater than -0.0", [("a", 5)], [("a", 4, 1, 0.0), ("a", 4, 1, -0.0)], [0.0]),
    Case("0.0 is greater than -0.0, the other way round", [("a", 5)], [("a", 4, 1, -0.0), ("a", 4, 1, 0.0)],
         [0.0]),
    Case("ties where created is null", [("a", 5)], [("a", 4, None, 1.0), ("a", 4, None, 3.0)], [3.0]),
    Case("ties under the filter", [("a", 5)], [("a", 4, 1, -0.0), ("a", 4, 1, 0.0), ("a", 4, 1, None)], [0.0],
         by_created=True),
]  # fmt: skip


def _world(case: Case) -> tuple[World, Setting]:
    world = World(
        tuple(Entity((key,), time_steps) for key, time_steps in case.entities),
        (tuple(Source((key,), ts, created, (value,)) for key, ts, created, value in case.rows),),
    )
    setting = Setting(
        shapes=(Shape(ttl=case.ttl),),
        by_created=case.by_created,
        step=timedelta(minutes=1),
        entity_key_types=("string",),
        view_key_types=("string",),
        feature_types=("double",),
    )
    return world, setting


@pytest.fixture(scope="module", params=STRATEGIES)
def found(request: pytest.FixtureRequest, spark: SparkSession) -> dict[str, list[Any]]:
    """The answers to all cases; those that share ttl and filter are joined in one Spark job."""
    groups: dict[str, tuple[Setting, list[tuple[Case, World]]]] = {}
    for case in CASES:
        world, setting = _world(case)
        groups.setdefault(repr(setting), (setting, []))[1].append((case, world))
    answers: dict[str, list[Any]] = {}
    for setting, cases in groups.values():
        worlds = [world for _, world in cases]
        for (case, _), got in zip(cases, joined(spark, worlds, setting, request.param), strict=True):
            answers[case.id] = [views[0][0] if views else "missing" for views in got]
    return answers


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_join(found: dict[str, list[Any]], case: Case) -> None:
    assert same(found[case.id], case.answers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_oracle_agrees_with_the_table(case: Case) -> None:
    assert same([views[0][0] for views in expected(*_world(case))], case.answers)
