"""Spark Connect: whose session is used, what becomes of sessions that nobody needs or that are gone, and secrets."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from feast_hybrid import HybridSparkSource, SavedDatasetHybridSparkStorage
from feast_hybrid.errors import SessionError
from feast_hybrid.sources.reader import Reader
from feast_hybrid.spark import connect
from feast_hybrid.spark.config import SparkConfig
from feast_hybrid.spark.connect import remote_session
from feast_hybrid.spark.isolated import child_session
from feast_hybrid.spark.session import get_session
from feast_hybrid.testing import start_connect
from tests.integration.places import Place, connect_only, entity, hour, retrieve, rows_of, view
from tests.integration.reliability import Row, reliability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from feast_hybrid.testing import SparkConnectServer
    from tests.integration.conftest import MakeStore, Write

pytestmark = [pytest.mark.connect, connect_only("all of this")]

ENTITY_ROWS = pd.DataFrame({"driver_id": [2, 1], "event_timestamp": [hour(1), hour(1)]})


def of_own_thread(action: Callable[[], Any]) -> Any:
    """Run where no session is active."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(action).result()


@pytest.fixture
def views(write: Write, onprem: Place, cloud: Place) -> list[Any]:
    driver = entity("driver", join_key="driver_id")
    rows = {"driver_id": [1, 2], "event_timestamp": [hour(0), hour(0)]}
    made = []
    for place, name, values in ((onprem, "trips", [10, 20]), (cloud, "mood", ["a", "b"])):
        path = write(place, name, {**rows, name: values})
        source = HybridSparkSource(name=f"{name}_rows", path=path, timestamp_field="event_timestamp")
        made.append(view(name, source, driver))
    return [driver, *made]


@pytest.fixture
def own(connect_server: SparkConnectServer) -> Iterator[SparkSession]:
    """A session that spark.remote asks for, where none is active."""
    session = of_own_thread(lambda: remote_session(connect_server.uri, {}))
    yield session
    connect.close_client(session)


def knows(server: SparkConnectServer, session_id: str) -> bool:
    """Whether a server would go on with a session; it remembers those that have ended."""
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    probe = ConnectSession(f"{server.uri}/;session_id={session_id}")
    message = ""
    try:
        probe.conf.get("spark.app.id")
    except PySparkException as error:
        message = str(error)
    finally:
        connect.release_client(probe.client, notify_server=False)
    assert not message or "SESSION_CLOSED" in message
    return not message


def test_the_caller_s_active_session_on_that_server_is_used(
    spark: SparkSession, connect_server: SparkConnectServer
) -> None:
    assert remote_session(connect_server.uri, {}) is spark


def test_threads_without_an_active_session_share_one(own: SparkSession, connect_server: SparkConnectServer) -> None:
    assert of_own_thread(lambda: remote_session(connect_server.uri, {})) is own
    assert own.range(3).count() == 3


def test_a_session_that_the_server_has_dropped_is_replaced(
    own: SparkSession, connect_server: SparkConnectServer
) -> None:
    own.client.release_session()
    again = of_own_thread(lambda: remote_session(connect_server.uri, {}))
    assert again is not own
    assert again.range(3).count() == 3
    connect.close_client(again)


@pytest.mark.parametrize("threads", ["one-thread", "a-thread-for-each-call"])
def test_a_session_of_spark_remote_in_the_environment_is_replaced_too(
    connect_server: SparkConnectServer, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    monkeypatch.setattr(ConnectSession, "_default_session", None)  # the run's own, which any thread would find
    monkeypatch.setenv("SPARK_REMOTE", connect_server.uri)
    config = SparkConfig()

    def get_three_sessions(run: Callable[[Callable[[], Any]], Any]) -> None:
        first = run(lambda: get_session(config))
        assert run(lambda: get_session(config)) is first
        first.client.release_session()
        again = run(lambda: get_session(config))
        try:
            assert again is not first
            assert again.range(3).count() == 3
        finally:
            connect.close_client(again)

    if threads == "one-thread":
        of_own_thread(lambda: get_three_sessions(lambda action: action()))
    else:
        get_three_sessions(of_own_thread)


def test_a_caller_s_own_session_that_is_gone_is_not_replaced_behind_its_back(
    connect_server: SparkConnectServer,
) -> None:
    def look_at_a_gone_session() -> None:
        from pyspark.sql.connect.session import SparkSession as ConnectSession

        session: Any = ConnectSession.builder.remote(connect_server.uri).create()
        session.client.release_session()
        try:
            assert not connect.is_expired(session)
            assert not session.is_stopped
        finally:
            connect.close_client(session)

    of_own_thread(look_at_a_gone_session)


def test_a_child_ends_on_the_server_when_its_frames_are_gone(
    spark: SparkSession, connect_server: SparkConnectServer
) -> None:
    child: Any = child_session(spark, {"fs.azure.some.setting": "x"})
    name = child.session_id
    frame = child.range(3).where("id > 0")
    del child
    gc.collect()
    assert frame.count() == 2
    assert knows(connect_server, name)
    del frame
    gc.collect()
    deadline = time.monotonic() + 20
    while knows(connect_server, name) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not knows(connect_server, name)


@reliability(
    "Secrets",
    "a Spark Connect server that does not answer, with a token in its address",
    "an error within seconds, without the token",
    "does not answer as one",
)
def test_a_server_that_does_not_answer_is_named_soon_and_without_the_token(
    monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(SessionError, match=rf"sc://127\.0\.0\.1:9 {promise.reads}") as caught:
        of_own_thread(lambda: remote_session("sc://127.0.0.1:9/;x-secret=hidden", {}))
    assert time.monotonic() - began < 10
    assert "hidden" not in str(caught.value)


def test_a_server_that_never_answers_holds_up_nobody_else(
    connect_server: SparkConnectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 8.0)
    with socket.socket() as silent, ThreadPoolExecutor(1) as thread:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        waiting = thread.submit(lambda: remote_session(f"sc://127.0.0.1:{silent.getsockname()[1]}", {}))
        time.sleep(1)  # it has been asked
        began = time.monotonic()
        answered = of_own_thread(lambda: remote_session(connect_server.uri, {}))
        assert answered.range(3).count() == 3
        assert not waiting.done(), f"the other was waited for: {time.monotonic() - began:.1f} s"
        with pytest.raises(SessionError, match="does not answer as one: Deadline Exceeded"):
            waiting.result()
        connect.close_client(answered)


def test_whether_a_session_lives_is_asked_without_its_retry_policies(spark: SparkSession) -> None:
    client: Any = spark.client
    seen: list[Any] = []
    before = client.get_retry_policies()
    client.set_retry_policies([])  # at the first failure the client would give up
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.append(client.get_retry_policies())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for _ in range(20):
            assert connect.is_alive(spark)
    finally:
        done.set()
        watching.join()
        client.set_retry_policies(before)
    assert seen
    assert not any(seen)


def test_a_server_that_the_environment_names_is_looked_for_there_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    monkeypatch.setattr(ConnectSession, "_default_session", None)
    monkeypatch.setattr(connect, "ANSWER_SECONDS", 1.0)
    monkeypatch.setenv("SPARK_REMOTE", "sc://127.0.0.1:9")
    with pytest.raises(SessionError, match=r"^SPARK_REMOTE of the environment: the Spark Connect server at "):
        of_own_thread(lambda: get_session(SparkConfig()))


def test_a_setting_of_the_server_cannot_be_asked_for_here(connect_server: SparkConnectServer) -> None:
    with pytest.raises(SessionError, match=r"spark\.executor\.memory cannot be set .* where the server is started"):
        of_own_thread(lambda: remote_session(connect_server.uri, {"spark.executor.memory": "3g"}))


def test_settings_hold_in_the_session_that_is_made_with_them(connect_server: SparkConnectServer) -> None:
    made = of_own_thread(lambda: remote_session(connect_server.uri, {"spark.sql.shuffle.partitions": "3"}))
    assert made.conf.get("spark.sql.shuffle.partitions") == "3"
    connect.close_client(made)


def test_a_caller_s_frame_and_temp_view_meet_tables_that_need_a_site_s_settings(
    spark: SparkSession, make_store: MakeStore, views: list[Any], cloud: Place
) -> None:
    driver, trips, mood = views
    queried = HybridSparkSource(
        name="queried", query="SELECT * FROM moods", site="cloud", timestamp_field="event_timestamp"
    )
    # To make the table, as to read it, takes the site's settings.
    child = Reader(spark, make_store().config.offline_store.router).child()
    child.sql(f"CREATE TABLE moods USING parquet LOCATION '{mood.batch_source.path}'")
    store = make_store(driver, trips, view("queried_mood", queried, driver))
    spark.createDataFrame(ENTITY_ROWS).createOrReplaceTempView("mine")
    try:
        before = dict(spark.conf.getAll)
        job = retrieve(store, spark.table("mine").where("driver_id > 0"), ["trips:trips", "queried_mood:mood"])
        found = sorted(rows_of(job.to_arrow(), "driver_id", "trips", "mood"))
        assert found == [(1, 10, "a"), (2, 20, "b")]
        assert dict(spark.conf.getAll) == before
        assert job.to_spark_df().count() == 2
    finally:
        spark.catalog.dropTempView("mine")
        spark.sql("DROP TABLE moods")


@reliability(
    "Secrets",
    "Spark Connect: its server's pages and event log, the client's log at `DEBUG`",
    "show no secret",
)
def test_two_servers_serve_two_stores_of_one_process_and_no_key_is_in_logs_or_pages(
    connect_server: SparkConnectServer,
    make_store: MakeStore,
    views: list[Any],
    cloud: Place,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from pyspark.sql.connect.logging import logger as client_log

    monkeypatch.setattr(client_log, "disabled", False)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, client_log.name)
    events = tmp_path / "events"
    events.mkdir()
    logged = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.sql.shuffle.partitions": "2",
    }

    def retrieve_from(server: SparkConnectServer) -> tuple[Any, list[tuple[Any, ...]]]:
        store = make_store(*views, spark={"remote": server.uri})
        job = retrieve(store, ENTITY_ROWS, ["trips:trips", "mood:mood"])
        frame: Any = job.to_spark_df()
        sql = retrieve(store, "SELECT driver_id, event_timestamp FROM mood_rows", ["mood:mood"])
        assert len(sql.to_df()) == 2
        # Spark reads both lakes: a request names their options.
        window = make_store(*views, spark={"remote": server.uri}, join={"strategy": "window"})
        assert len(retrieve(window, ENTITY_ROWS, ["trips:trips", "mood:mood"]).to_df()) == 2
        saved = SavedDatasetHybridSparkStorage(path=f"{cloud.uri}{folder}/saved_{server.web_port}")
        job.persist(saved)
        return frame.sparkSession, rows_of(job.to_arrow(), "trips", "mood")

    with start_connect("process", conf=logged) as other:
        results = [of_own_thread(partial(retrieve_from, server)) for server in (connect_server, other)]
        applications = {session.conf.get("spark.app.id") for session, _ in results}
        log = other.logs() + "".join(
            json.dumps(other.get_json(f"applications/{application}/{page}"))
            for application in applications & {found["id"] for found in other.get_json("applications")}
            for page in ("environment", "sql?details=true&planDescription=true&length=1000", "jobs", "stages")
        )
        for server in (connect_server, other):
            connect.close_client(of_own_thread(partial(remote_session, server.uri, {})))
    assert [rows for _, rows in results] == [[(20, "b"), (10, "a")]] * 2
    assert len(applications) == 2
    written = "".join(path.read_text(encoding="utf-8") for path in events.rglob("*") if path.is_file())
    assert "fs.azure.account.auth.type" in written, "the log names no option: does this test look at it?"
    secret = os.environ[cloud.site()["credential"]["account_key"]["env"]]
    assert secret not in written
    assert "sparkProperties" in log, "no page was looked at"
    assert "planDescription" in log
    assert secret not in log
    assert 'key: "fs.azure.account.key.' in caplog.text, "the client's log names no option"
    assert secret not in caplog.text


def test_a_server_without_the_lake_s_driver_is_told_what_to_add(make_store: MakeStore, views: list[Any]) -> None:
    with start_connect("process", hadoop_azure=False) as bare:
        store = make_store(*views, spark={"remote": bare.uri})
        with pytest.raises(SessionError) as caught:
            of_own_thread(lambda: retrieve(store, ENTITY_ROWS, ["mood:mood"]).to_df())
        connect.close_client(of_own_thread(lambda: remote_session(bare.uri, {})))
    assert re.search(r"start-connect-server\.sh .*--packages org\.apache\.hadoop:hadoop-azure:\d", str(caught.value))
