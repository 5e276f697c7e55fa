"""What a session's catalogs say of a table, and of its partitions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.plan_text import leaves_as_text
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Stands for null in the name of a partition.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

#: How many partitions are asked for at once.
_CONCURRENT_QUESTIONS = 8
#: A question for one partition takes as long as so many of a question for all: on Derby 30 to 70 ms, and 1 ms.
_PARTITIONS_OF_A_QUESTION = 30

#: Tables of the session's own catalog in Spark's text of a plan: those of which it reads the files itself, and those
#: that it has Hive's classes read. Their names are made of letters, digits and underscores.
_RELATION = re.compile(r"^[ :+-]*Relation ((?:spark_catalog\.)?\w+\.\w+)\[", re.MULTILINE)
_HIVE_RELATION = re.compile(r"^[ :+-]*HiveTableRelation \[`spark_catalog`\.`(\w+)`\.`(\w+)`", re.MULTILINE)


def describe(session: SparkSession, table: str) -> dict[str, str]:
    """What Spark says of a table in words, but for its columns, whose names may be any."""
    rows = [(row["col_name"], row["data_type"]) for row in session.sql(f"DESCRIBE TABLE EXTENDED {table}").collect()]
    heads = [position for position, (name, _) in enumerate(rows) if name == "# Detailed Table Information"]
    return dict(rows[heads[-1] + 1 :]) if heads else {}


@dataclass(frozen=True)
class TableEntry:
    """A table of the session's own catalog, as ``DESCRIBE TABLE … AS JSON`` gives it.

    Attributes:
        described: all of it.
    """

    described: Mapping[str, Any]

    @property
    def table_type(self) -> str:
        """``MANAGED``, ``EXTERNAL`` or ``VIEW``."""
        return str(self.described.get("type", "")).upper()

    @property
    def provider(self) -> str:
        """What Spark reads it by, in small letters: ``parquet``, ``orc``; ``hive`` for one of Hive's."""
        return str(self.described.get("provider", "")).lower()

    @property
    def serde(self) -> str:
        """The class with which Hive reads its rows."""
        return str(self.described.get("serde_library", ""))

    @property
    def input_format(self) -> str:
        """The class with which Hive reads its files."""
        return str(self.described.get("input_format", ""))

    @property
    def location(self) -> str:
        """Where its files are; empty where the catalog does not say."""
        return str(self.described.get("location", ""))

    @property
    def partition_columns(self) -> list[str]:
        """The columns that partition it."""
        return [str(name) for name in self.described.get("partition_columns", [])]

    @property
    def finds_partitions_in_catalog(self) -> bool:
        """Whether Spark asks the catalog for its partitions, and not its folders."""
        return str(self.described.get("partition_provider", "")).lower() == "catalog"

    @property
    def buckets(self) -> int:
        """By how many files a partition's rows are told apart; 0 for a plain table."""
        return max(0, int(self.described.get("num_buckets", 0) or 0))

    @property
    def options(self) -> Mapping[str, str]:
        """How its files are written and read."""
        return _texts(self.described.get("storage_properties", {}))

    @property
    def properties(self) -> Mapping[str, str]:
        """What its maker has set."""
        return _texts(self.described.get("table_properties", {}))

    @property
    def has_transactions(self) -> bool:
        """Whether it is a table of Hive's whose rows are in deltas, which Spark does not read."""
        return self.properties.get("transactional", "").lower() == "true"

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Name → what is said of a column."""
        return {str(column["name"]): column for column in self.described.get("columns", [])}


def table_entry(session: SparkSession, table: str) -> TableEntry | None:
    """What the session's catalog knows of a table; None where it is in a catalog that does not say it so."""
    try:
        return TableEntry(_as_json(session, f"DESCRIBE TABLE EXTENDED {table} AS JSON"))
    except Exception:
        # A table that is not there, or may not be seen, is named by who reads it.
        return None


def file_relations(frame: DataFrame) -> dict[str, bool]:
    """The tables of files that a frame reads of the session's own catalog: through views, and in subqueries too.

    Returns:
        Each table's name, and whether Spark reads its files itself; Hive's classes do else.

    Raises:
        SessionError: the server cuts the texts of plans off.
    """
    text = leaves_as_text(frame)
    found = dict.fromkeys(_RELATION.findall(text), True)
    return {**found, **{f"spark_catalog.{of}.{name}": False for of, name in _HIVE_RELATION.findall(text)}}


def partition_names(session: SparkSession, table: str) -> list[str]:
    """The names of all partitions of a table, ``day=2026-01-10/hour=7``, in one question."""
    return [str(row[0]) for row in session.sql(f"SHOW PARTITIONS {table}").collect()]


def parse_partition(name: str, columns: Sequence[str]) -> dict[str, str | None] | None:
    """The values in a partition's name, as text; None for null.

    Args:
        name: as the catalog gives it, its values percent-encoded.
        columns: that partition the table.

    Returns:
        None where it is no such name.
    """
    parts = [part.partition("=") for part in name.split("/")]
    if [unquote(column).lower() for column, _, _ in parts] != [column.lower() for column in columns]:
        return None
    return {
        column: None if text == NULL_PARTITION else unquote(text)
        for column, (_, _, text) in zip(columns, parts, strict=True)
    }


def partition_entries(
    session: SparkSession, table: str, partitions: Sequence[Mapping[str, str | None]], total: int
) -> list[TableEntry]:
    """What the catalog knows of some partitions: where they are, and how they are read.

    Args:
        session: that reads.
        table: whose partitions they are.
        partitions: the values of each as :func:`parse_partition` gives them, one or more.
        total: how many the table has. Where these are no multitude beside those that are wanted, a session of Spark
            Classic asks for all in one question; else each is a question by itself.
    """
    if not is_connect(session) and total <= _PARTITIONS_OF_A_QUESTION * len(partitions):
        with suppress(Exception):  # a catalog of another kind, or a partition that has just come: Spark's SQL tells
            known = _all_partitions(session, table)
            return [known[_named(partition)] for partition in partitions]

    def ask(partition: Mapping[str, str | None]) -> TableEntry:
        wanted = ", ".join(
            f"{quoted(column)} = {_literal(NULL_PARTITION if text is None else text)}"
            for column, text in partition.items()
        )
        return TableEntry(_as_json(session, f"DESCRIBE TABLE EXTENDED {table} PARTITION ({wanted}) AS JSON"))

    with ThreadPoolExecutor(_CONCURRENT_QUESTIONS) as threads:
        return list(threads.map(ask, partitions))


def _all_partitions(session: SparkSession, table: str) -> dict[_Partition, TableEntry]:
    """All partitions of a table of the session's own catalog, by their values."""
    if session.catalog.currentCatalog() != "spark_catalog":
        raise LookupError("a table without its catalog's name is one of another catalog")
    of_spark: Any = session
    jvm, state = of_spark._jvm, of_spark._jsparkSession.sessionState()
    as_path = jvm.org.apache.spark.sql.catalyst.catalog.CatalogUtils.URIToString
    nothing = getattr(getattr(jvm.scala, "None$"), "MODULE$")
    identifier = state.sqlParser().parseTableIdentifier(table)
    names = state.catalog().getTableMetadata(identifier).partitionColumnNames()
    columns = [names.apply(number) for number in range(names.size())]
    partitions = state.catalog().listPartitions(identifier, nothing)
    found = {}
    # A call of each method for each partition: a map or a list as a whole would take as long as a question.
    for number in range(partitions.size()):
        partition = partitions.apply(number)
        storage, values = partition.storage(), partition.spec()
        texts = {column: values.apply(column) for column in columns}
        described = {
            "location": as_path(partition.location()),
            "serde_library": storage.serde().getOrElse(None),
            "input_format": storage.inputFormat().getOrElse(None),
        }
        spec = {column: None if text == NULL_PARTITION else text for column, text in texts.items()}
        found[_named(spec)] = TableEntry({name: text or "" for name, text in described.items()})
    return found


#: A partition's columns in small letters, and their values as text.
_Partition = frozenset[tuple[str, str | None]]


def _named(partition: Mapping[str, str | None]) -> _Partition:
    return frozenset((column.lower(), text) for column, text in partition.items())


def _as_json(session: SparkSession, statement: str) -> dict[str, Any]:
    (row,) = session.sql(statement).collect()
    found: dict[str, Any] = json.loads(row[0])
    return found


def _texts(found: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in dict(found or {}).items()}


def _literal(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
