"""Operations of all verbs on both lakes while their requests meet faults, one after the other.

Each ends right, or absent with an error that docs/reliability.md names. An oracle keeps what must be on the lakes,
and each answer is compared with it value by value. ``FEAST_HYBRID_FAULT_SEED`` repeats a run, whose seed stands in
its failure; ``FEAST_HYBRID_FAULT_OPERATIONS`` says how many operations there are.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from feast_hybrid.errors import CommitUnknownError, HybridError, ReplacementError
from feast_hybrid.lakes import replace_adls
from feast_hybrid.lakes.leftovers import find_leftovers, remove_leftovers
from feast_hybrid.testing import Fault, RpcFaultProxy
from tests.integration.faults.world import OPERATIONS, ROLES, WITHOUT_JVM, World
from tests.integration.faulty import MINUTES, STORM, Lake, faulty_lake, located
from tests.integration.places import Place, abfs_speaks_to_azurite, classic_only
from tests.integration.reliability import reliability
from tests.integration.test_lost_answers_of_namenodes import QUICKLY

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.testing import Lakes
    from tests.integration.faults.oracle import End

pytestmark = [
    classic_only("retries are made short in this process"),
    pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark"),
]

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
#: How likely each weather is, and how likely a call of a NameNode is lost in it.
WEATHERS = {"calm": (35, 0.0), "storm": (35, 0.01), "heavy": (20, 0.1), "gone": (10, 0.5)}
#: Seconds in which each operation ends.
LONGEST = 60.0


def promised() -> dict[str, set[str]]:
    """The names of the errors that the page gives each verb."""
    table = PAGE.read_text().partition("## Which error")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")][1:]
    return {verb.strip(" `"): set(re.findall(r"`(\w+Error)`", errors)) for verb, errors in rows}


class Skies(NamedTuple):
    """What is between the operations and the lakes."""

    lake: Lake
    namenode: RpcFaultProxy

    @contextmanager
    def having(self, weather: str, seed: int) -> Iterator[None]:
        """A weather while it lasts: ``gone`` loses all requests to ADLS, and half the calls of a NameNode."""
        faults = {
            "calm": (),
            "storm": STORM,
            "heavy": tuple(replace(fault, probability=3 * fault.probability) for fault in STORM),
            "gone": (Fault(random.Random(seed).choice(["reset", "answer", "lose"])),),
        }[weather]
        with ExitStack() as stack:
            stack.enter_context(self.lake.proxy.having(*faults, seed=seed))
            stack.enter_context(self.namenode.by_chance(WEATHERS[weather][1], seed=seed))
            yield


@pytest.fixture(scope="module")
def skies(lakes: Lakes) -> Iterator[Skies]:
    with faulty_lake() as lake, RpcFaultProxy(lakes.hdfs.uri.removeprefix("hdfs://")) as namenode:
        yield Skies(lake, namenode)


@pytest.fixture
def make_world(
    spark: SparkSession, skies: Skies, lakes: Lakes, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[random.Random], World]:
    def make(dice: random.Random) -> World:
        monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))  # a writer that gave up is no longer alive
        uri = f"hdfs://{skies.namenode.endpoint}"
        onprem = {"name": "onprem", "uri": uri, "credential": {"type": "simple"}, "options": QUICKLY}
        places = {"onprem": Place("onprem", lakes.hdfs), "cloud": skies.lake.place}
        return World(spark, {"onprem": onprem, "cloud": skies.lake.site()}, places, folder, tmp_path, dice)

    return make


def run(world: World, skies: Skies, count: int, weights: dict[str, int]) -> Counter[str]:
    """Run so many operations; how many ended how."""
    dice, errors, ends = world.dice, promised(), Counter[str]()
    world.start()
    for number in range(count):
        (name,) = dice.choices([*weights], [*weights.values()])
        (weather,) = dice.choices([*WEATHERS], [weight for weight, _ in WEATHERS.values()])
        role = dice.choice(ROLES)
        what = f"operation {number}: {name} on {role}, number {world.number}, weather {weather}"
        began = time.monotonic()
        try:
            end = one(world, skies, name, role, weather, errors)
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
        print(f"{what}: {end} in {time.monotonic() - began:.1f} s")
        world.ended(name, role, end)
        ends[f"{weather}: {end}"] += 1
    check_all(world)
    return ends


def one(world: World, skies: Skies, name: str, role: str, weather: str, errors: dict[str, set[str]]) -> End:
    """Run an operation; how it ended, as it is allowed to."""
    refusal, check, began = None, None, time.monotonic()
    try:
        with skies.having(weather, world.dice.randrange(2**32)):
            check = getattr(world, name)(role)
    except HybridError as error:
        refusal = error
    took = time.monotonic() - began
    assert took < LONGEST, f"{took:.0f} s, and then {refusal!r}"
    if check is not None:
        check()
        return "ok"
    print(f"{type(refusal).__name__}: {refusal}")
    verb, _ = OPERATIONS[name]
    assert type(refusal).__name__ in errors[verb], f"{verb} has no {type(refusal).__name__}: {refusal}"
    assert weather != "calm", f"refused without a reason: {refusal}"
    return "unknown" if isinstance(refusal, (CommitUnknownError, ReplacementError)) else "refused"


def check_all(world: World) -> None:
    """In calm weather, compare all that is there, before and after what writers have left is removed."""
    for role in ROLES:
        world.check_files(role)
        folder = located(world.places[role].site(), world.direct[role])
        leftovers = find_leftovers(folder, older_than=timedelta(0))
        assert remove_leftovers(leftovers) == []
        assert find_leftovers(folder, older_than=timedelta(0)) == []
        world.check_files(role)
        for name in ("read_logs", "read_dataset", "read_metrics", "pull_all", "retrieve", "materialize"):
            getattr(world, name)(role)()


def run_seeded(
    make_world: Callable[[random.Random], World], skies: Skies, seed: int, count: int, without_jvm: int
) -> Counter[str]:
    """Run so many operations by a seed; those that need no JVM, and are quicker, so many times as often."""
    seed = int(os.environ.get("FEAST_HYBRID_FAULT_SEED", seed))
    count = int(os.environ.get("FEAST_HYBRID_FAULT_OPERATIONS", count))
    weights = {name: weight * (without_jvm if name in WITHOUT_JVM else 1) for name, (_, weight) in OPERATIONS.items()}
    try:
        return run(make_world(random.Random(seed)), skies, count, weights)
    except AssertionError as error:
        raise AssertionError(f"FEAST_HYBRID_FAULT_SEED={seed}: {error}") from error


@reliability(
    "Load",
    "50 operations of all verbs on both lakes, one after the other, with faults by chance",
    "each ends right, or absent with an error of the table above; none takes longer than a minute",
)
def test_fifty_operations(make_world: Callable[[random.Random], World], skies: Skies) -> None:
    ends = run_seeded(make_world, skies, 1, 50, 6)
    assert sum(ends[f"{weather}: ok"] for weather in WEATHERS) > 30, ends


@MINUTES
@reliability(
    "Load",
    "500 operations of all verbs on both lakes, one after the other, with faults by chance; another seed each time",
    "each ends right, or absent with an error of the table above; none takes longer than a minute",
)
def test_five_hundred_operations(make_world: Callable[[random.Random], World], skies: Skies) -> None:
    ends = run_seeded(make_world, skies, time.time_ns() % 2**32, 500, 1)
    print(ends)
    assert sum(ends[f"{weather}: ok"] for weather in WEATHERS) > 300, ends
    assert ends["storm: ok"] > ends["storm: refused"], ends
