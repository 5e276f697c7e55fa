"""The local engine in several threads and event loops at once, on both lakes."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.integration.places import entity, feature_store, hour, retrieve, source, view

if TYPE_CHECKING:
    from feast import FeatureStore

    from feast_hybrid import HybridSparkRetrievalJob
    from tests.integration.places import Places

KEYS = 50
WANTED = [(10 * key, f"word {key}") for key in range(KEYS)]


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
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda _: answered(job_of(store)), range(16))]
        job = job_of(store)  # made here, and read there, several times at once
        # Feast's registry loses a view for a moment while one is materialised: all jobs are made before.
        materialized = pool.submit(store.materialize, hour(-1), hour(1), ["numbers", "words"])
        found += pool.map(answered, [job] * 8)
        materialized.result()
    assert found == [WANTED] * 24
    online = store.get_online_features(["numbers:n"], [{"driver_id": key} for key in range(KEYS)]).to_dict()
    assert online["n"] == [10 * key for key in range(KEYS)]


def test_an_event_loop_is_no_hindrance(store: FeatureStore) -> None:
    async def both() -> list[list[tuple[int, str]]]:
        inside = answered(job_of(store))
        return [
            inside,
            *await asyncio.gather(*(asyncio.to_thread(lambda: answered(job_of(store))) for _ in range(3))),
        ]

    assert asyncio.run(both()) == [WANTED] * 4
