"""What lies in the folders of a catalog's tables that Spark's reader of tables would not see, or would read wrongly.

Of a table Spark reads the files of the folders that the catalog names, and none in folders below. Hive on Tez writes
each half of a ``UNION ALL`` into such a folder, and tables that are skewed keep values in them. And where the folder
is a table of Delta, Hudi or Iceberg, or lies in one, deleted and replaced rows would come back. So a table with such
a folder is refused by name, whoever reads it: by itself, through a view, or in a query.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from feast_hybrid.errors import (
    AccessDeniedError,
    AuthenticationError,
    RoutingError,
    SourceError,
    SourceNotFoundError,
)
from feast_hybrid.files.globs import escape
from feast_hybrid.files.plain_folders import UnreadFilesError, refuse_unread_files
from feast_hybrid.files.table_formats import TableFormatError, folders_above, is_acid_folder
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.sources.spark_listing import LOG_FORMATS, LOGS
from feast_hybrid.spark.catalog import (
    TableEntry,
    file_relations,
    parse_partition,
    partition_entries,
    partition_names,
    table_entry,
)
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.reader_settings import NULLABLE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.time_filter import PartitionsBetween

logger = logging.getLogger(__name__)

#: How many folders are looked into at once.
_CONCURRENT_FOLDERS = 8

#: An option of a table, with which Spark reads files in folders below too.
_RECURSIVE = "recursivefilelookup"


def refuse_transactions(entry: TableEntry | None, what: str) -> None:
    """Refuse a table of Hive's whose rows are in deltas: Spark would find none, or old ones.

    Raises:
        SourceError: it names the table.
    """
    if entry is not None and entry.has_transactions:
        raise SourceError(
            f"{what} is a Hive ACID table (transactional=true), whose inserts and deletes lie in folders of deltas "
            "that Spark does not read. Have Hive write its rows into a table that is none, such as CREATE EXTERNAL "
            "TABLE … STORED AS ORC AS SELECT …, and name that one."
        )


def refuse_unread_tables(
    rows: DataFrame,
    router: Router,
    what: str,
    *,
    wanted: PartitionsBetween | None = None,
    is_listed: bool = False,
) -> None:
    """Refuse rows of tables whose folders hold more than Spark reads of them, or a table of another format.

    Args:
        rows: as Spark reads them: a table, a view or a query.
        router: knows the sites.
        what: how an error names the source.
        wanted: the partitions that are, of a source that is a table; None for all of them.
        is_listed: whether these were listed already, found in the table's folder, and without folders below.

    Raises:
        SourceError: it names the table and the file or folder.
        StorageError: the folders cannot be listed.
    """
    session = rows.sparkSession
    for table, is_files in file_relations(rows).items():
        entry = table_entry(session, table)
        of_table = f"{what}: table {table.removeprefix('spark_catalog.')}"
        refuse_transactions(entry, of_table)
        if not is_files or entry is None or not entry.location:
            continue  # what Hive's own classes read is theirs to find
        _refuse_not_null(rows, table, entry, of_table)
        _refuse_unread(_Table(session, table, entry, router, of_table), wanted, is_listed=is_listed)


def _refuse_not_null(rows: DataFrame, table: str, entry: TableEntry, what: str) -> None:
    """Refuse columns that Spark takes for never null, though a file may have nulls there.

    It would give the value of another row for each. Before Spark 4.1 no setting has it do otherwise.
    """
    never_null = {str(name).lower() for name, column in entry.columns.items() if column.get("nullable") is False}
    if entry.provider != "hive" or not never_null:
        return
    fields = rows.sparkSession.table(table).schema.fields
    if found := [field.name for field in fields if not field.nullable and field.name.lower() in never_null]:
        raise SourceError(
            f"{what} has the column {found[0]!r} NOT NULL: Spark gives the value of another row where a file holds a "
            f"null in it. Set {NULLABLE}=true in the session (Spark 4.1 or newer), or make the table without NOT "
            "NULL."
        )


@dataclass(frozen=True, eq=False)
class _Table:
    """A table and who reads it.

    Attributes:
        session: reads it.
        name: as the session's catalog has it.
        entry: what the catalog says of it.
        router: knows the sites.
        what: how an error names it.
    """

    session: SparkSession
    name: str
    entry: TableEntry
    router: Router
    what: str


def _refuse_unread(table: _Table, wanted: PartitionsBetween | None, *, is_listed: bool) -> None:
    # Folders as URIs without escapes, without the slash at their end.
    of_table = _plain(table.entry.location)
    folders = {} if is_listed else dict.fromkeys(_folders(table, of_table, wanted))
    elsewhere = [folder for folder in folders if not f"{folder}/".startswith(f"{of_table}/")]
    options = {name.lower(): value.lower() for name, value in table.entry.options.items()}
    takes_below = options.get(_RECURSIVE) == "true"
    if table.entry.partition_columns:  # which Spark looks for in the folders itself, as it does below a path
        takes_below = not table.entry.finds_partitions_in_catalog
    try:
        _look_into(table, [of_table, *elsewhere], [*folders], takes_below=takes_below)
    except (TableFormatError, UnreadFilesError) as error:
        raise SourceError(_refusal(table, error)) from None


def _refusal(table: _Table, error: SourceError) -> str:
    if isinstance(error, TableFormatError):
        way_out = error.way_out
        if error.file_format != "hive":
            way_out = f"name the folder by path= with file_format={error.file_format!r}"
        return (
            f"{table.what} is one of plain files to its catalog, and {error.found}: rows that were deleted or "
            f"replaced would come back. Therefore {way_out}."
        )
    return (
        f"{table.what}: {error}, and of a table Spark reads no folders below those that the catalog names: its rows "
        "would be left out. Hive on Tez writes such folders by UNION ALL, and for skewed tables. Have Hive write the "
        "rows anew, such as by INSERT OVERWRITE … SELECT … ORDER BY, move what is no part of the table, or name the "
        "folder by path=: of a path, folders within partitions are read, and with the option recursiveFileLookup all."
    )


def _folders(table: _Table, of_table: str, wanted: PartitionsBetween | None) -> Iterator[str]:
    """The folders whose files are the table's rows."""
    columns = table.entry.partition_columns
    if not columns:
        yield of_table
        return
    rows = table.session.table(table.name)
    files = (wanted.of(rows) if wanted else rows).inputFiles()  # those in folders below too, which are not read
    read = {_plain(unquote(file)).rpartition("/")[0] for file in files}
    if not table.entry.finds_partitions_in_catalog:
        yield from sorted(read)
        return
    depth = of_table.count("/") + len(columns) + 1
    seen = {"/".join(folder.split("/")[:depth]) for folder in read}
    # Where Spark has found no file, the catalog is asked where the partition is.
    elsewhere = []
    names = partition_names(table.session, table.name)
    for name in names:
        texts = parse_partition(name, columns)
        if texts is None or (wanted is not None and not wanted.may_hold(texts)):
            continue
        if f"{of_table}/{name}" in seen:
            yield f"{of_table}/{name}"
        else:
            elsewhere.append(texts)
    for entry in partition_entries(table.session, table.name, elsewhere, len(names)) if elsewhere else ():
        if entry.location:
            yield _plain(entry.location)


def _look_into(table: _Table, tops: Sequence[str], folders: Sequence[str], *, takes_below: bool) -> None:
    """Look into the folders without a JVM where that can be done, and else as Spark lists them.

    Args:
        table: that has them.
        tops: folders above which the log of a table may be.
        folders: whose files are rows.
        takes_below: whether files in folders below are rows too.
    """
    try:
        located = {folder: table.router.locate(folder, what="the table's location") for folder in [*tops, *folders]}
        refuse_unread_files(
            [located[folder] for folder in folders], [located[folder] for folder in tops], takes_below=takes_below
        )
    except (TableFormatError, UnreadFilesError):
        raise
    except Exception as error:
        # Under no site, or not reached from here: a client of Spark Connect, another sign-in.
        if not isinstance(error, RoutingError):
            logger.debug("folders of %s: %s", table.what, redacted_summary(error))
        _refuse_by_spark(table, tops, folders, takes_below=takes_below)


def _refuse_by_spark(table: _Table, tops: Sequence[str], folders: Sequence[str], *, takes_below: bool) -> None:
    lister = _Lister(table)
    rows_in = set(folders)
    with ThreadPoolExecutor(_CONCURRENT_FOLDERS) as threads:
        suspects = []
        for files in threads.map(lister.files_below, folders):
            for file in files:
                folder = file.rpartition("/")[0]
                if acid := next((part for part in file.split("/")[:-1] if is_acid_folder(part)), None):
                    raise TableFormatError(file.partition(f"/{acid}")[0], "hive")
                if folder not in rows_in and not takes_below:
                    suspects.append(file)
        if suspects and (unread := lister.first_with_bytes(suspects)):
            raise UnreadFilesError(unread)
        places = dict.fromkeys(place for top in tops for place in (top, *_above(top)))
        for log in (log for logs in threads.map(lister.logs_in, places) for log in logs):
            for folder, file_format in LOG_FORMATS:
                if folder in log:
                    raise TableFormatError(log.rpartition(folder)[0], file_format)


class _Lister:
    """Lists folders by Spark, with what its session signs in with."""

    def __init__(self, table: _Table) -> None:
        self._table = table

    def files_below(self, folder: str) -> list[str]:
        return self._found(escape_path(folder), below=True)

    def logs_in(self, folder: str) -> list[str]:
        return self._found(f"{escape_path(folder)}/{LOGS}", below=False)

    def first_with_bytes(self, files: Sequence[str]) -> str | None:
        read = self._table.session.read.format("binaryFile")
        found = read.load([escape_path(file) for file in files]).where("length > 0").select("path").limit(1).collect()
        return _plain(found[0][0]) if found else None

    def _found(self, pattern: str, *, below: bool) -> list[str]:
        reader = self._table.session.read.format("binaryFile")
        try:
            with translate_spark_errors(self._table.what, pattern):
                frame = reader.option("recursiveFileLookup", str(below).lower()).load(pattern)
                return [_plain(unquote(file)) for file in frame.inputFiles()]
        except (SourceNotFoundError, AccessDeniedError, AuthenticationError):
            # Nothing is there, or it may not be looked at: Spark's reader says so of what it reads.
            return []


def _above(folder: str) -> Iterator[str]:
    scheme, _, rest = folder.partition("://")
    authority, slash, path = rest.partition("/")
    for above in folders_above(f"{slash}{path}", "", is_file=False):
        yield f"{scheme}://{authority}{above.rstrip('/')}"


def escape_path(uri: str) -> str:
    """A URI as Hadoop's patterns name it and nothing else."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{escape(rest)}"


def _plain(uri: str) -> str:
    """A URI of the catalog's or of Spark's in one form: ``file:/x`` and ``file:///x%20y`` are ``file:///x y``."""
    scheme, _, rest = uri.partition(":")
    path = rest if not rest.startswith("//") else rest[2:]
    return f"{scheme}://{path}".rstrip("/")
