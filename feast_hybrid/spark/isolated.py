"""Sessions beside a session, for settings and views that nobody else may see."""

from __future__ import annotations

import copy
import re
import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from feast_hybrid.spark.connect import release_client
from feast_hybrid.spark.progress import show_progress
from feast_hybrid.spark.redaction import keep_secrets_out_of_plans, unlogged
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


#: Settings of catalogs, which any session may get, but for those of Spark's own catalog; and by which Iceberg reads
#: another branch.
_OF_CATALOG = re.compile(r"spark\.sql\.catalog\.(?!spark_catalog(\.|$))|spark\.wap\.")


def child_session(spark: SparkSession, settings: Mapping[str, str]) -> SparkSession:
    """A session beside this one: its own views and settings, the same catalogs and executors.

    It starts with this session's runtime settings and its current catalog and database, in which a name without them
    is looked for, then takes ``settings``. On Spark Connect the server is told to
    end it when it and all its frames are gone from this process.
    """
    child = _new_on_server(spark) if is_connect(spark) else spark.newSession()
    with unlogged():  # a setting of a catalog may be a secret
        for key, value in _runtime_settings(spark).items():
            child.conf.set(key, value)
    _go_to(child, spark.catalog.currentCatalog(), spark.catalog.currentDatabase())
    return _prepared(child, settings)


def _go_to(session: SparkSession, catalog: str, database: str) -> None:
    if session.catalog.currentCatalog() != catalog:
        session.catalog.setCurrentCatalog(catalog)
    if session.catalog.currentDatabase() != database:
        session.catalog.setCurrentDatabase(database)


def home_of_frames(spark: SparkSession) -> bool:
    """Whether frames can meet only those of their own session: so it is on Spark Connect, not on Classic."""
    return is_connect(spark)


def clone_session_for(frame: DataFrame, settings: Mapping[str, str]) -> DataFrame:
    """A frame of Spark Connect in a session beside its own, which has all of that one's views and ``settings``.

    For a caller's frame that must meet what can only be read with settings which are none of the caller's session.
    """
    from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame

    original: Any = frame
    session: Any = _prepared(_released_with(original.sparkSession.cloneSession()), settings)
    clone: Any = ConnectFrame(original._plan, session)
    return clone  # type: ignore[no-any-return]


def _prepared(child: SparkSession, settings: Mapping[str, str]) -> SparkSession:
    keep_secrets_out_of_plans(child)
    for key, value in settings.items():
        child.conf.set(key, value)
    return child


def _new_on_server(spark: Any) -> SparkSession:
    try:
        child = spark.newSession()
    except Exception:  # before 4.3 there is no such call, in words that differ from release to release
        child = spark.builder.remote(spark.client._builder.url).create()
    return _released_with(child)


def _released_with(child: Any) -> SparkSession:
    """Have the server end the session when its object is gone, which all its frames hold."""
    show_progress(child)
    released = weakref.finalize(child, _release_aside, child.client)
    released.atexit = False  # a process that ends leaves what it has to the server, as PySpark's own sessions do
    return child  # type: ignore[no-any-return]


def _release_aside(client: Any) -> None:
    """Release in a thread: garbage is collected in the midst of anything, such as another call to the server."""
    threading.Thread(target=_release, args=(client,), name="feast-hybrid-release", daemon=True).start()


def _release(client: Any) -> None:
    from pyspark.sql.connect.client import ChannelBuilder, SparkConnectClient

    release_client(client, notify_server=False)  # its connection was closed with its session's object
    connection = copy.deepcopy(client._builder)
    connection.set(ChannelBuilder.PARAM_SESSION_ID, client._session_id)
    release_client(SparkConnectClient(connection, user_id=client._user_id))


def _runtime_settings(spark: SparkSession) -> dict[str, str]:
    """The settings of a session that may be set on another: Spark's own, and those of catalogs besides its own."""
    with unlogged():
        settings = dict(spark.conf.getAll)
    return {
        key: value
        for key, value in settings.items()
        if value is not None
        and (
            _OF_CATALOG.match(key) is not None
            or (re.match(r"spark\.sql\.", key) is not None and spark.conf.isModifiable(key))
        )
    }
