"""Which catalog of Iceberg's a table of a session is in, and what the session says of that catalog.

https://iceberg.apache.org/docs/latest/spark-configuration/ has the settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from feast_hybrid.spark.reader_settings import unknown_extension
from feast_hybrid.spark.redaction import unlogged

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_CATALOGS = "spark.sql.catalog."
_CLASS = "org.apache.iceberg.spark.SparkCatalog"
#: How the settings begin by which Iceberg reads another branch, or rows that are not yet published.
_UNPUBLISHED = "spark.wap."
_PART = r"`(?:[^`]|``)+`|\w+"
_NAME = re.compile(rf"(?:{_PART})(?:\.(?:{_PART}))*")


@dataclass(frozen=True)
class CatalogTable:
    """A table of one of Iceberg's catalogs.

    Attributes:
        catalog: the name that the session has for the catalog.
        settings: of the catalog, which may be secrets: name → value, without the catalog's name in front.
        namespace: of the table, part by part.
        name: of the table.
        others: what the session has besides, by which Spark may read other rows.
    """

    catalog: str
    settings: Mapping[str, str] = field(repr=False)
    namespace: tuple[str, ...]
    name: str
    others: tuple[str, ...]


def iceberg_table_name(session: SparkSession, table: str) -> CatalogTable | None:
    """Where a table is, if it is named in full as one of a catalog of Iceberg's; None for others.

    Args:
        session: whose settings say which catalogs there are.
        table: its name, as Spark's SQL has it.
    """
    parts = _parts(table)
    if len(parts) < 3:
        return None
    prefix = f"{_CATALOGS}{parts[0]}"
    if session.conf.get(prefix, None) != _CLASS:
        return None
    with unlogged():  # a setting of a catalog may be a secret
        known = {str(name): str(value) for name, value in session.conf.getAll.items()}
    settings = {
        name.removeprefix(f"{prefix}."): value for name, value in known.items() if name.startswith(f"{prefix}.")
    }
    others = [f"sets {name}" for name in sorted(known) if name.startswith(_UNPUBLISHED)]
    if (extension := unknown_extension(session)) is not None:
        others.append(f"has the extension {extension}")
    return CatalogTable(parts[0], settings, tuple(parts[1:-1]), parts[-1], tuple(others))


def warehouse_of(session: SparkSession, table: str) -> tuple[str, str] | None:
    """The catalog that a table's name begins with, and its warehouse as the session's settings have it.

    None where that catalog is none of Iceberg's, or its settings leave the warehouse to others.
    """
    parts = _parts(table)
    if len(parts) < 3:
        return None
    prefix = f"{_CATALOGS}{parts[0]}"
    if not str(session.conf.get(prefix, None) or "").startswith("org.apache.iceberg.spark."):
        return None
    with unlogged():  # it may hold a secret
        found = session.conf.get(f"{prefix}.warehouse", None)
    return (parts[0], str(found)) if found else None


def _parts(table: str) -> list[str]:
    """The parts of a name; none where it is no name that Spark's SQL has."""
    if not _NAME.fullmatch(table):
        return []
    return [part[1:-1].replace("``", "`") if part.startswith("`") else part for part in re.findall(_PART, table)]
