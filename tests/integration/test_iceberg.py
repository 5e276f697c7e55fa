"""Iceberg tables on both lakes, read by their metadata: without Spark's package, whatever the PySpark."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Int64

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource
from feast_hybrid.errors import HybridError
from tests.delta_tables import upload
from tests.iceberg_tables import catalog_table, deletes, equality_deletes, with_deletes, without_catalog
from tests.integration.places import Place, Places, answers, entity, hour, retrieve, source, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore

pytestmark = [pytest.mark.connect, pytest.mark.matrix]

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
BY_STRATEGY = pytest.mark.parametrize(("role", "strategy"), [("onprem", "columnar"), ("cloud", "window")])
DRIVER = entity("driver", join_key="driver_id")
ENTITY_ROWS = pd.DataFrame({"driver_id": [3, 2, 1, 4], "event_timestamp": [hour(30)] * 4})
TRIPS = [Field(name="trips", dtype=Int64)]


def history(**columns: list[Any]) -> pa.Table:
    """Rows whose event times are so many hours after the tests' time begins."""
    times = pa.array([hour(hours) for hours in columns.pop("hours")], pa.timestamp("us", "UTC"))
    return pa.table({"driver_id": columns.pop("driver_id"), "event_timestamp": times, **columns})


@pytest.fixture
def put(lakes_to_test: Places, role: str, folder: str) -> Callable[[Path], str]:
    """Puts a table onto the lake that the test is about, and gives its URI."""
    place: Place = getattr(lakes_to_test, role)
    return lambda table: upload(table, place, f"{place.uri}{folder}/table")


def iceberg(uri: str, **options: str) -> Any:
    return source("iceberg_rows", uri, file_format="iceberg", options=options or None)


@BY_STRATEGY
def test_what_the_metadata_says_counts_and_not_what_lies_in_the_folder(
    make_store: MakeStore, tmp_path: Path, put: Callable[[Path], str], role: str, strategy: str
) -> None:
    first = history(driver_id=[1, 2, 3], hours=[0, 0, 0], rides=[1, 2, 3], gone=[0, 0, 0])
    table = catalog_table(tmp_path, first.schema)
    table.append(first)
    with table.update_schema() as change:
        change.rename_column("rides", "trips")
        change.rename_column("gone", "rides")
    table.append(history(driver_id=[1, 2, 3], hours=[1, 1, 2], trips=[10, 20, 30], rides=[1, 1, 1]))
    task = next(iter(table.scan(row_filter="trips == 20").plan_files()))
    removed = deletes(tmp_path / "table" / "deletes.parquet", [(task.file.file_path, 1)])  # the row of 20
    by_value = equality_deletes(tmp_path / "table" / "values.parquet", pa.table({"trips": [10, 2]}), {"trips": 3})
    uri = put(with_deletes(table, tmp_path, [removed, by_value]))
    store = make_store(DRIVER, view("rows", iceberg(uri), DRIVER), join={"strategy": strategy})
    assert {f.name: f.dtype for f in store.get_feature_view("rows").features} == {"trips": Int64, "rides": Int64}

    job = retrieve(store, ENTITY_ROWS, ["rows:trips", "rows:rides"])
    found = answers(job, "driver_id", "trips", "rides")
    assert found == [(3, 30, 1), (2, None, None), (1, 1, 0), (4, None, None)]
    plan = job.explain()
    assert f"view 'rows': {strategy}" in plan
    assert "snapshot 4711 of 20" in plan
    assert job.metadata is not None
    assert job.metadata.versions["rows"].startswith("snapshot 4711 of 20")

    # An earlier snapshot, with its own columns.
    earlier = str(table.metadata.snapshots[0].snapshot_id)
    store.apply([DRIVER, view("then", iceberg(uri, **{"snapshot-id": earlier}), DRIVER)])
    job = retrieve(store, ENTITY_ROWS, ["then:rides", "then:gone"])
    assert answers(job, "driver_id", "rides", "gone") == [(3, 3, 0), (2, 2, 0), (1, 1, 0), (4, None, None)]


@ROLES
def test_both_pulls_and_materialisation_read_the_batches_that_were_added(
    make_store: MakeStore, lakes_to_test: Places, folder: str, role: str
) -> None:
    of = iceberg(f"{getattr(lakes_to_test, role).uri}{folder}/table")
    rows = view("rows", of, DRIVER, schema=[Field(name="driver_id", dtype=Int64), *TRIPS])
    store = make_store()
    for batch in (
        history(driver_id=[1, 2], hours=[0, 1], trips=[1, 2]),
        history(driver_id=[1], hours=[2], trips=[3]),
    ):
        HybridSparkOfflineStore.offline_write_batch(store.config, rows, batch, None)
    store.apply([DRIVER, rows])

    def pulled(verb: str) -> list[tuple[Any, ...]]:
        pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
        job = pull(store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(0), hour(1))
        return sorted(answers(job, "driver_id", "trips"))

    assert pulled("all") == pulled("latest") == [(1, 1), (2, 2)]
    store.materialize(hour(0), hour(5))
    found = store.get_online_features(["rows:trips"], [{"driver_id": n} for n in (1, 2, 3)]).to_dict()
    assert found["trips"] == [3, 2, None]


def test_a_table_of_a_catalog_whose_warehouse_is_known_is_read_by_its_metadata(
    make_store: MakeStore, tmp_path: Path, lakes_to_test: Places, folder: str, spark: SparkSession
) -> None:
    place = lakes_to_test.onprem
    first = history(driver_id=[1, 2], hours=[0, 1], trips=[1, 2])
    table = catalog_table(tmp_path, first.schema)
    table.append(first)
    warehouse = f"{place.uri}{folder}/warehouse"
    upload(without_catalog(table, tmp_path), place, f"{warehouse}/db/rides")
    name = f"lake_{uuid.uuid4().hex[:8]}"
    catalog = f"spark.sql.catalog.{name}"
    settings = {
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "hadoop",
        f"{catalog}.warehouse": warehouse,
    }
    of = HybridSparkSource(
        name="catalog_rows", table=f"{name}.db.rides", site="onprem", timestamp_field="event_timestamp"
    )
    for key, value in settings.items():
        spark.conf.set(key, value)
    try:
        store = make_store(DRIVER, view("rows", of, DRIVER))
        assert {f.name: f.dtype for f in store.get_feature_view("rows").features} == {"trips": Int64}
        job = retrieve(store, ENTITY_ROWS, ["rows:trips"])
        assert answers(job, "driver_id", "trips") == [(3, None), (2, 2), (1, 1), (4, None)]
        assert "view 'rows': columnar" in job.explain()
        assert job.metadata is not None
        assert job.metadata.versions["rows"].startswith(f"snapshot {table.metadata.current_snapshot_id} of 20")
        pulled = HybridSparkOfflineStore.pull_all_from_table_or_query(
            store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(1), hour(2)
        )
        assert answers(pulled, "driver_id", "trips") == [(2, 2)]
        spark.conf.set(f"{catalog}.io-impl", "none.that.there.is")  # so that Spark fails, whether it has the package
        with pytest.raises(HybridError, match=r"does not know: io-impl\. By Spark: "):
            retrieve(store, ENTITY_ROWS, ["rows:trips"]).to_arrow()
    finally:
        for key in (*settings, f"{catalog}.io-impl"):
            spark.conf.unset(key)


@reliability(
    "Writers",
    "a file of an Iceberg table is removed",
    "an error that names it",
    "was there when the plan was made, and is gone",
)
@ROLES
def test_files_of_other_times_are_not_opened_and_one_that_is_gone_is_named(
    make_store: MakeStore,
    tmp_path: Path,
    put: Callable[[Path], str],
    lakes_to_test: Places,
    role: str,
    promise: Row,
) -> None:
    first = history(driver_id=[1], hours=[0], trips=[1])
    table = catalog_table(tmp_path, first.schema)
    table.append(first)
    (task,) = table.scan().plan_files()
    table.append(history(driver_id=[1], hours=[10], trips=[2]))
    uri = put(without_catalog(table, tmp_path))
    place: Place = getattr(lakes_to_test, role)
    name = task.file.file_path.rpartition("/")[2]
    place.lake.filesystem().rm_file(place.inside(f"{uri}/data/{name}"))  # whoever opens it fails
    of = iceberg(uri)
    store = make_store(DRIVER, view("rows", of, DRIVER, schema=TRIPS, ttl=timedelta(hours=24)))
    job = HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(1), hour(10)
    )
    assert answers(job, "trips") == [(2,)]
    assert answers(retrieve(store, ENTITY_ROWS, ["rows:trips"]), "trips") == [(None,), (None,), (2,), (None,)]
    store.apply([DRIVER, view("all", of, DRIVER, schema=TRIPS)])
    with pytest.raises(HybridError, match=rf"{name} {promise.reads}"):
        retrieve(store, ENTITY_ROWS, ["all:trips"]).to_arrow()
