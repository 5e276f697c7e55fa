"""Files as Spark lists them: of a place that this process does not reach, and of one that is being replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from feast_hybrid.errors import AccessDeniedError, AuthenticationError, SourceError, SourceNotFoundError
from feast_hybrid.files.globs import escape, name_matcher, without_braces
from feast_hybrid.files.listing import Listing, listing_of
from feast_hybrid.files.table_formats import TableFormatError, folders_above
from feast_hybrid.lakes import LakeType
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.statistics import count_files

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.files.selection import FileSelection
    from feast_hybrid.lakes import Location

#: Files by which a table is known, and the format of the table that has one.
LOGS = "{_delta_log/*,.hoodie/hoodie.properties,metadata/version-hint.text,metadata/*.metadata.json}"
LOG_FORMATS = (("/_delta_log/", "delta"), ("/.hoodie/", "hudi"), ("/metadata/", "iceberg"))


class MovedWhileListedError(SourceNotFoundError):
    """The files that were there were gone for the moment in which Spark listed them."""


def require_listed(frame: DataFrame, location: Location, files: Collection[object], *, what: str) -> None:
    """See that Spark has found files where there were some.

    A folder that is replaced by a rename is away for a moment. Spark, which has just seen it, then logs a warning and
    reads no rows.

    Args:
        frame: of the files, as Spark reads them.
        location: where they are.
        files: that were listed there.
        what: how an error names the source.

    Raises:
        MovedWhileListedError: Spark has found none.
    """
    if not files or location.lake is LakeType.ADLS:  # where files are replaced one by one
        return
    if not count_files(frame):
        raise MovedWhileListedError(
            f"{what}: its {len(files)} files were gone when Spark listed them, since the folder was being replaced. "
            "Ask again."
        )


def list_by_spark(
    session: SparkSession, location: Location, selection: FileSelection, options: Mapping[str, str]
) -> Listing:
    """The files at a place and what folders say of them, listed by a session. Paths are those of URIs.

    Args:
        session: lists.
        location: the place.
        selection: which of the files count.
        options: the source's options that say so, as Spark takes them.

    Raises:
        PySparkException: nothing is there, or it cannot be listed.
        SchemaError: the folders cannot be read as partitions.
        TableFormatError: the files are those of a table.
        SourceError: a file lies nowhere that the location names.
    """
    paths = _paths(session, location, str(location), options)
    roots = {path: _root(path, location) for path in paths}
    _refuse_tables(session, location, roots)
    prefix = location.path.removesuffix(location.uri.path)
    base = None if selection.base is None else selection.base.removeprefix(prefix)
    return listing_of(roots, selection=selection, base=base)


def _paths(session: SparkSession, location: Location, pattern: str, options: Mapping[str, str]) -> list[str]:
    """The paths of the files that a pattern finds, in any folder below."""
    # A format whose columns are known reads nothing of the files.
    path = spark_path(session, location, "binaryFile")
    given = path.options({**options, "recursiveFileLookup": "true", "timeZone": "UTC"})
    files = session.read.format("binaryFile").options(**given).load(path.renamed(pattern)).inputFiles()
    return [unquote(urlsplit(file).path) for file in files]


def _root(path: str, location: Location) -> str:
    """The folder or file that a location names or expands to, which a path is or is in.

    Raises:
        SourceError: there is none.
    """
    names = path.strip("/").split("/")
    found = []
    for pattern in without_braces(location.uri.path):
        segments = pattern.strip("/").split("/") if pattern.strip("/") else []
        if len(names) >= len(segments) and all(map(_matches, segments, names)):
            found.append("/" + "/".join(names[: len(segments)]))
    if not found:
        raise SourceError(f"Spark finds {path!r} at {location}, which does not name it: write the path out.")
    return min(found, key=len)


def _matches(pattern: str, name: str) -> bool:
    return pattern == name or name_matcher(pattern)(name)


def _refuse_tables(session: SparkSession, location: Location, roots: Mapping[str, str]) -> None:
    """Refuse tables, and what lies in one; a folder that may not be looked at is none."""
    for pattern in dict.fromkeys(_places_of_logs(location, roots)):
        try:
            with translate_spark_errors(f"looking for a table's log at {pattern}", location.describe()):
                logs = _paths(session, location, f"{pattern.rstrip('/')}/{LOGS}", {})
        except (SourceNotFoundError, AccessDeniedError, AuthenticationError):
            logs = []  # nothing is there, or it is above what may be looked at: the files have been listed before
        for log in logs:
            for folder, file_format in LOG_FORMATS:
                if folder in log:
                    raise TableFormatError(log.rpartition(folder)[0], file_format)


def _places_of_logs(location: Location, roots: Mapping[str, str]) -> Iterator[str]:
    place = str(location).removesuffix(location.uri.path)
    for depth in sorted({path.removeprefix(root).count("/") for path, root in roots.items()}):
        for above in range(depth):
            yield f"{location}{'/*' * above}"
    top = location.site.root.path.rstrip("/")
    for root in dict.fromkeys(roots.values()):
        for folder in folders_above(root, top, is_file=root in roots):
            yield place + escape(folder)
