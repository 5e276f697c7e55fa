"""A write whose caller gives up: it has begun to change what others see, and is waited for, or it never does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid import HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import RetrievalTimeoutError
from feast_hybrid.retrieval import job as retrieval_job
from feast_hybrid.retrieval.frame_rows import FrameRows
from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.cancellation import Cancellation
from tests.integration.jobs import Jobs, ended
from tests.integration.places import Place, Places, format_jars
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Router
    from tests.integration.conftest import MakeStore

pytestmark = pytest.mark.connect

TABLE = "cancelled_rows"
TARGETS = ["onprem", "cloud", "table"]
LOGGED = [
    pytest.param(
        f"{role}-{name}",
        marks=pytest.mark.skipif(not format_jars(name), reason=f"no release of {name} runs on this PySpark"),
    )
    for role, name in (("cloud", "delta"), ("onprem", "iceberg"))
]


class _WithSignal(Cancellation):
    def __init__(self) -> None:
        super().__init__()
        self.given_up = threading.Event()

    def cancel(self) -> bool:
        abandoned = super().cancel()
        self.given_up.set()
        return abandoned


class SlowBeforeTheCommit(_WithSignal):
    """The rows are written; before they are put in place the caller gives up."""

    @contextmanager
    def committing(self, *, interruptible: bool = False) -> Iterator[None]:
        assert self.given_up.wait(60)
        with super().committing(interruptible=interruptible):
            yield


class SlowInTheCommit(_WithSignal):
    """The caller gives up while the rows are being put in place."""

    @contextmanager
    def committing(self, *, interruptible: bool = False) -> Iterator[None]:
        with super().committing(interruptible=interruptible):
            assert self.given_up.wait(60)
            yield


class Target:
    """A dataset that is there already, and what readers see of it."""

    def __init__(self, spark: SparkSession, places: Places, router: Router, folder: str, name: str) -> None:
        role, _, file_format = name.partition("-")
        self._spark = spark
        self._router = router
        self._place: Place = getattr(places, "onprem" if role == "table" else role)
        self._folder = f"{self._place.uri}{folder}"
        self._format = file_format or "parquet"
        self._is_table = role == "table"
        if self._is_table:
            self.storage = SavedDatasetHybridSparkStorage(table=TABLE, site="onprem")
        else:
            self.storage = SavedDatasetHybridSparkStorage(path=f"{self._folder}/set", file_format=self._format)

    def rows(self) -> list[int]:
        if self._is_table:
            frame = self._spark.table(TABLE)
        else:
            source = HybridSparkSource(name="set", path=f"{self._folder}/set", file_format=self._format)
            frame = Reader(self._spark, self._router).read(source_spec(source, self._router))
        return sorted(row.id for row in frame.collect())

    def names(self) -> list[str]:
        """What is beside each other: the dataset, and whatever a writer has left."""
        if self._is_table:
            return [table.name for table in self._spark.catalog.listTables() if TABLE in table.name]
        return self._place.names(self._folder)


@pytest.fixture
def router(make_store: MakeStore) -> Router:
    found: Router = make_store().config.offline_store.router
    return found


@pytest.fixture
def target(
    request: pytest.FixtureRequest, spark: SparkSession, lakes_to_test: Places, router: Router, folder: str
) -> Iterator[Target]:
    yield Target(spark, lakes_to_test, router, folder, request.param)
    for table in spark.catalog.listTables():
        if TABLE in table.name:
            spark.sql(f"DROP TABLE {table.name}")


@pytest.fixture
def persist(router: Router, target: Target) -> Any:
    def run(frame: DataFrame, timeout: int | None = None) -> None:
        job = HybridSparkRetrievalJob(FrameRows(frame, "rows"), router=router)
        job.persist(target.storage, allow_overwrite=True, timeout=timeout)

    return run


def writers_end() -> None:
    for thread in threading.enumerate():
        if "persisting" in thread.name:
            thread.join(60)
            assert not thread.is_alive()


@reliability(
    "Writers",
    "a timeout before a saved dataset takes its place",
    "the old rows stay, however late the writer comes",
    "was cancelled",
)
@pytest.mark.parametrize("target", [*TARGETS, *LOGGED], indirect=True)
def test_what_was_called_cancelled_is_never_put_in_place(
    persist: Any, target: Target, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    persist(spark.range(2))
    before = target.names()
    monkeypatch.setattr(retrieval_job, "Cancellation", SlowBeforeTheCommit)
    with pytest.raises(RetrievalTimeoutError, match=promise.reads):
        persist(spark.range(5), timeout=4)
    writers_end()
    assert target.rows() == [0, 1]
    assert target.names() == before


@reliability("Writers", "a timeout while a saved dataset takes its place", "it is waited for, and is a success")
@pytest.mark.parametrize("target", TARGETS, indirect=True)
def test_a_commit_that_has_begun_is_waited_for_and_is_a_success(
    persist: Any, target: Target, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    persist(spark.range(2))
    before = target.names()
    monkeypatch.setattr(retrieval_job, "Cancellation", SlowInTheCommit)
    persist(spark.range(5), timeout=8)  # long enough for five rows to be written beside their place
    assert target.rows() == [0, 1, 2, 3, 4]
    assert target.names() == before


@reliability(
    "Writers",
    "a timeout of a write that Spark commits itself (table, Delta, Iceberg)",
    "Spark's job is stopped, and nothing is left",
    "was cancelled",
)
@pytest.mark.parametrize("target", ["table", *LOGGED], indirect=True)
def test_a_job_of_spark_that_commits_itself_is_stopped_and_leaves_nothing(
    persist: Any, target: Target, spark: SparkSession, jobs: Jobs, promise: Row
) -> None:
    # A task of many minutes, in the very call that would make the table.
    began = time.monotonic()
    with pytest.raises(RetrievalTimeoutError, match=promise.reads):
        persist(spark.range(0, 10**12, 1, 2).selectExpr("sum(id % 7) AS id"), timeout=2)
    assert time.monotonic() - began < 60
    assert ended(jobs)
    assert target.names() == []
