"""NameNodes that change places, with none active for up to half a minute, while a verb of Feast's is at work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig

from feast_hybrid import HybridSparkLoggingDestination, SavedDatasetHybridSparkStorage
from feast_hybrid.testing import HaHdfsLake
from tests.integration.batches import DRIVER, add, rows, stats
from tests.integration.faults.ha import gap, place_on, store_on
from tests.integration.faulty import MINUTES
from tests.integration.places import answers, hour, retrieve, source, view
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

    from feast import FeatureStore
    from pyspark.sql import SparkSession

pytestmark = [MINUTES, pytest.mark.connect]

ENTITY_ROWS = pd.DataFrame({"driver_id": [1, 2, 3, 4, 5], "event_timestamp": [hour(1)] * 5})
EACH = [(number, number) for number in range(1, 6)]
SHORT, LONG = 8.0, 30.0


@pytest.fixture(scope="module")
def lake() -> Iterator[HaHdfsLake]:
    with HaHdfsLake() as found:
        yield found


class Case(NamedTuple):
    """A store on the lake, whose views are of Parquet and of text, and where its rows are."""

    lake: HaHdfsLake
    store: FeatureStore
    folder: str

    @property
    def uri(self) -> str:
        return f"{self.lake.uri}{self.folder}"

    def numbers(self, name: str) -> list[int]:
        """The trips of all Parquet files in a folder, as they are seen without the code under test."""
        filesystem = self.lake.filesystem()
        found = [path for path in filesystem.find(f"{self.folder}/{name}") if path.endswith(".parquet")]
        tables = [pq.read_table(pa.BufferReader(filesystem.cat_file(path))) for path in found]
        return sorted(number for table in tables for number in table["trips"].to_pylist())

    def left_over(self) -> list[str]:
        """What writers have left in the test's folder."""
        found = self.lake.filesystem().find(self.folder, withdirs=True)
        names = [str(path).removeprefix(self.folder) for path in found]
        return [name for name in names if "/." in name or "/_temporary" in name]


@pytest.fixture
def case(lake: HaHdfsLake, spark: SparkSession, folder: str, tmp_path: Path, request: pytest.FixtureRequest) -> Case:
    uri = f"{lake.uri}{folder}"
    place_on(lake).put(f"{uri}/text/part-0.csv", b"driver_id,trips,event_timestamp\n1,10,2026-01-10T00:00:00Z\n")
    texts = view(
        "texts",
        source("text_rows", f"{uri}/text", file_format="csv", options={"header": "true", "inferSchema": "true"}),
        DRIVER,
    )
    destination = LoggingConfig(HybridSparkLoggingDestination(path=f"{uri}/logs"))
    service = FeatureService(name="service", features=[stats(f"{uri}/rows")[["trips"]]], logging_config=destination)
    more: dict[str, Any] = getattr(request, "param", {})
    store = store_on(lake, tmp_path, f"{uri}/rows", texts, service, staging_location=f"{uri}/staging", **more)
    return Case(lake, store, folder)


def read(case: Case) -> None:
    job = retrieve(case.store, ENTITY_ROWS, ["stats:trips"])
    assert sorted(answers(job, "driver_id", "trips")) == EACH


def read_text(case: Case) -> None:
    job = retrieve(case.store, ENTITY_ROWS, ["texts:trips"])
    assert (10,) in answers(job, "trips")


def materialize(case: Case) -> None:
    case.store.materialize(hour(-1), hour(2), ["stats"])
    online = case.store.get_online_features(["stats:trips"], [{"driver_id": number} for number, _ in EACH])
    assert online.to_dict()["trips"] == [number for number, _ in EACH]


def apply(case: Case) -> None:
    case.store.apply([view("more", source("more_rows", f"{case.uri}/rows"), DRIVER)])
    assert [feature.name for feature in case.store.get_feature_view("more").features] == ["trips"]


def persist(case: Case) -> None:
    for _ in range(2):  # the second one replaces the first
        job = retrieve(case.store, ENTITY_ROWS, ["stats:trips"])
        job.persist(SavedDatasetHybridSparkStorage(path=f"{case.uri}/set"), allow_overwrite=True)
    assert case.numbers("set") == [number for number, _ in EACH]


def write_batch(case: Case) -> None:
    add(case.store, stats(f"{case.uri}/rows"), rows(6, 7))
    assert case.numbers("rows") == [1, 2, 3, 4, 5, 6, 7]


def write_batch_by_spark(case: Case) -> None:
    of = stats(f"{case.uri}/batches", file_format="csv", options={"header": "true"})
    add(case.store, of, rows(6, 7))
    (name,) = [name for name in place_on(case.lake).names(f"{case.uri}/batches") if name.endswith(".csv")]
    written = case.lake.filesystem().cat_file(f"{case.folder}/batches/{name}").decode()
    assert [line.partition(",")[0] for line in written.splitlines()] == ["driver_id", "6", "7"]


def push(case: Case) -> None:
    frame = pd.DataFrame({"driver_id": [8], "trips": [8], "event_timestamp": [hour(0)]})
    case.store.write_to_offline_store("stats", frame)
    assert case.numbers("rows") == [1, 2, 3, 4, 5, 8]


def write_logs(case: Case) -> None:
    service = case.store.get_feature_service("service")
    schema = FeatureServiceLoggingSource(service, case.store.project).get_schema(case.store.registry)
    case.store.write_logged_features(logs_of(schema, 5, 7), service)
    filesystem = case.lake.filesystem()
    files = [path for path in filesystem.find(f"{case.folder}/logs") if path.endswith(".parquet")]
    (table,) = [pq.read_table(pa.BufferReader(filesystem.cat_file(path))) for path in files]
    assert table["stats__trips"].to_pylist() == [5, 7]


def logs_of(schema: pa.Schema, *trips: int) -> pa.Table:
    """Logs of one request for each number."""
    of_type = {"__log_date": hour(1).date(), "__request_id": "request", "driver_id": 1}
    columns = []
    for field in schema:
        value: Any = of_type.get(field.name, hour(1) if field.name.endswith("timestamp") else 2)
        columns.append(pa.array(trips if field.name == "stats__trips" else [value] * len(trips), field.type))
    return pa.table(columns, schema=schema)


def export(case: Case) -> None:
    found = retrieve(case.store, ENTITY_ROWS, ["stats:trips"]).to_remote_storage()
    assert found
    assert case.numbers("staging") == [number for number, _ in EACH]


WINDOW = {"join": {"strategy": "window"}}


@pytest.mark.parametrize(
    ("verb", "case"),
    [
        pytest.param(
            read,
            {},
            id="columnar",
            marks=reliability(
                "HDFS",
                "a failover, with 30 s in which no NameNode is active, while history is read by `columnar`",
                "the retrieval waits and has all rows",
            ),
        ),
        pytest.param(
            read,
            WINDOW,
            id="window",
            marks=reliability(
                "HDFS",
                "the same while history is read by Spark (`window`)",
                "the retrieval waits and has all rows",
            ),
        ),
        pytest.param(
            read_text,
            {},
            id="text",
            marks=reliability("HDFS", "the same while CSV files are read", "the retrieval waits and has all rows"),
        ),
        pytest.param(
            materialize,
            {},
            id="materialize",
            marks=reliability("HDFS", "the same in `materialize`", "the online store has each value"),
        ),
        pytest.param(
            apply,
            {},
            id="apply",
            marks=reliability("HDFS", "the same in `feast apply`", "it waits, and the features are inferred"),
        ),
        pytest.param(
            persist,
            {},
            id="persist",
            marks=reliability(
                "HDFS", "the same in `persist`", "the dataset is there once and whole, and nothing is left beside it"
            ),
        ),
        pytest.param(
            write_batch,
            {},
            id="batch",
            marks=reliability(
                "HDFS", "the same in `offline_write_batch` (Parquet)", "the rows are there once, nothing is left"
            ),
        ),
        pytest.param(
            write_batch_by_spark,
            {},
            id="batch-by-spark",
            marks=reliability(
                "HDFS", "the same in `offline_write_batch` (CSV)", "the rows are there once, nothing is left"
            ),
        ),
        pytest.param(
            push,
            {},
            id="push",
            marks=reliability(
                "HDFS", "the same in `write_to_offline_store`", "the rows are there once, nothing is left"
            ),
        ),
        pytest.param(
            write_logs,
            {},
            id="logs",
            marks=reliability(
                "HDFS", "the same in `write_logged_features`", "the logs are there once, nothing is left"
            ),
        ),
        pytest.param(
            export,
            {},
            id="export",
            marks=reliability("HDFS", "the same in `to_remote_storage`", "the files hold each row once"),
        ),
    ],
    indirect=["case"],
)
def test_a_verb_waits_for_half_a_minute_without_an_active_namenode(case: Case, verb: Callable[[Case], None]) -> None:
    with gap(case.lake, LONG):
        verb(case)
    assert case.left_over() == []


@reliability(
    "HDFS",
    "a NameNode that dies, where the other one is active 8 s later, in a retrieval, `persist` or a batch",
    "each waits and is done",
)
@pytest.mark.parametrize("verb", [read, read_text, persist, write_batch_by_spark])
def test_a_verb_waits_for_the_namenode_that_takes_over_from_a_dead_one(
    case: Case, verb: Callable[[Case], None]
) -> None:
    with gap(case.lake, SHORT, dies=True):
        verb(case)
    assert case.left_over() == []


@reliability(
    "HDFS",
    "a NameNode that dies while `persist` runs, again and again",
    "each dataset is there once and whole, whenever the NameNode died",
)
@pytest.mark.parametrize("after", [0.5, 1.5, 2.5])
def test_persist_is_whole_whenever_the_namenode_dies(case: Case, after: float) -> None:
    persist(case)
    with ThreadPoolExecutor(1) as pool:
        saving = pool.submit(persist, case)
        time.sleep(after)
        with gap(case.lake, SHORT, dies=True, waits=False):
            saving.result()
    assert case.numbers("set") == [number for number, _ in EACH]
    assert case.left_over() == []
