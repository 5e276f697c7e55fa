"""The local engine in several threads, processes and event loops at once, on both lakes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pandas as pd
import pytest
import yaml

from tests.integration.places import entity, feature_store, hour, outside_of_spark, retrieve, source, view

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore

    from feast_hybrid import HybridSparkRetrievalJob
    from tests.integration.places import Places

KEYS = 50
WANTED = [(10 * key, f"word {key}") for key in range(KEYS)]

#: Retrieves, then does so in a child that is forked or spawned, and again itself.
PROGRAM = """
import multiprocessing, sys, warnings
import pandas as pd
from feast import FeatureStore

def answers(folder):
    store = FeatureStore(repo_path=folder)
    frame = pd.DataFrame({"driver_id": range(50), "event_timestamp": [pd.Timestamp("2026-01-10T01:00Z")] * 50})
    return store.get_historical_features(frame, ["numbers:n", "words:word"]).to_df()["word"].tolist()

if __name__ == "__main__":
    how, folder = sys.argv[1:]
    first = answers(folder)
    with multiprocessing.get_context(how).Pool(2) as pool:
        found = pool.map_async(answers, [folder, folder]).get(90)
    assert found == [first, first] == [answers(folder)] * 2, found
    assert first == [f"word {key}" for key in range(50)]
"""


@pytest.fixture(scope="module")
def store(lakes_to_test: Places, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    onprem, cloud = lakes_to_test
    shared = {"driver_id": list(range(KEYS)), "event_timestamp": [hour(0)] * KEYS}
    numbers = onprem.write(f"{onprem.uri}/at_once/numbers", {**shared, "n": [10 * key for key in range(KEYS)]})
    words = cloud.write(f"{cloud.uri}/at_once/words", {**shared, "word": [f"word {key}" for key in range(KEYS)]})
    key = entity("driver_id")
    views = [view("numbers", source("n", numbers), key), view("words", source("w", words), key)]
    folder = tmp_path_factory.mktemp("at_once")
    return feature_store(lakes_to_test.sites(), folder, key, *views, engine="local")


def job_of(store: FeatureStore) -> HybridSparkRetrievalJob:
    frame = pd.DataFrame({"driver_id": range(KEYS), "event_timestamp": [hour(1)] * KEYS})
    return retrieve(store, frame, ["numbers:n", "words:word"])


def answered(job: HybridSparkRetrievalJob) -> list[tuple[int, str]]:
    table = job.to_arrow()
    return list(zip(table["n"].to_pylist(), table["word"].to_pylist(), strict=True))


def test_threads_at_once_are_all_right(store: FeatureStore) -> None:
    def materialized(_: int) -> list[tuple[int, str]]:
        store.materialize(hour(-1), hour(1), ["numbers", "words"])
        return answered(job_of(store))

    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: answered(job_of(store)), range(16)), *pool.map(materialized, range(2))]
        job = job_of(store)  # made here, and read there, several times at once
        found += pool.map(answered, [job] * 8)
    assert found == [WANTED] * 26


def test_an_event_loop_is_no_hindrance(store: FeatureStore) -> None:
    async def both() -> list[list[tuple[int, str]]]:
        inside = answered(job_of(store))
        return [
            inside,
            *await asyncio.gather(*(asyncio.to_thread(lambda: answered(job_of(store))) for _ in range(3))),
        ]

    assert asyncio.run(both()) == [WANTED] * 4


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_children_of_a_process_that_has_read_are_right(
    store: FeatureStore, lakes_to_test: Places, tmp_path: Path, how: str
) -> None:
    config = {
        "project": store.project,
        "provider": "local",
        "registry": str(store.config.registry.path),
        "online_store": {"type": "sqlite", "path": str(tmp_path / "online.db")},
        "offline_store": {
            "type": "feast_hybrid.HybridSparkOfflineStore",
            "sites": lakes_to_test.sites(),
            "engine": "local",
        },
        "entity_key_serialization_version": 3,
    }
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(config))
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, str(program), how, str(tmp_path)],
        env=outside_of_spark(), capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
