"""Tasks of Spark that fail once they have begun to write: what another try writes is there, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.faulty import MINUTES
from tests.integration.places import Place, Places, classic_only
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import json, sys
from pathlib import Path
import pandas as pd
from pyspark import TaskContext
from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.testing import session_conf
from feast_hybrid.writing import by_spark
from tests.integration.batches import DRIVER, SCHEMA, rows
from tests.integration.places import feature_store, hour, retrieve, source, view

given = json.loads(sys.argv[1])


def fail_once(batches):
    if TaskContext.get().attemptNumber() == 0:
        raise RuntimeError("the first try")
    yield from batches


made = by_spark.frame_of
by_spark.frame_of = lambda spark, table: (frame := made(spark, table)).mapInArrow(fail_once, frame.schema)
for file_format, options in given["formats"].items():
    folder = Path(given["folder"]) / file_format
    folder.mkdir()
    uri = f"{given['uri']}/{file_format}"
    of = view("stats", source("rows", uri, file_format=file_format, options=options), DRIVER, schema=SCHEMA)
    store = feature_store(
        given["sites"], folder, DRIVER, of, spark={"master": "local[2,3]", "conf": session_conf()}
    )
    HybridSparkOfflineStore.offline_write_batch(store.config, of, rows(1, 2, 3), None)
    entity_rows = pd.DataFrame({"driver_id": [3, 1, 4], "event_timestamp": [hour(2)] * 3})
    found = retrieve(store, entity_rows, ["stats:trips"]).to_df().sort_values("driver_id")
    print(json.dumps({"format": file_format, "trips": [str(trips) for trips in found["trips"]]}), flush=True)
"""

FORMATS = {"orc": {}, "csv": {"header": "true", "inferSchema": "true"}}


@reliability(
    "Executors and drivers",
    "a task of Spark fails after it has begun to write a batch as ORC or CSV",
    "Spark runs it again: its rows are there, once",
)
@classic_only("a session whose tasks have several tries")
@pytest.mark.parametrize("role", [pytest.param("onprem", marks=MINUTES), "cloud"])
def test_a_task_that_failed_is_run_again(lakes_to_test: Places, folder: str, tmp_path: Path, role: str) -> None:
    place: Place = getattr(lakes_to_test, role)
    given = {
        "sites": lakes_to_test.sites(),
        "uri": f"{place.uri}{folder}",
        "folder": str(tmp_path),
        "formats": FORMATS,
    }
    found = answers_in(run_python("-W", "ignore", "-c", PROGRAM, json.dumps(given)))
    assert [each["format"] for each in found] == [*FORMATS]
    for each in found:
        assert each["trips"] == ["1", "3", "<NA>"] or each["trips"] == ["1.0", "3.0", "nan"]
        names = place.names(f"{place.uri}{folder}/{each['format']}")
        assert len([name for name in names if not name.startswith("_")]) == 1
