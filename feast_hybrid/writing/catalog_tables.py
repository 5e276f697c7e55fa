"""Tables of Spark's catalogs whose content is replaced, while what else is known of them stays."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_hybrid.asof.names import quoted
from feast_hybrid.errors import WriteError
from feast_hybrid.formats import TABLE_FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.catalog import Column

#: What Spark shows for a property whose value it takes for a secret.
_REDACTED = "*********(redacted)"

#: Properties that say what a catalog knows otherwise, or has counted itself.
_NOT_THE_MAKERS = re.compile(r"(provider|location|owner|comment|external|is_managed_location)$|option\.|transient_")


def replace_catalog_table(frame: DataFrame, table: str, what: str) -> None:
    """Make a frame the whole content of a table that is there.

    Its format, its partitioning by columns that the frame has, its properties and comments stay. Tables of Delta and
    Iceberg are replaced by a commit; of others a new one is written beside the old one and takes its name, since
    Spark's own overwrite drops first.

    Args:
        frame: the rows; their columns replace those that are there.
        table: its full name.
        what: how an error names the rows and the place.

    Raises:
        WriteError: it is no managed table: its files are where somebody else has put them, and may read them.
    """
    from pyspark.sql import functions as F

    known = _Known.of(frame.sparkSession, table)
    partitions = [name for name in known.partitions if name in frame.columns]
    described = frame.select(
        *(
            F.col(quoted(name)).alias(name, metadata={"comment": known.comments[name]})
            if name in known.comments
            else F.col(quoted(name))
            for name in frame.columns
        )
    )
    if known.provider in TABLE_FORMATS:
        writer = described.write.format(known.provider).mode("overwrite").option("overwriteSchema", "true")
        (writer.partitionBy(*partitions) if partitions else writer).saveAsTable(table)
        return
    if known.kind != "MANAGED":
        raise WriteError(
            f"{what}: it is {known.kind.lower()}, and only a managed table can be replaced. Save to its location by "
            "path=, or drop it first."
        )
    _swap(described, known, partitions)


def _swap(frame: DataFrame, known: _Known, partitions: list[str]) -> None:
    from pyspark.sql import functions as F

    spark = frame.sparkSession
    token = uuid.uuid4().hex[:12]
    there, new, old = known.called(""), known.called(f"_{token}_new"), known.called(f"_{token}_old")
    writer = frame.writeTo(new)
    if known.provider:
        writer = writer.using(known.provider)
    for key, value in known.properties.items():
        writer = writer.tableProperty(key, value)
    if partitions:
        writer = writer.partitionedBy(*(F.col(quoted(name)) for name in partitions))
    try:
        writer.create()
        if known.comment:
            spark.sql(f"COMMENT ON TABLE {new} IS {_literal(known.comment)}")
        spark.sql(f"ALTER TABLE {there} RENAME TO {old}")
        try:
            _rename(spark, new, there, partitioned=bool(partitions))
        except BaseException:
            spark.sql(f"ALTER TABLE {old} RENAME TO {there}")
            raise
    except BaseException:
        spark.sql(f"DROP TABLE IF EXISTS {new}")
        raise
    spark.sql(f"DROP TABLE {old}")


def _rename(spark: SparkSession, table: str, name: str, *, partitioned: bool) -> None:
    spark.sql(f"ALTER TABLE {table} RENAME TO {name}")
    if not partitioned:
        return
    try:
        # Spark's own catalog still looks for the partitions where they were under the old name, and finds no rows.
        spark.sql(f"MSCK REPAIR TABLE {name} SYNC PARTITIONS")
    except BaseException:
        spark.sql(f"ALTER TABLE {name} RENAME TO {table}")
        raise


@dataclass(frozen=True)
class _Known:
    """What a catalog knows of a table besides its rows.

    Attributes:
        name: without its namespace.
        namespace: the names above it, the outermost first.
        kind: ``MANAGED``, ``EXTERNAL`` or ``VIEW``.
        provider: its format, in small letters; none for one of Hive's that Spark has not.
        partitions: the columns that partition it.
        comments: of columns that have one.
        comment: of the table.
        properties: what its maker has set.
    """

    name: str
    namespace: tuple[str, ...]
    kind: str
    provider: str
    partitions: tuple[str, ...]
    comments: Mapping[str, str]
    comment: str | None
    properties: Mapping[str, str]

    @staticmethod
    def of(spark: SparkSession, table: str) -> _Known:
        found = spark.catalog.getTable(table)
        columns = _columns(spark, table)
        described = spark.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()
        shown = spark.sql(f"SHOW TBLPROPERTIES {table}").collect() if found.tableType == "MANAGED" else []
        return _Known(
            name=found.name,
            namespace=tuple(found.namespace or ()),
            kind=found.tableType,
            provider=_provider({row["col_name"]: row["data_type"] for row in described}),
            partitions=tuple(column.name for column in columns if column.isPartition),
            comments={column.name: column.description for column in columns if column.description},
            comment=found.description,
            properties={
                row["key"]: row["value"]
                for row in shown
                if row["value"] != _REDACTED and not _NOT_THE_MAKERS.match(row["key"])
            },
        )

    def called(self, suffix: str) -> str:
        """The full name in SQL text, with something added to the last part."""
        return ".".join(quoted(part) for part in (*self.namespace, self.name + suffix))


def _columns(spark: SparkSession, table: str) -> list[Column]:
    from pyspark.errors import PySparkException

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
    return next((name for name in ("parquet", "orc") if name in files), "")


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
