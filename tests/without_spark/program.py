"""A round of Feast's verbs in the repository of the current folder; prints what it has found as a line of JSON."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import features  # type: ignore[import-not-found]  # of the repository that it runs in
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureStore, FeatureView
from feast.feature_logging import FeatureServiceLoggingSource
from feast.repo_config import load_repo_config
from feast.repo_operations import apply_total, plan
from pyarrow import orc

from feast_hybrid import HybridSparkOfflineStore, HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SparkNotInstalledError
from feast_hybrid.sources.inference import source_columns
from feast_hybrid.sources.resolve import source_spec

WHEN = pd.Timestamp("2026-01-10", tz="UTC")
ROWS = pa.table(
    {"account": [1, 2], "seen": pa.array([WHEN] * 2, pa.timestamp("us", tz="UTC")), "balance": [0.5, 1.5]}
)
ENTITIES = pd.DataFrame({"account": [1], "event_timestamp": [WHEN]})
A_DAY = timedelta(days=1)


def refusal(call: Callable[[], Any]) -> str:
    """What the error says that Spark is needed for."""
    try:
        call()
    except SparkNotInstalledError as error:
        return str(error)
    return "not refused"


repo = Path.cwd()
config = load_repo_config(repo, repo / "feature_store.yaml")
router, spark = config.offline_store.router, config.offline_store.spark


def write(place: int, file_format: str, view: FeatureView) -> None:
    """Put the rows into a view's table; of ORC we write no batches."""
    if file_format != "orc":
        HybridSparkOfflineStore.offline_write_batch(config, view, ROWS, None)
        return
    location = router.locate(f"{features.PLACES[place]}/orc/part.orc")
    location.fs.makedirs(location.parent().path, exist_ok=True)
    with location.fs.open(location.path, "wb") as file:
        orc.write_table(ROWS, file)


def rows_of_parquet(uri: str) -> int:
    """How many rows all Parquet files below a folder have."""
    location = router.locate(uri)
    files = [path for path in location.fs.find(location.path) if path.endswith(".parquet")]
    return sum(pq.read_table(path, filesystem=location.fs).num_rows for path in files)


def source(**place: Any) -> Any:
    return source_spec(HybridSparkSource(name="elsewhere", timestamp_field="seen", **place), router)


for (number, each), view in features.views.items():
    write(number, each, view)
plan(config, repo, skip_source_validation=False)
apply_total(config, repo, skip_source_validation=False)
store = FeatureStore(repo_path=".")
for service in features.services:
    schema = FeatureServiceLoggingSource(service, config.project).get_schema(store.registry)
    store.write_logged_features(pa.table({field.name: pa.nulls(1, field.type) for field in schema}), service)

# A query has no URI to tell its site by.
query = source(query="select * from t", site=next((site.name for site in config.offline_store.sites), None))
avro = FeatureView(
    name="by_avro",
    entities=[features.account],
    schema=features.views[0, "parquet"].schema,
    source=HybridSparkSource(name="a", path=f"{features.PLACES[0]}/avro", file_format="avro", timestamp_field="seen"),
)
refs = [f"{view.name}:balance" for view in features.views.values()]
job: Any = store.get_historical_features(ENTITIES, refs, full_feature_names=True)
for number, place in enumerate(features.PLACES):
    store.create_saved_dataset(job, f"saved_{number}", SavedDatasetHybridSparkStorage(path=f"{place}/saved"))
store.materialize(WHEN - A_DAY, WHEN + A_DAY)
by_dates = store.get_historical_features(None, refs[:1], start_date=WHEN, end_date=WHEN)
online = store.get_online_features(refs, [{"account": 2}], full_feature_names=True).to_dict()
found = {
    "columns": {
        view.name: sorted(source_columns(source(path=view.batch_source.path, file_format=each), spark, router))
        for (_, each), view in features.views.items()
    },
    "rows": {
        view.name: rows_of_parquet(view.batch_source.path)
        for (_, each), view in features.views.items()
        if each != "orc"
    },
    "logs": [rows_of_parquet(f"{place}/logs") for place in features.PLACES],
    "a query": refusal(lambda: source_columns(query, spark, router)),
    "a batch of Avro": refusal(lambda: HybridSparkOfflineStore.offline_write_batch(config, avro, ROWS, None)),
    "a Spark frame": refusal(job.to_spark_df),
    "SQL text": refusal(lambda: store.get_historical_features("select 1 as account", refs[:1])),
    "history": job.to_df().filter(like="balance").to_dict("records"),
    "by dates": sorted(by_dates.to_df()["balance"]),
    "saved": [len(store.get_saved_dataset(f"saved_{number}").to_df()) for number in range(len(features.PLACES))],
    "exported": len(store.get_historical_features(ENTITIES, refs[:1]).to_remote_storage()),
    "online": {name: values for name, values in online.items() if name != "account"},
    "loaded": sorted({"pyspark", "py4j"} & set(sys.modules)),
}
print(json.dumps(found))
