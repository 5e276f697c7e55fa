"""What a session or its JVMs say that changes what Spark's readers make of files, and that no option overrules."""

from __future__ import annotations

import weakref
from collections.abc import Collection, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql.types import TimestampType

from feast_hybrid.errors import RetrievalTimeoutError, SessionError
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType


class ReaderSetting(NamedTuple):
    """A setting that changes what is read.

    Attributes:
        name: of the setting.
        plain: the values with which it changes nothing, in lower case; the first is Spark's default.
        formats: whose readers go by it; None for all.
        times: how times are kept in the files that it matters for; empty where it matters for all.
    """

    name: str
    plain: tuple[str, ...]
    formats: frozenset[str] | None
    times: str = ""


_TEXTS = frozenset({"csv", "json", "xml"})

#: Found by reading files of all formats with each setting of Spark 4.3 changed.
READER_SETTINGS = (
    ReaderSetting("spark.sql.files.ignoredPathSegmentRegex", ("^[._]",), None),
    ReaderSetting("spark.sql.files.archive.reader.enabled", ("false",), None),
    ReaderSetting("spark.sql.parquet.int96TimestampConversion", ("false",), frozenset({"parquet"}), "INT96"),
    ReaderSetting("spark.sql.orc.impl", ("native",), frozenset({"orc"})),
    # Hadoop's, which a session may hold itself or have from its application.
    ReaderSetting("orc.force.positional.evolution", ("false",), frozenset({"orc"})),
    ReaderSetting("spark.hadoop.orc.force.positional.evolution", ("false",), frozenset({"orc"})),
    ReaderSetting("spark.sql.legacy.timeParserPolicy", ("corrected", "exception"), _TEXTS),
)

#: Has Spark read nulls as such, whatever a table of Hive's says of its columns; since Spark 4.1.
NULLABLE = "spark.sql.hive.convertMetastoreAsNullable"

_EXTENSIONS = "spark.sql.extensions"
#: Those of table formats, which have no rules of their own on rows.
_OF_FORMATS = frozenset(
    {
        "io.delta.sql.DeltaSparkSessionExtension",
        "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "org.apache.spark.sql.hudi.HoodieSparkSessionExtension",
    }
)

#: Of the text of a plan no more characters are given.
PLAN_LENGTH = "spark.sql.maxPlanStringLength"

#: The same for a session of our own.
PLAIN_SETTINGS = {
    "spark.sql.parquet.int96TimestampConversion": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # Of a partitioned table of Hive's with a column that is NOT NULL, nulls in files are the values before them else.
    NULLABLE: "true",
    # Which tables a query reads is seen in the text of its plan.
    PLAN_LENGTH: "2147483632",
}

#: The zones whose wall clock is UTC's, as Java calls them.
_UTC_ZONES = frozenset({"Z", "UTC", "UCT", "GMT", "Zulu", "Universal", "Greenwich", "GMT0"})

#: After how long executors that do not answer are an error: some clusters start them when there is work.
_ZONE_SECONDS = 600.0
#: What tells one application from others, whichever server it runs on.
_OF_APPLICATION = ("spark.app.id", "spark.app.startTime", "spark.driver.host", "spark.driver.port")

_zones_by_session: weakref.WeakKeyDictionary[Any, str | None] = weakref.WeakKeyDictionary()
_zones_by_application: dict[Any, str | None] = {}


def deviating_setting(session: SparkSession, file_format: str, times: Collection[str] = ()) -> str | None:
    """A setting of a session, with its value, that makes Spark's reader give something else; None without one.

    Args:
        session: that reads.
        file_format: of the files.
        times: how times are kept in the columns that are wanted: ``INT96``, ``ORC``.
    """
    for setting in READER_SETTINGS:
        if setting.formats is not None and file_format not in setting.formats:
            continue
        if setting.times and setting.times not in times:
            continue
        value = session.conf.get(setting.name, setting.plain[0])
        if value is not None and value.lower() not in setting.plain:
            return f"{setting.name}={value}"
    return None


def unknown_extension(session: SparkSession) -> str | None:
    """A class of ``spark.sql.extensions`` that may change how a session reads tables, beyond reading a format.

    Such a class may leave out rows, or mask columns, by who asks: what is read beside Spark would not be.
    """
    classes = (session.conf.get(_EXTENSIONS, None) or "").split(",")
    return next((name for name in map(str.strip, classes) if name and name not in _OF_FORMATS), None)


def zone_of_jvms(session: SparkSession) -> str | None:
    """The time zone of the executors' JVMs, by which Spark reads and writes times in ORC; None for UTC.

    Runs a tiny job, once for each application, of a server too.

    Raises:
        SessionError: no executor has answered in :data:`_ZONE_SECONDS`.
    """
    # The id alone may be that of two servers: it is a time, or a number that each cluster counts from zero.
    application = tuple(session.conf.get(name, None) for name in _OF_APPLICATION)
    known: MutableMapping[Any, str | None] = _zones_by_session if None in application else _zones_by_application
    key = session if None in application else application
    if key not in known:
        known[key] = _ask_for_zone(session)
    return known[key]


def require_utc_for_orc(session: SparkSession, column: str, what: str) -> None:
    """Refuse to read or write times of ORC where Spark takes them for times in its JVMs' zone, and not for UTC.

    Args:
        session: that reads or writes.
        column: that holds times.
        what: how an error names the rows and the place.

    Raises:
        SessionError: it names the column and the zone.
    """
    zone = zone_of_jvms(session)
    if zone is not None:
        raise SessionError(
            f"{what}: column {column!r} holds times in ORC, which Spark reads and writes by the time zone of its "
            f"JVMs: {zone}. Start them in UTC, by -Duser.timezone=UTC in spark.driver.extraJavaOptions and "
            "spark.executor.extraJavaOptions. What a Spark in another zone wrote is then off by that zone: write it "
            "anew, as Parquet."
        )


def require_utc_for(frame: DataFrame, file_format: str | None, what: str) -> None:
    """As :func:`require_utc_for_orc`, for the first column of a frame with instants; other formats pass.

    Raises:
        SessionError: it names the column and the zone.
    """
    if file_format != "orc":
        return
    column = next((field.name for field in frame.schema.fields if _holds_instants(field.dataType)), None)
    if column is not None:
        require_utc_for_orc(frame.sparkSession, column, what)


def _holds_instants(data_type: DataType) -> bool:
    parts: Any = data_type  # which parts it has depends on its class
    inner = [getattr(parts, name) for name in ("elementType", "keyType", "valueType") if hasattr(parts, name)]
    inner += [field.dataType for field in getattr(parts, "fields", ())]
    return isinstance(data_type, TimestampType) or any(map(_holds_instants, inner))


def _ask_for_zone(session: SparkSession) -> str | None:
    ask = "java_method('java.time.ZoneId', 'systemDefault') AS zone"
    zones_of = session.range(0, 2, 1, 2).selectExpr(ask).collect
    try:
        rows = run(session, zones_of, timeout=_ZONE_SECONDS, what="the time zone of Spark's executors")
    except RetrievalTimeoutError:
        raise SessionError(
            f"No executor of Spark has answered in {_ZONE_SECONDS:g} s. Spark reads and writes times in ORC by the "
            "time zone of its executors' JVMs, so one has to run before such a plan is made: see that the cluster "
            "gives this application one, and ask again."
        ) from None
    zones = {str(row[0]) for row in rows}
    return next((zone for zone in sorted(zones) if zone.removeprefix("Etc/") not in _UTC_ZONES), None)
