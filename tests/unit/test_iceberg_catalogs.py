"""Which tables of a session's catalogs are Iceberg's, and where those are whose catalogs are known here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid.asof import Ineligible
from feast_hybrid.errors import AccessDeniedError, AuthenticationError, HybridError, SchemaError, SourceError
from feast_hybrid.files.iceberg_table import SnapshotChoice, read_table
from feast_hybrid.lakes import Location, Router
from feast_hybrid.sources.iceberg_catalogs import location_in_catalog, require_warehouse
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.spark.iceberg_catalogs import CatalogTable, iceberg_table_name, warehouse_of
from feast_hybrid.spark.isolated import child_session
from tests.iceberg_tables import catalog_table, rows_of
from tests.integration.format_limits import Limit, format_limit

WAREHOUSE = {"type": "Hadoop", "warehouse": "hdfs://lake/warehouse/"}


def session(settings: dict[str, str], **more: str) -> Any:
    """A session that has a catalog ``lake`` with these settings."""
    known = {"spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog", **more}
    known |= {f"spark.sql.catalog.lake.{name}": value for name, value in settings.items()}
    return SimpleNamespace(conf=SimpleNamespace(get=known.get, getAll=known))


def located(name: str, settings: dict[str, str], more: dict[str, str] | None = None) -> Location | Ineligible:
    table = iceberg_table_name(session(settings, **(more or {})), name)
    assert table is not None
    return location_in_catalog(table, Router([]))


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


class TestTheWarehouseThatASourceSays:
    @staticmethod
    def require(warehouse: str, settings: dict[str, str], table: str = "lake.db.rides", **more: str) -> None:
        source = SourceSpec(name="rides", table=table, warehouse=warehouse)
        require_warehouse(source, warehouse_of(session(settings, **more), table))

    @pytest.mark.parametrize("of_class", ["SparkCatalog", "SparkSessionCatalog"])
    def test_is_that_of_the_session_s_catalog(self, of_class: str) -> None:
        more = {"spark.sql.catalog.lake": f"org.apache.iceberg.spark.{of_class}"}
        self.require("hdfs://lake/warehouse", WAREHOUSE, **more)
        with pytest.raises(SourceError) as refused:
            self.require("hdfs://lake/another", WAREHOUSE, **more)
        assert str(refused.value) == (
            "source 'rides': its IcebergSource has the warehouse 'hdfs://lake/another', and the session's catalog "
            "'lake' (spark.sql.catalog.lake.warehouse) has 'hdfs://lake/warehouse/'. Give each warehouse a catalog "
            "of its own in offline_store.spark.conf, and the source its name (catalog_name)."
        )

    def test_is_the_session_s_business_where_its_settings_do_not_say_it(self) -> None:
        self.require("hdfs://lake/another", {"type": "rest"})
        self.require("hdfs://lake/another", WAREHOUSE, table="rides")
        self.require(
            "hdfs://lake/another", WAREHOUSE, **{"spark.sql.catalog.lake": "io.unitycatalog.UCSingleCatalog"}
        )
        self.require("", WAREHOUSE)

    def test_is_not_shown_where_it_may_hold_a_secret(self) -> None:
        with pytest.raises(SourceError) as refused:
            self.require("s3://key:S3CRET@bucket/w", {"warehouse": "s3://key:S3CRETS@bucket/v"})
        assert "S3CRET" not in str(refused.value)


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
                "`table=` of an Iceberg catalog of another type than `hadoop` and `rest`",
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
                "… with settings that are not known here",
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
                "the session sets spark.wap.branch, by which Spark may read other rows",
            ),
            id="unpublished",
        ),
        pytest.param(
            "lake.db.rides",
            WAREHOUSE,
            {"spark.sql.extensions": "org.apache.kyuubi.plugin.spark.authz.ranger.RangerSparkExtension"},
            marks=format_limit(
                "Iceberg",
                "… in a session with an extension that is of no table format, such as one that filters rows",
                "left to Spark's package, else refused",
                "authz.ranger.RangerSparkExtension, by which Spark may read other rows",
            ),
            id="extension",
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
    found = located(name, settings, more)
    assert isinstance(found, Ineligible)
    assert limit() in found.reason


class Catalog:
    """A REST catalog that knows one table, and whom it answers.

    Attributes:
        answers: path → what it says, which is JSON.
        token: that it wants to see; None for no sign-in.
        asked: paths.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.token: str | None = "S3CRET"
        self.asked: list[str] = []
        catalog = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                catalog.asked.append(self.path)
                wanted = None if catalog.token is None else f"Bearer {catalog.token}"
                is_known = self.headers.get("Authorization") == wanted
                found = catalog.answers.get(self.path)
                self.send_response(401 if not is_known else 404 if found is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(found if is_known else {"error": catalog.token}).encode())

            def do_POST(self) -> None:
                catalog.asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"access_token": catalog.token, "token_type": "bearer"}).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        uri = f"http://127.0.0.1:{self.server.server_port}"
        return {"type": "rest", "uri": uri, "warehouse": "w", "token": "S3CRET"}


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    """A catalog that has the table ``db.rides``, of one row."""
    table = catalog_table(tmp_path, pa.schema([("n", pa.int64())]))
    table.append(pa.table({"n": [7]}))
    served = Catalog()
    served.answers = {
        "/v1/config?warehouse=w": {"defaults": {}, "overrides": {"prefix": "p"}},
        "/v1/p/namespaces/db/tables/rides": {
            "metadata-location": table.metadata_location,
            "metadata": json.loads(table.metadata.model_dump_json()),
            "config": {"adls.sas-token.acct": "none of ours"},
        },
    }
    yield served
    served.server.shutdown()
    served.server.server_close()


def test_a_table_of_a_rest_catalog_is_read_by_the_metadata_that_it_names(catalog: Catalog) -> None:
    found = located("lake.db.rides", catalog.settings)
    assert isinstance(found, Location)
    table = read_table(found, SnapshotChoice())
    assert rows_of(table) == [{"n": 7}]
    assert catalog.asked == list(catalog.answers)


@format_limit(
    "Iceberg",
    "… of a REST catalog that says something which is not known here, such as rules about rows",
    "left to Spark's package, else refused",
    "the answer has read-restrictions",
)
@format_limit(
    "Iceberg",
    "… of a REST catalog that wants tables to be read in another way",
    "left to Spark's package, else refused",
    "settings of the table are not known: scan-planning-mode",
)
@format_limit(
    "Iceberg",
    "… of a REST catalog that refuses the sign-in, or does not answer",
    "left to Spark's package, else refused",
    "could not be asked: ",
)
@format_limit(
    "Iceberg",
    "… of a REST catalog that has the metadata elsewhere than the table",
    "left to Spark's package, else refused",
    "has the table's metadata elsewhere than the table",
)
def test_what_a_rest_catalog_says_besides_leaves_its_tables_to_spark(catalog: Catalog, limit: Limit) -> None:
    def reason(**settings: str) -> str:
        found = located("lake.db.rides", catalog.settings | settings)
        assert isinstance(found, Ineligible)
        assert "S3CRET" not in found.reason
        assert "wrong" not in found.reason
        return found.reason

    of_table = catalog.answers["/v1/p/namespaces/db/tables/rides"]
    of_table["read-restrictions"] = {"required-row-filter": True}
    assert limit("the answer has read-restrictions") in reason()
    del of_table["read-restrictions"]
    of_table["config"]["scan-planning-mode"] = "catalog"
    assert limit("settings of the table are not known: scan-planning-mode") in reason()
    del of_table["config"]["scan-planning-mode"]
    of_table["metadata"]["location"] += "/elsewhere"
    assert limit("has the table's metadata elsewhere than the table") in reason()
    assert limit("could not be asked: ") in reason(token="wrong")
    served = catalog.answers.pop("/v1/p/namespaces/db/tables/rides")
    assert "could not be asked: HTTPError 404" in reason()
    catalog.answers["/v1/p/namespaces/db/tables/rides"] = served
    assert "could not be asked: " in reason(uri="http://127.0.0.1:9")
    assert "no URI of a server" in reason(uri="thrift://x")
    assert "has a credential, and no oauth2-server-uri" in reason(credential="wrong")
    catalog.answers["/v1/config?warehouse=w"]["overrides"]["uri"] = f"{catalog.settings['uri']}/"
    assert "the server has settings of its own for uri" in reason()
    catalog.answers["/v1/config?warehouse=w"]["overrides"] = {"rest-metrics": "x"}
    assert "settings of the server are not known: rest-metrics" in reason()
    catalog.answers.clear()
    assert "could not be asked: " in reason()


def test_a_credential_goes_where_the_session_says_and_not_where_the_server_does(catalog: Catalog) -> None:
    settings = {name: value for name, value in catalog.settings.items() if name != "token"}
    settings |= {"credential": "me:S3CRET", "oauth2-server-uri": f"{settings['uri']}/sign-in"}
    assert isinstance(located("lake.db.rides", settings), Location)
    assert catalog.asked[::2] == ["/sign-in", "/sign-in"]
    catalog.asked.clear()
    config = catalog.answers["/v1/config?warehouse=w"]
    config["overrides"]["oauth2-server-uri"] = f"{settings['uri']}/elsewhere"
    found = located("lake.db.rides", settings)
    assert isinstance(found, Ineligible)
    assert "the server has settings of its own for oauth2-server-uri" in found.reason
    assert catalog.asked == ["/sign-in", "/v1/config?warehouse=w"]


def test_a_catalog_without_sign_in_is_asked_without_one(catalog: Catalog) -> None:
    catalog.token = None
    settings = {name: value for name, value in catalog.settings.items() if name != "token"}
    assert isinstance(located("lake.db.rides", settings), Location)


@pytest.mark.parametrize("error", [AccessDeniedError, AuthenticationError, SchemaError])
def test_what_the_site_s_credential_may_not_read_is_left_to_spark_s_package(
    monkeypatch: pytest.MonkeyPatch, error: type[HybridError]
) -> None:
    def refuse(*_: Any) -> None:
        raise error("the site says no")

    rows: Any = object()
    spark: Any = session(WAREHOUSE)
    monkeypatch.setattr(Reader, "_by_metadata", refuse)
    monkeypatch.setattr("feast_hybrid.sources.reader._table", lambda *_: rows)
    monkeypatch.setattr("feast_hybrid.sources.reader.analysed", lambda frame: frame)
    source = SourceSpec(name="rides", table="lake.db.rides")
    found = Reader(spark, Router([]), child=spark)._open(source, None, (), (None, None), None, scan=True)
    assert found.frame is rows
    assert found.scan == Ineligible("read by Spark's package of Iceberg: the site says no")


def test_a_child_session_reads_what_is_not_yet_published_where_its_parent_does() -> None:
    given: dict[str, str] = {}
    current = SimpleNamespace(currentCatalog=lambda: "spark_catalog", currentDatabase=lambda: "default")
    child = SimpleNamespace(conf=SimpleNamespace(set=given.__setitem__, get=given.get), catalog=current)
    spark = session(
        WAREHOUSE, **{"spark.wap.branch": "audit", "spark.sql.catalog.spark_catalog.type": "hive", "x": "y"}
    )
    spark.conf.isModifiable = lambda _: False
    spark.newSession = lambda: child
    spark.catalog = current
    child_session(spark, {})
    assert given.items() >= {"spark.wap.branch": "audit", "spark.sql.catalog.lake.type": "Hadoop"}.items()
    assert not given.keys() & {"x", "spark.sql.catalog.spark_catalog.type"}
