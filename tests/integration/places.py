"""What the integration tests share: the two lakes in their roles, and small tables on them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, FeatureView, RepoConfig, ValueType

from feast_hybrid import HybridSparkRetrievalJob, HybridSparkSource
from feast_hybrid.spark.formats import package
from feast_hybrid.spark.hadoop_azure import hadoop_version
from feast_hybrid.testing import AdlsLake, HdfsLake, artifacts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from feast.infra.offline_stores.offline_store import RetrievalJob
    from pyspark.sql import DataFrame

START = datetime(2026, 1, 10, tzinfo=UTC)

#: Which engine answers where a test does not say: these tests are Spark's, and most are the local engine's too.
ENGINE = os.environ.get("ENGINE", "spark")


def hour(hours: float) -> datetime:
    """The time so many hours after 2026-01-10T00:00Z, when the tests' time begins."""
    return START + timedelta(hours=hours)


def entity(name: str, value_type: ValueType = ValueType.INT64, *, join_key: str | None = None) -> Entity:
    """An entity whose join key has its name, unless another is given."""
    return Entity(name=name, join_keys=[join_key or name], value_type=value_type)


def source(name: str, path: str, created: str | None = None, **more: Any) -> HybridSparkSource:
    """A source whose event time is ``event_timestamp``."""
    return HybridSparkSource(
        name=name, path=path, created_timestamp_column=created, **{"timestamp_field": "event_timestamp", **more}
    )


def view(name: str, of: HybridSparkSource, *entities: Entity, **more: Any) -> FeatureView:
    """A feature view; its features are inferred unless a schema is given."""
    return FeatureView(name=name, entities=list(entities), source=of, **more)


def feature_store(
    sites: list[dict[str, Any]],
    folder: Path,
    *objects: Any,
    repo: dict[str, Any] | None = None,
    **offline_store: Any,
) -> FeatureStore:
    """A feature store whose registry and SQLite files are in a folder, with these objects applied.

    ``repo`` holds further keys of ``feature_store.yaml``.
    """
    own = {"type": "feast_hybrid.HybridSparkOfflineStore", "sites": sites, "engine": ENGINE, **offline_store}
    store = FeatureStore(
        config=RepoConfig(
            **{
                "project": "integration",
                "provider": "local",
                "registry": str(folder / "registry.db"),
                "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
                "offline_store": own,
                "entity_key_serialization_version": 3,
                **(repo or {}),
            }
        )
    )
    if objects:
        store.apply(list(objects))
    return store


def with_offline_store(config: RepoConfig, **update: Any) -> RepoConfig:
    """The configuration with other values of its offline store; ``model_copy`` of Feast's would not take them."""
    changed: Any = config.model_copy()
    changed._offline_store = changed.offline_store.model_copy(update=update)
    assert all(getattr(changed.offline_store, name) == value for name, value in update.items())
    found: RepoConfig = changed
    return found


def retrieve(store: FeatureStore, entity_df: Any, features: Any, **more: Any) -> HybridSparkRetrievalJob:
    """``get_historical_features``, which takes Spark frames too, and gives this store's kind of job."""
    job = store.get_historical_features(entity_df, features, **more)
    assert isinstance(job, HybridSparkRetrievalJob)
    return job


def answers(job: RetrievalJob, *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of a job's rows, in the rows' order."""
    return rows_of(job.to_arrow(), *columns)


def rows_of(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def plan_of(frame: DataFrame) -> str:
    """The physical plan as text."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        frame.explain()
    return output.getvalue()


def on_connect() -> bool:
    """Whether this run is on Spark Connect."""
    return os.environ.get("SPARK", "classic") == "connect"


def outside_of_spark(**more: str) -> dict[str, str]:
    """The environment for a program of a test's own: without what a run on Connect has put into this process's."""
    inherited = {name: value for name, value in os.environ.items() if name != "SPARK_CONNECT_MODE_ENABLED"}
    return {**inherited, "PYSPARK_PYTHON": sys.executable, **more}


def classic_only(reason: str) -> pytest.MarkDecorator:
    """Leave a test out of runs on Spark Connect."""
    return pytest.mark.skipif(on_connect(), reason=f"Spark Classic: {reason}")


def connect_only(reason: str) -> pytest.MarkDecorator:
    """Leave a test out of runs on Spark Classic."""
    return pytest.mark.skipif(not on_connect(), reason=f"Spark Connect: {reason}")


def abfs_speaks_to_azurite() -> bool:
    """Whether the installed PySpark's Hadoop can use the Blob endpoint, which came after 3.4.1."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", hadoop_version())
    return found is not None and tuple(map(int, found.groups())) > (3, 4, 1)


def format_jars(file_format: str) -> list[str]:
    """The jars of a format's package for the installed PySpark, in the test lakes' cache; none where none works."""
    module = package(file_format, artifacts.pyspark_version())
    if module is None:
        return []
    return artifacts.beside_spark(f"spark-{file_format}", module).jars()


@dataclass(frozen=True)
class Place:
    """A lake in the role of a site.

    Attributes:
        site_name: ``onprem`` or ``cloud``.
        lake: the server.
        prefix: the folder that is this site's, where one server has both roles.
    """

    site_name: str
    lake: HdfsLake | AdlsLake
    prefix: str = ""

    @property
    def uri(self) -> str:
        return self.lake.uri + self.prefix

    @property
    def scheme(self) -> str:
        return self.uri.partition(":")[0]

    def site(self) -> dict[str, Any]:
        return {**self.lake.site(self.site_name), "uri": self.uri}

    def inside(self, uri: str) -> str:
        """A URI of this place as the lake's fsspec file system wants it."""
        path = uri.removeprefix(self.lake.uri)
        return f"{self.lake.container}{path}" if isinstance(self.lake, AdlsLake) else path

    def exists(self, uri: str) -> bool:
        return bool(self.lake.filesystem().exists(self.inside(uri)))

    def names(self, uri: str) -> list[str]:
        """The names of the entries of a folder, hidden ones too."""
        entries = self.lake.filesystem().ls(self.inside(uri), detail=False)
        return sorted(entry.rstrip("/").rpartition("/")[2] for entry in entries)

    def put(self, uri: str, content: bytes) -> str:
        filesystem = self.lake.filesystem()
        path = self.inside(uri)
        filesystem.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        with filesystem.open(path, "wb") as file:
            file.write(content)
        return uri

    def write(self, uri: str, table: pa.Table | Mapping[str, Any], *, file: str = "part-0.parquet") -> str:
        """Put a small table into a folder as one Parquet file; give the folder's URI."""
        sink = pa.BufferOutputStream()
        pq.write_table(as_table(table), sink)
        self.put(f"{uri}/{file}", sink.getvalue().to_pybytes())
        return uri


class Places(NamedTuple):
    """Both sites."""

    onprem: Place
    cloud: Place

    def sites(self) -> list[dict[str, Any]]:
        return [place.site() for place in self]


def as_table(columns: pa.Table | Mapping[str, Any]) -> pa.Table:
    return columns if isinstance(columns, pa.Table) else pa.table(dict(columns))


#: For tests of both table formats, each skipped where none of its releases runs on this PySpark.
EACH_TABLE_FORMAT = pytest.mark.parametrize(
    "file_format",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not format_jars(name), reason=f"no release of {name} runs on this PySpark")
        )
        for name in ("delta", "iceberg")
    ],
)
