"""Where the metadata of a table is that one of Iceberg's catalogs has, without asking Spark's package of Iceberg.

Only a catalog all of whose settings are known here is looked into. What any other setting may change is left to
Spark's package: which class opens files, which names are taken for which, what is kept of an earlier question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.asof import Ineligible
from feast_hybrid.errors import RoutingError, SourceError
from feast_hybrid.files.globs import SIGNS
from feast_hybrid.lakes.uri import shown

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.spark.iceberg_catalogs import CatalogTable

#: Kind of a catalog → the settings of it that are known here.
_SETTINGS = {
    "hadoop": frozenset({"type", "warehouse"}),
    "rest": frozenset({"type", "uri", "warehouse", "prefix", "token", "credential", "scope", "oauth2-server-uri"}),
}


def require_warehouse(source: SourceSpec, found: tuple[str, str] | None) -> None:
    """Refuse a table of a catalog whose warehouse is another in the session than the source says.

    Feast opens the catalog by what the source says, and the session has one catalog of a name: of two sources whose
    catalogs are called alike, one would get the other's rows.

    Args:
        source: a table.
        found: its catalog and that one's warehouse, as :func:`~feast_hybrid.spark.iceberg_catalogs.warehouse_of` has
            them of the session.

    Raises:
        SourceError: they differ; it names both.
    """
    if not source.warehouse or found is None or found[1].rstrip("/") == source.warehouse.rstrip("/"):
        return
    catalog, warehouse = found
    raise SourceError(
        f"{source.label}: its IcebergSource has the warehouse {shown(source.warehouse)}, and the session's catalog "
        f"{catalog!r} (spark.sql.catalog.{catalog}.warehouse) has {shown(warehouse)}. Give each warehouse a catalog "
        "of its own in offline_store.spark.conf, and the source its name (catalog_name)."
    )


def location_in_catalog(table: CatalogTable, router: Router) -> Location | Ineligible:
    """The folder of a table of a catalog, or its last metadata file; or why it is Spark's to find.

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
        return Ineligible(f"the session {', '.join(table.others)}, by which Spark may read other rows")
    return _in_warehouse(table, router, what) if kind == "hadoop" else _of_rest(table, router, what)


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


def _of_rest(table: CatalogTable, router: Router, what: str) -> Location | Ineligible:
    """What a server says is the last metadata file of a table."""
    from feast_hybrid.files.iceberg_places import require_own_place
    from feast_hybrid.files.iceberg_rest import UnknownAnswerError, metadata_place

    settings = {name: value for name, value in table.settings.items() if name != "type"}
    if not settings.get("uri", "").startswith(("http://", "https://")):
        return Ineligible(f"{what} has no URI of a server")
    if "credential" in settings and "oauth2-server-uri" not in settings:
        return Ineligible(f"{what} has a credential, and no oauth2-server-uri")
    try:
        file, folder = metadata_place(settings, table.namespace, table.name)
    except UnknownAnswerError as error:
        return Ineligible(f"{what}: {error}")
    except Exception as error:  # whose text may be a secret
        status = getattr(getattr(error, "response", None), "status_code", None)
        answer = "" if status is None else f" {status}"
        return Ineligible(f"{what} could not be asked: {type(error).__name__}{answer}")
    try:
        location = router.locate(file, what=f"the metadata that {what} names")
    except RoutingError:
        return Ineligible(f"{what} has the table under none of the configured sites")
    try:
        require_own_place(location.parent().parent(), folder)
    except SourceError:
        return Ineligible(f"{what} has the table's metadata elsewhere than the table")
    if location.parent().name != "metadata" or SIGNS & set(location.uri.path):
        return Ineligible(f"{what} has the table's metadata under a name that is not plainly a file's")
    return location
