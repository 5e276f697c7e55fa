"""A sign-in is used for what it was given for alone, whatever this process and its JVMs have opened before.

Two repositories of one process have the same site and a key each, a right one and a wrong one. Hadoop keeps file
systems for a whole JVM; a container that nothing has opened yet stands for a JVM that has just started.
"""

from __future__ import annotations

import base64
import copy
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Field
from feast.types import Int64

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import AuthenticationError, HybridError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.spark.isolated import child_session
from feast_hybrid.spark.lake_options import session_options, spark_path
from feast_hybrid.testing import AdlsLake
from tests.integration.places import (
    Place,
    abfs_speaks_to_azurite,
    answers,
    entity,
    feature_store,
    format_jars,
    hour,
    on_connect,
    retrieve,
    source,
    view,
)
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.skipif(
    not abfs_speaks_to_azurite(), reason="this PySpark's ABFS driver cannot speak to Azurite"
)

WRONG = base64.b64encode(b"another key, 64 bytes long as the real ones are ................").decode()
CSV = {"header": "true", "inferSchema": "true"}
REFUSED = "does not accept the sign-in"
#: As Spark itself says it.
BY_SPARK = r"failed to authenticate|AuthorizationFailure|403"
ORDERS = pytest.mark.parametrize("right_first", [True, False], ids=["right first", "wrong first"])
DRIVER = entity("driver", join_key="driver_id")
ROWS = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
COLUMNS = [Field(name=name, dtype=Int64) for name in ("driver_id", "n")]


@dataclass(frozen=True)
class Container:
    """A container of the test lake that no file system is open for, with the same few rows in several forms."""

    place: Place
    table: str

    @property
    def lake(self) -> AdlsLake:
        assert isinstance(self.place.lake, AdlsLake)
        return self.place.lake

    def site(self, key: Path) -> dict[str, Any]:
        """The site, with its key in a file, which tasks can read too."""
        site = self.place.site()
        return {**site, "credential": {**site["credential"], "account_key": {"file": str(key)}}}

    def location(self, key: Path, path: str) -> Location:
        return Router([Site.model_validate(self.site(key))]).locate(f"{self.place.uri}/{path}")


@pytest.fixture
def container(cloud: Place, spark: SparkSession, keys: dict[str, Path]) -> Iterator[Container]:
    lake = copy.copy(cloud.lake)
    assert isinstance(lake, AdlsLake)
    lake.container = f"apart-{uuid.uuid4().hex[:12]}"
    lake.filesystem().mkdir(lake.container)
    found = Container(replace(cloud, lake=lake), f"default.apart_{uuid.uuid4().hex[:12]}")
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "n": [10, 20]}
    found.place.write(f"{found.place.uri}/parquet", rows)
    text = "driver_id,event_timestamp,n\n1,2026-01-10T00:00:00Z,10\n2,2026-01-10T00:00:00Z,20\n"
    found.place.put(f"{found.place.uri}/csv/part-0.csv", text.encode())
    yield found
    spark.sql(f"DROP TABLE IF EXISTS {found.table}")


@pytest.fixture
def keys(cloud: Place, tmp_path: Path) -> dict[str, Path]:
    """Files with the right key and with a wrong one."""
    assert isinstance(cloud.lake, AdlsLake)
    files = {name: tmp_path / name for name in ("right", "wrong")}
    files["right"].write_text(cloud.lake.key)
    files["wrong"].write_text(WRONG)
    return files


def in_order(right_first: bool) -> list[str]:
    return ["right", "wrong", "right"] if right_first else ["wrong", "right", "wrong"]


@reliability(
    "Sign-in",
    "two repositories of one process with a right and a wrong key, read and written by Spark, in both orders",
    "the right key reads and writes, the wrong one is refused, each time",
)
@pytest.mark.connect
@ORDERS
def test_spark_itself_is_refused_with_the_wrong_key_and_never_with_the_right_one(
    spark: SparkSession, container: Container, keys: dict[str, Path], right_first: bool
) -> None:
    """With nothing of ours that lists files before it, as where a Connect server alone reaches a lake."""
    for attempt, which in enumerate(in_order(right_first)):
        path = spark_path(spark, container.location(keys[which], "parquet"), "parquet")
        target = spark_path(spark, container.location(keys[which], f"out-{attempt}"), "parquet")
        reader = spark.read.schema("driver_id long, n long").options(**path.settings)
        if which == "right":
            frame = reader.parquet(path.uri)
            assert sorted(frame.select("n").collect()) == [(10,), (20,)]
            frame.write.options(**target.settings).parquet(target.uri)
            assert "_SUCCESS" in container.place.names(f"{container.place.uri}/out-{attempt}")
            continue
        with pytest.raises(Exception, match=BY_SPARK):
            reader.parquet(path.uri).collect()
        with pytest.raises(Exception, match=BY_SPARK):
            spark.range(1).write.options(**target.settings).parquet(target.uri)
        assert not container.place.exists(f"{container.place.uri}/out-{attempt}")


@reliability(
    "Sign-in",
    "a right and a wrong key on one Delta table, in both orders",
    "the right key reads and writes, the wrong one is refused, each time",
)
@pytest.mark.skipif(on_connect() or not format_jars("delta"), reason="Spark Classic with a release of Delta")
@ORDERS
def test_so_it_is_for_delta(
    spark: SparkSession, container: Container, keys: dict[str, Path], right_first: bool
) -> None:
    for which in in_order(right_first):
        path = spark_path(spark, container.location(keys[which], "delta"), "delta")
        if which == "right":
            spark.range(3).write.format("delta").mode("overwrite").options(**path.settings).save(path.uri)
            assert spark.read.format("delta").options(**path.settings).load(path.uri).count() == 3
            continue
        with pytest.raises(Exception, match=BY_SPARK):
            spark.read.format("delta").options(**path.settings).load(path.uri).count()


def repository(container: Container, key: Path, folder: Path, **offline_store: Any) -> FeatureStore:
    """A repository with a view of each kind of source."""
    uri = container.place.uri
    of = {
        "files": source("files_rows", f"{uri}/parquet"),
        "texts": source("texts_rows", f"{uri}/csv", file_format="csv", options=CSV),
        "tables": HybridSparkSource(
            name="tables_rows", table=container.table, site="cloud", timestamp_field="event_timestamp"
        ),
        "queries": HybridSparkSource(
            name="queries_rows",
            query=f"SELECT * FROM {container.table}",
            site="cloud",
            timestamp_field="event_timestamp",
        ),
    }
    views = [view(name, rows, DRIVER, schema=COLUMNS) for name, rows in of.items()]
    folder.mkdir(exist_ok=True)
    return feature_store([container.site(key)], folder, DRIVER, *views, **offline_store)


def history(store: FeatureStore, name: str, entity_df: Any = ROWS) -> list[Any]:
    return sorted(row[0] for row in answers(retrieve(store, entity_df, [f"{name}:n"]), "n"))


def pulled(store: FeatureStore, name: str, *, latest: bool) -> list[Any]:
    of = store.get_feature_view(name).batch_source
    assert of is not None
    between = (hour(-1), hour(2))
    if latest:
        job = HybridSparkOfflineStore.pull_latest_from_table_or_query(
            store.config, of, ["driver_id"], ["n"], "event_timestamp", None, *between
        )
    else:
        job = HybridSparkOfflineStore.pull_all_from_table_or_query(
            store.config, of, ["driver_id"], ["n"], "event_timestamp", None, *between
        )
    return sorted(row[0] for row in answers(job, "n"))


def saved(store: FeatureStore, name: str) -> list[Any]:
    uri = store.get_feature_view("files").batch_source.path.removesuffix("/parquet")  # type: ignore[union-attr]
    storage = SavedDatasetHybridSparkStorage(path=f"{uri}/saved-{uuid.uuid4().hex}")
    retrieve(store, ROWS, [f"{name}:n"]).persist(storage)
    return [10, 20]


def added(store: FeatureStore) -> list[Any]:
    """A batch that Spark writes, of rows that are later than any that is asked for."""
    times = pa.array([hour(9)], pa.timestamp("us", "UTC"))
    rows = pa.table({"driver_id": [3], "event_timestamp": times, "n": [30]})
    HybridSparkOfflineStore.offline_write_batch(store.config, store.get_feature_view("texts"), rows, None)
    return [10, 20]


SQL = "SELECT driver_id, event_timestamp + INTERVAL 1 HOUR AS event_timestamp FROM files_rows"
VERBS: dict[str, Callable[[FeatureStore], list[Any]]] = {
    "files": lambda store: history(store, "files"),
    "texts": lambda store: history(store, "texts"),
    "tables": lambda store: history(store, "tables"),
    "queries": lambda store: history(store, "queries"),
    "SQL entity rows": lambda store: history(store, "queries", SQL),
    "pull_latest": lambda store: pulled(store, "tables", latest=True),
    "pull_all": lambda store: pulled(store, "files", latest=False),
    "a saved dataset": lambda store: saved(store, "tables"),
    "a batch by Spark": added,
}


def make_table(spark: SparkSession, container: Container, key: Path) -> None:
    """A table of the session's catalog over the Parquet files."""
    child = child_session(spark, session_options(spark, Router([Site.model_validate(container.site(key))])))
    child.sql(
        f"CREATE TABLE {container.table} (driver_id BIGINT, event_timestamp TIMESTAMP, n BIGINT) USING parquet "
        f"LOCATION '{container.place.uri}/parquet'"
    )


@reliability(
    "Sign-in",
    "a right and a wrong key in each verb: files, tables, queries, SQL entity rows, pulls, saved datasets, batches",
    "each verb signs in with its own repository's key",
    "does not accept the sign-in",
)
@pytest.mark.connect
@ORDERS
def test_each_verb_signs_in_with_its_repository_s_own_key(
    spark: SparkSession, container: Container, keys: dict[str, Path], tmp_path: Path, right_first: bool, promise: Row
) -> None:
    make_table(spark, container, keys["right"])
    stores = {
        which: repository(container, key, tmp_path / f"of-{which}", join={"strategy": "window"})
        for which, key in keys.items()
    }
    # What is open by then is open for whatever comes after it.
    verbs = ["queries", "texts", "a saved dataset"] if right_first else list(VERBS)
    for verb in verbs:
        for which in in_order(right_first)[:2]:
            if which == "right":
                assert VERBS[verb](stores[which]) == [10, 20], verb
                continue
            with pytest.raises(HybridError, match=promise.reads):
                VERBS[verb](stores[which])


@reliability(
    "Sign-in",
    "a right and a wrong key in tasks that read files themselves (columnar)",
    "each task signs in with its own plan's key",
    "does not accept the sign-in",
)
def test_tasks_that_read_files_themselves_sign_in_so_too(
    container: Container, keys: dict[str, Path], tmp_path: Path, promise: Row
) -> None:
    stores = {
        which: repository(container, key, tmp_path / f"of-{which}", join={"strategy": "columnar"})
        for which, key in keys.items()
    }
    for which in in_order(right_first=False):
        if which == "right":
            job = retrieve(stores[which], ROWS, ["files:n"])
            assert "view 'files': columnar" in job.explain()
            assert answers(job, "n") == [(10,), (20,)]
            continue
        with pytest.raises(AuthenticationError, match=promise.reads):
            history(stores[which], "files")


@reliability(
    "Sign-in",
    "a key that is changed while the process runs, reading by Spark",
    "refused from then on, or read from then on",
    "does not accept the sign-in",
)
def test_a_key_that_is_changed_counts_at_once(
    spark: SparkSession, container: Container, keys: dict[str, Path], tmp_path: Path, promise: Row
) -> None:
    make_table(spark, container, keys["right"])
    key = tmp_path / "key"
    key.write_text(WRONG)
    store = repository(container, key, tmp_path / "repository")
    for verb in ("queries", "texts"):
        key.write_text(WRONG)
        with pytest.raises(AuthenticationError, match=promise.reads):
            VERBS[verb](store)
        key.write_text(container.lake.key)
        assert VERBS[verb](store) == [10, 20], verb


@reliability(
    "Sign-in",
    "a key that was changed after Spark's workers had started",
    "tasks do not sign in with the old one: the new one is refused where it is wrong, and Spark reads where "
    "it is right",
    "environment variable APART_KEY is not set",
)
def test_tasks_do_not_read_with_a_key_that_their_environment_has_kept(
    container: Container, keys: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    """Workers have the environment in which Spark was started: there the variable has the key of the run's lake."""
    monkeypatch.setenv(container.lake.key_variable, WRONG)
    store = repository(container, keys["right"], tmp_path / "repository")
    site = container.place.site()
    changed = feature_store([site], tmp_path, DRIVER, store.get_feature_view("files"))
    with pytest.raises(AuthenticationError, match=REFUSED):
        history(changed, "files")
    monkeypatch.setenv("APART_KEY", container.lake.key)
    site["credential"]["account_key"] = {"env": "APART_KEY"}
    elsewhere = feature_store([site], tmp_path, DRIVER, store.get_feature_view("files"))
    job = retrieve(elsewhere, ROWS, ["files:n"])
    assert promise.reads in job.explain()
    assert answers(job, "n") == [(10,), (20,)]
