"""Sessions on Spark Connect servers: one for each server and set of settings, made again when it is gone."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import MissingDependencyError, SessionError
from feast_hybrid.spark.kind import classic_runs
from feast_hybrid.spark.progress import show_progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

logger = logging.getLogger(__name__)

#: How a server is asked for the first time: for some 15 seconds, where PySpark would try for ten minutes.
PATIENCE: dict[str, Any] = {"max_retries": 6, "initial_backoff": 50, "backoff_multiplier": 4, "max_backoff": 5000}

_opening = threading.Lock()
_opened: dict[tuple[str, str], SparkSession] = {}


def remote_session(url: str, conf: Mapping[str, str], named: str = "offline_store.spark.remote") -> SparkSession:
    """The session on a server: the caller's active one where it is of that server, else this process's own.

    A session that the server no longer knows, for having been idle or because the server was started again, is
    replaced by a new one; frames of the old one are lost.

    Args:
        url: ``sc://host:port``, with parameters as Spark describes them.
        conf: what to set in a session that is made here.
        named: where the URL is from, for errors.

    Raises:
        SessionError: the server does not answer, a setting cannot be set there, or a Spark Classic session runs in
            this process.
        MissingDependencyError: Spark Connect's packages are missing.
    """
    _require_packages()
    key = (url, repr(sorted(conf.items())))
    with _opening:
        active = _active_session_of(url)
        if active is not None:
            return active
        spark = _opened.get(key)
        if spark is not None and not is_alive(spark):
            logger.info("The Spark Connect session on %s is gone: making a new one", _place(spark))
            close_client(spark)
            spark = None
        if spark is None:
            spark = _opened[key] = _open(url, conf, named)
        return spark


def is_expired(spark: SparkSession) -> bool:
    """Whether this is a session that was made here and does not live any more. If so it is forgotten."""
    with _opening:
        if spark not in _opened.values() or is_alive(spark):
            return False
        logger.info("The Spark Connect session on %s is gone", _place(spark))
        close_client(spark)
        return True


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


def _open(url: str, conf: Mapping[str, str], named: str) -> SparkSession:
    from pyspark.sql import SparkSession

    if classic_runs():
        # PySpark's functions make columns of one kind in a process, and a remote session changes the kind.
        raise SessionError(
            f"{named} is {_without_token(url)}, but a Spark Classic session runs in this process, and PySpark serves "
            f"one kind at a time. Stop it first, or leave {named} out to work in it. Feast's spark.engine starts one "
            "where batch_engine does not name the server as well: spark.remote, beside type:."
        )
    spark: Any = SparkSession.builder.remote(url).create()
    trouble = _trouble(spark)
    if trouble is not None:
        place = _place(spark)
        close_client(spark)
        raise SessionError(
            f"{named}: the Spark Connect server at {place} does not answer as one: "
            f"{str(trouble).strip().splitlines()[0][:200]}"
        ) from trouble
    for name, value in conf.items():
        _set(spark, name, value)
    show_progress(spark)
    return spark  # type: ignore[no-any-return]


def _set(spark: SparkSession, name: str, value: str) -> None:
    from pyspark.errors import PySparkException

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
    return not spark.is_stopped and _trouble(spark) is None


def _trouble(spark: Any) -> Exception | None:
    """What happens when the server is asked for something small; None where it answers."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    before = spark.client.get_retry_policies()
    spark.client.set_retry_policies([DefaultPolicy(**PATIENCE)])
    try:
        spark.conf.get("spark.app.id", "")
    except Exception as error:  # whatever it is: a session that cannot be asked cannot be worked in
        return error
    finally:
        spark.client.set_retry_policies(before)
    return None


def close_client(spark: Any) -> None:
    """Close this side of a session without asking the server, which may not be there."""
    release_client(spark.client, ask=False)
    for key, opened in list(_opened.items()):
        if opened is spark:
            del _opened[key]
    with suppress(Exception):
        spark.stop()  # closed by now: only takes it out of PySpark's places for the active and the default one


def release_client(client: Any, *, ask: bool = True) -> None:
    """Give a session back to its server and close the connection; never waits for a server that is gone.

    Args:
        client: the session's. The session itself may be gone.
        ask: whether to tell the server.
    """
    # PySpark speaks to the server once more when the process ends, and tries for ten minutes if it is gone.
    with suppress(AttributeError):
        atexit.unregister(client._on_exit)
    with suppress(Exception):
        client.set_retry_policies([])
        if ask and not client.is_closed:
            client.release_session()
    with suppress(Exception):
        client.close()


def _place(spark: Any) -> str:
    """The server's address, without what the URL may hold of secrets."""
    return f"sc://{spark.client._builder.endpoint}"


def _without_token(url: str) -> str:
    return url.partition("/;")[0].partition(";")[0]
