"""A lake that stalls or cuts its answers in the midst of what the local engine reads: carried, or said in time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.errors import HybridError, RetrievalTimeoutError, StorageTimeoutError
from feast_hybrid.testing import Fault
from tests.integration.faulty import Lake, faulty_lake
from tests.integration.places import entity, feature_store, hour, retrieve, source, view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from feast_hybrid import HybridSparkRetrievalJob

KEYS = 1000
#: What is read of files, as opposed to what says that they are there.
READS = "GET"
PART = r"part-\d\.parquet"


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with faulty_lake() as found:
        numbers = np.arange(50 * KEYS)
        rows = {"driver_id": numbers % KEYS, "event_timestamp": [hour(0)] * len(numbers), "n": numbers}
        for number in range(2):
            found.place.write(f"{found.place.uri}/reads", pa.table(rows), file=f"part-{number}.parquet")
        yield found


def job_of(lake: Lake, folder: Path, **options: str) -> HybridSparkRetrievalJob:
    of = source("reads_rows", f"{lake.place.uri}/reads")
    store = feature_store(
        [lake.site(**options)], folder, entity("driver_id"), view("reads", of, entity("driver_id")),
        engine="local", local={"threads": 2},
    )  # fmt: skip
    frame = pd.DataFrame({"driver_id": np.arange(KEYS), "event_timestamp": [hour(1)] * KEYS})
    return retrieve(store, frame, ["reads:n"])


def readers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("feast-hybrid-read-")]


def wait_for_readers() -> None:
    for thread in readers():
        thread.join(20)
    assert readers() == []


@pytest.mark.parametrize("action", ["cut", "short", "reset", "delay"])
def test_a_lake_that_comes_back_gives_the_right_answer(lake: Lake, tmp_path: Path, action: str) -> None:
    job = job_of(lake, tmp_path, **{"fs.azure.http.read.timeout": "1000"})
    fault = Fault(action, READS, PART, lasting=1.0, seconds=20)  # type: ignore[arg-type]
    with lake.proxy.having(fault):
        found = job.to_arrow()
    assert lake.proxy.injected
    assert found["n"].to_pylist() == [49 * KEYS + key for key in range(KEYS)]


@pytest.mark.parametrize("action", ["cut", "delay"])
def test_one_that_does_not_is_named_with_the_file(lake: Lake, tmp_path: Path, action: str) -> None:
    options = {"fs.azure.io.retry.max.retries": "1", "fs.azure.http.read.timeout": "1000"}
    job = job_of(lake, tmp_path, **options)
    with lake.proxy.having(Fault(action, READS, PART, seconds=20)), pytest.raises(HybridError) as refused:  # type: ignore[arg-type]
        job.to_arrow()
    said = str(refused.value)
    assert "site 'cloud'" in said
    assert "reads/part-" in said
    assert "fs.azure.io.retry.max.retries" in said
    assert isinstance(refused.value, StorageTimeoutError) == (action == "delay")
    key = lake.place.site()["credential"].get("key")
    assert not key or key not in said
    wait_for_readers()


def test_a_timeout_and_an_interrupt_do_not_wait_for_it(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast_hybrid.asof.local import work

    job = job_of(lake, tmp_path, **{"fs.azure.io.retry.max.retries": "0", "fs.azure.http.read.timeout": "6000"})
    with lake.proxy.having(Fault("delay", READS, PART, seconds=20)):
        began = time.monotonic()
        with pytest.raises(RetrievalTimeoutError, match="did not end within 1 s"):
            job.to_arrow(timeout=1)
        assert time.monotonic() - began < 4
        assert all(thread.daemon for thread in readers())
        wait_for_readers()

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(work, "_wait", interrupted)
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            job.to_arrow()
        assert time.monotonic() - began < 4
        assert all(thread.daemon for thread in readers())
        wait_for_readers()
