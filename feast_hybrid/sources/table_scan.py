"""The files of a table of the session's catalog, for readers that read them without Spark's."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.names import find_name
from feast_hybrid.arrow.types import arrow_type_of_spark, spark_type_of_arrow
from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.asof import Ineligible, Scan
from feast_hybrid.errors import HybridError
from feast_hybrid.files.footers import read_footers
from feast_hybrid.files.plain_folders import NotPlainError, files_in
from feast_hybrid.files.resolution import spark_widens
from feast_hybrid.files.resolved import ResolvedFile
from feast_hybrid.files.table_formats import TableFormatError
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.sources.scan import scan_of_files
from feast_hybrid.sources.time_range import may_be_within, partition_bounds
from feast_hybrid.spark.catalog import TableEntry, parse_partition, partition_entries, partition_names
from feast_hybrid.spark.columns import is_case_sensitive
from feast_hybrid.spark.reader_settings import deviating_setting, unknown_extension, zone_of_jvms
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType, StructField, StructType

    from feast_hybrid.files.footers import FileColumn, Footer
    from feast_hybrid.files.listing import DataFile
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.sources.spec import SourceSpec

logger = logging.getLogger(__name__)

#: What Hive or Spark notes itself, and what says only how files are written.
_PLAIN_OPTIONS = frozenset({
    "path", "serialization.format", "compression", "parquet.compression", "parquet.compress", "parquet.block.size",
    "parquet.page.size", "parquet.writer.version", "orc.compress", "orc.compress.size", "orc.stripe.size",
    "orc.row.index.stride", "orc.create.index", "orc.bloom.filter.columns", "orc.bloom.filter.fpp",
})  # fmt: skip

#: How properties begin that Spark gives to its readers of a table of Hive's as options.
_READERS_PROPERTIES = ("orc.", "parquet.")

#: Settings with which Spark reads a table of Hive's as its own, and finds its partitions in the catalog.
_PLAIN_SETTINGS = {
    "spark.sql.hive.convertMetastoreParquet": "true",
    "spark.sql.hive.convertMetastoreOrc": "true",
    "spark.sql.hive.manageFilesourcePartitions": "true",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.hive.verifyPartitionPath": "false",
    "spark.sql.hive.convertMetastoreParquet.mergeSchema": "false",
    "spark.sql.hive.caseSensitiveInferenceMode": "NEVER_INFER",
    "spark.sql.parquet.mergeSchema": "false",
    "spark.sql.parquet.fieldId.read.enabled": "false",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
}

#: Types of tables that have files.
_OF_FILES = ("MANAGED", "EXTERNAL")

#: From so many partitions on they are not asked for one by one.
_MAX_PARTITIONS = 1000

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,18}")
#: In the type that Spark notes of a column that it shows as text.
_CHAR = re.compile(r"\bchar\(")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?")
_BITS = {"tinyint": 8, "smallint": 16, "int": 32, "bigint": 64}


class _NotOursError(Exception):
    """Why a table is Spark's to read, in words for plans."""


def table_scan(
    source: SourceSpec,
    entry: TableEntry | None,
    schema: StructType,
    session: SparkSession,
    router: Router,
    columns: Collection[str],
    required: Collection[str],
    between: tuple[datetime | None, datetime | None],
) -> Scan | Ineligible:
    """The files of a table, or why they are Spark's to read.

    Args:
        source: a table.
        entry: what the catalog says of it.
        schema: of its frame.
        session: that the frame is of.
        router: knows the sites.
        columns: that will be used, those that are required among them; letters' case does not count.
        required: those without which a row would be lost: join keys and event time.
        between: no earlier and no later rows are wanted.
    """
    table = source.table or ""
    try:
        return _TableScan(source, _plain(entry), schema, session, router, columns, required).scan(between)
    except _NotOursError as reason:
        return Ineligible(str(reason))
    except (TableFormatError, NotPlainError) as error:  # who reads it by Spark refuses the first: see table_folders
        return Ineligible(f"the table's folder is not plain: {error}")
    except FileNotFoundError:
        return Ineligible("the table, or one of its partitions, has no folder")
    except Exception as error:
        # Spark's reader finds its files by itself, and says what keeps it from doing so.
        logger.debug("files of table %s: %s", table, redacted_summary(error))
        return Ineligible(f"its files cannot be listed from here: {type(error).__name__}")


def partitions_of(entry: TableEntry | None, columns: Sequence[str]) -> frozenset[str] | None:
    """The columns that partition a table, by their names in its frame; None where only Spark knows them.

    Args:
        entry: what the catalog says of the table; of a view, and of tables of other formats, that is not all.
        columns: of the frame.
    """
    if entry is None or entry.table_type not in _OF_FILES or _file_format(entry) is None:
        return None
    return frozenset(find_name(name, columns) or name for name in entry.partition_columns)


def _plain(entry: TableEntry | None) -> TableEntry:
    """The entry of a table whose files hold its rows, and nothing else."""
    if entry is None:
        raise _NotOursError("a table of which its catalog names no files")
    if entry.table_type not in _OF_FILES:
        raise _NotOursError("a view" if entry.table_type == "VIEW" else f"a table of the type {entry.table_type}")
    if _file_format(entry) is None:
        raise _NotOursError(f"a table of {entry.provider or 'an unknown format'}")
    if entry.buckets:
        raise _NotOursError("a bucketed table")
    options = [*entry.options, *(name for name in entry.properties if name.lower().startswith(_READERS_PROPERTIES))]
    others = sorted(name for name in options if name.lower() not in _PLAIN_OPTIONS)
    if others:
        raise _NotOursError(f"a table with options, which are Spark's to follow: {', '.join(others)}")
    if not entry.location:
        raise _NotOursError("a table of which its catalog names no location")
    return entry


def _file_format(entry: TableEntry) -> str | None:
    if entry.provider != "hive":
        return entry.provider if entry.provider in ("parquet", "orc") else None
    serde = entry.serde.lower()
    return next((name for name in ("parquet", "orc") if name in serde and name in entry.input_format.lower()), None)


@dataclass(frozen=True, eq=False)
class _TableScan:
    """The work of finding a plain table's files; it raises where they are Spark's to read.

    Attributes:
        source: the table.
        entry: of it.
        schema: of its frame.
        session: that reads.
        router: knows the sites.
        wanted: columns that will be used.
        required: those without which a row would be lost.
    """

    source: SourceSpec
    entry: TableEntry
    schema: StructType
    session: SparkSession
    router: Router
    wanted: Collection[str]
    required: Collection[str]

    def scan(self, between: tuple[datetime | None, datetime | None]) -> Scan | Ineligible:
        self._require_plain_settings()
        types = {field.name: field.dataType for field in self.schema.fields}
        partitioned = [self._field(name).name for name in self.entry.partition_columns]
        partition_types = {name: types[name] for name in partitioned}
        in_arrow = {name: arrow_type_of_spark(data_type) for name, data_type in partition_types.items()}
        for name in partitioned:
            self._require_plain_column(self._field(name))
        location = self._located(self.entry.location)
        partitions = self._partitions(location, partition_types, between) if partitioned else [(location, {})]
        files = files_in([folder for folder, _ in partitions])
        every_file = [file for of_folder in files for file in of_folder]
        self._require_alike(location, every_file, [*partitioned])
        found = [
            ResolvedFile(file.path, file.version, values)
            for (_, values), of_folder in zip(partitions, files, strict=True)
            for file in of_folder
        ]
        file_format = _file_format(self.entry) or ""
        here = tasks_run_here(self.session)
        return scan_of_files(self.source, location, found, file_format, in_arrow, between, tasks_run_here=here)

    def _require_plain_settings(self) -> None:
        for name, plain in _PLAIN_SETTINGS.items():
            value = self.session.conf.get(name, plain)
            if value is not None and value.lower() != plain.lower():
                raise _NotOursError(f"{name} is {value}, which only Spark's reader knows")
        if (extension := unknown_extension(self.session)) is not None:
            raise _NotOursError(f"the session has the extension {extension}, which may have rules for rows")

    def _field(self, name: str) -> StructField:
        """The column of the frame that has a name, whatever its case."""
        found = [field for field in self.schema.fields if field.name.lower() == name.lower()]
        if len(found) != 1:
            raise _NotOursError(f"its frame has {len(found)} columns {name!r}")
        return found[0]

    def _located(self, uri: str) -> Location:
        try:
            return self.router.locate(uri, what="the table's location")
        except HybridError:
            raise _NotOursError("its files are under none of the configured sites") from None

    # Partitions.

    def _partitions(
        self,
        location: Location,
        types: Mapping[str, DataType],
        between: tuple[datetime | None, datetime | None],
    ) -> list[tuple[Location, dict[str, Any]]]:
        """The folders of the partitions that can hold rows within the times, and what each says."""
        in_arrow = {name: arrow_type_of_spark(data_type) for name, data_type in types.items()}
        day = find_name(self.source.date_partition_column or "", list(types))
        first, last = partition_bounds(replace(self.source, date_partition_column=day), in_arrow, *between)
        is_utc = self.session.conf.get("spark.sql.session.timeZone") == "UTC"
        needed: list[tuple[str, dict[str, str | None], dict[str, Any]]] = []
        names = partition_names(self.session, self.source.table or "")
        for name in names:
            texts = parse_partition(name, list(types))
            if texts is None:
                raise _NotOursError(f"its partition {name!r} has another form")
            try:
                values = {
                    column: partition_value(text, types[column], is_utc=is_utc) for column, text in texts.items()
                }
            except ValueError as error:
                raise _NotOursError(f"of its partition {name!r}, {error}") from None
            if day is None or may_be_within(values[day], first, last, self.source.date_partition_format):
                needed.append((name, texts, values))
        if len(needed) > _MAX_PARTITIONS:
            raise _NotOursError(
                f"it has {len(needed):,} partitions within the entity rows' times, more than are asked for one by one"
            )
        wanted = [texts for _, texts, _ in needed]
        entries = partition_entries(self.session, self.source.table or "", wanted, len(names))
        folders = []
        for (name, _, values), entry in zip(needed, entries, strict=True):
            folder = _child(location, name)
            actual = self._located(entry.location)
            if actual.uri.place != folder.uri.place or actual.site.name != location.site.name:
                raise _NotOursError(f"its partition {name!r} is elsewhere: at {entry.location}")
            is_alike = (entry.serde, entry.input_format) == (self.entry.serde, self.entry.input_format)
            if self.entry.provider == "hive" and not is_alike:  # Spark's own tables have one format
                raise _NotOursError(f"its partition {name!r} is kept in another format than the table")
            folders.append((folder, values))
        return folders

    # Columns.

    def _require_plain_column(self, field: StructField) -> None:
        described = next(
            (found for name, found in self.entry.columns.items() if name.lower() == field.name.lower()), None
        )
        if described is None:
            raise _NotOursError(f"its catalog does not know the column {field.name!r}")
        if "default" in described or any("DEFAULT" in name for name in field.metadata or {}):
            raise _NotOursError(f"column {field.name!r} has a default, which Spark gives where a file lacks it")
        if any(_CHAR.search(str(value)) for value in (field.metadata or {}).values()):
            raise _NotOursError(f"column {field.name!r} is char, of whose blanks only Spark knows which count")

    def _require_alike(self, location: Location, files: Sequence[DataFile], partitioned: Collection[str]) -> None:
        """Refuse files that lack the table's columns, or have them in types that Spark reads otherwise than we do."""
        file_format = _file_format(self.entry) or ""
        footers = read_footers(location, file_format, files)
        fields = [
            self._field(name)
            for name in dict.fromkeys(self.wanted)
            if any(name.lower() == field.name.lower() for field in self.schema.fields)
        ]
        fields = [field for field in dict.fromkeys(fields) if field.name not in partitioned]
        for field in fields:
            self._require_plain_column(field)
        required = {name.lower() for name in self.required}
        times: set[str] = set()
        seen: set[int] = set()
        for path, footer in footers.items():
            if not footer.has_rows or id(footer.columns) in seen:
                continue
            seen.add(id(footer.columns))
            if footer.has_no_names:
                raise _NotOursError(f"{path} names its columns _col0 and so on: Spark takes them by their places")
            for field in fields:
                column = self._column_of(footer, field, path, is_required=field.name.lower() in required)
                if column is not None:
                    times.add(column.times)
        times.discard("")
        setting = deviating_setting(self.session, file_format, times)
        if setting is not None:
            raise _NotOursError(f"{setting}, which only Spark's reader knows")
        if "ORC" in times and (zone := zone_of_jvms(self.session)) is not None:
            raise _NotOursError(f"Spark's JVMs are in {zone}, by which Spark reads times of ORC")

    def _column_of(self, footer: Footer, field: StructField, path: str, *, is_required: bool) -> FileColumn | None:
        found = [column for column in footer.columns if column.name.lower() == field.name.lower()]
        if len(found) > 1:
            raise _NotOursError(f"column {field.name!r} may be several of {path}")
        if not found:
            if is_required:
                raise _NotOursError(f"{path} has no column {field.name!r}")
            return None
        column = found[0]
        if column.name != field.name and is_case_sensitive(self.session):
            raise _NotOursError(f"column {field.name!r} is {column.name!r} in {path}, and case counts in the session")
        if column.only_sparks:
            raise _NotOursError(f"column {field.name!r} of {path} {column.only_sparks}")
        wanted = arrow_type_of_spark(field.dataType)
        if wanted is None or column.data_type is None or column.only_ours:
            raise _NotOursError(f"column {field.name!r} of {path} is of a type that only Spark reads")
        alike = spark_widens(column.data_type, wanted) or (
            spark_type_of_arrow(column.data_type) == field.dataType.simpleString()
        )
        if not alike:
            in_file = spark_type_of_arrow(column.data_type)
            raise _NotOursError(
                f"column {field.name!r} is {field.dataType.simpleString()} in the table and {in_file} in {path}"
            )
        return column


def _child(location: Location, name: str) -> Location:
    """The folder of a partition in a table's folder, if nobody has moved it."""
    for part in name.split("/"):
        location = location.child(part)
    return location


def partition_value(text: str | None, data_type: DataType, *, is_utc: bool) -> Any:
    """A partition's value in the type that the table declares.

    Args:
        text: None for null.
        data_type: of the table's column.
        is_utc: whether Spark takes times without a zone for UTC.

    Raises:
        ValueError: the text is not what is written for a value of the type, and what Spark's cast makes of it is
            Spark's to know.
    """
    if text is None:
        return None
    spark_type = data_type.simpleString()
    if spark_type == "string":
        return text
    if spark_type in _BITS and _WHOLE_NUMBER.fullmatch(text):
        number, limit = int(text), 1 << (_BITS[spark_type] - 1)
        if -limit <= number < limit:
            return number
    with suppress(ValueError):
        if spark_type == "date" and _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if spark_type == "boolean" and text in ("true", "false"):
            return text == "true"
        if spark_type == "timestamp" and is_utc and _TIME.fullmatch(text):
            return as_utc(datetime.fromisoformat(text))
    raise ValueError(f"{text!r} is no {spark_type} as one is written")
