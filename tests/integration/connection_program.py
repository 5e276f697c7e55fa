"""A program for sources with a ``connection_ref``: ``python -m tests.integration.connection_program JSON``.

It has the proxy and the certificates of its environment. Its argument names the site, a folder and Spark's settings;
it prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from feast import FeatureView, Field, FileSource
from feast.credentials import ConnectionRef
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import Int64

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import HybridError
from tests.integration.places import entity, feature_store, hour, retrieve, source

VAULT = ConnectionRef(provider="azure-key-vault", name="account-key", namespace="bank")


def main(given: dict[str, Any]) -> None:
    folder = Path(given["folder"])
    driver = entity("driver", join_key="driver_id")
    path = f"{given['site']['uri']}/cards"
    times: dict[str, Any] = {"timestamp_field": "event_timestamp", "path": path}
    warnings.simplefilter("ignore", RuntimeWarning)  # Feast says of SparkSource that it is experimental
    of: dict[str, Any] = {
        "ours": source("of_ours", path, connection_ref=VAULT),
        "spark": SparkSource(name="of_spark", file_format="parquet", connection_ref=VAULT, **times),
        "file": FileSource(name="of_file", connection_ref=VAULT, **times),
        "without": source("of_none", path),
    }
    schema = [Field(name="driver_id", dtype=Int64), Field(name="trips", dtype=Int64)]
    views = {name: FeatureView(name=name, entities=[driver], schema=schema, source=of[name]) for name in of}
    rule = {"provider": VAULT.provider, "name": VAULT.name, "namespace": VAULT.namespace, "site": "cloud"}
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    features = [f"{name}:trips" for name in of if name != "without"]
    answer: dict[str, Any] = {}
    for strategy in ("columnar", "window"):
        (own := folder / strategy).mkdir()
        settings = {"spark": given["spark"], "join": {"strategy": strategy}, "connection_refs": [rule]}
        store = feature_store([given["site"]], own, driver, *views.values(), **settings)
        if not answer:
            columns = {"driver_id": [1, 2], "trips": [10, 20], "event_timestamp": [hour(0), hour(0)]}
            batch = pa.table(columns)
            HybridSparkOfflineStore.offline_write_batch(store.config, store.get_feature_view("ours"), batch, None)
        job = retrieve(store, rows, features, full_feature_names=True)
        found = job.to_df().sort_values("driver_id")
        answer[strategy] = {name: found[f"{name}__trips"].tolist() for name in of if name != "without"}
        answer[f"{strategy} explained"] = job.explain()
        try:
            retrieve(store, rows, ["without:trips"]).to_df()
        except HybridError as error:
            answer[f"{strategy} without"] = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
