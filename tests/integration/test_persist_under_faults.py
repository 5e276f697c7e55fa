"""Saved datasets and Spark's batches of many writers at once, also where their requests meet faults.

As a program, ``SITES URI NUMBER ROUNDS`` is a writer with a session of its own, and prints how its rounds ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.lakes import replace, replace_adls
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.testing import session_conf
from tests.integration.batches import DRIVER, ROLES, add, by_spark, rows, stats
from tests.integration.faulty import (
    MINUTES,
    SEEDS,
    STORM,
    Lake,
    ended,
    faulty_lake,
    located,
)
from tests.integration.places import (
    Place,
    Places,
    abfs_speaks_to_azurite,
    feature_store,
    hour,
    outside_of_spark,
    retrieve,
)
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore

NEEDS_ADLS = pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark")


def persist(store: FeatureStore, uri: str, number: int) -> str:
    """A writer's rows are as many as its number, and all have that number."""
    frame = pd.DataFrame({"driver_id": [number] * number, "event_timestamp": [hour(1 + n) for n in range(number)]})
    storage = SavedDatasetHybridSparkStorage(path=uri)
    return ended(lambda: retrieve(store, frame, ["stats:trips"]).persist(storage, allow_overwrite=True))


def saved(place: Place, uri: str) -> dict[int, int] | None:
    """How many rows are there of each writer; None where a reader would fail."""
    filesystem = place.lake.filesystem()
    found = filesystem.find(place.inside(uri))
    if any(BEING_REPLACED in path for path in found):
        return None
    tables = [
        pq.read_table(pa.BufferReader(filesystem.cat_file(path))) for path in found if path.endswith(".parquet")
    ]
    assert all(table["trips"].to_pylist() == table["driver_id"].to_pylist() for table in tables)
    return dict(Counter(number for table in tables for number in table["trips"].to_pylist()))


@reliability(
    "Writers",
    "two saved datasets at one path at once, on each lake",
    "one of them is there, whole; the other is refused or came before",
)
@ROLES
def test_of_two_that_persist_at_once_one_is_there_whole(make_store: MakeStore, place: Place, folder: str) -> None:
    sources = f"{place.uri}{folder}/stats"
    place.write(sources, rows(*range(1, 6)))
    store = make_store(DRIVER, stats(sources))
    for number in range(len(SEEDS)):
        uri = f"{place.uri}{folder}/set{number}"
        with ThreadPoolExecutor(2) as pool:
            ends = dict(zip((2, 5), pool.map(lambda n: persist(store, uri, n), (2, 5)), strict=True))  # noqa: B023
        good = [n for n, end in ends.items() if end == "ok"]
        assert good
        assert set(ends.values()) <= {"ok", "refused"}
        assert saved(place, uri) in [{n: n} for n in good]


@reliability("Writers", "batches that Spark writes (CSV, ORC) into one folder at once", "all rows are there, once")
@pytest.mark.parametrize(
    ("role", "file_format"),
    [
        ("cloud", "csv"),
        *(pytest.param(*each, marks=MINUTES) for each in (("cloud", "orc"), ("onprem", "csv"), ("onprem", "orc"))),
    ],
)
def test_batches_that_spark_writes_at_once_lose_nothing(
    make_store: MakeStore, spark: SparkSession, place: Place, folder: str, file_format: str
) -> None:
    of = stats(f"{place.uri}{folder}/set", file_format=file_format, **OF_FORMAT[file_format])
    store = make_store()
    add(store, of, rows(0))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: add(store, of, rows(number)), range(1, 6)))
    options = OF_FORMAT[file_format].get("options", {})
    found = by_spark(spark, place, f"{place.uri}{folder}/set", file_format, **options).collect()
    assert sorted(int(row.trips) for row in found) == list(range(6))
    assert place.names(f"{place.uri}{folder}") == ["set"]


OF_FORMAT: dict[str, dict[str, Any]] = {"csv": {"options": {"header": "true"}}, "orc": {}}


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with faulty_lake() as found:
        yield found


def settle(lake: Lake, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """End what a writer has left that could not go on."""
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    replace.recover(located(lake.place.site(), uri))


@reliability("Writers", "ADLS: threads save one dataset by Spark, in a storm", "one of them is there, whole")
@NEEDS_ADLS
@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_that_persist_in_a_storm_one_is_there_whole(
    lake: Lake,
    spark: SparkSession,  # a session that other tests use as well
    lakes_to_test: Places,
    tmp_path: Path,
    folder: str,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    onprem, uri = lakes_to_test.onprem, f"{lake.place.uri}{folder}/set"
    sources = onprem.write(f"{onprem.uri}{folder}/stats", rows(*range(1, 9)))
    store = feature_store([onprem.site(), lake.site()], tmp_path, DRIVER, stats(sources))
    assert persist(store, uri, 1) == "ok"
    numbers = [2, 5, 3, 7]
    with lake.proxy.having(*STORM, seed=seed) as proxy, ThreadPoolExecutor(3) as pool:
        ends = {1: "ok", **dict(zip(numbers, pool.map(lambda n: persist(store, uri, n), numbers), strict=True))}
    assert len(proxy.injected) > 10
    settle(lake, uri, monkeypatch)
    found = saved(lake.place, uri)
    assert found is not None
    (number,) = found
    assert found == {number: number}, (ends, seed)
    assert ends[number] in ("ok", "unknown"), (ends, seed)


@reliability(
    "Writers",
    "ADLS: processes with sessions of their own save one dataset, in a storm",
    "one of them is there, whole",
)
@MINUTES
@NEEDS_ADLS
@pytest.mark.parametrize("seed", SEEDS[:3])
def test_of_many_processes_that_persist_in_a_storm_one_is_there_whole(
    lake: Lake, lakes_to_test: Places, folder: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    onprem, uri = lakes_to_test.onprem, f"{lake.place.uri}{folder}/set"
    sources = onprem.write(f"{onprem.uri}{folder}/stats", rows(*range(1, 9)))
    with lake.proxy.having(*STORM, seed=seed) as proxy:
        sites = json.dumps([onprem.site(), lake.site()])
        programs = [
            subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", __name__, sites, sources, uri, str(number), "3"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=outside_of_spark(),
            )
            for number in (2, 5, 7)
        ]
        ends: dict[int, list[str]] = {}
        for number, program in zip((2, 5, 7), programs, strict=True):
            printed, complaint = program.communicate(timeout=600)
            assert program.returncode == 0, complaint[-4000:]
            ends[number] = json.loads(printed.splitlines()[-1])
    assert len(proxy.injected) > 10
    settle(lake, uri, monkeypatch)
    found = saved(lake.place, uri)
    good = [number for number, of_one in ends.items() if {"ok", "unknown"} & set(of_one)]
    assert found in [{number: number} for number in good], (ends, seed)


if __name__ == "__main__":
    _, _sites, _sources, _uri, _number, _rounds = sys.argv
    with tempfile.TemporaryDirectory() as _folder:
        _conf = {**session_conf(), "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "1"}
        _spark = {"master": "local[1]", "conf": _conf}
        _store = feature_store(json.loads(_sites), Path(_folder), DRIVER, stats(_sources), spark=_spark)
        print(json.dumps([persist(_store, _uri, int(_number)) for _ in range(int(_rounds))]))
