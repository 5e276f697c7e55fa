"""A program of its own that signs in to ADLS. ``python -m tests.integration.faults.signing_in JSON``.

It has the proxy and the certificates of its environment, which a process shares among all its clients. It does the
steps that its argument names, one after another, and prints a line of JSON for each.
"""

from __future__ import annotations

import json
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import SparkSession

from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.lakes import Location, Router, Site
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import raise_from, storage_error, translate_client_errors
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.lake_options import spark_path

if TYPE_CHECKING:
    from collections.abc import Callable


def main(given: dict[str, Any]) -> None:
    sites = {name: Site.model_validate(site) for name, site in given["sites"].items()}
    for number, step in enumerate(given["steps"]):
        if step["do"] == "change":
            Path(step["file"]).write_text(step["text"])
            continue
        if step["do"] == "remove":
            Path(step["file"]).unlink()
            continue
        if step["do"] == "sleep":
            time.sleep(step["seconds"])
            continue
        site = sites[step["site"]]
        place = Router([site]).locate(f"{site.root}/rows")
        answer: dict[str, Any] = {"name": step.get("name", f"{step['do']} {step['site']}"), "number": number}
        try:
            answer["found"] = DO[step["do"]](place) if step["do"] != "spark" else by_spark(place, given["spark"])
        except HybridError as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)


def read(place: Location) -> str:
    """As all that needs no JVM does."""
    try:
        return str(place.fs.cat_file(place.child("part-0.csv").path).decode())
    except Exception as error:
        found = storage_error(error, what="rows", where=place.describe(), sites=[place.site])
        if found is None:
            raise
        raise_from(found, error)


def write(place: Location) -> str:
    with translate_client_errors(WriteError, "rows", "failed", sites=[place.site]):
        publish({place.child("part-0.csv"): b"n\n1\n"}, replace=True)
    return "written"


DO: dict[str, Callable[[Location], str]] = {"read": read, "write": write}


@cache
def session(conf: str) -> SparkSession:
    builder = SparkSession.builder.master("local[1]")
    for key, value in json.loads(conf).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def by_spark(place: Location, conf: dict[str, str]) -> str:
    """By Spark alone: nothing of ours looks before it."""
    spark = session(json.dumps(conf))
    path = spark_path(spark, place, "csv")
    with translate_spark_errors("rows", place.describe(), [place.site]):
        rows = spark.read.schema("n long").option("header", "true").options(**path.settings).csv(path.uri).collect()
    return str([row.n for row in rows])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
