"""Where the metadata of a table is that one of Iceberg's catalogs has, without asking Spark's package of Iceberg.

Only a catalog all of whose settings are known here is looked into. What any other setting may change is left to
Spark's package: which class opens files, which names are taken for which, what is kept of an earlier question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.asof import Ineligible
from feast_hybrid.errors import RoutingError
from feast_hybrid.files.globs import SIGNS

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.spark.iceberg_catalogs import CatalogTable

#: Kind of a catalog → the settings of it that are known here.
_SETTINGS = {"hadoop": frozenset({"type", "warehouse"})}


def location_in_catalog(table: CatalogTable, router: Router) -> Location | Ineligible:
    """The folder of a table of a catalog, or why it is Spark's to find.

    Args:
        table: as the session has it.
        router: knows the sites.
    """
    what = f"the Iceberg catalog {table.catalog!r}"
    kind = table.settings.get("type", "hive").lower()
    if "catalog-impl" in table.settings:
        return Ineligible(f"{what} is of a class that feast-hybrid does not know")
    if kind not in _SETTINGS:
        return Ineligible(f"{what} is of the type {kind}, which feast-hybrid does not ask")
    if unknown := sorted(table.settings.keys() - _SETTINGS[kind]):
        return Ineligible(f"{what} has settings that feast-hybrid does not know: {', '.join(unknown)}")
    if table.others:
        return Ineligible(f"the session sets {', '.join(table.others)}, by which Iceberg reads other rows")
    return _in_warehouse(table, router, what)


def _in_warehouse(table: CatalogTable, router: Router, what: str) -> Location | Ineligible:
    """As Iceberg's ``HadoopCatalog`` has it: each part of the name is a folder of the warehouse."""
    warehouse = table.settings.get("warehouse", "").rstrip("/")
    if not warehouse:
        return Ineligible(f"{what} has no warehouse")
    parts = [*table.namespace, table.name]
    if any(part in (".", "..") or (SIGNS | {"/", "\\", ":"}) & set(part) for part in parts) or SIGNS & set(warehouse):
        return Ineligible(f"{what} has the table under a name that is not plainly a folder's")
    try:
        return router.locate("/".join([warehouse, *parts]), what=f"the warehouse of {what}")
    except RoutingError:
        return Ineligible(f"the warehouse of {what} is under none of the configured sites")
