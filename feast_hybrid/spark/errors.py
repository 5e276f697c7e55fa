"""Spark's errors in the words of this package: the one place where their texts are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from feast_hybrid import errors
from feast_hybrid.errors import (
    HybridError,
    RetrievalError,
    SchemaError,
    SessionError,
    SourceError,
    SourceNotFoundError,
)
from feast_hybrid.lakes.errors import raise_from, redacted, redacted_summary, storage_error
from feast_hybrid.lakes.replace_adls import BEING_REPLACED

_NANOS = re.compile(r"Illegal Parquet type: .*TIMESTAMP\(NANOS|PARQUET_TYPE_ILLEGAL.*NANOS", re.DOTALL)
_NO_FORMAT = re.compile(r"DATA_SOURCE_NOT_(FOUND|ENABLED)|Failed to find (the )?data source")
#: What a Spark Connect server says of a session that it does not know any more.
_GONE = re.compile(r"INVALID_HANDLE\.SESSION_|NO_ACTIVE_SESSION|server side session identifier")
#: An error of this package that was raised in one of Spark's Python workers.
_OURS = re.compile(r"^(?:feast_hybrid\.errors\.)(\w+): (.+)$", re.MULTILINE)


@contextmanager
def translate_spark_errors(what: str, where: str) -> Iterator[None]:
    """Turn what Spark raises inside into an error that names the thing and what to change.

    Args:
        what: such as ``source 'weather'``.
        where: such as ``site 'cloud' at abfss://…``.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the lake does not accept the sign-in, denies access, is unavailable or does not answer.
        SessionError: the session lacks the lake's driver or the format's package.
        SchemaError: a column or its type is not what was expected.
        RetrievalError: anything else.
    """
    try:
        yield
    except HybridError:
        raise
    except Exception as error:
        translated = _translate(error, what, where)
        if translated is None:
            raise
        raise_from(translated, error)


def _translate(error: Exception, what: str, where: str) -> HybridError | None:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    if not isinstance(error, (PySparkException, Py4JError)):
        return None
    text = str(error)
    if in_worker := _OURS.findall(text):
        name, message = in_worker[-1]
        found = getattr(errors, name, None)
        kind = found if isinstance(found, type) and issubclass(found, HybridError) else RetrievalError
        return kind(f"{what}: {redacted(message)}")
    if ("azurebfs" in text and ("ClassNotFoundException" in text or "not found" in text)) or (
        "UNSUPPORTED_FILE_SYSTEM" in text or "No FileSystem for scheme" in text
    ):
        from feast_hybrid.spark.hadoop_azure import hadoop_version

        package = f"org.apache.hadoop:hadoop-azure:{hadoop_version()}"
        return SessionError(
            f"{what} ({where}): this Spark session has no driver for the lake, and one cannot be added to a running "
            f"session. Start it with spark.jars.packages={package} (for Feast's spark.engine beside "
            "type: in batch_engine, since Feast 0.67 does not hand batch_engine.spark_conf to Spark; for Spark "
            f"Connect: start-connect-server.sh --packages {package})."
        )
    if _GONE.search(text):
        return SessionError(
            f"{what}: the Spark Connect session is gone, dropped by its server for having been idle or with the "
            f"server itself. Ask again from the feature store; what was made in the old session is lost. "
            f"{redacted_summary(text)}"
        )
    if "FAILED_READ_FILE" in text and ("FILE_NOT_EXIST" in text or "FileNotFoundException" in text):
        return SourceNotFoundError(
            f"{what} ({where}): a file that was there when the plan was made is gone; ask for the features again. "
            f"{_reading(text)}"
        )
    if "PATH_NOT_FOUND" in text or "FileNotFoundException" in text or "does not exist" in text:
        return SourceNotFoundError(f"{what}: nothing is at {where}.")
    if "TABLE_OR_VIEW_NOT_FOUND" in text:
        return SourceNotFoundError(f"{what}: no such table ({where}): {redacted_summary(text)}")
    if BEING_REPLACED in text:
        return RetrievalError(
            f"{what} ({where}): its rows are being replaced at this moment, or a writer died while it did so. Read "
            f"again; if that does not help, save the dataset again. {redacted_summary(text)}"
        )
    if _NANOS.search(text):
        return SchemaError(
            f"{what} ({where}): a Parquet column holds nanosecond timestamps, which Spark cannot read. Write them "
            "as microseconds (pyarrow: coerce_timestamps='us')."
        )
    if _NO_FORMAT.search(text):
        import pyspark

        from feast_hybrid.spark.formats import package_hint

        return SessionError(
            f"{what} ({where}): the session does not know this file format; start it with the format's package in "
            f"spark.jars.packages ({package_hint(pyspark.__version__)}). {redacted_summary(text)}"
        )
    if "UNABLE_TO_INFER_SCHEMA" in text:
        return SourceError(f"{what}: {where} holds no files of this format.")
    if refused := storage_error(text, what=what, where=where):
        return refused
    return RetrievalError(f"{what} ({where}): {redacted_summary(text)}")


def _reading(text: str) -> str:
    """The line that names the file."""
    named = (line for line in text.splitlines() if "FAILED_READ_FILE" in line)
    return redacted_summary(next(named, text))
