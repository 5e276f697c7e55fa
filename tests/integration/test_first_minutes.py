"""Somebody's first session: local, with the defaults of Spark, and perhaps another Python than this one."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.places import Place, classic_only, hour, outside_of_spark

if TYPE_CHECKING:
    from tests.integration.conftest import Write

pytestmark = classic_only("programs that start a local session")

#: What each program begins with: a store of one view, and where its rows are.
BEGIN = """
import json, sys
sites, path, folder, package = json.loads(sys.argv[1])
sys.path.insert(0, package)
from pathlib import Path
from feast import ValueType
from tests.integration.places import entity, feature_store, hour, retrieve, source, view

driver = entity("driver", join_key="driver_id")
rows = source("rows", path)

def store(**offline_store):
    return feature_store(sites, Path(folder), driver, view("stats", rows, driver), **offline_store)
"""
REPOSITORY = str(Path(__file__).parents[2])
ROWS = {"driver_id": [1, 2, 2], "event_timestamp": [hour(0), hour(0), hour(1)], "trips": [10, 20, 21]}
QUERIES = {
    "LIMIT": "SELECT driver_id, event_timestamp FROM rows ORDER BY driver_id, event_timestamp LIMIT 2",
    "GROUP BY": "SELECT driver_id, max(event_timestamp) AS event_timestamp FROM rows GROUP BY driver_id",
    "ORDER BY": "SELECT driver_id, event_timestamp FROM rows ORDER BY event_timestamp DESC",
}


def run_program(
    text: str, sites: list[object], path: str, folder: Path, *, timeout: float = 240, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, without what tests set for Spark."""
    inherited = {**outside_of_spark(), **environment}
    return subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(text), json.dumps([sites, path, str(folder), REPOSITORY])],
        env={name: value for name, value in inherited.items() if value is not None},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def test_sql_text_over_hdfs_is_answered_in_a_local_session_that_we_start(
    onprem: Place, write: Write, tmp_path: Path
) -> None:
    path = write(onprem, "rows", ROWS)
    write(onprem, "rows", {**ROWS, "driver_id": [3, 4, 4]}, file="part-1.parquet")
    done = run_program(
        f"""
        found = store(spark={{"master": "local[*]", "conf": {{"spark.ui.enabled": "false"}}}})
        for name, query in {QUERIES!r}.items():
            job = retrieve(found, query, ["stats:trips"])
            print(name, sorted(job.to_df(timeout=60)["trips"]))
        """,
        [onprem.site()],
        path,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [
        "LIMIT [10, 20]",
        "GROUP BY [10, 10, 21, 21]",
        "ORDER BY [10, 10, 20, 20, 21, 21]",
    ]


def test_a_local_session_that_waits_for_hdfs_s_hosts_is_warned_of_once(
    onprem: Place, write: Write, tmp_path: Path
) -> None:
    path = write(onprem, "rows", ROWS)
    done = run_program(
        """
        from pyspark.sql import SparkSession
        SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        found = store()
        for _ in range(2):
            retrieve(found, None, ["stats:trips"], start_date=hour(0), end_date=hour(1))
        """,
        [onprem.site()],
        path,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    warned = [line for line in done.stderr.splitlines() if "spark.locality.wait=3s" in line]
    assert len(warned) == 1
    assert "Start it with spark.locality.wait=0s" in warned[0]


@pytest.fixture(params=["bare", "absent"])
def other_python(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A Python that cannot run this package, and what is wrong with it."""
    made = tmp_path / "other"
    program = str(made / "bin" / "python3")
    if request.param == "absent":
        return program, f'the workers\' Python cannot run tasks: Cannot run program "{program}"'
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    version = ".".join(map(str, sys.version_info[:3]))
    return program, f"the workers' Python, {program} (Python {version}) has no module 'feast_hybrid'"


def test_spark_reads_where_the_workers_python_lacks_this_package_and_it_is_said_once(
    other_python: tuple[str, str], tmp_path: Path
) -> None:
    program, reason = other_python
    folder = tmp_path / "rows"
    folder.mkdir()
    pq.write_table(pa.table(ROWS), folder / "part-0.parquet")
    done = run_program(
        """
        import pandas as pd
        from pyspark.sql import SparkSession
        SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
        found = store()
        entity_rows = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [hour(2), hour(2)]})
        for _ in range(2):
            job = retrieve(found, entity_rows, ["stats:trips"])
            print(sorted(job.to_df()["trips"]))
        print(job.explain())
        """,
        [],
        folder.as_uri(),
        tmp_path,
        PYSPARK_PYTHON=program,
        PYTHONPATH=None,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[:2] == ["[10, 21]", "[10, 21]"]
    assert f"view 'stats': window (not columnar: {reason}" in done.stdout
    warned = [line for line in done.stderr.splitlines() if "UserWarning: Spark reads feature views by itself" in line]
    assert len(warned) == 1
    assert reason in warned[0]
