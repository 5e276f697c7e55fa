"""A driver on a cluster, in which verbs run while executors are killed, or that is killed itself.

``GIVEN`` is JSON: the sites, where the rows are, the session's settings and the verbs to run one after the other. Its
lines are ``runs VERB``, once a verb's tasks have run for a moment, and a JSON object of what the verb gave.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
from feast import FeatureService
from feast.feature_logging import FeatureServiceLoggingSource, LoggingConfig
from pyspark.sql import SparkSession

from feast_hybrid import HybridSparkLoggingDestination, HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from tests.integration.batches import DRIVER, SCHEMA
from tests.integration.places import entity, feature_store, hour, retrieve, source, view

#: How long a verb's tasks run before something is killed.
MOMENT = 1.0
#: Between two tasks of one stage none may run for so long, on a busy machine.
PAUSE = 0.5
#: What is killed in each verb, where executors are killed at all.
KILLS = 2


class Killer(threading.Thread):
    """Says that tasks run, and kills their executors so many times.

    Args:
        verb: that runs.
        kills: how many executors.
    """

    def __init__(self, verb: str, kills: int) -> None:
        super().__init__(daemon=True)
        self._verb, self._left = verb, kills
        self.killed = 0
        self.ended = threading.Event()

    def run(self) -> None:
        context = SparkSession.active().sparkContext
        while not self.ended.is_set():
            if not self._tasks_run(context):
                continue
            print(f"runs {self._verb}", flush=True)
            if not self._left:
                return
            executors = of_application(context.applicationId)
            for each in executors:
                os.kill(each, signal.SIGKILL)
            self.killed += bool(executors)
            self._left -= 1
            while not self.ended.wait(0.05) and set(of_application(context.applicationId)) & set(executors):
                pass
            if not self._left:
                return

    def _tasks_run(self, context: Any) -> bool:
        """Whether tasks have run for a moment."""
        began = last = None
        while not self.ended.wait(0.05):
            tracker, now = context.statusTracker(), time.monotonic()
            stages = [tracker.getStageInfo(stage) for stage in tracker.getActiveStageIds()]
            if any(stage is not None and stage.numActiveTasks for stage in stages):
                if last is None or now - last > PAUSE:
                    began = now
                last = now
                if began is not None and now - began > MOMENT:
                    return True
        return False


def of_application(application: str) -> list[int]:
    """The processes of an application's executors."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = process.info["cmdline"] or []
        if application in words and any("CoarseGrainedExecutorBackend" in word for word in words):
            found.append(process.info["pid"])
    return found


def main() -> None:
    given = json.loads(sys.argv[1])
    folder = Path(given["folder"])
    driver = entity("driver", join_key="driver_id")
    views = [view(name, source(f"{name}_rows", uri), driver) for name, uri in given["tables"].items()]
    texts = view("texts", source("text_rows", f"{given['target']}/texts", file_format="orc"), DRIVER, schema=SCHEMA)
    pushed = view("pushed", source("pushed_rows", f"{given['target']}/pushed"), DRIVER, schema=SCHEMA)
    service = FeatureService(
        name="service",
        features=[views[0]],
        logging_config=LoggingConfig(HybridSparkLoggingDestination(path=f"{given['target']}/logs")),
    )

    def store_with(name: str, *, engine: str = "local", strategy: str = "auto") -> Any:
        (folder / name).mkdir(parents=True, exist_ok=True)
        return feature_store(
            given["sites"],
            folder / name,
            driver,
            *views,
            service,
            spark={"master": given["master"], "conf": given["conf"]},
            join={"strategy": strategy},
            staging_location=f"{given['target']}/staging",
            repo={
                "batch_engine": {"type": engine},
                "online_store": {"type": "redis", "connection_string": given["redis"]},
                "project": name,
            },
        )

    stores = {
        "columnar": store_with("columnar", strategy="columnar"),
        "window": store_with("window", strategy="window"),
        "engine": store_with("engine", engine="spark.engine"),
    }
    rows = pd.DataFrame({"driver_id": range(10), "event_timestamp": [hour(given["hour"])] * 10})
    features = ["stats:trips", "moods:mood"]

    def history(strategy: str) -> list[Any]:
        found = retrieve(stores[strategy], rows, features).to_df().sort_values("driver_id")
        return [found["trips"].tolist(), found["mood"].tolist()]

    def materialized(name: str) -> list[Any]:
        stores[name].materialize(hour(0), hour(given["hour"]))
        served = stores[name].get_online_features(features, [{"driver_id": key} for key in range(10)]).to_dict()
        return [served["trips"], served["mood"]]

    def persisted(role: str, file_format: str = "parquet") -> None:
        storage = SavedDatasetHybridSparkStorage(path=given["sets"][role], file_format=file_format)
        retrieve(stores["columnar"], rows, features).persist(storage, allow_overwrite=True)

    def added(of: Any) -> None:
        times = pa.array([hour(1)] * 3, pa.timestamp("us", tz="UTC"))
        table = pa.table({"driver_id": [1, 2, 3], "trips": [7, 7, 7], "event_timestamp": times})
        HybridSparkOfflineStore.offline_write_batch(stores["columnar"].config, of, table, None)

    def logged() -> None:
        """The features that ``service`` served for three rows."""
        store = stores["columnar"]
        service = store.get_feature_service("service")
        schema = FeatureServiceLoggingSource(service, store.project).get_schema(store.registry)
        served = {
            "driver_id": [1, 2, 3],
            "stats__trips": [7, 7, 7],
            "stats__trips__timestamp": [hour(0)] * 3,
            "stats__trips__status": [2] * 3,
            "__log_timestamp": [hour(1)] * 3,
            "__log_date": [hour(1).date()] * 3,
            "__request_id": ["a", "b", "c"],
        }
        columns = [pa.array(served[field.name], field.type) for field in schema]
        store.write_logged_features(pa.table(columns, schema=schema), service)

    verbs: dict[str, Callable[[], Any]] = {
        "columnar": lambda: history("columnar"),
        "window": lambda: history("window"),
        "materialize": lambda: materialized("window"),
        "spark.engine": lambda: materialized("engine"),
        "persist onprem": lambda: persisted("onprem"),
        "persist cloud": lambda: persisted("cloud"),
        "persist delta": lambda: persisted("delta", "delta"),
        "persist iceberg": lambda: persisted("iceberg", "iceberg"),
        "batch by Spark": lambda: added(texts),
        "batch": lambda: added(pushed),
        "logs": logged,
        "export": lambda: retrieve(stores["columnar"], rows, features).to_remote_storage(),
    }
    retrieve(stores["columnar"], rows, features).explain()  # starts the session
    print("started", SparkSession.active().sparkContext.applicationId, flush=True)
    for verb in given["verbs"]:
        killer = Killer(verb, KILLS if given["kill_executors"] else 0)
        killer.start()
        result = verbs[verb]()
        killer.ended.set()
        killer.join()
        print(json.dumps({"verb": verb, "result": result, "killed": killer.killed}), flush=True)


if __name__ == "__main__":
    main()
