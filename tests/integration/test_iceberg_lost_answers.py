"""Commits to Iceberg tables whose answers are lost, on both lakes: a batch is there once, or said not to be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.testing import Fault, RpcFaultProxy
from feast_hybrid.writing.iceberg_batches import append_to_iceberg
from tests.iceberg_reading import by_pyiceberg
from tests.integration.faulty import SEEDS, STORM, WRITES, Lake, ended, faulty_lake, located
from tests.integration.reliability import reliability
from tests.integration.test_lost_answers_of_namenodes import QUICKLY
from tests.integration.test_writers_under_faults import requests

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location
    from feast_hybrid.testing import Lakes


@pytest.fixture(scope="module")
def adls() -> Iterator[Lake]:
    with faulty_lake() as found:
        yield found


@pytest.fixture(scope="module")
def namenode(lakes: Lakes) -> Iterator[RpcFaultProxy]:
    with RpcFaultProxy(lakes.hdfs.uri.removeprefix("hdfs://")) as running:
        yield running


def behind(proxy: RpcFaultProxy, folder: str) -> Location:
    uri = f"hdfs://{proxy.endpoint}"
    site = {"name": "onprem", "uri": uri, "credential": {"type": "simple"}, "options": QUICKLY}
    return located(site, f"{uri}{folder}/table")


def add(location: Location, number: int) -> None:
    source = SourceSpec(name="rows", location=location, file_format="iceberg", timestamp_field="ts")
    table = pa.table({"n": [number]})
    append_to_iceberg(table, source, lambda: table.schema, what="writing rows")


def numbers(location: Location) -> list[int]:
    return sorted(by_pyiceberg(location)["n"].to_pylist())


@reliability(
    "Writers",
    "ADLS: any one answer is lost while a batch is added to an Iceberg table",
    "the batch is there once",
)
def test_no_answer_of_adls_that_is_lost_adds_a_batch_twice_or_not(adls: Lake, folder: str) -> None:
    location = adls.located(f"{adls.place.uri}{folder}/table")
    add(location, 0)
    count = requests(adls, WRITES, partial(add, location, 1))
    assert count >= 5  # a data file, a manifest, a list of them, the version, the hint
    for number in range(1, count + 1):
        with adls.proxy.having(Fault("lose", WRITES, nth=number)) as proxy:
            add(location, number + 1)
        assert len(proxy.injected) == 1
        assert numbers(location) == list(range(number + 2))


@reliability(
    "Writers",
    "HDFS: the answer to any rename is lost while a batch is added to an Iceberg table",
    "the batch is there once",
)
def test_no_rename_of_hdfs_whose_answer_is_lost_adds_a_batch_twice_or_not(
    namenode: RpcFaultProxy, folder: str
) -> None:
    location = behind(namenode, folder)
    add(location, 0)
    for nth in range(1, 6):  # a data file, a manifest, a list of them, the version, the hint
        lost = len(namenode.lost)
        namenode.lose("rename2", nth)
        add(location, nth)
        assert namenode.lost[lost:] == ["rename2"]
        assert numbers(location) == list(range(nth + 1))


def added_by_many(location: Location) -> dict[int, str]:
    """How the batches of four writers ended."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(range(12), pool.map(lambda n: ended(partial(add, location, n)), range(12)), strict=True))


def require_once(location: Location, ends: dict[int, str]) -> None:
    found = Counter(numbers(location))
    assert {number for number, end in ends.items() if end == "ok"} <= found.keys()
    assert not [number for number, end in ends.items() if end == "refused" and number in found]
    assert max(found.values()) == 1


@reliability(
    "Writers",
    "batches of four writers to one Iceberg table while answers are lost and connections reset, on each lake",
    "each is there once, or refused and not there; or its error says that this is not known",
)
@pytest.mark.parametrize("seed", SEEDS)
def test_batches_of_many_writers_in_a_storm_are_there_once_or_not_at_all(
    adls: Lake, namenode: RpcFaultProxy, folder: str, seed: int
) -> None:
    on_adls, on_hdfs = adls.located(f"{adls.place.uri}{folder}/table"), behind(namenode, folder)
    with adls.proxy.having(*STORM, seed=seed) as proxy:
        ends = added_by_many(on_adls)
    assert proxy.injected
    require_once(located(adls.place.site(), str(on_adls)), ends)
    lost = len(namenode.lost)
    with namenode.by_chance(0.01, seed=seed):
        ends = added_by_many(on_hdfs)
    assert len(namenode.lost) > lost
    require_once(on_hdfs, ends)
