"""How Spark reads and writes a place on a lake: under which URI, and with which of Hadoop's settings.

The settings are the site's, and an end to the waiting for the lake. Where a site has a sign-in of its own, nobody
else's file systems are used, nor does anybody else use what it opens (:mod:`feast_hybrid.lakes.hadoop_cache`).

By itself Hadoop's ABFS driver tries an account that does not answer for a quarter of an hour. Here it sends a request
four times, with pauses of about 7, 13 and 13 s: half a minute in which an account is busy is carried. Spark looks
twice at a path before it says that it cannot read it: so where it is the first to look, it says after 70 s that an
account refuses connections, and after 110 s that one is silent. HDFS: :mod:`feast_hybrid.spark.hdfs_limits`. What the
site's options, or the session's Hadoop configuration, say of one of these settings counts more.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from feast_hybrid.lakes.hadoop_cache import (
    ABFS_DRIVERS,
    driver_setting,
    has_own_file_systems,
    own_scheme,
    uncached,
)
from feast_hybrid.lakes.timeouts import (
    BLOB_LONGEST_PAUSE,
    BLOB_PAUSE,
    BLOB_READ_TIMEOUT,
    BLOB_RETRIES,
    BLOB_SHORTEST_PAUSE,
)
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.spark.driver_version import require_driver_of_hadoop
from feast_hybrid.spark.hdfs_limits import hdfs_limits
from feast_hybrid.spark.kerberos import site_settings
from feast_hybrid.spark.redaction import redact_logs
from feast_hybrid.spark.runtime import is_connect
from feast_hybrid.spark.settings import is_set
from feast_hybrid.spark.sql_functions import SESSION_SETTINGS, WARNED_SETTINGS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.lakes.site import Site

#: Times in milliseconds. The n-th pause is the shortest one and (2^n - 1) times the backoff, more or less by a fifth
#: of it, and at most the longest one.
ABFS_LIMITS = {
    BLOB_RETRIES: "3",
    BLOB_SHORTEST_PAUSE: "3000",
    BLOB_PAUSE: "4000",
    BLOB_LONGEST_PAUSE: "13000",
    BLOB_READ_TIMEOUT: "5000",
    # The driver would leave Apache's HTTP client, with which it begins, for Java's own until the JVM ends: after so
    # many lost connections of one request, or where it cannot open some in advance. Java's takes an answer without
    # its body for the end of a file.
    "fs.azure.apache.http.client.max.io.exception.retries": "1000000",
    "fs.azure.apache.http.client.cache.warmup.count": "0",
    "fs.azure.apache.http.client.cache.refresh.count": "0",
    # Of tokens: pauses of 2, 6, 12 and 12 s, in place of two minutes. How long Entra may take is fixed: 30 s.
    "fs.azure.oauth.token.fetch.retry.max.retries": "4",
    "fs.azure.oauth.token.fetch.retry.max.backoff.interval": "12000",
}


#: Formats whose files are found by listing folders, and named nowhere.
_PLAIN_FILES = frozenset({"parquet", "orc", "avro", "csv", "json", "xml", "text", "binaryfile"})
#: Beginning of the setting of a scheme by which writers commit.
_COMMITTER = "mapreduce.outputcommitter.factory.scheme."
#: Hadoop 3.5 commits to ADLS by another one. Under Spark's own protocol, which knows only this one's folders, tasks
#: then write to the place itself, and a task that is run again finds the file of the first try in its way.
_COMMITTER_OF_PROTOCOL = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
_PROTOCOL = "spark.sql.sources.commitProtocolClass"
_PROTOCOL_OF_SPARK = "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol"
_PLAIN_SCHEME = re.compile(rf"(?:{'|'.join(ABFS_DRIVERS)})(?=:)", re.IGNORECASE)


@dataclass(frozen=True)
class SparkPath:
    """A place as Spark's readers and writers take it.

    Attributes:
        scheme: of its URIs; one of the sign-in's own, or the plain one.
        uri: of the place.
        settings: Hadoop's, secrets resolved: for options of readers and writers only.
    """

    scheme: str
    uri: str
    settings: Mapping[str, str] = field(repr=False)

    def options(self, options: Mapping[str, str]) -> dict[str, str]:
        """A source's options and the settings, which come last: no source overrules how its site is signed in to."""
        named = {
            name: self.renamed(value) if name.lower() == "basepath" else value for name, value in options.items()
        }
        return {**named, **self.settings}

    def renamed(self, uri: str) -> str:
        """Another URI of the same site, as Spark takes it."""
        return _PLAIN_SCHEME.sub(self.scheme, uri, count=1) if _PLAIN_SCHEME.match(uri) else uri


def spark_path(spark: SparkSession, location: Location, file_format: str) -> SparkPath:
    """How Spark reads or writes files of a format at a place.

    Raises:
        CredentialError: a secret is not there.
        SessionError: the session's driver of ADLS is of another version than its Hadoop.
    """
    redact_logs(spark)
    if location.lake is LakeType.ADLS:
        require_driver_of_hadoop(spark)
    limits = {**_unless_given(spark, _limits(location.site)), **_of_kerberos(spark, [location.site])}
    settings = {**limits, **location.hadoop_options}
    plain = location.uri.scheme
    if location.lake is not LakeType.ADLS or file_format.lower() not in _PLAIN_FILES:
        return SparkPath(plain, str(location), {**settings, **uncached(location.site)})
    if not has_own_file_systems(location.site):
        return SparkPath(plain, str(location), {**settings, **_committer(spark, plain, plain)})
    scheme, driver = own_scheme(plain, settings), driver_setting(plain)
    of_scheme = {driver: ABFS_DRIVERS[plain], **_given(spark, [driver]), **settings}
    settings = {**settings, driver_setting(scheme): of_scheme[driver], **_committer(spark, plain, scheme)}
    path = SparkPath(scheme, str(location), settings)
    return replace(path, uri=path.renamed(path.uri))


def session_options(spark: SparkSession, router: Router) -> dict[str, str]:
    """The settings for a session beside ``spark`` that reads tables and queries: all sites', and what SQL text means.

    Raises:
        CredentialError: a secret is not there, or two sites want one setting to differ.
    """
    redact_logs(spark)
    limits = {key: value for site in router.sites for key, value in _limits(site).items()}
    limits = {**_unless_given(spark, limits), **_of_kerberos(spark, router.sites)}
    kept_by_none = {key: value for site in router.sites for key, value in uncached(site).items()}
    schemes = ABFS_DRIVERS if any(site.lake is LakeType.ADLS for site in router.sites) else ()
    committers = {key: value for scheme in schemes for key, value in _committer(spark, scheme, scheme).items()}
    return {
        **limits,
        **router.hadoop_options(),
        **kept_by_none,
        **committers,
        **SESSION_SETTINGS,
        **_undone(spark),
    }


def _committer(spark: SparkSession, plain: str, scheme: str) -> dict[str, str]:
    """By whom files of a scheme are committed: by whom the session says for the plain one, if its protocol can."""
    if spark.conf.get(_PROTOCOL, _PROTOCOL_OF_SPARK) == _PROTOCOL_OF_SPARK:
        return {_COMMITTER + scheme: _COMMITTER_OF_PROTOCOL}
    given = _given(spark, [_COMMITTER + plain]).get(_COMMITTER + plain)
    return {} if given is None else {_COMMITTER + scheme: given}


def _limits(site: Site) -> Mapping[str, str]:
    """An end to the waiting for a site's lake."""
    if site.lake is LakeType.ADLS:
        return ABFS_LIMITS
    return hdfs_limits(site) if site.lake is LakeType.HDFS else {}


def _of_kerberos(spark: SparkSession, sites: Iterable[Site]) -> dict[str, str]:
    """What Hadoop has to know of sites with Kerberos; a server of Spark Connect has it from its own files."""
    if is_connect(spark):
        return {}
    return {key: value for site in sites for key, value in site_settings(spark, site).items()}


def _undone(spark: SparkSession) -> dict[str, str]:
    """What a session may have set of text, set back; left alone where it is not, since Spark warns of the setting."""
    return {key: "false" for key in WARNED_SETTINGS if spark.conf.get(key, "false") != "false"}


def _unless_given(spark: SparkSession, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings that nobody has set for the session."""
    if not settings:
        return {}
    given: Collection[str] = _given(spark, settings)
    if not is_connect(spark):
        context: Any = spark.sparkContext
        hadoop = context._jsc.hadoopConfiguration()
        # Hadoop's own defaults are no wish of anybody's.
        given = [key for key in given if spark.conf.get(key, None) is not None or is_set(hadoop, key)]
    return {key: value for key, value in settings.items() if key not in given}


def _given(spark: SparkSession, keys: Collection[str]) -> dict[str, str]:
    """What a session says of Hadoop's settings; a server of Spark Connect does not show its ``core-site.xml``."""
    if is_connect(spark):
        shown = spark.conf.getAll
        found = {key: shown.get(key, shown.get(f"spark.hadoop.{key}")) for key in keys}
    else:
        context: Any = spark.sparkContext
        hadoop = context._jsc.hadoopConfiguration()
        found = {key: spark.conf.get(key, None) or hadoop.get(key) for key in keys}
    return {key: value for key, value in found.items() if value is not None}
