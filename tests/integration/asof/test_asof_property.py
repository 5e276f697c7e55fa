"""Generated worlds, many in one Spark job, against the brute-force oracle."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.integration.asof.oracle import Entity, Setting, Shape, Source, World, check
from tests.integration.faulty import SEEDS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.integration.asof.conftest import Settings

pytestmark = pytest.mark.matrix

ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
NAMES = ["a;b", "a.b", "val_.*", "`tick`", "two words", 'q"uote', "it's", "ключ", "%s{x}", "select", "--", " "]
ROLES = ["k0", "k1", "entity_ts", "sk0", "sk1", "ts", "created", "f0", "f1"]
KEYS: dict[str, list[Any]] = {"int": [1, 11, 0, None], "string": ["1", "11", "", None]}
KEY_TYPES = {"int": ("int", "bigint"), "string": ("string", "string")}
DOUBLES = [1.5, -0.0, 0.0, float("nan"), None]
TEXTS = ["a", "", "Z", "é", None]
TIMES = [0, 1, 2, 3, 4, 5, 6, None]


def digits(number: int, *radices: int) -> list[int]:
    """Split one drawn number into several, so that a batch stays small for Hypothesis."""
    found = []
    for radix in radices:
        number, digit = divmod(number, radix)
        found.append(digit)
    return found


@st.composite
def settings_of_a_batch(draw: st.DrawFn) -> tuple[Setting, list[str]]:
    key_types = draw(st.lists(st.sampled_from(["int", "string"]), min_size=1, max_size=2))
    step = draw(st.sampled_from([timedelta(microseconds=1), timedelta(minutes=30), timedelta(days=1)]))
    times = ["timestamp", "timestamp_ntz", *(["date"] if step == timedelta(days=1) else [])]
    shape = st.builds(
        Shape,
        ttl=st.sampled_from([None, 0, 1, 2, 3]),
        has_created=st.booleans(),
        time_type=st.sampled_from(times),
    )
    awkward = draw(st.booleans())
    names = draw(st.permutations(NAMES)) if awkward else ROLES
    setting = Setting(
        shapes=tuple(draw(st.lists(shape, min_size=1, max_size=3))),
        by_created=draw(st.booleans()),
        step=step,
        entity_key_types=tuple(KEY_TYPES[key_type][0] for key_type in key_types),
        view_key_types=tuple(KEY_TYPES[key_type][1] for key_type in key_types),
        entity_time_type=draw(st.sampled_from(times)),
        names=dict(zip(ROLES, names, strict=False)),
    )
    return setting, key_types


@st.composite
def batches(draw: st.DrawFn) -> tuple[Setting, list[World]]:
    setting, key_types = draw(settings_of_a_batch())

    def key(numbers: list[int]) -> tuple[Any, ...]:
        return tuple(KEYS[key_type][n] for key_type, n in zip(key_types, numbers, strict=False))

    def entity(number: int) -> Entity:
        *k, time = digits(number, 4, 4, len(TIMES))
        return Entity(key(k), TIMES[time])

    def source(number: int) -> Source:
        *k, ts, created, a, b = digits(number, 4, 4, len(TIMES), len(TIMES), len(DOUBLES), len(TEXTS))
        return Source(key(k), TIMES[ts], TIMES[created], (DOUBLES[a], TEXTS[b]))

    entities = st.lists(st.integers(0, 4**2 * len(TIMES) - 1).map(entity), max_size=4)
    sources = st.lists(st.integers(0, 4**2 * len(TIMES) ** 2 * 25 - 1).map(source), max_size=7)
    world = st.builds(
        World,
        entities.map(tuple),
        st.tuples(*(sources.map(tuple) for _ in setting.shapes)),
    )
    return setting, draw(st.lists(world, min_size=40, max_size=60))


# No shrinking: each step would be a Spark job. check() shows the smallest world that differs.
@hypothesis_settings(
    max_examples=6 if len(SEEDS) < 2 else 20,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(batch=batches(), zone=st.sampled_from(ZONES), ansi=st.booleans())
def test_every_world_is_answered_as_by_brute_force(
    spark: SparkSession,
    settings: Settings,
    strategy: str,
    batch: tuple[Setting, list[World]],
    zone: str,
    ansi: bool,
) -> None:
    setting, worlds = batch
    with settings(zone=zone, ansi=ansi):
        check(spark, worlds, setting, strategy)
