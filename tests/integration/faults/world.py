"""Both lakes behind proxies, stores over them, and an operation of each verb, whose answers are compared."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureService, PushSource
from feast.data_source import PushMode
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from feast_hybrid.monitoring import metrics_store
from tests.integration.batches import DRIVER, SCHEMA, add
from tests.integration.faults.oracle import DRIVERS, Batches, Dataset
from tests.integration.places import Place, feature_store, hour, retrieve, rows_of, source, view

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

ROLES = ("onprem", "cloud")
Check = Callable[[], None]
Operation = Callable[[str], Check]

#: Each operation's verb, as docs/reliability.md calls it, and how often it comes.
OPERATIONS = {
    "push": ("batches", 8),
    "add_text": ("batches", 2),
    "log": ("logs", 5),
    "retrieve": ("retrieval", 8),
    "pull_latest": ("retrieval", 2),
    "pull_all": ("retrieval", 2),
    "read_logs": ("retrieval", 2),
    "read_dataset": ("retrieval", 3),
    "persist": ("persist", 4),
    "export": ("to_remote_storage", 2),
    "materialize": ("materialize", 2),
    "validate": ("feast apply", 3),
    "keep_metric": ("monitoring", 3),
    "read_metrics": ("monitoring", 2),
    "measure": ("monitoring", 1),
}

WITHOUT_JVM = {"push", "log", "validate", "keep_metric", "read_metrics"}


class World:
    """Two stores over both lakes, and what must be there.

    One store joins by columns where it can, and keeps its exports and metrics on ADLS; the other joins by windows,
    and keeps them on HDFS. An operation is a method that has done its work when it returns, and returns how to
    compare what it found.

    Args:
        sites: of the lakes by their roles, as the operations reach them.
        places: the lakes themselves.
        folder: of the test's own on each.
        files: a local folder.
    """

    def __init__(
        self,
        spark: SparkSession,
        sites: dict[str, dict[str, Any]],
        places: dict[str, Place],
        folder: str,
        files: Path,
        dice: random.Random,
    ) -> None:
        self.spark, self.places, self.dice = spark, places, dice
        self.direct = {role: f"{place.uri}{folder}" for role, place in places.items()}
        self._uris = {role: f"{site['uri']}{folder}" for role, site in sites.items()}
        self.pushed = {role: Batches() for role in ROLES}
        self.texts = {role: Batches() for role in ROLES}
        self.logged = {role: Batches() for role in ROLES}
        self.metrics = {role: Batches() for role in ROLES}
        self.datasets = {role: Dataset() for role in ROLES}
        #: Of the next batch, and of the next set: one for each operation.
        self.number = 0
        objects = [DRIVER, *(each for role in ROLES for each in self._objects(role))]
        self.stores: dict[str, FeatureStore] = {}
        for role, strategy in (("onprem", "window"), ("cloud", "auto")):
            (files / role).mkdir()
            self.stores[role] = feature_store(
                [sites[each] for each in ROLES],
                files / role,
                *objects,
                join={"strategy": strategy},
                staging_location=f"{self._uris[role]}/staging",
                monitoring_location=f"{self._uris[role]}/metrics",
            )

    def _objects(self, role: str) -> list[Any]:
        uri = self._uris[role]
        pushes = PushSource(name=f"pushes_{role}", batch_source=source(f"pushed_rows_{role}", f"{uri}/pushed"))
        pushed = view(f"pushed_{role}", pushes, DRIVER, schema=SCHEMA)  # type: ignore[arg-type]
        logged = FeatureService(
            name=f"service_{role}",
            features=[pushed[["trips"]]],
            logging_config=LoggingConfig(HybridSparkLoggingDestination(path=f"{uri}/logs")),
        )
        return [pushes, pushed, self.text_view(role), logged]

    def text_view(self, role: str) -> Any:
        """The view whose batches Spark writes."""
        more: dict[str, Any] = {"file_format": "orc"}
        if role == "onprem":
            more = {"file_format": "csv", "options": {"header": "true", "inferSchema": "true"}}
        return view(
            f"texts_{role}", source(f"text_rows_{role}", f"{self._uris[role]}/texts", **more), DRIVER, schema=SCHEMA
        )

    def start(self) -> None:
        """Write the first batch of each place, so that there is something to read. No fault is to be about."""
        for role in ROLES:
            # Feast asks for a source's columns before it pushes.
            self.places[role].write(f"{self.direct[role]}/pushed", self._batch())
            self.ended("push", role, "ok")
        for role in ROLES:
            for name in ("add_text", "log", "keep_metric", "persist"):
                getattr(self, name)(role)
                self.ended(name, role, "ok")

    def ended(self, name: str, role: str, end: Any) -> None:
        """Note how the operation ended that had the present number, and go on to the next."""
        kept = {"push": self.pushed, "add_text": self.texts, "log": self.logged, "keep_metric": self.metrics}
        if name in kept:
            kept[name][role].written(self.number, end)
        elif name == "persist":
            self.datasets[role].saved(self.number, end)
        self.number += 1

    # What is written

    def push(self, role: str) -> Check:
        self._store().push(f"pushes_{role}", self._batch().to_pandas(), to=PushMode.OFFLINE)
        return _nothing

    def add_text(self, role: str) -> Check:
        add(self._store(), self.text_view(role), self._batch())
        return _nothing

    def log(self, role: str) -> Check:
        store = self._store()
        service = store.get_feature_service(f"service_{role}")
        schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
        of_batch = {
            "driver_id": list(DRIVERS),
            f"pushed_{role}__trips": self._values(),
            f"pushed_{role}__trips__timestamp": [hour(0)] * len(DRIVERS),
            f"pushed_{role}__trips__status": [2] * len(DRIVERS),
            "__log_timestamp": [hour(self.number)] * len(DRIVERS),
            "__log_date": [hour(self.number).date()] * len(DRIVERS),
            "__request_id": [f"request {value}" for value in self._values()],
        }
        columns = [pa.array(of_batch[field.name], field.type) for field in schema]
        store.write_logged_features(pa.table(columns, schema=schema), service)
        return _nothing

    def keep_metric(self, role: str) -> Check:
        metrics = [
            {
                "project_id": "p",
                "feature_view_name": "stats",
                "feature_name": f"f{value}",
                "metric_date": hour(0).date(),
                "granularity": "daily",
                "data_source_type": "batch",
                "row_count": value,
            }
            for value in self._values()
        ]
        metrics_store.save_metrics(self.stores[role].config.offline_store, "feature", metrics)
        return _nothing

    def persist(self, role: str) -> Check:
        count = Dataset.rows(self.number)
        rows = {
            "driver_id": [0] * count,
            "event_timestamp": [hour(self.number)] * count,
            "set": [self.number] * count,
        }
        other = self.dice.choice(ROLES)
        job = retrieve(self._store(), pd.DataFrame(rows), [f"pushed_{other}:trips"])
        job.persist(SavedDatasetHybridSparkStorage(path=f"{self._uris[role]}/set"), allow_overwrite=True)
        return _nothing

    # What is read

    def retrieve(self, role: str) -> Check:
        """Features of both lakes for entity rows of each kind; ``role`` is of the store alone."""
        hours = [self.dice.randrange(self.number + 2) for _ in range(2)]
        features = [f"{kind}_{lake}:trips" for kind in ("pushed", "texts") for lake in ROLES]
        features = self.dice.sample(features, self.dice.choice([1, 2, 2, 4]))
        job = retrieve(self.stores[role], self._entity_rows(hours), features, full_feature_names=True)
        found = job.to_arrow()

        def check() -> None:
            for each in hours:
                for feature in features:
                    kind, _, lake = feature.partition(":")[0].partition("_")
                    of = self.pushed[lake] if kind == "pushed" else self.texts[lake]
                    of.check_latest(each, _of_drivers(found, feature.replace(":", "__"), each))

        return check

    def _entity_rows(self, hours: list[int]) -> Any:
        frame = pd.DataFrame(
            {"driver_id": [*DRIVERS] * len(hours), "event_timestamp": [hour(each) for each in hours for _ in DRIVERS]}
        )
        form = self.dice.choice(["pandas", "pandas", "spark", "sql"])
        if form == "spark":
            return self.spark.createDataFrame(frame)
        if form == "sql":
            rows = ", ".join(
                f"({driver}L, timestamp'{time:%Y-%m-%d %H:%M:%S}Z')" for driver, time in frame.itertuples(index=False)
            )
            return f"SELECT * FROM VALUES {rows} AS t(driver_id, event_timestamp)"
        return frame

    def pull_latest(self, role: str) -> Check:
        until = self.dice.randrange(self.number + 2)
        store, of, batches = self._some_view(role)
        job = HybridSparkOfflineStore.pull_latest_from_table_or_query(
            store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(0), hour(until)
        )
        found = dict(rows_of(job.to_arrow(), "driver_id", "trips"))
        return lambda: batches.check_latest(until, [found.get(driver) for driver in DRIVERS])

    def pull_all(self, role: str) -> Check:
        first, last = sorted(self.dice.randrange(self.number + 2) for _ in range(2))
        store, of, batches = self._some_view(role)
        job = HybridSparkOfflineStore.pull_all_from_table_or_query(
            store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, hour(first), hour(last)
        )
        found = job.to_arrow()["trips"].to_pylist()
        return lambda: batches.check_all(found, between=(first, last))

    def read_logs(self, role: str) -> Check:
        store = self._store()
        job = store.provider.retrieve_feature_service_logs(
            feature_service=store.get_feature_service(f"service_{role}"),
            start_date=hour(0),
            end_date=hour(self.number),
            config=store.config,
            registry=store.registry,
        )
        found = job.to_arrow()[f"pushed_{role}__trips"].to_pylist()
        return lambda: self.logged[role].check_all(found)

    def read_dataset(self, role: str) -> Check:
        of = SavedDatasetHybridSparkStorage(path=f"{self._uris[role]}/set").to_data_source()
        job = HybridSparkOfflineStore.pull_all_from_table_or_query(
            self._store().config, of, ["driver_id"], ["set"], "event_timestamp"
        )
        found = job.to_arrow()["set"].to_pylist()
        return lambda: self.datasets[role].check(found)

    def export(self, role: str) -> Check:
        until = self.dice.randrange(self.number + 2)
        lake = self.dice.choice(ROLES)
        rows = pd.DataFrame({"driver_id": DRIVERS, "event_timestamp": [hour(until)] * len(DRIVERS)})
        files = retrieve(self.stores[role], rows, [f"pushed_{lake}:trips"]).to_remote_storage()
        place = self.places[role]

        def check() -> None:
            names = [place.inside(self._directly(role, file)) for file in files]
            content = [place.lake.filesystem().cat_file(name) for name in names]
            found = pa.concat_tables([pq.read_table(pa.BufferReader(each)) for each in content])
            self.pushed[lake].check_latest(until, _of_drivers(found, "trips", until))

        return check

    def materialize(self, role: str) -> Check:
        store = self._store()
        store.materialize(hour(0), hour(self.number), [f"pushed_{role}"])
        found = store.get_online_features([f"pushed_{role}:trips"], [{"driver_id": driver} for driver in DRIVERS])
        values = found.to_dict()["trips"]
        return lambda: self.pushed[role].check_latest(self.number, values)

    def validate(self, role: str) -> Check:
        store, of, _ = self._some_view(role)
        of.validate(store.config)
        columns = dict(of.get_table_column_names_and_types(store.config))

        def check() -> None:
            assert set(columns) == {"driver_id", "trips", "event_timestamp"}

        return check

    def read_metrics(self, role: str) -> Check:
        found = metrics_store.query_metrics(self.stores[role].config.offline_store, "p", "feature")
        assert all(row["feature_name"] == f"f{row['row_count']}" for row in found)
        return lambda: self.metrics[role].check_all(row["row_count"] for row in found)

    def measure(self, role: str) -> Check:
        store, of, batches = self._some_view(role)
        (found,) = HybridSparkOfflineStore.compute_monitoring_metrics(
            store.config, of, [("trips", "numeric")], "event_timestamp", hour(0), hour(self.number)
        )
        count = found["row_count"]

        def check() -> None:
            least, most = len(batches.there), len(batches.there | batches.unknown)
            assert count % len(DRIVERS) == 0
            assert least <= count // len(DRIVERS) <= most

        return check

    def check_files(self, role: str) -> None:
        """Compare the pushed files that are on the lake, as somebody reads them whom no fault meets."""
        filesystem, place = self.places[role].lake.filesystem(), self.places[role]
        below = place.inside(f"{self.direct[role]}/pushed")
        files = [path for path in filesystem.find(below) if not path.rpartition("/")[2].startswith((".", "_"))]
        tables = [pq.read_table(pa.BufferReader(filesystem.cat_file(path))) for path in files]
        self.pushed[role].check_all(value for table in tables for value in table["trips"].to_pylist())

    def _some_view(self, role: str) -> tuple[FeatureStore, Any, Batches]:
        if self.dice.random() < 0.5:
            of = source(f"pushed_rows_{role}", f"{self._uris[role]}/pushed")
            return self._store(), of, self.pushed[role]
        return self._store(), self.text_view(role).batch_source, self.texts[role]

    def _store(self) -> FeatureStore:
        return self.stores[self.dice.choice(ROLES)]

    def _values(self) -> list[int]:
        return [Batches.value(self.number, driver) for driver in DRIVERS]

    def _batch(self) -> pa.Table:
        times = pa.array([hour(self.number)] * len(DRIVERS), pa.timestamp("us", tz="UTC"))
        return pa.table({"driver_id": list(DRIVERS), "trips": self._values(), "event_timestamp": times})

    def _directly(self, role: str, uri: str) -> str:
        return self.direct[role] + uri.removeprefix(self._uris[role])


def _of_drivers(found: pa.Table, feature: str, hours: int) -> list[int | None]:
    """A feature's value of each driver at an hour; what comes twice has to agree."""
    values: dict[int, set[int | None]] = {}
    for driver, time, value in rows_of(found, "driver_id", "event_timestamp", feature):
        instant = pd.Timestamp(time)  # Spark's files name no zone
        if (instant.tz_localize("UTC") if instant.tz is None else instant) == hour(hours):
            values.setdefault(driver, set()).add(value)
    assert all(len(of_one) == 1 for of_one in values.values()), values
    return [next(iter(values[driver])) for driver in DRIVERS]


def _nothing() -> None:
    """There is nothing to compare."""
