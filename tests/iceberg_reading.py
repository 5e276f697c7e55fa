"""The rows that pyiceberg finds in an Iceberg table at a path, by its last version alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.table import StaticTable

from feast_hybrid.files.iceberg_places import TableFiles
from feast_hybrid.files.iceberg_versions import last_version

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.lakes import Location


def static_table(location: Location) -> StaticTable:
    """The last version of a table, as pyiceberg reads it."""
    version = last_version(location)
    assert version is not None
    return StaticTable(
        ("static", location.name),
        version.metadata,
        str(version.file),
        TableFiles(location, version.metadata.location),
        NoopCatalog("static"),
    )


def by_pyiceberg(location: Location) -> pa.Table:
    """All rows of a table."""
    return static_table(location).scan().to_arrow()
