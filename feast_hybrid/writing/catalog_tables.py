"""Tables of Spark's catalogs whose content is replaced, while what else is known of them stays."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.lakes.errors import raise_from, redacted_summary
from feast_hybrid.spark.catalog import describe
from feast_hybrid.spark.columns import is_case_sensitive, quoted
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.writing.commits import committing_by_spark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.catalog import Column

    from feast_hybrid.spark.cancellation import Cancellation

#: What Spark shows for a property or an option whose value it takes for a secret.
_REDACTED = "*********(redacted)"

#: Formats whose tables have files of their own; of others, such as jdbc, a new table may be the old one.
_FILE_FORMATS = ("parquet", "orc", "csv", "json", "avro", "text")

#: Properties that say what a catalog knows otherwise, or has counted itself.
_OWN_PROPERTIES = re.compile(r"(provider|location|owner|comment|external|is_managed_location)$|option\.|transient_")

#: Storage options that Hive or Spark adds itself.
_OWN_OPTIONS = frozenset({"path", "serialization.format"})


def replace_catalog_table(frame: DataFrame, table: str, what: str, cancellation: Cancellation) -> None:
    """Make a frame the whole content of a table that is there.

    Its format and its options, its partitioning by columns that the frame has, its properties and comments stay.
    Tables of Delta and Iceberg are replaced by a commit; of others a new one is written beside the old one and takes
    its name, since Spark's own overwrite drops first.

    Args:
        frame: the rows; their columns replace those that are there.
        table: its full name.
        what: how an error names the rows and the place.
        cancellation: of the caller who waits: once cancelled, the table stays as it is.

    Raises:
        WriteError: it is no managed table (its files are where somebody else has put them, and may read them), it is
            in another catalog than the current one, or it is kept in a way that Spark cannot make again.
    """
    spark = frame.sparkSession
    entry = CatalogEntry.of(spark, table)
    case_sensitive = is_case_sensitive(spark)

    def key(name: str) -> str:
        return name if case_sensitive else name.lower()

    columns = {key(name): name for name in frame.columns}
    comments = {key(name): comment for name, comment in entry.comments.items()}
    partitions = [columns[key(name)] for name in entry.partitions if key(name) in columns]
    described = frame.select(
        *(
            F.col(quoted(name)).alias(name, metadata={"comment": comments[key(name)]})
            if key(name) in comments
            else F.col(quoted(name))
            for name in frame.columns
        )
    )
    if entry.provider in TABLE_FORMATS:
        writer = described.write.format(entry.provider).mode("overwrite").option("overwriteSchema", "true")
        with committing_by_spark(cancellation, what):
            (writer.partitionBy(*partitions) if partitions else writer).saveAsTable(table)
        return
    _refuse_what_cannot_be_made_again(spark, entry, what)
    _swap(described, entry, partitions, what, cancellation)


def _refuse_what_cannot_be_made_again(spark: SparkSession, entry: CatalogEntry, what: str) -> None:
    if entry.table_type != "MANAGED":
        raise WriteError(
            f"{what}: it is {entry.table_type.lower()}, and only a managed table can be replaced. Save to its "
            "location by path=, or drop it first."
        )
    current = spark.catalog.currentCatalog()
    if entry.catalog != current:
        # ALTER TABLE … RENAME TO takes a name without its catalog.
        raise WriteError(
            f"{what}: it is in the catalog {entry.catalog}, and only a table of the current catalog, {current}, can "
            f"be replaced. Make {entry.catalog} the current one (spark.catalog.setCurrentCatalog, or "
            "spark.sql.defaultCatalog in offline_store.spark.conf), save by path=, or drop the table first."
        )
    if entry.provider == "hive":
        raise WriteError(
            f"{what}: it is a table of Hive's with files of {entry.files or 'an unknown kind'}, and only one of "
            "Parquet or ORC can be made again by Spark. Save to another table or by path=, or drop it first."
        )
    if entry.provider and entry.provider not in _FILE_FORMATS:
        raise WriteError(
            f"{what}: it is a table of {entry.provider}, which may have no files of its own, and only one of "
            f"{', '.join(_FILE_FORMATS)}, delta or iceberg can be replaced. Save to another table or by path=."
        )
    shown = {**entry.properties, **entry.options}
    hidden = sorted(name for name, value in shown.items() if value == _REDACTED)
    if hidden:
        raise WriteError(
            f"{what}: Spark does not show the value of its option or property {hidden[0]}, so the new rows cannot be "
            "kept in the same way. Save to another table or by path=, or drop it first."
        )


def _swap(
    frame: DataFrame, entry: CatalogEntry, partitions: list[str], what: str, cancellation: Cancellation
) -> None:
    token = uuid.uuid4().hex[:12]
    new = entry.name_with_suffix(f"_{token}_new")
    exchange = _Exchange(
        frame.sparkSession, entry.name_with_suffix(""), new, entry.name_with_suffix(f"_{token}_old"), what
    )
    writer = frame.writeTo(new)
    if entry.provider:
        writer = writer.using(entry.provider)
    for name, value in entry.options.items():
        writer = writer.option(name, value)
    for name, value in entry.properties.items():
        writer = writer.tableProperty(name, value)
    if partitions:
        writer = writer.partitionedBy(*(F.col(quoted(name)) for name in partitions))
    try:
        writer.create()
        if entry.comment:
            frame.sparkSession.sql(f"COMMENT ON TABLE {new} IS {_literal(entry.comment)}")
        with cancellation.committing():
            exchange.make()
    except BaseException as error:
        exchange.undo(error)
        raise
    exchange.finish()


@dataclass(frozen=True)
class _Exchange:
    """Two tables of which the new one takes the old one's name.

    Attributes:
        name: the name, in SQL text.
        new: what the new one is called before, in SQL text.
        old: what the old one is called afterwards, until it is dropped, in SQL text.
        what: how an error names the rows and the place.
    """

    spark: SparkSession
    name: str
    new: str
    old: str
    what: str

    def make(self) -> None:
        """Give the new table the name."""
        self._rename(self.name, self.old)
        self._rename(self.new, self.name)

    def undo(self, error: BaseException) -> None:
        """Leave the old table under its name and no new one, whichever statement failed and whatever it had done.

        Args:
            error: why.

        Raises:
            ReplacementError: that failed too; it says where the old rows may be and how to get them back.
        """
        exists = self.spark.catalog.tableExists
        try:
            if exists(self.old):
                if exists(self.name) and not exists(self.new):
                    self._rename(self.name, self.new)
                self._rename(self.old, self.name)
            self.spark.sql(f"DROP TABLE IF EXISTS {self.new}")
        except Exception as second:
            not_restored = ReplacementError(
                f"{self.what} failed ({redacted_summary(str(error))}), and what was there could not be put back "
                f"({redacted_summary(str(second))}). If there is a table {self.old}, it has the old rows: rename "
                f"{self.name} if there is one, and run ALTER TABLE {self.old} RENAME TO {self.name}. A table "
                f"{self.new} has new rows. Where the table is partitioned run MSCK REPAIR TABLE … SYNC PARTITIONS on "
                "each of them that is there, before you drop one.",
                old_rows=self.old,
            )
            raise_from(not_restored, error)

    def finish(self) -> None:
        """Drop the old table.

        Raises:
            WriteError: the new rows are there, and so is the old table.
        """
        try:
            self.spark.sql(f"DROP TABLE IF EXISTS {self.old}")
        except Exception as error:
            not_dropped = WriteError(
                f"{self.what}: the new rows are there, but the table of the old ones could not be dropped and may be "
                f"there still: DROP TABLE {self.old}. {redacted_summary(str(error))}"
            )
            raise_from(not_dropped, error)

    def _rename(self, table: str, new_name: str) -> None:
        self.spark.sql(f"ALTER TABLE {table} RENAME TO {new_name}")
        self._find_partitions(new_name)

    def _find_partitions(self, table: str) -> None:
        """Have the catalog look for a table's partitions in its own folder.

        Spark's own catalog (4.3.0) leaves most of a renamed table's where they were under the old name: no row is
        found; and once another table has that name, dropping this one deletes the files of that one.
        """
        # Elsewhere the folders say what the partitions are, and a catalog may refuse the statement.
        # Of Hive's tables it says so of those without partitions too, which the statement refuses.
        in_catalog = describe(self.spark, table).get("Partition Provider") == "Catalog"
        if in_catalog and any(column.isPartition for column in _columns(self.spark, table)):
            self.spark.sql(f"MSCK REPAIR TABLE {table} SYNC PARTITIONS")


@dataclass(frozen=True)
class CatalogEntry:
    """What a catalog knows of a table besides its rows.

    Attributes:
        name: without its namespace.
        namespace: the names above it, the outermost first.
        catalog: the one it is in; a temporary view is in none.
        table_type: ``MANAGED``, ``EXTERNAL`` or ``VIEW``.
        provider: its format, in small letters; ``hive`` for one of Hive's that Spark has not; none where the catalog
            has one only.
        files: the class with which Hive reads them.
        options: how its files are written and read.
        partitions: the columns that partition it.
        comments: of columns that have one.
        comment: of the table.
        properties: what its maker has set.
    """

    name: str
    namespace: tuple[str, ...]
    catalog: str | None
    table_type: str
    provider: str
    files: str
    options: Mapping[str, str]
    partitions: tuple[str, ...]
    comments: Mapping[str, str]
    comment: str | None
    properties: Mapping[str, str]

    @staticmethod
    def of(spark: SparkSession, table: str) -> CatalogEntry:
        """What the session's catalogs know of a table, by its full name."""
        found = spark.catalog.getTable(table)
        columns = _columns(spark, table)
        described = describe(spark, table)
        shown = spark.sql(f"SHOW TBLPROPERTIES {table}").collect() if found.tableType == "MANAGED" else []
        return CatalogEntry(
            name=found.name,
            namespace=tuple(found.namespace or ()),
            catalog=found.catalog,
            table_type=found.tableType,
            provider=_provider(described),
            files=described.get("InputFormat", ""),
            options=_options(spark, table, described),
            partitions=tuple(column.name for column in columns if column.isPartition),
            comments={column.name: column.description for column in columns if column.description},
            comment=found.description,
            properties={row["key"]: row["value"] for row in shown if not _OWN_PROPERTIES.match(row["key"])},
        )

    def name_with_suffix(self, suffix: str) -> str:
        """The name in SQL text, without its catalog, with something added to the last part."""
        return ".".join(quoted(part) for part in (*self.namespace, self.name + suffix))


def _columns(spark: SparkSession, table: str) -> list[Column]:
    try:
        return spark.catalog.listColumns(table)
    except PySparkException as error:
        if "UNSUPPORTED_PARTITION_TRANSFORM" not in str(error):  # as Iceberg's days(at), which is no column
            raise
        return []


def _provider(described: Mapping[str, str]) -> str:
    """The format of a table; of one in Hive's own way, the format of its files, if Spark has it too."""
    provider = described.get("Provider", "").lower()
    if provider != "hive":
        return provider
    files = described.get("InputFormat", "").lower()
    return next((name for name in ("parquet", "orc") if name in files), provider)


def _options(spark: SparkSession, table: str, described: Mapping[str, str]) -> dict[str, str]:
    """The options of a table of Spark's, such as the separator of its CSV files; Hive's own mean nothing to Spark."""
    if described.get("Provider", "").lower() == "hive" or "Storage Properties" not in described:
        return {}
    (row,) = spark.sql(f"DESCRIBE TABLE EXTENDED {table} AS JSON").collect()  # the words do not quote the values
    options: dict[str, str] = json.loads(row[0]).get("storage_properties", {})
    return {name: value for name, value in options.items() if name not in _OWN_OPTIONS}


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
