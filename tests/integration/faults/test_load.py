"""Many threads retrieve and push on one session: all is right, and nothing gathers."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from feast_hybrid.testing import session_conf
from tests.integration.batches import by_pyarrow
from tests.integration.batches import rows as rows_of_batch
from tests.integration.faulty import MINUTES
from tests.integration.places import Places, classic_only, hour
from tests.integration.programs import answers_in, run_python
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [MINUTES, classic_only("a program with a session of its own")]

THREADS = 32
#: So many retrievals, and so many pushes; ``FEAST_HYBRID_LOAD`` sets it.
TOTAL = int(os.environ.get("FEAST_HYBRID_LOAD", "1000"))
#: After so many of each it is counted what there is.
COUNTS = (100, (100 + TOTAL) // 2, TOTAL)
#: How much more there may be at the end than after the first hundred: what waits for a garbage collection, and what
#: pools of Spark's, of Hadoop's and of clients hold more or less of.
MORE = {
    "views": 0,
    "threads": 4,
    "threads of the JVM": 12,
    "sockets": 6,
    "sockets of the JVM": 12,
    "file descriptors": 10,
    "file descriptors of the JVM": 20,
    "temporary files": 60,
    "persisted frames": 0,
    "Python workers": 6,
    "MiB": 80,
    "MiB of the JVM": 60,
    "MiB of Python workers": 300,
}


@reliability(
    "Load",
    "32 threads make 1,000 retrievals and 1,000 pushes on one session, on both lakes",
    "all are right; views, threads, sockets, file descriptors, temporary files and memory do not grow after the "
    "first hundred",
)
def test_many_threads_get_it_right_and_gather_nothing(lakes_to_test: Places, folder: str, tmp_path: Path) -> None:
    uris = {place.site_name: f"{place.uri}{folder}" for place in lakes_to_test}
    for number in range(10):
        rows = {"driver_id": [*range(100)], "event_timestamp": [hour(number)] * 100}
        trips = {**rows, "trips": [100 * number + key for key in range(100)]}
        moods = {**rows, "mood": [f"mood {number} {key}" for key in range(100)]}
        lakes_to_test.onprem.write(f"{uris['onprem']}/stats", trips, file=f"part-{number}.parquet")
        lakes_to_test.cloud.write(f"{uris['cloud']}/moods", moods, file=f"part-{number}.parquet")
    for place in lakes_to_test:  # Feast asks for a source's columns before it pushes
        place.write(f"{uris[place.site_name]}/pushed", rows_of_batch(-1, -1, -1))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    conf = {
        **session_conf(),
        "spark.driver.memory": "1500m",
        "spark.driver.extraJavaOptions": f"-Djava.io.tmpdir={temporary}",
        "spark.local.dir": str(temporary),
        "spark.sql.shuffle.partitions": "2",
        # What Spark keeps of past jobs for its pages is full after the first hundred.
        "spark.ui.retainedJobs": "50",
        "spark.ui.retainedStages": "50",
        "spark.ui.retainedTasks": "500",
        "spark.sql.ui.retainedExecutions": "20",
    }
    given = {
        "sites": lakes_to_test.sites(),
        "tables": {"stats": f"{uris['onprem']}/stats", "moods": f"{uris['cloud']}/moods"},
        "pushed": {role: f"{uri}/pushed" for role, uri in uris.items()},
        "folder": str(tmp_path),
        "temporary": str(temporary),
        "conf": conf,
        "threads": THREADS,
        "counts": COUNTS,
    }
    done = run_python(
        *("-W", "ignore", "-m", "tests.integration.faults.load_program", json.dumps(given)),
        seconds=3000,
        environment={"TMPDIR": str(temporary)},
    )
    [found] = answers_in(done)
    assert found["wrong"] == []
    first, *_, last = found["counts"]
    grown = {name: (first[name], last[name]) for name, more in MORE.items() if last[name] > first[name] + more}
    assert grown == {}, found["counts"]
    for index, place in enumerate(lakes_to_test):
        pushed = by_pyarrow(place, f"{uris[place.site_name]}/pushed")["trips"].to_pylist()
        assert Counter(pushed) == dict.fromkeys([-1, *range(index, TOTAL, 2)], 3)
