"""A program of its own for what a JVM does once: sign in. ``python -m tests.integration.kerberos_program JSON``.

Its argument names Spark's settings and steps, each with its sites; it prints a line of JSON for each step.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from feast_hybrid import SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError
from tests.integration.places import entity, feature_store, hour, retrieve, source, view


def main(given: dict[str, Any]) -> None:
    for number, step in enumerate(given["steps"]):
        folder = Path(given["folder"]) / str(number)
        folder.mkdir(parents=True)
        os.environ.update(step.get("environment", {}))
        try:
            answer = run(given["spark"], step, folder)
        except HybridError as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


def run(spark: dict[str, Any], step: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Retrieve by each strategy, and where a step says so save the rows by Spark and read them back."""
    driver = entity("driver", join_key="driver_id")
    rows = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})
    stats = view("stats", source("stats_rows", step["path"]), driver)
    answer: dict[str, Any] = {}
    for strategy in ("columnar", "window"):
        (folder / strategy).mkdir()
        store = feature_store(
            step["sites"], folder / strategy, driver, stats, spark=spark, join={"strategy": strategy}
        )
        job = retrieve(store, rows, ["stats:trips"])
        answer[strategy] = job.to_df().sort_values("driver_id")["trips"].tolist()
        answer[f"{strategy} plan"] = job.explain()
    if saved := step.get("saved"):
        job.persist(SavedDatasetHybridSparkStorage(path=saved))
        again = view("again", source("saved_rows", saved), driver)
        store.apply([again])
        answer["saved"] = retrieve(store, rows, ["again:trips"]).to_df().sort_values("driver_id")["trips"].tolist()
    return answer


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
