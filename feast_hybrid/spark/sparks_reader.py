"""Settings with which Spark's reader of files does what pyarrow does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

#: And the value at which it does not.
_READER_SETTINGS = {
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}


def wants_sparks_reader(setting: Callable[[str], Any]) -> str | None:
    """What wants Spark's reader, in words for plans; None where nothing does.

    Args:
        setting: gives the value of a setting, None where it is not set.
    """
    for name, without_effect in _READER_SETTINGS.items():
        value = setting(name)
        if value is not None and str(value).upper() != without_effect.upper():
            return f"{name} is {value}, which only Spark's reader knows"
    return None


def setting_of_process(name: str) -> str | None:
    """A setting of the Spark Classic session that is active in this process; None where none is, or it has none.

    PySpark is not imported for it: without it there is no session. A server of Spark Connect is not asked: it may be
    gone, and the settings of a client's session are those that its own calls give it.
    """
    module: Any = sys.modules.get("pyspark.sql")
    try:
        session = None if module is None else module.SparkSession.getActiveSession()
        if session is None or _is_connect(session):
            return None
        found: str | None = session.conf.get(name, None)
    except Exception:  # a JVM that has died answers nothing
        return None
    return found


def spark_is_elsewhere(remote: str | None) -> bool:
    """Whether Spark would work on a server of Spark Connect, which may reach other lakes than this process.

    Args:
        remote: the server that the configuration names; None where it names none.
    """
    if remote is not None or os.environ.get("SPARK_REMOTE"):
        return True
    module: Any = sys.modules.get("pyspark.sql.connect.session")
    return module is not None and module.SparkSession.getActiveSession() is not None


def _is_connect(session: Any) -> bool:
    return type(session).__module__.startswith("pyspark.sql.connect")
