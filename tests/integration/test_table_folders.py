"""Folders of a catalog's tables with more in them than Spark reads: refused by name, whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Float64, Int64

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource
from feast_hybrid.errors import SourceError
from tests.integration.format_limits import Limit, format_limit
from tests.integration.places import answers, feature_store, hour, on_connect, retrieve, source, view
from tests.integration.test_tables_by_columns import DRIVER, ENTITY_ROWS, ROLES, ROWS, Tables

if TYPE_CHECKING:
    from pathlib import Path

    from feast.data_source import DataSource
    from pyspark.sql import SparkSession

    from tests.integration.places import Place, Places

pytestmark = pytest.mark.connect

ONE_ROW = {"k": pa.array([7]), "event_timestamp": pa.array([hour(1)]), "v": [99.0], "s": ["x"]}
OF_DAY = "day=2026-01-10/p=x%3Ay%2Fé %25"
PLAIN = "is one of plain files to its catalog, and"
BELOW = "lies in a folder below, and of a table Spark reads no folders below"


@pytest.fixture
def tables(place: Place, lakes_to_test: Places, folder: str, spark: SparkSession, tmp_path: Path) -> Iterator[Tables]:
    made = Tables(place, lakes_to_test, folder, spark, tmp_path)
    yield made
    made.drop()


def readers(tables: Tables, table: str) -> dict[str, Callable[[], Any]]:
    """Each way of asking for a table's rows."""
    rows = HybridSparkSource(
        name="by_query",
        query=f"SELECT k, event_timestamp, v FROM {table}",
        timestamp_field="event_timestamp",
        site=tables.place.site_name,
    )

    def pulled(verb: str, of: DataSource | None = None) -> Any:
        store = tables.store(table, "auto", ("v",))
        of = of or store.get_feature_view("stats").batch_source
        job = getattr(HybridSparkOfflineStore, f"pull_{verb}_from_table_or_query")(
            config=store.config,
            data_source=of,
            join_key_columns=["k"],
            feature_name_columns=["v"],
            timestamp_field="event_timestamp",
            start_date=hour(-1000),
            end_date=hour(1000),
            created_timestamp_column=None,
        )
        return job.to_arrow().num_rows

    return {
        "auto": lambda: tables.asked(table, features=("v",)),
        "window": lambda: tables.asked(table, "window", features=("v",)),
        "latest": lambda: pulled("latest"),
        "all": lambda: pulled("all"),
        "query": lambda: pulled("all", rows),
    }


def refused(tables: Tables, table: str, match: str, only: str = "") -> None:
    for name, ask in readers(tables, table).items():
        if not only or name in only:
            with pytest.raises(SourceError, match=rf"table [a-z.]*{match}"):
                ask()


@format_limit(
    "Tables",
    "files with rows in folders below those that the catalog names, as Hive on Tez writes by `UNION ALL`",
    "refused",
    "lies in a folder below, and of a table Spark reads no folders below",
)
@ROLES
def test_rows_in_folders_below_are_refused_by_every_reader(
    tables: Tables, place: Place, limit: Limit, spark: SparkSession
) -> None:
    assert limit() == BELOW
    tables.plain("in_union", "parquet")
    tables.make("seen", "AS SELECT k, event_timestamp, v FROM in_union", "VIEW")
    # Of a partition that the catalog does not know nobody reads anything.
    place.write(f"{tables.uri}/in_union/day=2026-01-12/p=new/HIVE_UNION_SUBDIR_1", ONE_ROW)
    assert readers(tables, "seen")["all"]() == 5
    union = f"{tables.uri}/in_union/{OF_DAY}/HIVE_UNION_SUBDIR_1"
    place.put(f"{union}/empty", b"")
    place.put(f"{union}/_SUCCESS", b"{}")
    assert readers(tables, "in_union")["all"]() == 5
    place.write(union, ONE_ROW)
    refused(tables, "in_union", rf"in_union: .*HIVE_UNION_SUBDIR_1/part-0.parquet {BELOW}")
    refused(tables, "seen", rf"in_union: .*HIVE_UNION_SUBDIR_1/part-0.parquet {BELOW}", "window query")
    # Which tables a query reads is seen in its plan, of which a session may show no more than a few characters.
    spark.conf.set("spark.sql.maxPlanStringLength", "20")
    try:
        refused(tables, "seen", rf"in_union: .* {BELOW}", "query")
    finally:
        spark.conf.unset("spark.sql.maxPlanStringLength")
    # Within times that leave the partition out, its rows are none that are missed.
    late = pd.DataFrame({"k": [1], "event_timestamp": [hour(24 * 30)]})
    assert tables.asked("in_union", features=("v",), entity_df=late, date_partition_column="day")[1] == [(None,)]
    if not on_connect():
        store = tables.store("seen", "auto", ("v",))
        with pytest.raises(SourceError, match=rf"entity_df: table .*in_union: .* {BELOW}"):
            retrieve(store, "SELECT k, event_timestamp FROM seen", ["stats:v"]).to_arrow()


@ROLES
def test_a_partition_that_is_elsewhere_is_looked_into_there(tables: Tables, place: Place) -> None:
    tables.plain("moved_away", "parquet")
    there = f"{tables.uri}/elsewhere"
    tables.sql(f"ALTER TABLE moved_away PARTITION (day = DATE'2026-01-10', p = 'x:y/é %') SET LOCATION '{there}'")
    place.write(f"{tables.uri}/moved_away/{OF_DAY}/left", ONE_ROW)
    place.write(f"{there}/HIVE_UNION_SUBDIR_2", ONE_ROW)
    refused(tables, "moved_away", rf"moved_away: .*elsewhere/HIVE_UNION_SUBDIR_2/.* {BELOW}", only="auto all")


@format_limit(
    "Tables",
    "a table of plain files to its catalog, whose folder is, holds or is in one of Delta, Hudi, Iceberg or Hive ACID",
    "refused",
    "is one of plain files to its catalog, and",
)
@ROLES
def test_a_table_whose_folder_has_a_log_is_refused(tables: Tables, place: Place, limit: Limit) -> None:
    assert limit() == PLAIN
    at = f"LOCATION '{tables.uri}/lake/t/data'"
    tables.make("plain_files", f"USING parquet PARTITIONED BY (day, p) {at} AS {ROWS}")
    assert readers(tables, "plain_files")["all"]() == 5
    marks = {
        "lake/t/data/_delta_log/00000000000000000000.json": "data is a table of Delta",
        "lake/t/data/.hoodie/hoodie.properties": "data is a table of Hudi",
        "lake/t/metadata/v1.metadata.json": "lake/t is a table of Iceberg",
        f"lake/t/data/{OF_DAY}/delta_0000002_0000002_0000/bucket_00000": "holds inserts and deletes of a Hive ACID",
    }
    for path, match in marks.items():
        place.put(f"{tables.uri}/{path}", b"{}")
        refused(
            tables,
            "plain_files",
            rf"plain_files {PLAIN} .*{match}",
            only="auto all",
        )
        place.lake.filesystem().rm(place.inside(f"{tables.uri}/{path.rpartition('/')[0]}"), recursive=True)
    assert readers(tables, "plain_files")["all"]() == 5


@ROLES
def test_what_is_under_no_site_is_looked_into_by_spark(tables: Tables, place: Place, tmp_path: Path) -> None:
    tables.make("not_ours", f"USING orc LOCATION 'file://{tmp_path}/not ours' AS {ROWS}")
    assert readers(tables, "not_ours")["all"]() == 5
    (tmp_path / "not ours" / "more").mkdir()
    (tmp_path / "not ours" / "more" / "empty").touch()
    assert readers(tables, "not_ours")["all"]() == 5
    (tmp_path / "not ours" / "more" / "rows").write_bytes(b"rows")
    refused(tables, "not_ours", rf"not_ours: .*more/rows {BELOW}", "auto all")
    (tmp_path / "not ours" / "more" / "rows").unlink()
    (tmp_path / "not ours" / "_delta_log").mkdir()
    (tmp_path / "not ours" / "_delta_log" / "0.json").write_text("{}")
    refused(
        tables,
        "not_ours",
        rf"not_ours {PLAIN} .* is a table of Delta",
        only="auto all",
    )


@ROLES
def test_below_a_path_s_partitions_such_folders_are_read_by_every_reader(
    place: Place, lakes_to_test: Places, folder: str, tmp_path: Path
) -> None:
    uri = f"{place.uri}{folder}/path"
    place.write(f"{uri}/day=2026-01-10", {**ONE_ROW, "k": pa.array([1]), "v": [0.5]})
    place.write(f"{uri}/day=2026-01-10/HIVE_UNION_SUBDIR_1", {**ONE_ROW, "k": pa.array([2])})
    rows = source("rows", uri, date_partition_column="day")
    stats = view("stats", rows, DRIVER, schema=[Field(name="k", dtype=Int64), Field(name="v", dtype=Float64)])
    for strategy in ("auto", "window"):
        made = tmp_path / strategy
        made.mkdir()
        store = feature_store(lakes_to_test.sites(), made, DRIVER, stats, join={"strategy": strategy})
        assert answers(retrieve(store, ENTITY_ROWS, ["stats:v"]), "v") == [(0.5,), (99.0,), (0.5,), (None,)]
        job = HybridSparkOfflineStore.pull_all_from_table_or_query(
            config=store.config,
            data_source=rows,
            join_key_columns=["k"],
            feature_name_columns=["v"],
            timestamp_field="event_timestamp",
        )
        assert sorted(job.to_arrow().column("v").to_pylist()) == [0.5, 99.0]
