"""What needs no Spark, while an ADLS account is busy, hangs up, cuts its answers or is silent: carried, or said.

A proxy before Azurite does it to the requests of ``feast apply``, of the file that tasks read Parquet through, and of
what writes: batches, logs and metrics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureService
from feast.feature_logging import LoggingConfig

from feast_hybrid import HybridSparkLoggingDestination
from feast_hybrid.errors import HybridError, StorageError
from feast_hybrid.lakes.opener import SiteOpener
from feast_hybrid.monitoring import metrics_store
from feast_hybrid.testing import AdlsLake, Fault, FaultProxy
from tests.integration.batches import DRIVER, SCHEMA, add, rows, stats
from tests.integration.faulty import MINUTES, OPTIONS, Lake, faulty_lake, located
from tests.integration.places import feature_store, source, view
from tests.integration.reliability import Row, reliability
from tests.integration.test_pushes_and_logs import logs

if TYPE_CHECKING:
    from feast import FeatureStore

ROWS = 24_000
#: Of a site: one more try, soon, and no long waiting.
IMPATIENT = {**OPTIONS, "fs.azure.io.retry.max.retries": "1", "fs.azure.http.read.timeout": "1500"}
#: What happens to each request, or by chance to some.
FAULTS = {
    "429": Fault("answer", status=429, retry_after=1),
    "503": Fault("answer", status=503),
    "500": Fault("answer", status=500),
    "reset": Fault("reset"),
    "lost": Fault("lose", "GET|HEAD"),
    "cut": Fault("cut", "GET"),
    "short": Fault("short", "GET", kept=0.7),
    "empty": Fault("short", "GET", kept=0.0),
    "silent": Fault("delay", seconds=90),
}


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with faulty_lake() as found:
        yield found


@pytest.fixture
def uri(lake: Lake, folder: str) -> str:
    return f"{lake.place.uri}{folder}/set"


def table() -> pa.Table:
    numbers = list(range(ROWS))
    return rows(*numbers).append_column("text", pa.array([f"row {number * 7919 % ROWS}" for number in numbers]))


def put(lake: Lake, uri: str) -> str:
    """A Parquet file of several row groups; gives its URI."""
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink, row_group_size=ROWS // 6)
    return lake.place.put(f"{uri}/part-0.parquet", sink.getvalue().to_pybytes())


def read(site: dict[str, Any], file: str) -> pa.Table:
    """As tasks do that read files themselves."""
    location = located(site, file)
    with SiteOpener.of(location)(location.path) as opened:
        return pq.read_table(opened)


def work(lake: Lake, uri: str, folder: Path, **options: str) -> list[int]:
    """What ``feast apply``, tasks and a push do; the numbers that are there afterwards."""
    site = lake.site(**options)
    folder.mkdir(parents=True, exist_ok=True)
    store = feature_store([site], folder)
    of = source("stats_rows", uri)
    assert dict(of.get_table_column_names_and_types(store.config))["text"] == "string"
    assert read(site, f"{uri}/part-0.parquet") == table()
    lines = rows(ROWS).append_column("text", pa.array(["one more"]))
    add(store, view("stats", of, DRIVER, schema=SCHEMA), lines)
    files = lake.place.lake.filesystem()
    found = [pq.read_table(pa.BufferReader(files.cat_file(path))) for path in files.find(lake.place.inside(uri))]
    return sorted(number for each in found for number in each["trips"].to_pylist())


def by_chance(fault: Fault, **changes: Any) -> Fault:
    return Fault(**{**vars(fault), "probability": 0.3, **changes})


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "429",
            marks=reliability(
                "ADLS", "429 with Retry-After, at random, without a JVM", "asked again after the time that it says"
            ),
        ),
        pytest.param("503", marks=reliability("ADLS", "503, at random, without a JVM", "asked again")),
        pytest.param("500", marks=reliability("ADLS", "500, at random, without a JVM", "asked again")),
        pytest.param("reset", marks=reliability("ADLS", "resets, at random, without a JVM", "asked again")),
        pytest.param("lost", marks=reliability("ADLS", "lost answers, at random, without a JVM", "asked again")),
        pytest.param(
            "cut",
            marks=reliability(
                "ADLS",
                "a reset in the middle of an answer, such as a row group, without a JVM",
                "read anew; never fewer rows",
            ),
        ),
        pytest.param(
            "short",
            marks=reliability(
                "ADLS", "answers that end early in good order, without a JVM", "read anew; never fewer rows"
            ),
        ),
        pytest.param(
            "empty",
            marks=reliability("ADLS", "answers without their body, without a JVM", "read anew; never fewer rows"),
        ),
        pytest.param(
            "silent",
            marks=reliability("ADLS", "slow answers, at random, without a JVM", "asked again after the read timeout"),
        ),
    ],
)
def test_what_happens_at_random_is_carried(lake: Lake, uri: str, tmp_path: Path, name: str) -> None:
    put(lake, uri)
    fault = by_chance(FAULTS[name], seconds=1.5, probability=0.15) if name == "silent" else by_chance(FAULTS[name])
    with lake.proxy.having(fault, seed=3) as proxy:
        assert work(lake, uri, tmp_path / "r", **{"fs.azure.http.read.timeout": "500"}) == list(range(ROWS + 1))
    assert proxy.injected


def each_on_its_own(lake: Lake, do: Callable[[str, Lake], Any], *names: str) -> dict[str, Any]:
    """Each fault at the same time as the others, by a proxy of its own."""
    assert isinstance(lake.place.lake, AdlsLake)
    endpoint = lake.place.lake.endpoint

    def run(name: str) -> Any:
        with FaultProxy(endpoint) as proxy:
            return do(name, Lake(lake.place, proxy))

    with ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(run, names), strict=True))


@MINUTES
@reliability(
    "ADLS",
    "busy (429, 503, 500), resets, cut answers or silence for 30 s, without a JVM",
    "carried, with the settings that a site has by itself",
)
def test_what_lasts_for_half_a_minute_is_carried(lake: Lake, uri: str, tmp_path: Path) -> None:
    def run(name: str, own: Lake) -> list[int]:
        place = f"{uri}-{name}"
        put(own, place)
        with own.proxy.having(Fault(**{**vars(FAULTS[name]), "lasting": 30})) as proxy:
            began = time.monotonic()
            found = work(patient(own), place, tmp_path / name)
            assert time.monotonic() - began > 28
            assert proxy.injected
        return found

    names = [name for name in FAULTS if name not in ("lost", "empty")]
    found = each_on_its_own(lake, run, *names)
    assert [name for name in names if found[name] != list(range(ROWS + 1))] == []


class _Patient(Lake):
    """A lake whose sites have no options."""

    def site(self, **options: str) -> dict[str, Any]:
        return {**super().site(), "options": options}


def patient(lake: Lake) -> Lake:
    return _Patient(*lake)


def columns(store: FeatureStore, uri: str) -> None:
    dict(source("stats_rows", uri).get_table_column_names_and_types(store.config))


@MINUTES
@reliability(
    "ADLS",
    "busy (429, 503, 500), resets, cut answers or silence that do not end, without a JVM",
    "given up within a minute, with the settings that a site has by itself",
    "fs.azure.io.retry.max.retries",
)
def test_what_does_not_end_is_said_within_a_minute(lake: Lake, uri: str, tmp_path: Path, promise: Row) -> None:
    put(lake, uri)

    def run(name: str, own: Lake) -> tuple[float, str]:
        (tmp_path / name).mkdir()
        store = feature_store([patient(own).site()], tmp_path / name)
        with own.proxy.having(FAULTS[name]):
            began = time.monotonic()
            with pytest.raises(StorageError) as caught:
                columns(store, uri)
            return time.monotonic() - began, str(caught.value)

    found = each_on_its_own(lake, run, *FAULTS)
    assert max(seconds for seconds, _ in found.values()) < 60, found
    for seconds, text in found.values():
        assert seconds > 28
        assert promise.reads in text
        assert f"source 'stats_rows': site 'cloud', {uri}" in text


# What is read where it does not end


def in_batch(store: FeatureStore, uri: str) -> None:
    add(store, stats(uri), rows(1))


def in_logs(store: FeatureStore, uri: str) -> None:
    service = store.get_feature_service("service")
    store.write_logged_features(logs(store, service, 1, 1), service)


def in_metrics(store: FeatureStore, uri: str) -> None:
    metric = {
        "project_id": "p",
        "feature_view_name": "stats",
        "feature_name": "f",
        "metric_date": date(2026, 1, 10),
        "granularity": "daily",
        "data_source_type": "batch",
        "row_count": 1,
    }
    metrics_store.save_metrics(store.config.offline_store, "feature", [metric])


def of_metrics(store: FeatureStore, uri: str) -> None:
    metrics_store.query_metrics(store.config.offline_store, "p", "feature")


VERBS = {"apply": columns, "batch": in_batch, "logs": in_logs, "metrics": in_metrics, "their reading": of_metrics}


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        pytest.param(
            "503",
            "apply",
            marks=reliability(
                "ADLS",
                "an account that stays busy (503), during `feast apply`",
                "an error that names site, path, code and setting",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "429",
            "apply",
            marks=reliability(
                "ADLS",
                "an account that stays busy (429), during `feast apply`",
                "so too",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "500",
            "apply",
            marks=reliability(
                "ADLS",
                "an account that always fails (500), during `feast apply`",
                "so too",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "reset",
            "apply",
            marks=reliability(
                "ADLS",
                "an account that resets all connections, during `feast apply`",
                "an error that names site, path and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "cut",
            "apply",
            marks=reliability(
                "ADLS",
                "an account all of whose answers are cut, during `feast apply`",
                "an error that names site, path and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "short",
            "apply",
            marks=reliability(
                "ADLS",
                "an account all of whose answers end early in good order, during `feast apply`",
                "an error that names site, path and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "empty",
            "apply",
            marks=reliability(
                "ADLS",
                "an account all of whose answers lack their body, during `feast apply`",
                "an error that names site, path and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "silent",
            "apply",
            marks=reliability(
                "ADLS",
                "an account that is silent, during `feast apply`",
                "an error that names site, path and setting",
                "fs.azure.http.read.timeout in the site's options",
            ),
        ),
        pytest.param(
            "503",
            "batch",
            marks=reliability(
                "ADLS",
                "an account that stays busy, during `offline_write_batch`",
                "an error that names site, path, code and setting; nothing is written",
                "is unavailable: ",
            ),
        ),
        pytest.param(
            "silent",
            "batch",
            marks=reliability(
                "ADLS",
                "an account that is silent, during `offline_write_batch`",
                "an error that names site, path and setting; nothing is written",
                "fs.azure.http.read.timeout in the site's options",
            ),
        ),
        pytest.param(
            "503",
            "logs",
            marks=reliability(
                "ADLS",
                "an account that stays busy, during `write_logged_features`",
                "an error that names site, path, code and setting; nothing is written",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "503",
            "metrics",
            marks=reliability(
                "ADLS",
                "an account that stays busy, while monitoring keeps its metrics",
                "an error that names site, path, code and setting",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "reset",
            "their reading",
            marks=reliability(
                "ADLS",
                "an account that resets all connections, while monitoring reads its metrics",
                "an error that names site, path and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
    ],
)
def test_what_does_not_end_names_account_container_path_and_setting(
    lake: Lake, uri: str, tmp_path: Path, name: str, verb: str, promise: Row
) -> None:
    put(lake, f"{uri}/rows")
    of = view("stats", source("stats_rows", f"{uri}/rows"), DRIVER, schema=SCHEMA)
    destination = HybridSparkLoggingDestination(path=f"{uri}/logs")
    service = FeatureService(name="service", features=[of], logging_config=LoggingConfig(destination))
    store = feature_store([lake.site(**IMPATIENT)], tmp_path, DRIVER, of, service, monitoring_location=f"{uri}/kept")
    with lake.proxy.having(FAULTS[name]), pytest.raises(HybridError) as caught:
        VERBS[verb](store, f"{uri}/rows")
    assert f"{uri}/" in str(caught.value)
    assert "site 'cloud'" in str(caught.value)
    assert "fs.azure.io.retry.max.retries" in str(caught.value)
    assert promise.reads in str(caught.value)
    if verb in ("batch", "logs"):
        assert sorted(lake.place.names(uri)) == ["rows"]


@reliability(
    "ADLS", "an account that is down in the middle of a push", "given up within a minute; nothing is written"
)
@MINUTES
def test_an_account_that_falls_silent_in_the_middle_of_a_push_is_given_up_within_a_minute(
    lake: Lake, uri: str, tmp_path: Path
) -> None:
    put(lake, uri)

    def run(name: str, own: Lake) -> float:
        (tmp_path / name).mkdir()
        store = feature_store([patient(own).site()], tmp_path / name, DRIVER, stats(uri))
        faults = {
            "blocks": [Fault("delay", "PUT", "comp=block&", seconds=90)],
            "commit": [
                Fault("delay", "PUT", "comp=blocklist", seconds=90),
                Fault("delay", "HEAD", "batch", seconds=90),
            ],
        }[name]
        with own.proxy.having(*faults):
            began = time.monotonic()
            with pytest.raises(HybridError, match=r"fs\.azure\.io\.retry\.max\.retries|may be there or not"):
                add(store, stats(uri), rows(1).append_column("text", pa.array(["one more"])))
            return time.monotonic() - began

    found = each_on_its_own(lake, run, "blocks", "commit")
    assert max(found.values()) < 60, found


@MINUTES
def test_reads_of_a_blob_are_whole_or_an_error(lake: Lake, uri: str) -> None:
    file = put(lake, uri)
    content = lake.place.lake.filesystem().cat_file(lake.place.inside(file))
    location = lake.located(file, **{"fs.azure.io.retry.max.retries": "1"})
    for fault in (FAULTS["short"], FAULTS["empty"], FAULTS["cut"]):
        with lake.proxy.having(fault), pytest.raises(Exception, match=r"not completed|[Ii]ncomplete|bytes of"):
            location.fs.cat_file(location.path)
        with lake.proxy.having(fault), pytest.raises(Exception, match=r"not completed|[Ii]ncomplete|bytes of"):
            SiteOpener.of(location)(location.path).read(1000)
    assert location.fs.cat_file(location.path) == content
