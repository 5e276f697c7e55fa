"""Spark, while an ADLS account is busy, hangs up, cuts its answers or is silent: it is carried, or said."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from feast_hybrid import HybridSparkOfflineStore, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import HybridError, RoutingError
from feast_hybrid.testing import Fault
from tests.integration.batches import DRIVER, SCHEMA
from tests.integration.faulty import MINUTES, Lake, faulty_lake
from tests.integration.places import (
    Place,
    abfs_speaks_to_azurite,
    feature_store,
    format_jars,
    hour,
    retrieve,
    source,
    view,
)
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from feast import FeatureStore
    from pyspark.sql import SparkSession

    from tests.integration.conftest import MakeStore

pytestmark = pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark")

COUNT = 8_000
TIME = "2026-01-10T00:00:00Z"
TYPED: dict[str, dict[str, str]] = {
    "csv": {"header": "true", "inferSchema": "true"},
    "json": {"inferTimestamp": "true"},
}
#: Of a file's answers the first one or the second is not whole.
CUTS = [Fault(action, "GET", r"part-", nth=nth, kept=0.7) for action in ("short", "cut") for nth in (1, 2)]
#: Java's own HTTP client, without TLS, takes this for the end of a file: ``test_cut_answers_over_tls.py``.
EMPTY = Fault("short", "GET", r"part-", nth=1, kept=0.0)
#: Of all requests of a retrieval these meet a fault.
SOME = (1, 2, 4, 7, 8)


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with faulty_lake() as found:
        yield found


def table() -> pa.Table:
    numbers = list(range(COUNT))
    times = pa.array([hour(0)] * COUNT, pa.timestamp("us", "UTC"))
    words = [f"row {number * 7919 % COUNT} of a table" for number in numbers]
    return pa.table({"driver_id": numbers, "trips": numbers, "event_timestamp": times, "words": words})


def content(file_format: str) -> bytes:
    sink, rows = io.BytesIO(), table()
    if file_format == "parquet":
        pq.write_table(rows, sink, row_group_size=COUNT // 5)
    elif file_format == "orc":
        orc.write_table(rows, sink, stripe_size=1 << 16)
    else:
        texts = rows.set_column(2, "event_timestamp", pa.array([TIME] * COUNT))
        if file_format == "csv":
            pc.write_csv(texts, sink)
        else:
            sink.write("".join(json.dumps(row) + "\n" for row in texts.to_pylist()).encode())
    return sink.getvalue()


@pytest.fixture(scope="module")
def files(lake: Lake, spark: SparkSession) -> dict[str, str]:
    """The same rows in a file of each format; their URIs."""
    found = {}
    for file_format in ("parquet", "orc", "csv", "json"):
        found[file_format] = f"{lake.place.uri}/in-spark/{file_format}"
        lake.place.put(f"{found[file_format]}/part-0.{file_format}", content(file_format))
    if format_jars("avro"):
        found["avro"] = f"{lake.place.uri}/in-spark/avro"
        rows = spark.createDataFrame(table()).coalesce(1)
        rows.write.format("avro").options(**lake.place.lake.hadoop_options()).save(found["avro"])
    return found


def store_of(lake: Lake, uri: str, folder: Path, file_format: str = "parquet", **more: Any) -> FeatureStore:
    rows = source("stats_rows", uri, file_format=file_format, options=TYPED.get(file_format, {}))
    of = view("stats", rows, DRIVER, schema=SCHEMA)
    folder.mkdir(exist_ok=True)
    return feature_store([more.pop("site", lake.site())], folder, DRIVER, of, **more)


def pull_all(store: FeatureStore) -> Any:
    of = store.get_feature_view("stats").batch_source
    assert of is not None
    between = (hour(-1), hour(1))
    return HybridSparkOfflineStore.pull_all_from_table_or_query(
        store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, *between
    )


def numbers(job: Any) -> list[int]:
    return sorted(job.to_arrow()["trips"].to_pylist())


@pytest.mark.parametrize(
    "file_format",
    [
        pytest.param(
            "csv",
            marks=[
                pytest.mark.connect,
                reliability("ADLS", "cut answers while Spark reads CSV", "read anew; never fewer rows"),
            ],
        ),
        pytest.param(
            "json", marks=reliability("ADLS", "cut answers while Spark reads JSON", "read anew; never fewer rows")
        ),
        pytest.param(
            "avro", marks=reliability("ADLS", "cut answers while Spark reads Avro", "read anew; never fewer rows")
        ),
        pytest.param(
            "orc", marks=reliability("ADLS", "cut answers while Spark reads ORC", "read anew; never fewer rows")
        ),
        pytest.param(
            "parquet",
            marks=[
                pytest.mark.connect,
                reliability("ADLS", "cut answers while Spark reads Parquet", "read anew; never fewer rows"),
            ],
        ),
    ],
)
def test_no_answer_that_is_cut_makes_spark_read_fewer_rows(
    lake: Lake, files: dict[str, str], tmp_path: Path, file_format: str
) -> None:
    if file_format not in files:
        pytest.skip(f"no package of {file_format} for this PySpark")
    store = store_of(lake, files[file_format], tmp_path, file_format)
    for fault in [*CUTS, EMPTY] if file_format in ("avro", "orc", "parquet") else CUTS:
        job = pull_all(store)
        with lake.proxy.having(fault) as proxy:
            try:
                assert numbers(job) == list(range(COUNT)), fault
            except HybridError:
                assert fault is EMPTY
        assert proxy.injected or fault.nth == 2, fault


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(
            Fault("answer", status=429, retry_after=1),
            marks=[pytest.mark.connect, reliability("ADLS", "429 to some requests, in Spark", "asked again")],
        ),
        pytest.param(
            Fault("answer", status=503), marks=reliability("ADLS", "503 to some requests, in Spark", "asked again")
        ),
        pytest.param(
            Fault("answer", status=500), marks=reliability("ADLS", "500 to some requests, in Spark", "asked again")
        ),
        pytest.param(Fault("reset"), marks=reliability("ADLS", "resets of some requests, in Spark", "asked again")),
        pytest.param(
            Fault("delay", seconds=2.5),
            marks=reliability(
                "ADLS", "slow answers to some requests, in Spark", "asked again after the read timeout"
            ),
        ),
    ],
    ids=str,
)
def test_what_happens_to_some_requests_is_carried(
    lake: Lake, files: dict[str, str], tmp_path: Path, fault: Fault
) -> None:
    site = lake.site(**{"fs.azure.http.read.timeout": "1000"})
    store = store_of(lake, files["csv"], tmp_path, "csv", site=site)
    with lake.proxy.having(*(replace(fault, nth=nth) for nth in SOME)) as proxy:
        assert numbers(pull_all(store)) == list(range(COUNT))
    assert len(proxy.injected) > 2


ROWS = pd.DataFrame({"driver_id": [1, 2], "event_timestamp": [hour(1), hour(1)]})


def historical(store: FeatureStore) -> Callable[[], Any]:
    return retrieve(store, ROWS, ["stats:trips"]).to_arrow


def latest(store: FeatureStore) -> Callable[[], Any]:
    of = store.get_feature_view("stats").batch_source
    assert of is not None
    between = (hour(-1), hour(1))
    return HybridSparkOfflineStore.pull_latest_from_table_or_query(
        store.config, of, ["driver_id"], ["trips"], "event_timestamp", None, *between
    ).to_arrow


def persisted(store: FeatureStore) -> Callable[[], Any]:
    job = retrieve(store, ROWS, ["stats:trips"])
    uri = f"{store.config.offline_store.sites[0].uri}/in-spark/saved-{time.monotonic_ns()}"
    return lambda: job.persist(SavedDatasetHybridSparkStorage(path=uri))


def exported(store: FeatureStore) -> Callable[[], Any]:
    return retrieve(store, ROWS, ["stats:trips"]).to_remote_storage


VERBS = {"historical": historical, "latest": latest, "persist": persisted, "export": exported}


def failing(lake: Lake, fault: Fault, make: Callable[[], Callable[[], Any]]) -> tuple[str, float]:
    """What a verb says, after which time, if this happens to all requests from its plan on."""
    do = make()
    with lake.proxy.having(fault):
        began = time.monotonic()
        with pytest.raises(HybridError) as caught:
            do()
        return str(caught.value), time.monotonic() - began


@pytest.mark.parametrize(
    ("verb", "strategy", "fault"),
    [
        pytest.param(
            "historical",
            "columnar",
            Fault("answer", status=503),
            marks=reliability(
                "ADLS",
                "an account that is busy from the middle of get_historical_features on, by the columnar strategy",
                "an error that names account, container, path, code and setting",
                "fs.azure.io.retry.max.retries in the site's options",
            ),
        ),
        pytest.param(
            "historical",
            "window",
            Fault("answer", status=503),
            marks=reliability(
                "ADLS",
                "an account that is busy from the middle of get_historical_features on, by Spark's reader",
                "an error that names account, container, path, code and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "historical",
            "window",
            Fault("short", "GET", kept=0.0),
            marks=reliability(
                "ADLS",
                "answers that are all cut, in Spark",
                "an error that names account, container, path, code and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "latest",
            "auto",
            Fault("reset"),
            marks=reliability(
                "ADLS",
                "an account that hangs up during materialize, by Spark's reader",
                "an error that names account, container, path, code and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "persist",
            "window",
            Fault("answer", status=500),
            marks=reliability(
                "ADLS",
                "an account that fails (500) from the middle of persist on",
                "an error; nothing is changed",
                "fs.azure.io.retry.max.retries",
            ),
        ),
        pytest.param(
            "export",
            "window",
            Fault("answer", status=429, retry_after=1),
            marks=reliability(
                "ADLS",
                "an account that is busy (429) from the middle of to_remote_storage on",
                "an error that names account, container, path, code and setting",
                "fs.azure.io.retry.max.retries",
            ),
        ),
    ],
    ids=str,
)
def test_what_does_not_end_names_account_container_path_and_setting(
    lake: Lake, files: dict[str, str], tmp_path: Path, verb: str, strategy: str, fault: Fault, promise: Row
) -> None:
    site = lake.site(**{"fs.azure.io.retry.max.retries": "1", "fs.azure.http.read.timeout": "1500"})
    store = store_of(
        lake,
        files["parquet"],
        tmp_path,
        site=site,
        join={"strategy": strategy},
        staging_location=f"{lake.place.uri}/in-spark/staging",
    )
    text, _ = failing(lake, fault, lambda: VERBS[verb](store))
    assert promise.reads in text
    assert "fs.azure.io.retry.max.retries" in text
    assert "site 'cloud'" in text
    container, _, host = lake.place.uri.removeprefix("abfs://").partition("@")
    assert host.partition(".")[0] in text
    assert container in text
    assert "in-spark/" in text


@MINUTES
@pytest.mark.parametrize(
    ("verb", "strategy"),
    [
        *((verb, "window") for verb in ("latest", "persist", "export")),
        *(("historical", strategy) for strategy in ("window", "columnar")),
    ],
)
def test_a_silent_account_is_given_up_within_a_minute(
    lake: Lake, files: dict[str, str], tmp_path: Path, verb: str, strategy: str
) -> None:
    site = {**lake.site(), "options": {}}
    staging = f"{lake.place.uri}/in-spark/staging"
    store = store_of(
        lake, files["parquet"], tmp_path, site=site, join={"strategy": strategy}, staging_location=staging
    )
    _, seconds = failing(lake, Fault("delay", seconds=120), lambda: VERBS[verb](store))
    assert seconds < 60


LASTING = (
    Fault("answer", status=503),
    Fault("answer", status=429, retry_after=2),
    Fault("reset"),
    Fault("cut", "GET"),
    Fault("short", "GET", kept=0.6),
    Fault("delay", seconds=40),
)


@MINUTES
@pytest.mark.parametrize(
    ("strategy", "fault"),
    [*(("window", fault) for fault in LASTING), *(("columnar", fault) for fault in LASTING[:1])],
    ids=str,
)
def test_what_lasts_for_half_a_minute_is_carried(
    lake: Lake, files: dict[str, str], tmp_path: Path, strategy: str, fault: Fault
) -> None:
    site = {**lake.site(), "options": {}}
    store = store_of(lake, files["parquet"], tmp_path, site=site, join={"strategy": strategy})
    do = historical(store)
    lasting = Fault(**{**vars(fault), "lasting": 28})
    with lake.proxy.having(lasting) as proxy:
        assert sorted(do()["trips"].to_pylist()) == [1, 2]
    assert proxy.injected


@reliability(
    "ADLS",
    "a URI of the other lake: abfss of a NameNode, hdfs of a storage account",
    "refused, with the URI that is meant",
    "did you mean hdfs://",
)
def test_a_path_of_the_other_lake_is_refused(
    make_store: MakeStore, onprem: Place, cloud: Place, promise: Row
) -> None:
    config = make_store().config
    host = onprem.uri.removeprefix("hdfs://").partition(":")[0].partition("/")[0]
    with pytest.raises(RoutingError) as caught:
        source("rows", f"abfss://lake@{host}/rows").validate(config)
    assert promise.reads in str(caught.value)
    with pytest.raises(RoutingError, match=rf"Write abfss://{cloud.uri.removeprefix('abfs://')}/rows"):
        source("rows", f"hdfs://{cloud.uri.removeprefix('abfs://')}/rows").validate(config)
