"""Which tables of a session's catalogs are Iceberg's, and where those are whose catalogs are known here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from feast_hybrid.asof import Ineligible
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.sources.iceberg_catalogs import location_in_catalog
from feast_hybrid.spark.iceberg_catalogs import CatalogTable, iceberg_table_name
from tests.integration.format_limits import Limit, format_limit

WAREHOUSE = {"type": "Hadoop", "warehouse": "hdfs://lake/warehouse/"}


def session(settings: dict[str, str], **more: str) -> Any:
    """A session that has a catalog ``lake`` with these settings."""
    known = {"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", **more}
    known |= {f"spark.sql.catalog.lake.{name}": value for name, value in settings.items()}
    return SimpleNamespace(conf=SimpleNamespace(get=known.get, getAll=known))


def located(
    name: str, settings: dict[str, str], sites: list[Site] | None = None, **more: str
) -> Location | Ineligible:
    table = iceberg_table_name(session(settings, **more), name)
    assert table is not None
    return location_in_catalog(table, Router(sites or []))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lake.db.rides", "hdfs://lake/warehouse/db/rides"),
        ("lake.a.b.rides", "hdfs://lake/warehouse/a/b/rides"),
        ("`lake`.`d b`.`r``ides`", "hdfs://lake/warehouse/d b/r`ides"),
        ("lake.DB.Rides", "hdfs://lake/warehouse/DB/Rides"),
    ],
)
def test_a_table_of_a_warehouse_is_the_folder_of_its_name(name: str, place: str) -> None:
    found = located(name, WAREHOUSE)
    assert isinstance(found, Location)
    assert f"{found.uri.scheme}://{found.uri.authority}{found.uri.path}" == place


@pytest.mark.parametrize(
    "name", ["rides", "db.rides", "lake.rides", "other.db.rides", "LAKE.db.rides", "lake..rides", "lake.db.rides x"]
)
def test_other_tables_are_none_of_icebergs_catalogs(name: str) -> None:
    assert iceberg_table_name(session(WAREHOUSE), name) is None


@pytest.mark.parametrize(
    "of_class", ["org.apache.iceberg.spark.SparkSessionCatalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog"]
)
def test_catalogs_of_other_classes_are_spark_s(of_class: str) -> None:
    assert iceberg_table_name(session(WAREHOUSE, **{"spark.sql.catalog.lake": of_class}), "lake.db.rides") is None


def test_what_is_shown_of_a_table_holds_no_settings() -> None:
    table = iceberg_table_name(session({"type": "rest", "token": "S3CRET"}), "lake.db.rides")
    assert isinstance(table, CatalogTable)
    assert "S3CRET" not in repr(table)
    found = location_in_catalog(table, Router([]))
    assert isinstance(found, Ineligible)
    assert "S3CRET" not in found.reason


@pytest.mark.parametrize(
    ("name", "settings", "more"),
    [
        pytest.param(
            "lake.db.rides",
            {"type": "hive", "uri": "thrift://x"},
            {},
            marks=format_limit(
                "Iceberg",
                "`table=` of an Iceberg catalog of another type than `hadoop`",
                "left to Spark's package, else refused",
                "is of the type hive, which feast-hybrid does not ask",
            ),
            id="type",
        ),
        pytest.param(
            "lake.db.rides",
            {"catalog-impl": "org.X", "warehouse": "hdfs://lake/warehouse"},
            {},
            marks=format_limit(
                "Iceberg",
                "… of a class of its own (`catalog-impl`)",
                "left to Spark's package, else refused",
                "is of a class that feast-hybrid does not know",
            ),
            id="class",
        ),
        pytest.param(
            "lake.db.rides",
            {**WAREHOUSE, "io-impl": "org.X", "cache-enabled": "false"},
            {},
            marks=format_limit(
                "Iceberg",
                "… with settings other than `type` and `warehouse`",
                "left to Spark's package, else refused",
                "has settings that feast-hybrid does not know: cache-enabled, io-impl",
            ),
            id="settings",
        ),
        pytest.param(
            "lake.db.rides",
            WAREHOUSE,
            {"spark.wap.branch": "audit"},
            marks=format_limit(
                "Iceberg",
                "… in a session that reads what is not yet published (`spark.wap.…`)",
                "left to Spark's package, else refused",
                "the session sets spark.wap.branch, by which Iceberg reads other rows",
            ),
            id="unpublished",
        ),
        pytest.param(
            "lake.`a/b`.rides",
            WAREHOUSE,
            {},
            marks=format_limit(
                "Iceberg",
                "… under a name that is a path, or a pattern",
                "left to Spark's package, else refused",
                "has the table under a name that is not plainly a folder's",
            ),
            id="name",
        ),
        pytest.param(
            "lake.db.rides",
            {"type": "hadoop", "warehouse": "/warehouse"},
            {},
            marks=format_limit(
                "Iceberg",
                "… whose warehouse is under no site, or of the default file system",
                "left to Spark's package, else refused",
                "is under none of the configured sites",
            ),
            id="site",
        ),
        pytest.param(
            "lake.db.rides",
            {"type": "hadoop"},
            {},
            marks=format_limit(
                "Iceberg", "… without a warehouse", "left to Spark's package, else refused", "has no warehouse"
            ),
            id="no warehouse",
        ),
    ],
)
def test_what_is_not_known_of_a_catalog_leaves_its_tables_to_spark(
    name: str, settings: dict[str, str], more: dict[str, str], limit: Limit
) -> None:
    found = located(name, settings, **more)
    assert isinstance(found, Ineligible)
    assert limit() in found.reason
