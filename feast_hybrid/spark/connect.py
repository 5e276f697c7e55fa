"""Sessions on Spark Connect servers: one for each server and set of settings, made again when it is gone."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from pyspark.errors import PySparkException, PySparkValueError
from pyspark.sql import SparkSession

from feast_hybrid.errors import MissingDependencyError, SessionError
from feast_hybrid.lakes.shared_filesystems import SHARED
from feast_hybrid.spark.progress import show_progress
from feast_hybrid.spark.runtime import classic_runs

logger = logging.getLogger(__name__)

#: How long a server may take to say whether it knows a session. PySpark itself would try for ten minutes.
ANSWER_SECONDS = 15.0
_RETRY_PAUSE_SECONDS = 0.25

#: The sessions that were made here, by URL, and by settings with a digest of the token.
_opened: dict[tuple[str, str], SparkSession] = {}
#: Held while a server is asked, so that threads share a session: each URL its own, since a server may not answer.
_url_locks: dict[str, threading.Lock] = {}
_url_locks_guard = threading.Lock()


def remote_session(
    url: str, conf: Mapping[str, str], setting: str = "offline_store.spark.remote", *, token: str | None = None
) -> SparkSession:
    """The session on a server: the caller's active one where it is of that server, else this process's own.

    A session that the server no longer knows, for having been idle or because the server was started again, is
    replaced by a new one; frames of the old one are lost. While a server does not answer, sessions on other servers
    are to be had all the same.

    Args:
        url: ``sc://host:port``, with parameters as Spark describes them.
        conf: what to set in a session that is made here.
        setting: where the URL is from, for errors.
        token: signs in to the server; None where the URL says all. Another one is another session.

    Raises:
        SessionError: the server does not answer, a setting cannot be set there, or a Spark Classic session runs in
            this process.
        MissingDependencyError: Spark Connect's packages are missing.
    """
    _require_packages()
    signed_in = SHARED.key(place=url, settings={"token": token}).hex()
    key = (url, f"{sorted(conf.items())} {signed_in}")
    with _lock_of(url):
        active = _active_session_of(url)
        if active is not None:
            return active
        spark = _opened.get(key)
        if spark is not None and not is_alive(spark):
            logger.info("The Spark Connect session on %s is gone: making a new one", _address(spark))
            close_client(spark)
            spark = None
        if spark is None:
            spark = _opened[key] = _open(url, conf, setting, token)
        return spark


def is_expired(spark: SparkSession) -> bool:
    """Whether this is a session that was made here and does not live any more. If so it is closed."""
    url = next((url for (url, _), opened in list(_opened.items()) if opened is spark), None)
    if url is None:
        return False
    with _lock_of(url):
        if is_alive(spark):
            return False
        logger.info("The Spark Connect session on %s is gone", _address(spark))
        close_client(spark)
        return True


def _lock_of(url: str) -> threading.Lock:
    with _url_locks_guard:
        return _url_locks.setdefault(url, threading.Lock())


def _require_packages() -> None:
    try:
        import pyspark.sql.connect.client  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"Spark Connect needs packages that PySpark does not install by itself ({error}): "
            "pip install 'feast-hybrid[connect]'"
        ) from error


def _active_session_of(url: str) -> SparkSession | None:
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    active: Any = ConnectSession.getActiveSession()
    if active is None or active in _opened.values():
        return None
    try:
        same = active.client._builder.endpoint == DefaultChannelBuilder(url).endpoint
    except AttributeError:  # a caller's own way to reach a server
        return None
    return active if same and is_alive(active) else None


def _open(url: str, conf: Mapping[str, str], setting: str, token: str | None) -> SparkSession:
    if classic_runs():
        # PySpark's functions make columns of one kind in a process, and a remote session changes the kind.
        raise SessionError(
            f"{setting} is {_without_token(url)}, but a Spark Classic session runs in this process, and PySpark "
            f"serves one kind at a time. Stop it first, or leave {setting} out to work in it. Feast's spark.engine "
            "starts one where batch_engine does not name the server as well: spark.remote, beside type:."
        )
    spark: Any = None
    with suppress(PySparkValueError):  # which repeats the URL
        spark = SparkSession.builder.remote(url if token is None else with_token(url, token)).create()
    if spark is None:
        raise SessionError(f"{setting}: {_without_token(url)} and what follows is no URL such as sc://host:15002.")
    failure = _failure_to_answer(spark)
    if failure is not None:
        address = _address(spark)
        close_client(spark)
        raise SessionError(
            f"{setting}: the Spark Connect server at {address} does not answer as one: {_in_a_line(failure)}"
        ) from failure
    for name, value in conf.items():
        _set(spark, name, value)
    show_progress(spark)
    return spark  # type: ignore[no-any-return]


def _set(spark: SparkSession, name: str, value: str) -> None:
    try:
        if spark.conf.get(name, None) != value:
            spark.conf.set(name, value)
    except PySparkException as error:
        close_client(spark)
        raise SessionError(
            f"offline_store.spark.conf: {name} cannot be set in a session of Spark Connect; set it where the server "
            "is started."
        ) from error


def is_alive(spark: Any) -> bool:
    """Whether the server still knows the session."""
    return not spark.is_stopped and _failure_to_answer(spark) is None


def _failure_to_answer(spark: Any) -> Exception | None:
    """What happens when the server is asked for something small; None where it answers.

    Asked past the session's client, which retries for long: its policy is its owner's, whose threads may be at work.
    """
    import grpc
    from pyspark.sql.connect.proto import ConfigRequest

    deadline = time.monotonic() + ANSWER_SECONDS
    client = spark.client
    while True:
        try:
            request = client._config_request_with_metadata()
            request.operation.get_option.CopyFrom(ConfigRequest.GetOption(keys=["spark.app.id"]))
            seconds = max(deadline - time.monotonic(), _RETRY_PAUSE_SECONDS)
            client._stub.Config(request, metadata=client._builder.metadata(), timeout=seconds)
        except grpc.RpcError as error:
            # A server that starts refuses connections for a while.
            starting = error.code() is grpc.StatusCode.UNAVAILABLE
            if not starting or time.monotonic() + _RETRY_PAUSE_SECONDS > deadline:
                return error  # type: ignore[no-any-return]
            time.sleep(_RETRY_PAUSE_SECONDS)
        except Exception as error:  # whatever it is: a session that cannot be asked cannot be worked in
            return error
        else:
            return None


def _in_a_line(failure: Exception) -> str:
    details = getattr(failure, "details", None)
    text = str(details() if callable(details) else failure).strip()
    return text.partition("\n")[0][:200]


def close_client(spark: Any) -> None:
    """Close this side of a session without asking the server, which may not be there."""
    release_client(spark.client, notify_server=False)
    for key, opened in list(_opened.items()):
        if opened is spark:
            del _opened[key]
    with suppress(Exception):
        spark.stop()  # closed by now: only takes it out of PySpark's places for the active and the default one


def release_client(client: Any, *, notify_server: bool = True) -> None:
    """Give a session back to its server and close the connection; never waits for a server that is gone.

    Args:
        client: the session's. The session itself may be gone.
        notify_server: whether to end the session on the server.
    """
    # PySpark speaks to the server once more when the process ends, and tries for ten minutes if it is gone.
    with suppress(AttributeError):
        atexit.unregister(client._on_exit)
    with suppress(Exception):
        client.set_retry_policies([])
        if notify_server and not client.is_closed:
            client.release_session()
    with suppress(Exception):
        client.close()


def _address(spark: Any) -> str:
    """The server's address, without what the URL may hold of secrets."""
    return f"sc://{spark.client._builder.endpoint}"


def with_token(url: str, token: str) -> str:
    """A server's URL, such as ``sc://host:15002/;use_ssl=true``, with the token that signs in to it."""
    address, _, parameters = url.partition(";")
    given = [parameter for parameter in parameters.split(";") if parameter]
    return ";".join([f"{address.rstrip('/')}/", *given, f"token={quote(token, safe='')}"])


def _without_token(url: str) -> str:
    return url.partition("/;")[0].partition(";")[0]
