"""Batches added to Iceberg tables on both lakes: one commit each, by several writers at once, without Spark."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dill  # type: ignore[import-untyped]
import pytest

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import WriteError
from feast_hybrid.files.iceberg_commit import first_metadata
from feast_hybrid.files.iceberg_types import iceberg_schema
from feast_hybrid.sources.resolve import source_spec
from tests.iceberg_reading import by_pyiceberg, static_table
from tests.integration.batches import ROLES, add, rows, stats
from tests.integration.places import Place, Places, feature_store, format_jars, outside_of_spark
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore, FeatureView
    from pyspark.sql import SparkSession

    from feast_hybrid.lakes import Location
    from tests.integration.conftest import MakeStore


@pytest.fixture
def store(lakes_to_test: Places, tmp_path: Path) -> FeatureStore:
    """A feature store over both lakes, with no session of Spark's."""
    return feature_store(lakes_to_test.sites(), tmp_path)


@pytest.fixture
def uri(place: Place, folder: str) -> str:
    return f"{place.uri}{folder}/table"


@pytest.fixture
def of(uri: str) -> FeatureView:
    return stats(uri, file_format="iceberg", date_partition_column="day")


@pytest.fixture
def location(store: FeatureStore, uri: str) -> Location:
    found: Location = store.config.offline_store.router.locate(uri)
    return found


def trips(location: Location) -> list[int]:
    return sorted(by_pyiceberg(location)["trips"].to_pylist())


@reliability(
    "Writers",
    "four threads add batches to one Iceberg table, which is not there yet, on each lake",
    "each is one commit, no row is lost or twice",
)
@pytest.mark.matrix
@ROLES
def test_writers_at_once_add_each_their_rows(
    store: FeatureStore, place: Place, of: FeatureView, uri: str, location: Location, role: str
) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: add(store, of, rows(*[number] * 3, hours=24 * (number % 2))), range(12)))
    assert trips(location) == sorted(list(range(12)) * 3)
    names = place.names(f"{uri}/metadata")
    assert {name for name in names if name.endswith(".json")} == {
        f"v{number}.metadata.json" for number in range(1, 13)
    }
    assert place.lake.filesystem().cat_file(place.inside(f"{uri}/metadata/version-hint.text")) == b"12"
    table = static_table(location)
    manifests = {str(each["path"]).rpartition("/")[2] for each in table.inspect.all_manifests().to_pylist()}
    lists = {each.manifest_list.rpartition("/")[2] for each in table.metadata.snapshots}
    assert {name for name in names if name.endswith(".avro")} == manifests | lists
    assert place.names(f"{uri}/data") == ["day=2026-01-10", "day=2026-01-11"]
    scan = table.scan(row_filter="day = '2026-01-11'")
    assert set(scan.to_arrow()["trips"].to_pylist()) == {1, 3, 5, 7, 9, 11}


#: A writer that is killed when it creates the file of its version, or when that is done and it does not know it yet.
PROGRAM = """
import os, signal, sys, dill
from feast_hybrid.writing import iceberg_batches
create = iceberg_batches.create_once
def killed(file, content):
    if sys.argv[2] == "after":
        create(file, content)
    os.kill(os.getpid(), signal.SIGKILL)
iceberg_batches.create_once = killed
source, table = dill.loads(open(sys.argv[1], "rb").read())
iceberg_batches.append_to_iceberg(table, source, lambda: table.schema, what="writing rows")
"""


@reliability(
    "Writers",
    "a writer of a batch is killed before, or after, it has committed to an Iceberg table, on each lake",
    "the batch is not there, or is, whole; the next writers go on",
)
@ROLES
def test_a_writer_that_is_killed_has_added_its_batch_or_nothing(
    store: FeatureStore, of: FeatureView, location: Location, tmp_path: Path, role: str
) -> None:
    add(store, of, rows(1))
    packed = tmp_path / "packed"
    packed.write_bytes(
        dill.dumps((source_spec(of.batch_source, store.config.offline_store.router, view=of), rows(2, 3)))
    )
    killed = {
        when: subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, str(packed), when], env=outside_of_spark()
        )
        for when in ("before", "after")
    }
    assert [process.wait(120) for process in killed.values()] == [-signal.SIGKILL] * 2
    assert trips(location) == [1, 2, 3]
    hint = location.child("metadata/version-hint.text")
    assert hint.fs.cat_file(hint.path) == b"1"
    add(store, of, rows(4))
    assert trips(location) == [1, 2, 3, 4]
    assert hint.fs.cat_file(hint.path) == b"3"


@reliability(
    "Executors and drivers",
    "a task of Spark that adds a batch to an Iceberg table is run again",
    "it finds that its batch is there: no row is twice",
)
@pytest.mark.matrix
@ROLES
def test_a_task_that_is_run_again_adds_no_rows(
    store: FeatureStore, of: FeatureView, location: Location, spark: SparkSession, role: str
) -> None:
    packed = dill.dumps((store.config, of))
    frame = spark.range(0, 40, 1, 2).selectExpr(
        "id as driver_id", "id as trips", "timestamp'2026-01-10 00:00:00Z' as event_timestamp"
    )

    def write_twice(batches: Any) -> Any:
        import dill
        import pyarrow as pa

        from feast_hybrid.writing import naming

        config, of = dill.loads(packed)
        table = pa.Table.from_batches(list(batches))
        for _ in range(2):
            naming._current = None  # as in the new worker of another attempt
            HybridSparkOfflineStore.offline_write_batch(config, of, table, None)
        yield pa.RecordBatch.from_pydict({"n": [table.num_rows]})

    assert sorted(row.n for row in frame.mapInArrow(write_twice, "n long").collect()) == [20, 20]
    assert trips(location) == list(range(40))
    assert len(static_table(location).metadata.snapshots) == 2


@pytest.mark.matrix
def test_what_this_package_does_not_do_for_a_table_is_left_to_sparks_or_refused_by_name(
    make_store: MakeStore, onprem: Place, folder: str
) -> None:
    uri = f"{onprem.uri}{folder}/table"
    raw = first_metadata(iceberg_schema(rows(1).schema), None, uri) | {"format-version": 3, "next-row-id": 0}
    onprem.put(f"{uri}/metadata/v1.metadata.json", json.dumps(raw).encode())
    before = onprem.names(uri)
    of = stats(uri, file_format="iceberg")
    store = make_store()
    if format_jars("iceberg"):
        add(store, of, rows(2))
        assert trips(store.config.offline_store.router.locate(uri)) == [2]
        return
    with pytest.raises(WriteError, match="needs version 3 of the format in what is written, which") as refused:
        add(store, of, rows(2))
    assert "iceberg: none for PySpark" in str(refused.value)
    assert onprem.names(uri) == before
