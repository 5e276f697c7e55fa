"""Batches added to Delta tables on both lakes: one commit each, by several writers at once, without Spark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest

from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.lakes.create_once import create_once
from tests.delta_tables import append, deltalake, edit, upload
from tests.integration.batches import DRIVER, ROLES, add, rows, stats
from tests.integration.places import Place, answers, format_jars, hour, retrieve
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import MakeStore

pytestmark = pytest.mark.matrix


def by_deltalake(place: Place, uri: str, folder: Path) -> pa.Table:
    """The rows that another implementation finds in a copy of the table."""
    filesystem = place.lake.filesystem()
    for path in filesystem.find(place.inside(uri)):
        to = folder / str(path).partition(place.inside(uri).strip("/"))[2].lstrip("/")
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(filesystem.cat_file(path))
    found = deltalake().QueryBuilder().register("t", deltalake().DeltaTable(str(folder)))
    return pa.table(found.execute("select * from t").read_all())


@reliability(
    "Writers",
    "four threads add batches to one Delta table, on each lake",
    "each is one commit, no row is lost or twice",
)
@ROLES
def test_writers_at_once_add_each_their_rows_and_readers_see_them(
    make_store: MakeStore, place: Place, folder: str, tmp_path: Path, role: str
) -> None:
    uri, of = f"{place.uri}{folder}/busy", stats(f"{place.uri}{folder}/busy", file_format="delta")
    store = make_store(DRIVER, of)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: add(store, of, rows(*[number] * 3)), range(12)))
    expected = sorted(list(range(12)) * 3)
    assert sorted(by_deltalake(place, uri, tmp_path / "copy")["trips"].to_pylist()) == expected
    names = place.names(f"{uri}/_delta_log")
    assert names == [f"{version:020}.json" for version in range(12)]
    entity_df = pd.DataFrame({"driver_id": [11, 0], "event_timestamp": [hour(1)] * 2})
    assert answers(retrieve(store, entity_df, ["stats:trips"]), "trips") == [(11,), (0,)]


@ROLES
def test_a_push_goes_to_a_table_that_another_writer_has_made(
    make_store: MakeStore, place: Place, folder: str, tmp_path: Path, role: str
) -> None:
    first = rows(1).append_column("dt", pa.array(["2026-01-10"]))
    append(tmp_path / "table", first, partition_by=["dt"])
    uri = upload(tmp_path / "table", place, f"{place.uri}{folder}/table")
    of = stats(uri, file_format="delta", date_partition_column="dt")
    store = make_store(DRIVER, of)
    store.write_to_offline_store("stats", rows(2, 3, hours=24).to_pandas().assign(dt=None))
    found = by_deltalake(place, uri, tmp_path / "copy").to_pylist()
    assert sorted((row["trips"], row["dt"]) for row in found) == [
        (1, "2026-01-10"),
        (2, "2026-01-11"),
        (3, "2026-01-11"),
    ]


@ROLES
def test_a_version_is_whose_who_creates_its_file(make_store: MakeStore, place: Place, folder: str, role: str) -> None:
    router = make_store().config.offline_store.router
    file = router.locate(f"{place.uri}{folder}/_delta_log/{0:020}.json")
    with ThreadPoolExecutor(6) as threads:
        created = list(threads.map(lambda n: create_once(file, f"writer {n}".encode()), range(12)))
    assert created.count(True) == 1
    content = place.lake.filesystem().cat_file(place.inside(str(file)))
    assert content == f"writer {created.index(True)}".encode()
    assert create_once(file, content)  # by whose answer to the same was lost
    assert place.names(str(file.parent())) == [file.name]


@ROLES
def test_what_this_package_does_not_do_for_a_table_is_refused_and_nothing_written(
    make_store: MakeStore, place: Place, folder: str, tmp_path: Path, role: str
) -> None:
    def constrained(action: dict[str, Any]) -> dict[str, Any]:
        if "metaData" in action:
            action["metaData"]["configuration"] = {"delta.constraints.positive": "trips > 0"}
        return action

    append(tmp_path / "table", rows(1))
    edit(tmp_path / "table", constrained)
    uri = upload(tmp_path / "table", place, f"{place.uri}{folder}/table")
    before = place.names(uri)
    of = stats(uri, file_format="delta")
    store = make_store(DRIVER, of)
    if format_jars("delta"):
        pytest.skip("Spark's package, which this PySpark has, checks the constraint")
    with pytest.raises(
        HybridError, match="needs a constraint to be checked, which feast-hybrid does not do"
    ) as refused:
        add(store, of, rows(-1))
    assert isinstance(refused.value, WriteError)
    assert "delta: none for PySpark" in str(refused.value)
    assert place.names(uri) == before
