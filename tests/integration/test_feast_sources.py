"""A repository of Feast's own sources: the same rows as by ours, in every verb, and the way back to Feast's store."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    BatchFeatureView,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    RepoConfig,
    StreamFeatureView,
)
from feast.data_format import ParquetFormat
from feast.data_source import PushMode
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from feast.infra.data_sources.contrib.iceberg_catalog.iceberg_source import IcebergSource
from feast.infra.data_sources.contrib.iceberg_catalog.unity_catalog_source import UnityCatalogSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage, SparkSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.types import Float64, Int64

from feast_hybrid.errors import SourceNotFoundError
from tests.integration.places import (
    Place,
    Places,
    answers,
    classic_only,
    entity,
    feature_store,
    hour,
    retrieve,
    rows_of,
    source,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from feast.data_source import DataSource
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore, Write

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:The spark (data source|offline store)( API)? is an experimental:RuntimeWarning"
    ),
    pytest.mark.filterwarnings("ignore:Stream feature views are experimental features"),
    pytest.mark.filterwarnings("ignore:Batch feature views are experimental:RuntimeWarning"),
]

ACCOUNT = entity("account")
TIMES: dict[str, Any] = {"timestamp_field": "event_timestamp", "created_timestamp_column": "created"}
#: Two rows tie on both times, and one was written late.
LOANS: dict[str, list[Any]] = {
    "account": [1, 1, 1, 2, 2],
    "event_timestamp": [hour(1), hour(2), hour(2), hour(1), hour(1)],
    "created": [hour(1), hour(2), hour(2), hour(1), hour(9)],
    "due": [10.0, 20.0, 21.0, 30.0, 31.0],
    "number": [1, 2, 3, 4, 5],
}
CARDS: dict[str, list[Any]] = {
    "account": [1, 2, 3],
    "event_timestamp": [hour(0), hour(3), hour(0)],
    "created": [hour(0), hour(3), hour(0)],
    "limit": [100, 200, 300],
    "kind": ["gold", None, "blue"],
}
FEATURES = ["loans:due", "loans:number", "cards:limit", "cards:kind"]
NAMES = [feature.partition(":")[2] for feature in FEATURES]
DUE, NUMBER = Field(name="due", dtype=Float64), Field(name="number", dtype=Int64)
ENTITY_ROWS = pd.DataFrame({"account": [1, 2, 3, 1], "event_timestamp": [hour(4), hour(4), hour(4), hour(1.5)]})


def view(name: str, of: DataSource, **more: Any) -> FeatureView:
    return FeatureView(name=name, entities=[ACCOUNT], source=of, ttl=timedelta(days=1), **more)


@pytest.fixture
def loans(write: Write, onprem: Place) -> str:
    return write(onprem, "loans", LOANS)


@pytest.fixture
def cards(write: Write, cloud: Place) -> str:
    return write(cloud, "cards", CARDS)


def of_feast(loans: str, cards: str) -> list[DataSource]:
    """One class of Feast's on each lake; no column is declared, nor the event time of the files."""
    return [
        SparkSource(name="loan_rows", path=loans, file_format="parquet", **TIMES),
        FileSource(
            name="card_rows",
            path=cards,
            file_format=ParquetFormat(),
            created_timestamp_column="created",
            timestamp_field="event_timestamp",
        ),
    ]


def of_ours(loans: str, cards: str) -> list[DataSource]:
    return [source("loan_rows", loans, "created"), source("card_rows", cards, "created")]


@pytest.fixture
def stores(lakes_to_test: Places, spark: SparkSession, tmp_path: Path, loans: str, cards: str) -> list[FeatureStore]:
    """One repository of Feast's sources, and one of ours, on the same files."""
    made = []
    for name, sources in (("feasts", of_feast(loans, cards)), ("ours", of_ours(loans, cards))):
        (tmp_path / name).mkdir()
        views = [view(of, rows) for of, rows in zip(("loans", "cards"), sources, strict=True)]
        made.append(feature_store(lakes_to_test.sites(), tmp_path / name, ACCOUNT, *views))
    return made


@pytest.mark.connect
def test_history_and_pulls_are_those_of_sources_of_ours(stores: list[FeatureStore]) -> None:
    found = []
    for store in stores:
        given = answers(retrieve(store, ENTITY_ROWS, FEATURES), *NAMES)
        by_dates = retrieve(store, None, FEATURES, start_date=hour(0), end_date=hour(4)).to_df()
        by_sql = retrieve(
            store, "SELECT account, max(event_timestamp) AS event_timestamp FROM loan_rows GROUP BY 1", FEATURES
        )
        store.materialize(hour(0), hour(4))
        keys = [{"account": account} for account in (1, 2, 3)]
        online = store.get_online_features(FEATURES, keys).to_dict()
        found.append((given, sorted(map(str, by_dates.to_dict("records"))), sorted(answers(by_sql, *NAMES)), online))
    assert found[0] == found[1]
    assert found[0][0][1:] == [(31.0, 5, 200, None), (None, None, 300, "blue"), (10.0, 1, 100, "gold")]
    assert found[0][3]["limit"] == [100, 200, 300]


def test_the_registry_keeps_feasts_entries(stores: list[FeatureStore], loans: str, cards: str) -> None:
    for wanted, name in zip(of_feast(loans, cards), ("loans", "cards"), strict=True):
        of_view = stores[0].get_feature_view(name).to_proto().spec.batch_source
        of_view.ClearField("data_source_class_type")  # which Feast adds to a view's own copy
        kept = [stores[0].get_data_source(wanted.name).to_proto(), of_view, wanted.to_proto()]
        for proto in kept:
            proto.ClearField("meta")  # when it was written
            proto.ClearField("data_source_class_type")
        assert len({proto.SerializeToString(deterministic=True) for proto in kept}) == 1


@pytest.mark.parametrize("view_type", ["feature view", "stream feature view"])
@pytest.mark.parametrize("kind", ["SparkSource", "FileSource"])
def test_pushed_rows_are_in_feasts_sources(
    make_store: MakeStore, write: Write, lakes_to_test: Places, kind: str, view_type: str
) -> None:
    place = lakes_to_test.cloud if (kind == "SparkSource") == (view_type == "feature view") else lakes_to_test.onprem
    uri = write(place, "loans", LOANS)
    rows: Any = FileSource(name="loan_rows", path=uri, **TIMES)
    if kind == "SparkSource":
        rows = SparkSource(name="loan_rows", path=uri, file_format="parquet", **TIMES)
    pushed = PushSource(name="pushed", batch_source=rows)
    of: Any = StreamFeatureView if view_type == "stream feature view" else FeatureView
    loans = of(name="loans", entities=[ACCOUNT], schema=[DUE, NUMBER], source=pushed, ttl=timedelta(days=1))
    store = make_store(ACCOUNT, pushed, loans)
    later = {
        "account": [2, 7],
        "event_timestamp": [hour(3)] * 2,
        "created": [hour(3)] * 2,
        "due": [0.5, 0.7],
        "number": [8, 9],
    }
    store.push("pushed", pd.DataFrame(later), to=PushMode.ONLINE_AND_OFFLINE)
    entity_df = pd.DataFrame({"account": [2, 7], "event_timestamp": [hour(4)] * 2})
    assert answers(retrieve(store, entity_df, ["loans:number"]), "number") == [(8,), (9,)]
    assert store.get_online_features(["loans:number"], [{"account": 7}]).to_dict()["number"] == [9]
    assert len(place.names(uri)) == 2


@pytest.mark.parametrize("kind", ["SparkSource", "FileSource"])
def test_a_saved_dataset_in_feasts_storage(
    stores: list[FeatureStore], lakes_to_test: Places, folder: str, kind: str
) -> None:
    store = stores[0]
    storage: Any = SavedDatasetFileStorage(path=f"{lakes_to_test.onprem.uri}{folder}/saved")
    if kind == "SparkSource":
        storage = SavedDatasetSparkStorage(path=f"{lakes_to_test.cloud.uri}{folder}/saved", file_format="parquet")
    made = store.create_saved_dataset(retrieve(store, ENTITY_ROWS, FEATURES), "saved", storage)
    again = store.get_saved_dataset("saved")
    assert type(again.storage) is type(storage)
    assert again.storage.to_proto() == storage.to_proto()
    expected = answers(retrieve(stores[1], ENTITY_ROWS, FEATURES), "account", *NAMES)
    for dataset in (made, again):
        assert sorted(rows_of(dataset.to_arrow(), "account", *NAMES), key=str) == sorted(expected, key=str)


def test_logs_in_feasts_destination(make_store: MakeStore, loans: str, cards: str, cloud: Place, folder: str) -> None:
    rows, _ = of_feast(loans, cards)
    of_loans = view("loans", rows, schema=[DUE, NUMBER])
    destination = FileLoggingDestination(path=f"{cloud.uri}{folder}/logs")
    service = FeatureService(
        name="service", features=[of_loans[["number"]]], logging_config=LoggingConfig(destination)
    )
    store = make_store(ACCOUNT, of_loans, service)
    registered = store.get_feature_service("service")
    assert registered.logging_config is not None
    assert isinstance(registered.logging_config.destination, FileLoggingDestination)
    schema = FeatureServiceLoggingSource(registered, store.project).get_schema(store.registry)
    for number in (5, 6):
        given = {
            "account": 1,
            "loans__number": number,
            "loans__number__timestamp": hour(0),
            "loans__number__status": 2,
            "__log_timestamp": hour(1),
            "__log_date": hour(1).date(),
            "__request_id": f"request {number}",
        }
        table = pa.table([pa.array([given[field.name]], field.type) for field in schema], schema=schema)
        store.write_logged_features(table, registered)
    job = store.provider.retrieve_feature_service_logs(
        feature_service=registered, start_date=hour(0), end_date=hour(2), config=store.config, registry=store.registry
    )
    assert sorted(answers(job, "loans__number", "__request_id")) == [(5, "request 5"), (6, "request 6")]
    assert len(cloud.names(f"{cloud.uri}{folder}/logs")) == 2


@pytest.fixture
def loan_table(spark: SparkSession) -> Iterator[str]:
    """A table of the session's catalog, of rows that do not tie."""
    name = "loans_of_feast"
    frame = spark.createDataFrame(pa.table(LOANS).to_pandas())
    frame.where("number NOT IN (2, 5)").write.saveAsTable(name)
    yield name
    spark.sql(f"DROP TABLE {name}")


def test_tables_and_queries_may_say_their_site_by_a_tag(make_store: MakeStore, loan_table: str) -> None:
    tags = {"feast_hybrid.site": "cloud"}
    table = SparkSource(table=loan_table, **TIMES)
    query = SparkSource(name="q", query=f"SELECT *, -due AS paid FROM {loan_table}", tags=tags, **TIMES)
    of_catalogs = [
        IcebergSource(warehouse="w", namespace="default", table=loan_table, catalog_name="spark_catalog", **TIMES),
        UnityCatalogSource(warehouse="spark_catalog", namespace="default", table=loan_table, endpoint="", **TIMES),
    ]
    views = [view(f"by_catalog_{number}", of) for number, of in enumerate(of_catalogs)]
    store = make_store(ACCOUNT, view("by_table", table), view("by_query", query), *views)
    features = ["by_table:number", "by_query:paid", "by_catalog_0:due", "by_catalog_1:due"]
    job = retrieve(store, ENTITY_ROWS, features, full_feature_names=True)
    found = answers(job, *(feature.replace(":", "__") for feature in features))
    assert found == [(3, -21.0, 21.0, 21.0), (4, -30.0, 30.0, 30.0), (None,) * 4, (1, -10.0, 10.0, 10.0)]


@pytest.fixture
def in_another_database(spark: SparkSession, loan_table: str) -> Iterator[str]:
    """A table of the same name in the session's current database, of twice the numbers."""
    spark.sql("CREATE DATABASE bank")
    spark.table(loan_table).selectExpr("* EXCEPT (number)", "number * 2 AS number").write.saveAsTable(
        f"bank.{loan_table}"
    )
    spark.sql("USE bank")
    yield loan_table
    spark.sql("USE default")
    spark.sql("DROP DATABASE bank CASCADE")


@pytest.mark.connect
def test_a_table_is_looked_for_where_the_session_is(
    make_store: MakeStore, in_another_database: str, spark: SparkSession
) -> None:
    """As Feast's own store has it: in the current database, by reading, writing and saving alike."""
    rows = SparkSource(table=in_another_database, timestamp_field="event_timestamp")
    query = SparkSource(name="q", query=f"SELECT * FROM {in_another_database}", timestamp_field="event_timestamp")
    store = make_store(
        ACCOUNT, view("by_table", rows, schema=[NUMBER]), view("by_query", query, schema=[NUMBER]), query
    )
    features = ["by_table:number", "by_query:number"]
    entity_df = ENTITY_ROWS.iloc[:2]
    job = retrieve(store, entity_df, features, full_feature_names=True)
    assert answers(job, "by_table__number", "by_query__number") == [(6, 6), (8, 8)]
    storage = SavedDatasetSparkStorage(table="saved")
    dataset = store.create_saved_dataset(retrieve(store, entity_df, features[:1]), "saved", storage)
    assert spark.catalog.tableExists("bank.saved")
    assert sorted(rows_of(dataset.to_arrow(), "number")) == [(6,), (8,)]


def test_a_catalog_that_the_session_lacks(make_store: MakeStore) -> None:
    of = IcebergSource(warehouse="w", namespace="risk", table="loans", timestamp_field="event_timestamp")
    with pytest.raises(SourceNotFoundError, match=r"feast_iceberg.risk.loans.*no catalog of that name"):
        make_store(ACCOUNT, view("by_catalog", of))


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(due=frame["due"] * 2)[["account", "event_timestamp", "due"]]


def test_rows_of_a_query_are_transformed_into_its_path(
    lakes_to_test: Places,
    loan_table: str,
    tmp_path: Path,
    folder: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As Feast has it: materialisation reads the query and writes to the path, which history then reads."""
    path = f"{lakes_to_test.cloud.uri}{folder}/made"
    both = SparkSource(
        name="both",
        query=f"SELECT * FROM {loan_table}",
        path=path,
        file_format="parquet",
        tags={"feast_hybrid.site": "cloud"},
        timestamp_field="event_timestamp",
    )
    made = BatchFeatureView(
        name="made",
        entities=[ACCOUNT],
        schema=[Field(name="account", dtype=Int64), DUE],
        source=both,
        mode="pandas",
        udf=doubled,
        udf_string="",
        online=True,
        offline=True,
        ttl=timedelta(days=1),
    )
    store = feature_store(lakes_to_test.sites(), tmp_path, ACCOUNT, made, repo={"batch_engine": {"type": "local"}})
    computed = retrieve(store, ENTITY_ROWS, ["made:due"])
    assert "nothing is at its sink yet" in caplog.text
    assert answers(computed, "due") == [(42.0,), (60.0,), (None,), (20.0,)]
    store.materialize(hour(0), hour(4))
    assert store.get_online_features(["made:due"], [{"account": 1}, {"account": 2}]).to_dict()["due"] == [42.0, 60.0]
    kept = lakes_to_test.cloud.names(path)
    assert len(kept) == 1
    job = retrieve(store, ENTITY_ROWS, ["made:due"])
    assert "made" in job.explain()
    assert answers(job, "due") == [(42.0,), (60.0,), (None,), (None,)]  # materialisation gave the latest rows alone


@classic_only("Feast's own Spark store")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # Feast's Spark store changes the filters when it is loaded
def test_the_way_back_is_the_type_of_the_store(spark: SparkSession, tmp_path: Path) -> None:
    """The same registry by this store, by Feast's own and by this one again: of rows that neither tie nor mix."""
    (tmp_path / "loans").mkdir()
    columns = {name: values[:2] + values[3:4] for name, values in LOANS.items()}
    times = {name: pa.array(columns[name], pa.timestamp("us", tz="UTC")) for name in ("event_timestamp", "created")}
    pq.write_table(pa.table({**columns, **times}), tmp_path / "loans" / "part.parquet")
    rows = SparkSource(name="loan_rows", path=str(tmp_path / "loans"), file_format="parquet", **TIMES)
    sites = [{"name": "local", "uri": f"file://{tmp_path}"}]
    ours = feature_store(sites, tmp_path, ACCOUNT, view("loans", rows))
    registry = (tmp_path / "registry.db").read_bytes()
    config = RepoConfig(
        project=ours.project,
        provider="local",
        registry=str(tmp_path / "registry.db"),
        offline_store={"type": "spark"},
        entity_key_serialization_version=3,
    )
    feasts = FeatureStore(config=config)
    entity_df = pd.DataFrame({"account": [1, 2], "event_timestamp": [hour(4)] * 2})
    found, setting = [], "spark.sql.parser.quotedRegexColumnNames"
    before = str(spark.conf.get(setting))
    try:
        for store in (ours, feasts, ours):
            frame = store.get_historical_features(entity_df, ["loans:due", "loans:number"]).to_df()
            found.append(sorted(zip(frame["account"], frame["due"], frame["number"], strict=True)))
    finally:
        spark.conf.set(setting, before)
        for table in spark.catalog.listTables():  # Feast's own store leaves its views in the session
            if table.isTemporary:
                spark.catalog.dropTempView(table.name)
    assert found == [[(1, 20.0, 2), (2, 30.0, 4)]] * 3
    assert (tmp_path / "registry.db").read_bytes() == registry
