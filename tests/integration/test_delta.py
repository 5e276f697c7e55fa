"""Delta tables on both lakes, read by their log: without Spark's package of the format, whatever the PySpark."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Float64, Int64, String, UnixTimestamp

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError, SourceError
from feast_hybrid.sources.delta import delta_table
from tests.delta_tables import append, deltalake, edit, upload, with_features, with_mapped_columns
from tests.integration.faulty import LAKES_IN_TURNS
from tests.integration.places import (
    Place,
    Places,
    answers,
    entity,
    format_jars,
    hour,
    retrieve,
    source,
    view,
)
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from feast_hybrid.files.delta_table import DeltaTable
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec
    from tests.integration.conftest import MakeStore

pytestmark = [pytest.mark.connect, pytest.mark.matrix, LAKES_IN_TURNS]

ROLES = pytest.mark.parametrize("role", ["onprem", "cloud"])
STRATEGIES = pytest.mark.parametrize("strategy", ["columnar", "window"])
DRIVER = entity("driver", join_key="driver_id")
INSTANT = pa.timestamp("us", "UTC")
ENTITY_ROWS = pd.DataFrame({"driver_id": [3, 2, 1, 4], "event_timestamp": [hour(30)] * 4})

TRIPS = [Field(name="trips", dtype=Int64)]


def history(**columns: list[Any]) -> pa.Table:
    """Rows whose event times are so many hours after the tests' time begins."""
    times = pa.array([hour(hours) for hours in columns.pop("hours")], INSTANT)
    return pa.table(
        {"driver_id": pa.array(columns.pop("driver_id"), pa.int64()), "event_timestamp": times, **columns}
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An empty folder, for a table."""
    deltalake()
    return tmp_path / "table"


@pytest.fixture
def put(lakes_to_test: Places, role: str, folder: str) -> Callable[[Path], str]:
    """Puts a table onto the lake that the test is about, and gives its URI."""
    place: Place = getattr(lakes_to_test, role)
    return lambda table: upload(table, place, f"{place.uri}{folder}/table")


def delta(uri: str, **options: str) -> Any:
    return source("delta_rows", uri, file_format="delta", options=options or None)


@STRATEGIES
@ROLES
def test_what_the_log_says_counts_and_not_what_lies_in_the_folder(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str, strategy: str
) -> None:
    append(table, history(driver_id=[1, 2, 3], hours=[0, 0, 0], trips=[1, 2, 3]))
    append(table, history(driver_id=[1, 2], hours=[1, 1], trips=[10, 20]))
    deltalake().DeltaTable(str(table)).delete("trips = 20")  # its file is written anew
    append(table, history(driver_id=[3], hours=[2], trips=[30]))
    deltalake().DeltaTable(str(table)).create_checkpoint()
    added = pa.array([0.5], pa.float64())
    append(table, history(driver_id=[4], hours=[3], trips=[40], score=added), schema_mode="merge")
    store = make_store(DRIVER, view("rows", delta(put(table)), DRIVER), join={"strategy": strategy})
    assert {f.name: f.dtype for f in store.get_feature_view("rows").features} == {"trips": Int64, "score": Float64}

    job = retrieve(store, ENTITY_ROWS, ["rows:trips", "rows:score"])
    assert answers(job, "driver_id", "trips", "score") == [(3, 30, None), (2, 2, None), (1, 10, None), (4, 40, 0.5)]
    plan = job.explain()
    assert f"view 'rows': {strategy}" in plan
    assert "version 4 of the Delta table" in plan
    assert job.metadata is not None
    assert job.metadata.versions == {"rows": "version 4 of the Delta table"}


@ROLES
def test_both_pulls_and_materialisation_read_it(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str
) -> None:
    append(table, history(driver_id=[1, 2, 1], hours=[0, 1, 2], trips=[1, 2, 3]))
    of = delta(put(table))
    store = make_store(DRIVER, view("rows", of, DRIVER))

    def pulled(verb: str) -> list[tuple[Any, ...]]:
        pull = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")
        job = pull(store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(0), hour(1))
        return sorted(answers(job, "driver_id", "trips"))

    assert pulled("all") == pulled("latest") == [(1, 1), (2, 2)]
    store.materialize(hour(0), hour(5))
    found = store.get_online_features(["rows:trips"], [{"driver_id": n} for n in (1, 2, 3)]).to_dict()
    assert found["trips"] == [3, 2, None]


@STRATEGIES
@ROLES
def test_partitions_are_what_the_log_says_of_them(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str, strategy: str
) -> None:
    towns = ["Zürich/West", "100%", None, "a=b c"]
    days = [date(2026, 1, 10), None, date(2026, 1, 11), date(2026, 1, 10)]
    rows = history(driver_id=[1, 2, 3, 4], hours=[1, 2, 3, 4], town=towns, day=pa.array(days, pa.date32()))
    append(table, rows.append_column("zone", pa.array([7, 8, None, 10], pa.int32())), partition_by=["town", "day"])
    schema = [
        Field(name="town", dtype=String),
        Field(name="zone", dtype=Int64),
        Field(name="day", dtype=UnixTimestamp),
    ]
    of = view("rows", delta(put(table)), DRIVER, schema=schema)
    store = make_store(DRIVER, of, join={"strategy": strategy})
    found = answers(retrieve(store, ENTITY_ROWS, ["rows:town", "rows:day", "rows:zone"]), "town", "day", "zone")
    expected = list(zip(towns, days, [7, 8, None, 10], strict=True))
    assert [
        (town, day and (day.date() if isinstance(day, datetime) else day), zone) for town, day, zone in found
    ] == [expected[n - 1] for n in ENTITY_ROWS["driver_id"]]


@ROLES
def test_only_partitions_of_the_time_that_is_asked_for_are_read(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], lakes_to_test: Places, role: str
) -> None:
    days = [date(2026, 1, day) for day in (2, 6, 10)]
    rows = history(driver_id=[1, 1, 1], hours=[-192, -96, 0], trips=[1, 2, 3], day=pa.array(days, pa.date32()))
    append(table, rows, partition_by=["day"])
    uri = put(table)
    place: Place = getattr(lakes_to_test, role)
    for name in place.names(f"{uri}/day=2026-01-02"):  # whoever opens it fails
        place.lake.filesystem().rm_file(place.inside(f"{uri}/day=2026-01-02/{name}"))
    of = source("delta_rows", uri, file_format="delta", date_partition_column="day")
    store = make_store(DRIVER, view("rows", of, DRIVER))
    job = HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(-97), hour(1)
    )
    assert sorted(answers(job, "trips")) == [(2,), (3,)]
    with pytest.raises(HybridError, match=r"day=2026-01-02/.*is gone"):
        retrieve(store, ENTITY_ROWS, ["rows:trips"]).to_arrow()


@ROLES
def test_files_that_are_of_other_times_by_the_log_are_not_opened(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], lakes_to_test: Places, role: str
) -> None:
    append(table, history(driver_id=[1], hours=[0], trips=[1]))
    first = deltalake().DeltaTable(str(table)).file_uris()[0].rpartition("/")[2]
    append(table, history(driver_id=[1], hours=[10], trips=[2]))
    uri = put(table)
    of = delta(uri)
    place: Place = getattr(lakes_to_test, role)
    place.lake.filesystem().rm_file(place.inside(f"{uri}/{first}"))  # whoever opens it fails
    store = make_store(DRIVER, view("rows", of, DRIVER, ttl=timedelta(hours=24)))
    job = HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(1), hour(10)
    )
    assert answers(job, "trips") == [(2,)]
    assert answers(retrieve(store, ENTITY_ROWS, ["rows:trips"]), "trips") == [(None,), (None,), (2,), (None,)]


@ROLES
def test_an_earlier_version_is_read_by_its_number_or_its_time(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str
) -> None:
    for n in range(3):
        append(table, history(driver_id=[1], hours=[n], trips=[n]))
    uri = put(table)
    store = make_store()
    for options, trips in (({"versionAsOf": "1"}, 1), ({}, 2)):
        store.apply([DRIVER, view("rows", delta(uri, **options), DRIVER)])
        job = retrieve(store, ENTITY_ROWS, ["rows:trips"])
        assert answers(job, "trips") == [(None,), (None,), (trips,), (None,)]
        assert f"version {trips} of the Delta table" in job.explain()
    store.apply([DRIVER, view("rows", delta(uri, timestampAsOf="2000-01-01"), DRIVER, schema=TRIPS)])
    with pytest.raises(SourceError, match=r"view 'rows'.*no version as old as 2000-01-01T00:00:00"):
        retrieve(store, ENTITY_ROWS, ["rows:trips"])


@ROLES
def test_views_of_one_table_are_read_in_one_version(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(table, history(driver_id=[1], hours=[0], trips=[1]))
    of = delta(put(table))
    store = make_store(DRIVER, *(view(name, of, DRIVER, schema=TRIPS) for name in ("one", "other")))

    def read_and_go_on(source: SourceSpec, router: Router) -> DeltaTable:
        found = delta_table(source, router)
        append(table, history(driver_id=[1], hours=[1], trips=[2]))
        put(table)
        return found

    monkeypatch.setattr("feast_hybrid.sources.reader.open_table_version", read_and_go_on)
    job = retrieve(store, ENTITY_ROWS, ["one:trips", "other:trips"], full_feature_names=True)
    assert answers(job, "one__trips", "other__trips")[2] == (1, 1)
    assert job.metadata is not None
    assert set(job.metadata.versions.values()) == {"version 0 of the Delta table"}


@STRATEGIES
@ROLES
def test_columns_that_files_call_otherwise_are_found(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str, strategy: str
) -> None:
    inner = pa.array([{"col-a": n, "col-b": f"b{n}"} for n in range(3)])
    rows = pa.table(
        {
            "col-1": pa.array([1, 2, 3]),
            "col-2": pa.array([hour(0)] * 3, INSTANT),
            "col-3": pa.array([7, 8, 9]),
            "trips": pa.array([-1, -1, -1]),  # the name of another column in the table
            "col-4": inner,
            "col-5": pa.array(["x", "y", None]),
        }
    )
    append(table, rows, partition_by=["col-5"])
    names = {"col-1": "driver_id", "col-2": "event_timestamp", "col-3": "trips", "trips": "old", "col-4": "both"}
    edit(table, with_mapped_columns({**names, "col-5": "town", "col-a": "number", "col-b": "text"}))
    store = make_store(DRIVER, view("rows", delta(put(table)), DRIVER), join={"strategy": strategy})
    job = retrieve(store, ENTITY_ROWS[:3], ["rows:trips", "rows:old", "rows:both", "rows:town"])
    assert answers(job, "driver_id", "trips", "old", "both", "town") == [
        (3, 9, -1, {"number": 2, "text": "b2"}, None),
        (2, 8, -1, {"number": 1, "text": "b1"}, "y"),
        (1, 7, -1, {"number": 0, "text": "b0"}, "x"),
    ]


@ROLES
def test_what_nobody_reads_is_refused_by_name(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str
) -> None:
    append(table, history(driver_id=[1], hours=[0], trips=[1]))
    edit(table, with_features("catalogManaged"))
    with pytest.raises(HybridError) as refused:
        make_store(DRIVER, view("rows", delta(put(table)), DRIVER))
    if not format_jars("delta"):
        assert isinstance(refused.value, SourceError)
        assert "source 'delta_rows'" in str(refused.value)
        assert "the reader feature catalogManaged, which feast-hybrid does not read" in str(refused.value)
        assert "delta: none for PySpark" in str(refused.value)


@STRATEGIES
@ROLES
def test_a_file_of_another_size_than_the_log_says_is_refused(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], role: str, strategy: str
) -> None:
    def of_less(action: dict[str, Any]) -> dict[str, Any]:
        if "add" in action:
            action["add"]["size"] = 8  # which holds no row group
        return action

    append(table, history(driver_id=[1], hours=[0], trips=[1]))
    edit(table, of_less)
    store = make_store(DRIVER, view("rows", delta(put(table)), DRIVER), join={"strategy": strategy})
    with pytest.raises(HybridError, match=r"view 'rows'.*it had 8 bytes, and has [\d,]+ bytes"):
        retrieve(store, ENTITY_ROWS, ["rows:trips"]).to_arrow()


@reliability(
    "Writers",
    "a file of a Delta table is vacuumed",
    "an error that names it",
    "was there when the plan was made, and is gone",
)
@ROLES
def test_a_file_that_was_vacuumed_is_an_error_that_names_it(
    make_store: MakeStore, table: Path, put: Callable[[Path], str], lakes_to_test: Places, role: str, promise: Row
) -> None:
    append(table, history(driver_id=[1], hours=[0], trips=[1]))
    append(table, history(driver_id=[1], hours=[1], trips=[2]), mode="overwrite")
    uri = put(table)
    place: Place = getattr(lakes_to_test, role)
    first, last = (deltalake().DeltaTable(str(table), version=n).file_uris()[0].rpartition("/")[2] for n in (0, 1))
    place.lake.filesystem().rm_file(place.inside(f"{uri}/{first}"))
    store = make_store(DRIVER, view("rows", delta(uri), DRIVER, schema=TRIPS))
    assert answers(retrieve(store, ENTITY_ROWS, ["rows:trips"]), "trips") == [(None,), (None,), (2,), (None,)]
    place.lake.filesystem().rm_file(place.inside(f"{uri}/{last}"))
    with pytest.raises(HybridError, match=rf"{last} {promise.reads}"):
        retrieve(store, ENTITY_ROWS, ["rows:trips"]).to_arrow()
