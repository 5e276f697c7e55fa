"""Iceberg tables at a path, made by pyiceberg: its catalog writes them, and is left behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pyiceberg.catalog.sql import SqlCatalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyiceberg.schema import Schema
    from pyiceberg.table import Table


def catalog_table(folder: Path, schema: Schema | Any, **more: Any) -> Table:
    """An empty table of a catalog's, whose folder is ``folder / "table"``.

    Args:
        folder: of this machine.
        schema: Iceberg's, or Arrow's.
        more: see :meth:`pyiceberg.catalog.Catalog.create_table`.
    """
    folder.mkdir(exist_ok=True, parents=True)
    catalog = SqlCatalog("tests", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    catalog.create_namespace_if_not_exists("db")
    return catalog.create_table("db.table", schema, location=f"file://{folder}/table", **more)


def without_catalog(table: Table, folder: Path, change: Callable[[dict[str, Any]], Any] | None = None) -> Path:
    """Have a table's last version be known by its path alone.

    Args:
        table: of :func:`catalog_table`.
        folder: likewise.
        change: changes the metadata.

    Returns:
        The table's folder.
    """
    there = folder / "table"
    raw = json.loads(table.metadata.model_dump_json())
    if change is not None:
        change(raw)
    for file in (there / "metadata").glob("*.metadata.json"):
        file.unlink()
    (there / "metadata" / "v1.metadata.json").write_text(json.dumps(raw))
    (there / "metadata" / "version-hint.text").write_text("1")
    return there
