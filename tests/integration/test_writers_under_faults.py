"""Writers of ADLS whose requests meet faults: what they say was written is there, whole; and nothing is there twice.

A proxy before Azurite cuts answers, resets connections, answers that it is busy, and delays. What happens by chance
does so by a seed: ``make test-faults`` runs more of them. As a program,
``WRITER SITE URI NAME ROUNDS`` is one writer of another process, and prints how each of its rounds ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService
from feast.feature_logging import LoggingConfig

from feast_hybrid import HybridSparkLoggingDestination
from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Location, replace, replace_adls
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.monitoring import metrics_store
from feast_hybrid.testing import Fault
from tests.integration.batches import DRIVER, SCHEMA, add, rows, stats
from tests.integration.faulty import (
    MINUTES,
    SEEDS,
    STORM,
    WRITES,
    Lake,
    ended,
    faulty_lake,
    located,
)
from tests.integration.places import abfs_speaks_to_azurite, feature_store, outside_of_spark, source, view
from tests.integration.reliability import Row, reliability
from tests.integration.test_pushes_and_logs import logs
from tests.integration.test_replace_concurrently import rows_at

if TYPE_CHECKING:
    from feast import FeatureStore

pytestmark = pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark")

#: What a replaced folder holds; the more files, the longer it takes.
FILES = ("data.parquet", "day=1/part.parquet", "day=2/part.parquet", "_SUCCESS")
OF_ROWS = len(FILES) - 1


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with faulty_lake() as found:
        yield found


@pytest.fixture
def uri(lake: Lake, folder: str) -> str:
    return f"{lake.place.uri}{folder}/set"


# Folders that are replaced


def send(target: Location, name: str) -> Location:
    """A writer's files, aside."""
    new = replace.aside(target)
    publish({new.child(file): f"{name}/{file}".encode() for file in FILES})
    return new


def save(target: Location, name: str) -> str:
    """What ``persist`` does with files of its own."""

    def work() -> None:
        with translate_client_errors(WriteError, f"saving to {target}", "failed"):
            new = send(target, name)
            replace.recover(target)
            replace.put_in_place(new, target)

    return ended(work)


def requests(lake: Lake, methods: str, work: Callable[[], object]) -> int:
    """How many requests of some methods a piece of work makes."""
    with lake.proxy.having(Fault("delay", methods)) as proxy:
        work()
    return len(proxy.injected)


@reliability(
    "Writers",
    "ADLS: any one answer is lost, or cut, while a dataset is replaced",
    "the replacement is done, and nothing is left behind",
)
@pytest.mark.parametrize(("action", "methods"), [("lose", WRITES), ("cut", "GET|HEAD")])
def test_no_answer_that_is_lost_while_a_folder_is_replaced_fails_it(
    lake: Lake, uri: str, action: Any, methods: str
) -> None:
    target, direct = lake.located(uri), located(lake.place.site(), uri)
    assert save(direct, "first") == "ok"

    def put(name: str) -> None:
        replace.put_in_place(send(direct, name), target)

    count = requests(lake, methods, partial(put, "second"))
    assert count > len(FILES)
    for number in range(1, count + 1):
        with lake.proxy.having(Fault(action, methods, nth=number)) as proxy:
            put(f"n{number}")
        assert len(proxy.injected) == 1
        assert rows_at(direct) == {f"n{number}": OF_ROWS}, proxy.injected
    assert [name for name in lake.place.names(uri.rpartition("/")[0]) if name != "set"] == []


@contextmanager
def watching(target: Location) -> Iterator[list[dict[str, int]]]:
    """What a reader sees while the context lasts."""
    done, seen = threading.Event(), []

    def watch() -> None:
        while not done.is_set():
            if found := rows_at(target):
                seen.append(found)
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        watch_ends = pool.submit(watch)
        try:
            yield seen
        finally:
            done.set()
        watch_ends.result()


def other_processes(lake: Lake, writer: str, uri: str, count: int, rounds: int) -> list[subprocess.Popen[str]]:
    def start(number: int) -> subprocess.Popen[str]:
        arguments = [writer, json.dumps(lake.site()), uri, f"process{number}", str(rounds)]
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=outside_of_spark(),
        )

    return [start(number) for number in range(count)]


def outcomes_of(processes: list[subprocess.Popen[str]]) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    for process in processes:
        printed, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
        outcomes |= json.loads(printed.splitlines()[-1])
    return outcomes


@reliability(
    "Writers",
    "ADLS: up to 6 writers in threads and processes replace one folder, in a storm of lost answers, resets, "
    "429, 500, 503, cut bodies and delays",
    'one of them is there, whole; readers never see a part or a mix; who is told "ok" had its rows in place',
)
@pytest.mark.parametrize("seed", SEEDS)
def test_of_many_who_replace_a_folder_in_a_storm_one_is_there_whole(
    lake: Lake, uri: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, direct = lake.located(uri), located(lake.place.site(), uri)
    assert save(direct, "first") == "ok"
    with lake.proxy.having(*STORM, seed=seed) as proxy, watching(direct) as seen:
        processes = other_processes(lake, "folder", uri, min(len(SEEDS), 2), 2)
        with ThreadPoolExecutor(4) as pool:
            threads = [pool.submit(saves, target, f"thread{number}", 2) for number in range(4)]
        outcomes = {"first": "ok"}
        for thread in threads:
            outcomes |= thread.result()
        outcomes |= outcomes_of(processes)
    assert len(outcomes) == 1 + 2 * (4 + min(len(SEEDS), 2))
    assert len(proxy.injected) > 10
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    replace.recover(direct)
    assert set(outcomes.values()) <= {"ok", "unknown", "refused"}
    found = rows_at(direct)
    assert found is not None
    (name,) = found
    assert found == {name: OF_ROWS}
    assert outcomes[name] in ("ok", "unknown"), (outcomes, seed)
    assert [each for each in seen if [*each.values()] != [OF_ROWS]] == [], "a part or a mix was read"
    assert {outcomes[name] for each in seen for name in each} <= {"ok", "unknown"}


def saves(target: Location, name: str, rounds: int) -> dict[str, str]:
    return {f"{name}-{number}": save(target, f"{name}-{number}") for number in range(rounds)}


# Batches, logs and metrics


@pytest.fixture
def store(lake: Lake, tmp_path: Path, uri: str) -> FeatureStore:
    return feature_store([lake.site()], tmp_path, DRIVER, stats(uri))


def trips(lake: Lake, uri: str) -> list[int]:
    """The numbers that are at a path, as somebody reads them whom no fault meets."""
    filesystem = lake.place.lake.filesystem()
    found = [path for path in filesystem.find(lake.place.inside(uri)) if path.endswith(".parquet")]
    tables = [pq.read_table(pa.BufferReader(filesystem.cat_file(path))) for path in found]
    return sorted(number for table in tables for number in table["trips"].to_pylist())


@reliability("Writers", "ADLS: any one answer is lost while a batch is written", "the batch is there once")
def test_no_answer_that_is_lost_while_a_batch_is_written_fails_it_or_writes_it_twice(
    lake: Lake, store: FeatureStore, uri: str
) -> None:
    of = stats(uri)
    add(store, of, rows(0))
    count = requests(lake, WRITES, lambda: add(store, of, rows(1)))
    for number in range(1, count + 1):
        with lake.proxy.having(Fault("lose", WRITES, nth=number)) as proxy:
            add(store, of, rows(1 + number))
        assert len(proxy.injected) == 1
    assert trips(lake, uri) == list(range(2 + count))


@reliability(
    "Writers",
    "ADLS: the commit of a batch goes on failing",
    "done, or refused with nothing there, or unknown, and the error says so",
    "Read the rows before you write them again",
)
@pytest.mark.parametrize(
    ("faults", "end", "is_there"),
    [
        ([Fault("lose", "PUT", "comp=blocklist")], "ok", True),
        ([Fault("answer", "PUT", "comp=blocklist", nth=1, status=403)], "refused", False),
        (
            [Fault("answer", "PUT", "comp=blocklist", status=503), Fault("answer", "DELETE", status=503)],
            "unknown",
            False,
        ),
        (
            [
                Fault("lose", "PUT", "comp=blocklist", nth=1),
                Fault("answer", "PUT", "comp=blocklist", status=503),
                Fault("answer", "HEAD|DELETE", "batch-", status=503),
            ],
            "unknown",
            True,
        ),
    ],
    ids=["the-answer-never-comes", "the-commit-is-refused", "nothing-arrives", "nothing-arrives-after-the-commit"],
)
def test_a_commit_that_goes_on_failing_says_what_is_known(
    lake: Lake, store: FeatureStore, uri: str, faults: list[Fault], end: str, is_there: bool, promise: Row
) -> None:
    add(store, stats(uri), rows(0))
    messages: list[str] = []

    def work() -> None:
        try:
            add(store, stats(uri), rows(1))
        except WriteError as error:
            messages.append(str(error))
            raise

    with lake.proxy.having(*faults):
        assert ended(work) == end
    assert trips(lake, uri) == ([0, 1] if is_there else [0])
    if end == "unknown":
        assert "may be there or not" in messages[0]
        assert promise.reads in messages[0]


@reliability("Writers", "ADLS: a commit arrives after its writer has given it up", "it shows nothing")
def test_a_commit_that_arrives_after_it_was_given_up_shows_nothing(
    lake: Lake, store: FeatureStore, uri: str, tmp_path: Path
) -> None:
    add(store, stats(uri), rows(0))
    (tmp_path / "impatient").mkdir()
    options = {"fs.azure.io.retry.max.retries": "1", "fs.azure.http.read.timeout": "500"}
    impatient = feature_store([lake.site(**options)], tmp_path / "impatient", DRIVER, stats(uri))
    late = [Fault("delay", "PUT", "batch-.*comp=blocklist", nth=nth, seconds=3) for nth in (1, 2)]
    with lake.proxy.having(*late) as proxy:
        assert ended(lambda: add(impatient, stats(uri), rows(1))) == "refused"
        assert trips(lake, uri) == [0]
        time.sleep(4)
        assert len(proxy.injected) == 2
    assert trips(lake, uri) == [0]


@reliability("Writers", "ADLS: batches of up to 8 writers in a storm", "each is there once, or refused and not there")
@pytest.mark.parametrize("seed", SEEDS)
def test_batches_of_many_writers_in_a_storm_are_there_once_or_not_at_all(
    lake: Lake, store: FeatureStore, uri: str, seed: int
) -> None:
    of = stats(uri)
    add(store, of, rows(*[-1] * 5))
    with lake.proxy.having(*STORM, seed=seed) as proxy:
        processes = other_processes(
            lake, "batches", uri, 2 if len(SEEDS) > 1 else 0, 6
        )  # each takes seconds to start
        with ThreadPoolExecutor(6) as pool:
            outcomes: dict[str, str] = {}
            for of_one in pool.map(lambda number: batches(store, uri, [number]), range(24)):
                outcomes |= of_one
        outcomes |= outcomes_of(processes)
    assert len(proxy.injected) > 10
    found = Counter(trips(lake, uri))
    assert found.pop(-1) == 5
    assert set(found) <= {int(name) for name in outcomes}
    wrong = {
        name: (end, found[int(name)])
        for name, end in outcomes.items()
        if found[int(name)] not in {"ok": (5,), "refused": (0,), "unknown": (0, 5)}[end]
    }
    assert wrong == {}, seed
    assert Counter(outcomes.values())["ok"] > len(outcomes) / 2


def batches(store: FeatureStore, uri: str, numbers: Iterable[int]) -> dict[str, str]:
    """Batches of five rows each, all of which have the batch's number."""
    return {str(number): ended(partial(add, store, stats(uri), rows(*[number] * 5))) for number in numbers}


@reliability("Writers", "ADLS: logs of served features in a storm", "each is there once, or refused and not there")
@MINUTES
@pytest.mark.parametrize("seed", SEEDS)
def test_logs_in_a_storm_are_there_once_or_not_at_all(lake: Lake, tmp_path: Path, uri: str, seed: int) -> None:
    lake.place.write(f"{uri}/stats", rows(1))
    of = view("stats", source("stats_rows", f"{uri}/stats"), DRIVER, schema=SCHEMA)
    destination = HybridSparkLoggingDestination(path=f"{uri}/logs")
    service = FeatureService(name="service", features=[of], logging_config=LoggingConfig(destination))
    store = feature_store([lake.site()], tmp_path, DRIVER, of, service)
    registered = store.get_feature_service("service")
    store.write_logged_features(logs(store, service, 1, -1), registered)
    with lake.proxy.having(*STORM, seed=seed) as proxy, ThreadPoolExecutor(4) as pool:
        numbers = range(16)
        ends = list(
            pool.map(
                lambda number: ended(
                    lambda: store.write_logged_features(logs(store, service, 1, number), registered)
                ),
                numbers,
            )
        )
    assert proxy.injected
    filesystem = lake.place.lake.filesystem()
    files = filesystem.find(lake.place.inside(f"{uri}/logs"))
    read = [pq.read_table(pa.BufferReader(filesystem.cat_file(file))) for file in files]
    found = Counter(number for table in read for number in table["stats__trips"].to_pylist())
    allowed = {"ok": (1,), "refused": (0,), "unknown": (0, 1)}
    wrong = {number: end for number, end in zip(numbers, ends, strict=True) if found[number] not in allowed[end]}
    assert wrong == {}, seed
    assert ends.count("ok") > 8


@reliability("Writers", "ADLS: monitoring's metrics in a storm", "what was kept is there, what was refused is not")
@pytest.mark.parametrize("seed", SEEDS)
def test_metrics_that_are_kept_in_a_storm_are_there(
    lake: Lake, tmp_path: Path, uri: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_hybrid.monitoring.keyed_files.MANY_FILES", 5)  # so that they are merged
    config = feature_store([lake.site()], tmp_path, monitoring_location=f"{uri}/kept").config.offline_store
    (tmp_path / "direct").mkdir()
    direct = feature_store(
        [lake.place.site()], tmp_path / "direct", monitoring_location=f"{uri}/kept"
    ).config.offline_store

    def keep(number: int) -> str:
        metric = {
            "project_id": "p",
            "feature_view_name": "stats",
            "feature_name": f"f{number}",
            "metric_date": date(2026, 1, 10),
            "granularity": "daily",
            "data_source_type": "batch",
            "row_count": number,
        }
        return ended(lambda: metrics_store.save_metrics(config, "feature", [metric]))

    with lake.proxy.having(*STORM, seed=seed) as proxy, ThreadPoolExecutor(6) as pool:
        ends = list(pool.map(keep, range(12)))
    assert proxy.injected
    found = {row["feature_name"]: row["row_count"] for row in metrics_store.query_metrics(direct, "p", "feature")}
    assert all(found[f"f{number}"] == number for number, end in enumerate(ends) if end == "ok"), seed
    assert not any(f"f{number}" in found for number, end in enumerate(ends) if end == "refused"), seed
    assert ends.count("ok") > 6


if __name__ == "__main__":
    _, _writer, _site, _uri, _name, _rounds = sys.argv
    if _writer == "folder":
        print(json.dumps(saves(located(json.loads(_site), _uri), _name, int(_rounds))))
    else:
        with tempfile.TemporaryDirectory() as _folder:
            _store = feature_store([json.loads(_site)], Path(_folder), DRIVER, stats(_uri))
            _first = 100 * (1 + int(_name.removeprefix("process")))
            print(json.dumps(batches(_store, _uri, range(_first, _first + int(_rounds)))))
