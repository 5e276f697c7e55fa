"""Lakes' secrets stay out of what Spark writes down: logs of its Python clients, plans, its UI, its event log."""

from __future__ import annotations

import logging
import re
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.errors import PySparkException

from feast_hybrid.lakes.secrets import SENSITIVE_NAMES, SIGN_IN_SETTINGS, holds_secret
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: What of a lake's options must not be read in Spark's UI, plans and event log.
_SECRET_OPTIONS = f"(?i){SIGN_IN_SETTINGS}"
#: The same in the text of what a client asks of a Connect server, which writes it down too, as the call site of jobs.
_SECRET_IN_TEXT = _SECRET_OPTIONS + r'[^"]*"\s*value:\s*"[^"]*"'

#: Which settings and properties Spark hides in its UI and event log; it is read when Spark starts.
REDACTION = "spark.redaction.regex"
#: Spark's own value of it.
_SPARKS_REDACTION = "(?i)secret|password|token|access[.]?key"

#: Who logs each command and answer between Python and Spark.
_PY4J = ("py4j.java_gateway", "py4j.clientserver")
_CONNECT = "pyspark.sql.connect.logging"
#: A setting and its value: two texts of one command of py4j's, each on a line of its own behind an ``s``; an entry of
#: a map in a message to a Connect server. Names count that only sound like secrets.
_NAME = rf"(?:{SIGN_IN_SETTINGS}|{SENSITIVE_NAMES})"
_IN_COMMAND = re.compile(rf"^(s[^\n]*{_NAME}[^\n]*\ns)[^\n]*", re.IGNORECASE | re.MULTILINE)
_IN_MESSAGE = re.compile(
    rf'((?:key|name): *"[^"]*{_NAME}[^"]*"\s*(?:value|string): *")(?:[^"\\]|\\.)*', re.IGNORECASE
)

_unlogged = threading.local()

#: The sessions, and applications, whose settings were looked at.
_looked_at: weakref.WeakSet[SparkSession] = weakref.WeakSet()
_applications_looked_at: set[str] = set()


class _Redacting(logging.Filter):
    """Strikes values of secret settings out of the records of a logger, or drops a record: see :func:`unlogged`."""

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(_unlogged, "depth", 0):
            return False
        text = record.getMessage()
        shown = _IN_MESSAGE.sub(r"\1…", _IN_COMMAND.sub(r"\1…", text))
        if shown != text:
            record.msg, record.args = shown, ()
        return True


_redacting = _Redacting()


def redact_logs(spark: SparkSession | None = None) -> None:
    """Have Spark's clients in this process log no secret, whatever their level; once is enough.

    Args:
        spark: the session that is to be used; None where one is about to be started.
    """
    for name in _PY4J:
        logging.getLogger(name).addFilter(_redacting)
    if spark is not None and is_connect(spark):  # whose module makes its logger, of a class of its own
        logging.getLogger(_CONNECT).addFilter(_redacting)


@contextmanager
def unlogged() -> Iterator[None]:
    """Have py4j log nothing of what this thread does inside: what all settings are is asked one by one."""
    _unlogged.depth = getattr(_unlogged, "depth", 0) + 1
    try:
        yield
    finally:
        _unlogged.depth -= 1


def keep_secrets_out_of_plans(spark: SparkSession) -> None:
    """Have Spark redact the lakes' secrets where it writes options down; what was set before is kept."""
    redact_logs(spark)
    _add_pattern(spark, "spark.sql.redaction.options.regex", _SECRET_OPTIONS)
    if is_connect(spark):
        _add_pattern(spark, "spark.sql.redaction.string.regex", _SECRET_IN_TEXT)


def _add_pattern(spark: SparkSession, setting: str, pattern: str) -> None:
    try:
        # With a second argument Spark's own default, such as (?i)url, would not be given, and so be lost.
        before = spark.conf.get(setting) or ""
    except PySparkException:
        before = ""
    if pattern not in before:
        spark.conf.set(setting, f"{before}|{pattern}" if before else pattern)


def with_redaction(settings: Mapping[str, str]) -> dict[str, str]:
    """The settings of a session to start, whose UI and event log hide the lakes' secrets.

    None of them is set by this package; a cluster's ``core-site.xml`` may have some, and Spark's page of its
    environment shows all that Hadoop is configured with.
    """
    before = settings.get(REDACTION, _SPARKS_REDACTION)
    return {**settings, REDACTION: f"{before}|{_SECRET_OPTIONS}"}


def warn_of_shown_secrets(spark: SparkSession) -> None:
    """Warn, once for each application, of a lake's secret in the settings of a session that Spark does not hide."""
    if spark in _looked_at:
        return
    _looked_at.add(spark)
    with unlogged(), suppress(PySparkException):  # a session that has ended says so where it is used
        application = spark.conf.get("spark.app.id", None) or ""
        if application in _applications_looked_at:
            return
        _applications_looked_at.add(application)
        shown = _shown_on_connect(spark) if is_connect(spark) else _shown_on_classic(spark)
    for name, places in shown.items():
        warnings.warn(
            f"This Spark session's setting {name} is a secret that shows in {' and '.join(places)}. Take it out of "
            "the session and sign in by offline_store.sites[].credential; or start the session with "
            rf"{REDACTION}={_SPARKS_REDACTION}|fs\.azure\..*key, which hides it in the UI and the event log, and set "
            "it in a file that only its owner reads, such as conf/spark-defaults.conf or core-site.xml.",
            UserWarning,
            stacklevel=4,
        )


_UI = "Spark's UI (/environment) and event log"


def _shown_on_connect(spark: SparkSession) -> dict[str, list[str]]:
    settings = spark.conf.getAll
    names = [name for name in settings if name.startswith("spark.hadoop.") and holds_secret(name)]
    return {name: [_UI] for name in _not_hidden(names, settings.get(REDACTION))}


def _shown_on_classic(spark: Any) -> dict[str, list[str]]:
    context = spark.sparkContext
    conf = context._jsc.sc().conf()
    #: As Spark itself writes it into its log: with what its pattern hides hidden.
    lines = [line.partition("=") for line in conf.toDebugString().splitlines()]
    shown = {
        name: [_UI] for name, _, value in lines if holds_secret(name) and not value.startswith("*********(redacted")
    }
    found = str(context._jsc.hadoopConfiguration().getPropsWithPrefix("fs.azure.").keySet().toString())
    of_hadoop = [f"fs.azure.{name}" for name in found.strip("[]").split(", ")]
    pattern = conf.get(REDACTION, _SPARKS_REDACTION)
    for name in _not_hidden([name for name in of_hadoop if holds_secret(name)], pattern):
        if f"spark.hadoop.{name}" not in shown:
            shown[name] = [_UI]
    for name in {name for name, _, _ in lines if holds_secret(name)} & _on_command_line(context):
        shown.setdefault(name, []).append("the command line of its JVM (/proc/*/cmdline)")
    return shown


def _not_hidden(names: Iterable[str], pattern: str | None) -> list[str]:
    """The names that Spark's pattern does not match; all where Python cannot read that, which is Java's."""
    try:
        hidden = re.compile(pattern or _SPARKS_REDACTION)
    except re.error:
        return list(names)
    return [name for name in names if not hidden.search(name)]


def _on_command_line(context: Any) -> set[str]:
    """The settings that the JVM of this process was given as arguments; none where that cannot be seen."""
    process: Any = getattr(context._gateway, "proc", None)  # None where spark-submit started this process
    with suppress(OSError, AttributeError):
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
        return {argument.partition(b"=")[0].decode(errors="replace") for argument in arguments if b"=" in argument}
    return set()
