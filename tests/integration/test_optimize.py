"""``feast-hybrid optimize`` on both lakes, under readers and writers, and where it is killed.

As a program, ``FOLDER SITES VIEW`` optimizes, and is killed while old and new files are there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from azure.core.exceptions import ResourceNotFoundError
from feast import Field
from feast.types import Float64

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import exchange_hdfs, replace_adls
from feast_hybrid.lakes.leftovers import find_leftovers
from feast_hybrid.writing.optimize import optimize
from tests.integration.places import entity, feature_store, hour, outside_of_spark, retrieve, source, view
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView
    from pyspark.sql import SparkSession

    from feast_hybrid.lakes import Location
    from tests.integration.conftest import MakeStore, Write
    from tests.integration.places import Place

DRIVER = entity("driver", join_key="driver_id")
DAYS, FILES, ROWS = 4, 4, 4
INSTANT = pa.timestamp("us", tz="UTC")
EACH_LAKE = pytest.mark.parametrize("role", ["onprem", "cloud"])


def batch(day: int, number: int, *, drivers: int = 0) -> pa.Table:
    return pa.table(
        {
            "driver_id": pa.array(range(drivers, drivers + ROWS), pa.int64()),
            "event_timestamp": pa.array([hour(24 * day + number)] * ROWS, INSTANT),
            "speed": [float(day * 100 + number)] * ROWS,
        }
    )


@pytest.fixture
def speeds(place: Place, write: Write) -> FeatureView:
    """Days of some small files each."""
    for day in range(DAYS):
        for number in range(FILES):
            name = f"speeds/day=2026-01-{10 + day}"
            uri = write(place, name, batch(day, number), file=f"batch-{number}.parquet")
    schema = [Field(name="speed", dtype=Float64)]
    return view(
        "speeds", source("speeds", uri.rpartition("/")[0], date_partition_column="day"), DRIVER, schema=schema
    )


def located(store: FeatureStore, of: FeatureView) -> Location:
    found: Location = store.config.offline_store.router.locate(rows_of(of).path)
    return found


def rows_of(of: FeatureView) -> Any:
    return of.batch_source


def rows_at(location: Location) -> pa.Table:
    """The rows, as our reader finds them, of the drivers that were there from the beginning."""
    filesystem = location.fs
    parts = []
    for file in list_files(location, read_by_us=True).files:
        with filesystem.open(file.path, "rb") as opened:
            parts.append(pq.ParquetFile(opened).read())
    rows = pa.concat_tables(parts)
    return rows.filter(pc.less(rows["driver_id"], ROWS))


def summary(rows: pa.Table) -> tuple[int, float]:
    return rows.num_rows, pc.sum(rows["speed"]).as_py()


@reliability(
    "Writers",
    "`feast-hybrid optimize` while the source is read, by Spark too, and batches are added to it, on each lake",
    "readers see all rows, each once, or an error that says to read again; no batch is lost",
)
@EACH_LAKE
def test_readers_see_the_same_rows_and_batches_stay(
    place: Place, speeds: FeatureView, make_store: MakeStore, spark: SparkSession
) -> None:
    store = make_store(DRIVER, speeds)
    location = located(store, speeds)
    expected = summary(rows_at(location))
    assert expected[0] == DAYS * FILES * ROWS
    done = threading.Event()
    seen: dict[str, list[tuple[int, float]]] = {"ours": [], "spark": []}
    options = {**location.hadoop_options}

    def read_by_spark() -> None:
        frame = spark.read.options(**options).parquet(rows_of(speeds).path)
        row = frame.where(f"driver_id < {ROWS}").selectExpr("count(*)", "sum(speed)").collect()[0]
        seen["spark"].append((row[0], row[1]))

    def read(read_once: Any) -> None:
        while not done.is_set():
            try:
                read_once()
            except (FileNotFoundError, ResourceNotFoundError, HybridError):
                continue
            except Exception as error:  # of Spark's
                if not any(text in str(error) for text in ("part-being-replaced-now", "FAILED_READ_FILE")):
                    raise

    def add() -> int:
        added = 0
        while not done.is_set():
            rows = batch(added % DAYS, 1, drivers=1000)
            try:
                HybridSparkOfflineStore.offline_write_batch(store.config, speeds, rows, None)
            except HybridError:  # what is there could not be read in this moment: nothing was written
                continue
            added += 1
        return added

    with ThreadPoolExecutor(3) as pool:
        readers = [
            pool.submit(read, lambda: seen["ours"].append(summary(rows_at(location)))),
            pool.submit(read, read_by_spark),
        ]
        adding = pool.submit(add)
        try:
            outcomes = [optimize(store.config.offline_store, speeds) for _ in range(2)]
        finally:
            done.set()
        for reader in readers:
            reader.result()
        added = adding.result()
    assert outcomes[0].after.files < outcomes[0].before.files
    assert outcomes[0].folders == DAYS
    assert {*seen["ours"], *seen["spark"]} == {expected}
    assert added
    every = pull_all(store, speeds)
    assert len(every) == expected[0] + added * ROWS
    assert summary(rows_at(location)) == expected
    assert [name for name in place.names(f"{location}/day=2026-01-10") if name.startswith((".", "part-being"))] == []


def pull_all(store: FeatureStore, of: FeatureView) -> list[float]:
    columns = ["driver_id"], ["speed"], "event_timestamp"
    job = HybridSparkOfflineStore.pull_all_from_table_or_query(store.config, rows_of(of), *columns)
    return sorted(job.to_arrow()["speed"].to_pylist())


@reliability(
    "Writers",
    "`feast-hybrid optimize` is killed while it exchanges files, on each lake",
    "all rows are read, each once; the next run ends what was begun",
)
@EACH_LAKE
def test_a_run_that_is_killed_loses_nothing_and_the_next_one_ends_it(
    speeds: FeatureView, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(DRIVER, speeds)
    location = located(store, speeds)
    expected = pull_all(store, speeds)

    kill(store, speeds)
    assert pull_all(store, speeds) == expected
    rows = {"driver_id": [1], "event_timestamp": [hour(48)]}
    answer = retrieve(store, pa.table(rows).to_pandas(), ["speeds:speed"]).to_arrow()
    assert answer["speed"].to_pylist() == [200.0]
    with pytest.raises(WriteError, match=r"last sign of life|who began"):
        optimize(store.config.offline_store, speeds)
    for module in (exchange_hdfs, replace_adls):
        monkeypatch.setattr(module, "DEAD_AFTER", timedelta(0))
    outcome = optimize(store.config.offline_store, speeds)
    assert outcome.after.files == DAYS
    assert pull_all(store, speeds) == expected
    assert find_leftovers(location, older_than=timedelta(0)) == []


def kill(store: FeatureStore, of: FeatureView) -> None:
    """Have a process optimize, and be killed while the old files and the new ones are there."""
    arguments = [json.dumps([site.model_dump(mode="json") for site in store.config.offline_store.sites])]
    folder = str(store.config.registry.path).rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-m", __name__, folder, *arguments, of.name],
        capture_output=True,
        text=True,
        env=outside_of_spark(),
        timeout=300,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def main() -> None:
    from pathlib import Path

    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    _, folder, sites, name = sys.argv
    store = feature_store(json.loads(sites), Path(folder))
    exchange_hdfs.FileReplacement._delete_first = die  # type: ignore[method-assign]
    replace_adls.BlobReplacement._end = die  # type: ignore[method-assign,assignment]
    optimize(store.config.offline_store, store.get_feature_view(name))


if __name__ == "__main__":
    main()
