"""What needs a Spark application of its own: a cluster, an event log, a session without the lake's driver."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.spark.formats import SETTINGS
from feast_hybrid.testing import session_conf
from tests.integration.places import EACH_TABLE_FORMAT, Places, format_jars, hour, outside_of_spark
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Write

#: Applies a view on each lake and prints what a retrieval over both gives, as the last line.
SCRIPT = """
import json, os, sys
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, RepoConfig, ValueType
from feast_hybrid import HybridSparkSource, SavedDatasetHybridSparkStorage

settings = json.loads(sys.stdin.read())
store = FeatureStore(config=RepoConfig(
    project="p", provider="local", registry=settings["registry"], online_store=None,
    offline_store={
        "type": "feast_hybrid.HybridSparkOfflineStore", "engine": "spark", "sites": settings["sites"],
        "spark": settings["spark"]},
    entity_key_serialization_version=3))
driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
views = [
    FeatureView(name=name, entities=[driver], source=HybridSparkSource(
        name=name + "_rows", path=uri, timestamp_field="event_timestamp"))
    for name, uri in settings["tables"].items()
]
store.apply([driver, *views])
rows = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": pd.to_datetime(["2026-01-10T05:00Z"] * 2)})

def retrieve():
    return store.get_historical_features(rows, [name + ":" + name for name in settings["tables"]])
"""


def run(script: str, settings: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(script)],
        input=json.dumps(settings),
        cwd=folder,
        env=outside_of_spark(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def settings(write: Write, lakes_to_test: Places, tmp_path: Path) -> dict[str, Any]:
    keys = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)]}
    return {
        "registry": str(tmp_path / "registry.db"),
        "sites": lakes_to_test.sites(),
        "tables": {
            "trips": write(lakes_to_test.onprem, "trips", {**keys, "trips": [10, 20]}),
            "mood": write(lakes_to_test.cloud, "mood", {**keys, "mood": ["a", "b"]}),
        },
    }


@reliability(
    "Secrets",
    "logs at `DEBUG`, plans, Spark's UI and REST interface, the event log, the JVM's command line, the registry",
    "show no secret",
)
def test_the_key_is_in_no_log_at_any_level_nor_where_spark_shows_or_keeps_anything(
    settings: dict[str, Any], lakes_to_test: Places, folder: str, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    events.mkdir()
    conf = {
        **session_conf(),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.ui.enabled": "true",
        "spark.ui.port": "0",
    }
    saved = f"{lakes_to_test.cloud.uri}{folder}/saved"
    done = run(
        f"""
        import logging, traceback, urllib.request
        from pathlib import Path
        import pyarrow as pa
        from pyspark.sql import SparkSession
        from feast_hybrid import HybridSparkOfflineStore
        logging.basicConfig(level=logging.DEBUG)
        job = retrieve()
        job.to_spark_df().explain(True)
        print(job.to_df())
        job.persist(SavedDatasetHybridSparkStorage(path={saved!r}))
        times = pa.array(rows["event_timestamp"].dt.tz_convert("UTC")).cast(pa.timestamp("us", tz="UTC"))
        batch = pa.table({{"driver_id": [1, 2], "event_timestamp": times, "mood": ["c", "d"]}})
        HybridSparkOfflineStore.offline_write_batch(store.config, views[1], batch, None)
        sql = store.get_historical_features("SELECT driver_id, event_timestamp FROM mood_rows", ["trips:trips"])
        sql.to_spark_df().explain(True)
        print(sql.to_df())
        print(store.config, repr(store.config.offline_store))
        gone = HybridSparkSource(name="gone", path={lakes_to_test.cloud.uri!r} + "/gone", file_format="orc",
                                 timestamp_field="t")
        try:
            gone.validate(store.config)
        except Exception:
            traceback.print_exc()
        context = SparkSession.active().sparkContext
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
        of_application = context.uiWebUrl + "/api/v1/applications/" + context.applicationId
        for page in ("/environment", "/sql?details=true&planDescription=true&length=1000", "/jobs", "/stages"):
            print(page, opener.open(of_application + page).read().decode())
        print(opener.open(context.uiWebUrl + "/environment/").read().decode())
        print(Path(f"/proc/{{context._gateway.proc.pid}}/cmdline").read_bytes())
        """,
        {**settings, "spark": {"master": "local[2]", "conf": conf}},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "nothing is at site 'cloud'" in done.stderr
    for looked_at in (
        "DEBUG:py4j.clientserver:Command to send",
        '"planDescription"',
        '"sparkProperties"',
        "SparkSubmit",
    ):
        assert looked_at in done.stdout + done.stderr
    assert re.search(r"^sfs\.azure\.account\.key\.\S+\ns…$", done.stderr, re.MULTILINE), "py4j named no option"
    key = os.environ[lakes_to_test.cloud.site()["credential"]["account_key"]["env"]]
    logs = [path for path in events.rglob("*") if path.is_file()]
    written = "".join(path.read_text(encoding="utf-8") for path in logs)
    assert "fs.azure.account.key" in written, "the log does not even name the option: does this test look at it?"
    assert key not in written
    assert key not in done.stdout + done.stderr
    assert key.encode() not in (tmp_path / "registry.db").read_bytes()


@reliability("Secrets", "event logs of Delta and Iceberg", "show no secret")
@pytest.mark.matrix
@EACH_TABLE_FORMAT
def test_the_key_is_in_no_event_log_or_output_of_a_table_format_that_is_written_and_read(
    settings: dict[str, Any], lakes_to_test: Places, folder: str, tmp_path: Path, file_format: str
) -> None:
    events = tmp_path / "events"
    events.mkdir()
    conf = {
        **session_conf(),
        **SETTINGS.get(file_format, {}),
        "spark.jars": ",".join([session_conf()["spark.jars"], *format_jars(file_format)]),
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.sql.shuffle.partitions": "2",
    }
    place = lakes_to_test.cloud
    done = run(
        f"""
        import traceback
        import pyarrow as pa
        from feast import Field
        from feast.types import Int64
        from feast_hybrid import HybridSparkOfflineStore

        def table(name, fmt={file_format!r}):
            return HybridSparkSource(name=name, path={place.uri + folder!r} + "/" + name, file_format=fmt,
                                     timestamp_field="event_timestamp", date_partition_column="day")

        view = FeatureView(name="ranks", entities=[driver], source=table("ranks"), schema=[
            Field(name="driver_id", dtype=Int64), Field(name="rank", dtype=Int64)])
        times = pa.array(rows["event_timestamp"].dt.tz_convert("UTC")).cast(pa.timestamp("us", tz="UTC"))
        for n in range(2):  # made, then added to
            batch = pa.table({{"driver_id": [1, 2], "rank": [n, n + 1], "event_timestamp": times}})
            HybridSparkOfflineStore.offline_write_batch(store.config, view, batch, None)
        store.apply([view])
        for entity_df in (rows, "SELECT driver_id, event_timestamp FROM ranks"):
            job = store.get_historical_features(entity_df, ["ranks:rank", "trips:trips"])
            job.to_spark_df().explain(True)
            print("rows:", len(job.to_df()))
        for _ in range(2):  # made, then replaced
            storage = SavedDatasetHybridSparkStorage(
                path={place.uri + folder!r} + "/saved", file_format={file_format!r})
            job.persist(storage, allow_overwrite=True)
        try:
            HybridSparkOfflineStore.offline_write_batch(store.config, view, batch.drop_columns(["rank"]), None)
        except Exception:
            traceback.print_exc()
        try:
            table("gone").validate(store.config)
        except Exception:
            traceback.print_exc()
        """,
        {**settings, "spark": {"master": "local[2]", "conf": conf}},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("rows: ") == 2
    assert "missing rank" in done.stderr
    written = "".join(path.read_text(encoding="utf-8") for path in events.rglob("*") if path.is_file())
    secrets = [value for name, value in place.lake.hadoop_options().items() if "account.key" in name]
    if secrets:  # on a Spark that cannot read the other lake, HDFS has its role
        assert "fs.azure.account.key" in written, "the log does not even name the option: does this test look at it?"
    for secret in secrets:
        assert secret not in written
        assert secret not in done.stdout + done.stderr
        assert secret.encode() not in (tmp_path / "registry.db").read_bytes()


@reliability(
    "Secrets",
    "a secret in the settings of a session that somebody else started",
    "works, with a warning that names the setting",
    "is a secret that shows in Spark's UI (/environment) and event log",
)
def test_a_secret_that_an_active_session_shows_is_warned_of_by_name_and_place(
    settings: dict[str, Any], tmp_path: Path, promise: Row
) -> None:
    setting = "spark.hadoop.fs.azure.account.key.other.dfs.core.windows.net"
    done = run(
        f"""
        import logging, warnings
        from pyspark.sql import SparkSession
        builder = SparkSession.builder.master("local[1]").config({setting!r}, "Y2FuYXJ5LWtleQ==")
        for key, value in {session_conf()!r}.items():
            builder = builder.config(key, value)
        active = builder.getOrCreate()
        logging.basicConfig(level=logging.DEBUG)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            retrieve().to_df()
            retrieve().to_df()
        print(json.dumps([str(w.message) for w in caught if "is a secret that shows" in str(w.message)]))
        """,
        {**settings, "spark": {}},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (warned,) = json.loads(done.stdout.splitlines()[-1])
    assert warned.startswith(
        f"This Spark session's setting {setting} {promise.reads} "
        "and the command line of its JVM (/proc/*/cmdline). Take it out"
    )
    assert "Y2FuYXJ5LWtleQ==" not in done.stdout + done.stderr


def test_a_session_without_the_lakes_driver_is_told_what_to_add(settings: dict[str, Any], tmp_path: Path) -> None:
    done = run(
        """
        from pyspark.sql import SparkSession
        SparkSession.builder.master("local[1]").getOrCreate()
        try:
            retrieve()
        except Exception as error:
            print(type(error).__name__, error)
        """,
        {**settings, "spark": {}},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    printed = done.stdout.splitlines()[-1]
    assert printed.startswith("SessionError")
    assert "spark.jars.packages=org.apache.hadoop:hadoop-azure:" in printed


def test_an_active_session_wins_and_what_differs_is_named(settings: dict[str, Any], tmp_path: Path) -> None:
    done = run(
        f"""
        import warnings
        from pyspark.sql import SparkSession
        builder = SparkSession.builder.master("local[1]")
        for key, value in {session_conf()!r}.items():
            builder = builder.config(key, value)
        active = builder.getOrCreate()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = retrieve().to_spark_df()
        assert frame.sparkSession.sparkContext is active.sparkContext
        print([str(w.message) for w in caught if "offline_store.spark" in str(w.message)])
        print(active.conf.get("spark.sql.redaction.options.regex"))
        active.conf.set("spark.sql.redaction.options.regex", "(?i)mine")
        retrieve().to_spark_df()
        print(active.conf.get("spark.sql.redaction.options.regex"))
        """,
        {**settings, "spark": {"conf": {"spark.executor.memory": "3g"}}},
        tmp_path,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    warned, redacted, own_and_redacted = done.stdout.splitlines()[-3:]
    assert "sets spark.executor.memory" in warned
    assert "3g" not in warned
    assert redacted.startswith("(?i)url|")
    assert own_and_redacted.startswith("(?i)mine|")
