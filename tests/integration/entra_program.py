"""A program of its own for sign-ins by Entra. ``python -m tests.integration.entra_program JSON``.

It has the proxy and the certificates of its environment, which a process shares among all its clients. Its argument
names the sites by way of signing in, a folder and Spark's settings; it prints a line of JSON for each site.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError
from feast_hybrid.lakes import Site
from feast_hybrid.lakes.errors import storage_error
from tests.integration.places import entity, feature_store, hour, retrieve, source, view


def main(given: dict[str, Any]) -> None:
    for name, site in given["sites"].items():
        folder = Path(given["folder"]) / name
        folder.mkdir(parents=True)
        answer: dict[str, Any] = {"name": name}
        try:
            answer["without a JVM"] = by_fsspec(site, name)
            if given.get("spark"):
                answer |= by_spark(given["spark"], site, name, folder)
        except HybridError as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


def by_fsspec(site: dict[str, Any], name: str) -> list[int]:
    """Write a Parquet file and read it back, as what needs no JVM does."""
    parsed = Site.model_validate(site)
    sink = pa.BufferOutputStream()
    columns = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)], "trips": [10, 20]}
    pq.write_table(pa.table(columns), sink)
    try:
        files = parsed.filesystem()
        path = f"{parsed.root.container}/{name}/rows/part-0.parquet"
        files.pipe(path, sink.getvalue().to_pybytes())
        return pq.read_table(path, filesystem=files)["trips"].to_pylist()  # type: ignore[no-any-return]
    except Exception as error:
        found = storage_error(error, what="rows", where=f"site {parsed.name!r}", sites=[parsed])
        raise found or error from error


def by_spark(spark: dict[str, Any], site: dict[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """Retrieve what is there by Spark's driver, save the rows by it, and read them back."""
    driver = entity("driver", join_key="driver_id")
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    stats = view("stats", source("stats_rows", f"{site['uri']}/{name}/rows"), driver)
    again = view("again", source("saved_rows", f"{site['uri']}/{name}/saved"), driver)
    store = feature_store([site], folder, driver, stats, spark=spark, join={"strategy": "window"})
    job = retrieve(store, rows, ["stats:trips"])
    found = job.to_df().sort_values("driver_id")["trips"].tolist()
    job.persist(SavedDatasetHybridSparkStorage(path=f"{site['uri']}/{name}/saved"))
    store.apply([again])
    saved = retrieve(store, rows, ["again:trips"]).to_df().sort_values("driver_id")["trips"].tolist()
    return {"spark": found, "saved": saved}


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
