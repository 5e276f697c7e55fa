"""Spark's errors in the words of this package: one table of conditions and their meanings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyspark
from pyspark.errors import PySparkException

from feast_hybrid import errors
from feast_hybrid.errors import (
    HybridError,
    RetrievalError,
    SchemaError,
    SessionError,
    SourceError,
    SourceNotFoundError,
    StorageError,
)
from feast_hybrid.lakes.errors import RedactedError, raise_from, redacted, storage_error
from feast_hybrid.lakes.hadoop_cache import with_plain_schemes
from feast_hybrid.lakes.markers import BEING_REPLACED, BEING_REPLACED_ADVICE
from feast_hybrid.lakes.refusing_site import site_of
from feast_hybrid.lakes.timeouts import BLOB_RETRIES
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.spark.causes import Cause, causes_of, summary_of
from feast_hybrid.spark.formats import package_hint
from feast_hybrid.spark.hadoop_azure import hadoop_version

if TYPE_CHECKING:
    from feast_hybrid.lakes import Site

#: Where a message of Spark's says which file was being read.
_READING = re.compile(r"error while reading file (\S+?)\.?(?:\s|$)")

_SPARK_ERRORS: tuple[type[Exception], ...] = (PySparkException,)
with suppress(ModuleNotFoundError):  # PySpark's client for Connect alone comes without py4j
    from py4j.protocol import Py4JError

    _SPARK_ERRORS = (PySparkException, Py4JError)


@contextmanager
def translate_spark_errors(what: str, where: str, sites: Sequence[Site] = ()) -> Iterator[None]:
    """Turn what Spark raises inside into an error that names the thing and what to change.

    Args:
        what: such as ``source 'weather'``.
        where: such as ``site 'cloud' at abfss://…``.
        sites: those that may be read or written: the error says how the one that it is of is signed in to.

    Raises:
        SourceNotFoundError: nothing is there.
        StorageError: the lake does not accept the sign-in, denies access, is unavailable or does not answer.
        SessionError: the session lacks the lake's driver or the format's package, or it is gone.
        SchemaError: a column or its type is not what was expected.
        RetrievalError: anything else.
    """
    try:
        yield
    except HybridError:
        raise
    except Exception as error:
        if not isinstance(error, _SPARK_ERRORS):
            raise
        here = not type(error).__module__.startswith("pyspark.errors.exceptions.connect")
        failure = Failure(what, where, causes_of(error), sites, here)
        _raise(failure.translated(), error, failure.causes)


@dataclass(frozen=True)
class Failure:
    """What Spark could not do, and why.

    Attributes:
        what: the thing, such as ``source 'weather'``.
        where: the site and the place.
        causes: from the outermost to the innermost.
        sites: those that it may be of.
        here: whether the driver is of this process, so that it has its files.
    """

    what: str
    where: str
    causes: Sequence[Cause]
    sites: Sequence[Site] = ()
    here: bool = True

    @property
    def summary(self) -> str:
        """What Spark says of it, in a line."""
        return summary_of(self.causes)

    def translated(self) -> HybridError:
        """The error that says so in the words of this package."""
        for cause in reversed(self.causes):
            if cause.in_python and (raised := _error_of_this_package(cause, self.what)):
                return raised
        for cause in self.causes:
            # Before what it was caused by, such as a file that is not there: that of a token.
            if "Auth failure: " in cause.message and (refused := self._of_the_lake(cause)):
                return refused
        for cause in self.causes:
            for condition in CONDITIONS:
                if condition.holds_for(cause):
                    return condition.meaning(self)
        for cause in self.causes:
            if refused := self._of_the_lake(cause):
                return refused
        return RetrievalError(f"{self.what} ({self.where}): {self.summary}")

    def _of_the_lake(self, cause: Cause) -> StorageError | None:
        # What has a condition of Spark's own is Spark's to say, whatever its text: a job may raise any.
        if cause.condition and not cause.condition.startswith("GRPC."):
            return None
        return storage_error(
            cause.own_text,
            what=self._what_of_file,
            where=self.where,
            sites=self.sites,
            trace=cause.trace,
            here=self.here,
        )

    @property
    def _what_of_file(self) -> str:
        """The thing, and which of its files was read, where Spark says that."""
        found = next(filter(None, (_READING.search(cause.message) for cause in self.causes)), None)
        return self.what if found is None else f"{self.what}, file {with_plain_schemes(found[1])}"


def _raise(translated: HybridError, error: Exception, causes: Sequence[Cause]) -> None:
    if all(redacted(cause.message) == cause.message for cause in causes):
        raise_from(translated, error)
    # Connect keeps the server's stack trace, which no traceback shows, in the exception.
    try:
        raise translated from RedactedError(redacted(f"{type(error).__qualname__}: {error}"))
    finally:
        translated.__context__ = None  # Python has just set it to the error


def _error_of_this_package(cause: Cause, what: str) -> HybridError | None:
    module, _, name = cause.exception_class.rpartition(".")
    found = getattr(errors, name, None) if module == errors.__name__ else None
    if isinstance(found, type) and issubclass(found, HybridError):
        return found(f"{what}: {redacted(cause.message)}")
    return None


def _no_driver(failure: Failure) -> HybridError:
    package = f"org.apache.hadoop:hadoop-azure:{hadoop_version()}"
    return SessionError(
        f"{failure.what} ({failure.where}): this Spark session has no driver for the lake, and one cannot be added "
        f"to a running session. Start it with spark.jars.packages={package} (for Feast's spark.engine beside "
        "type: in batch_engine, since Feast 0.67 does not hand batch_engine.spark_conf to Spark; for Spark "
        f"Connect: start-connect-server.sh --packages {package})."
    )


def _other_driver(failure: Failure) -> HybridError:
    package = f"org.apache.hadoop:hadoop-azure:{hadoop_version()}"
    return SessionError(
        f"{failure.what} ({failure.where}): the hadoop-azure of this Spark session is of another version than its "
        f"Hadoop: {failure.summary.rstrip('.')}. Start it with {package} and no other, in spark.jars.packages, "
        "spark.jars and Spark's folder jars/ (a server of Spark Connect with the one of its own Hadoop)."
    )


def _session_gone(failure: Failure) -> HybridError:
    return SessionError(
        f"{failure.what}: the Spark Connect session is gone, dropped by its server for having been idle or with the "
        "server itself. Ask again from the feature store; what was made in the old session is lost. "
        f"{failure.summary}"
    )


def _server_gone(failure: Failure) -> HybridError:
    return SessionError(
        f"{failure.what}: the Spark Connect server does not answer; see whether it runs. {failure.summary}"
    )


def _jvm_gone(failure: Failure) -> HybridError:
    return SessionError(
        f"{failure.what}: the JVM of this process's Spark session has ended; its standard error says why. Start the "
        f"process again. {failure.summary}"
    )


def _no_such_file(failure: Failure) -> HybridError:
    reading = next((cause for cause in failure.causes if cause.condition.startswith("FAILED_READ_FILE")), None)
    if reading is None:
        return SourceNotFoundError(f"{failure.what}: nothing is at {failure.where}.")
    return SourceNotFoundError(
        f"{failure.what} ({failure.where}): a file that was there when the plan was made is gone; ask for the "
        f"features again. {reading.summary}"
    )


def _no_such_table(failure: Failure) -> HybridError:
    return SourceNotFoundError(f"{failure.what}: no such table ({failure.where}): {failure.summary}")


def _no_such_catalog(failure: Failure) -> HybridError:
    return SourceNotFoundError(
        f"{failure.what} ({failure.where}): the session has no catalog of that name. Start it with "
        f"spark.sql.catalog.<name> and what belongs to it (offline_store.spark.conf): {failure.summary}"
    )


def _ends_early(failure: Failure) -> HybridError:
    site = site_of(failure.summary, failure.sites)
    where = failure.where if site is None or "site '" in failure.where else f"site {site.name!r}"
    more = ""
    if any(site.lake is LakeType.ADLS for site in failure.sites):
        more = f" If the file is whole, the account cut its answers each time: {BLOB_RETRIES} in the site's options"
        more += " has it asked more often."
    return RetrievalError(
        f"{failure.what} ({where}): a file ends before its end. {failure.summary}. Write it anew, or move it "
        f"away.{more}"
    )


def _being_replaced(failure: Failure) -> HybridError:
    return RetrievalError(f"{failure.what} ({failure.where}): {BEING_REPLACED_ADVICE} {failure.summary}")


def _nanoseconds(failure: Failure) -> HybridError:
    return SchemaError(
        f"{failure.what} ({failure.where}): a Parquet column holds nanosecond timestamps, which Spark cannot read. "
        "Write them as microseconds (pyarrow: coerce_timestamps='us')."
    )


def _no_format(failure: Failure) -> HybridError:
    return SessionError(
        f"{failure.what} ({failure.where}): the session does not know this file format; start it with the format's "
        f"package in spark.jars.packages ({package_hint(pyspark.__version__)}). {failure.summary}"
    )


def _no_files(failure: Failure) -> HybridError:
    return SourceError(f"{failure.what}: {failure.where} holds no files of this format.")


@dataclass(frozen=True)
class Condition:
    """A line of the table: which cause has which meaning.

    Attributes:
        name: Spark's error condition, where it has sub-conditions any of them; or the exception's class, in Java by
            its full name; empty for any.
        meaning: makes the error.
        words: a pattern that the message has to hold besides, where the name alone says too little.
        trace: a pattern that the message or the stack trace has to hold.
    """

    name: str
    meaning: Callable[[Failure], HybridError]
    words: str = ""
    trace: str = ""

    def holds_for(self, cause: Cause) -> bool:
        """Whether this is what a cause says."""
        names = ("", cause.condition, cause.condition.partition(".")[0], cause.exception_class)
        if self.name not in names or re.search(self.words, cause.message, re.DOTALL) is None:
            return False
        return re.search(self.trace, f"{cause.message}\n{cause.trace}") is not None


#: What Java says of a class that was compiled against others than are there.
_LINKAGE_ERRORS = (
    *("NoSuchMethodError", "NoSuchFieldError", "AbstractMethodError", "IllegalAccessError", "VerifyError"),
    *("IncompatibleClassChangeError", "NoClassDefFoundError", "ExceptionInInitializerError"),
)

#: For each cause, from the outermost on, the first line that holds decides. What a lake itself answers is not here:
#: :mod:`feast_hybrid.lakes.errors` knows it.
CONDITIONS: tuple[Condition, ...] = (
    Condition("INVALID_HANDLE.SESSION_CLOSED", _session_gone),
    Condition("INVALID_HANDLE.SESSION_NOT_FOUND", _session_gone),
    Condition("INVALID_HANDLE.SESSION_CHANGED", _session_gone),
    Condition("NO_ACTIVE_SESSION", _session_gone),
    Condition("PySparkAssertionError", _session_gone, r"server side session identifier"),
    Condition("RETRIES_EXCEEDED", _server_gone),
    Condition("GRPC.UNAVAILABLE", _server_gone),
    Condition("GRPC.DEADLINE_EXCEEDED", _server_gone),
    Condition("Py4JNetworkError", _jvm_gone),
    Condition("UNSUPPORTED_FILE_SYSTEM", _no_driver),
    Condition("org.apache.hadoop.fs.UnsupportedFileSystemException", _no_driver),
    Condition("java.lang.ClassNotFoundException", _no_driver, r"\bfs\.azurebfs\."),
    Condition("java.lang.NoClassDefFoundError", _no_driver, r"\bfs/azurebfs/"),
    *(Condition(f"java.lang.{name}", _other_driver, trace=r"\bazurebfs\b") for name in _LINKAGE_ERRORS),
    Condition("FAILED_READ_FILE.FILE_NOT_EXIST", _no_such_file),
    Condition("PATH_NOT_FOUND", _no_such_file),
    Condition("DELTA_PATH_DOES_NOT_EXIST", _no_such_file),
    Condition("java.io.FileNotFoundException", _no_such_file),
    Condition("java.io.EOFException", _ends_early),
    Condition("org.apache.iceberg.exceptions.NotFoundException", _no_such_file),
    Condition("TABLE_OR_VIEW_NOT_FOUND", _no_such_table),
    Condition("SCHEMA_NOT_FOUND", _no_such_table),
    Condition("CATALOG_NOT_FOUND", _no_such_catalog),
    Condition("REQUIRES_SINGLE_PART_NAMESPACE", _no_such_catalog),  # Spark takes the name for one of its own
    Condition("DELTA_TABLE_NOT_FOUND", _no_such_table),
    Condition("org.apache.iceberg.exceptions.NoSuchTableException", _no_such_table),
    Condition("PARQUET_TYPE_ILLEGAL", _nanoseconds, r"NANOS"),
    Condition("org.apache.spark.sql.AnalysisException", _nanoseconds, r"Illegal Parquet type: .*TIMESTAMP\(NANOS"),
    Condition("DATA_SOURCE_NOT_FOUND", _no_format),
    Condition("AVRO_DATA_SOURCE_NOT_ENABLED", _no_format),
    Condition("DATA_SOURCE_NOT_ENABLED", _no_format),
    Condition("UNABLE_TO_INFER_SCHEMA", _no_files),
    Condition("", _being_replaced, re.escape(f"/{BEING_REPLACED}")),
)
