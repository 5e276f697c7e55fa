"""Tables at a path whose metadata lists their files, of Delta and Iceberg: one way to open a version of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.sources.delta import delta_table

if TYPE_CHECKING:
    from feast_hybrid.files.listed_tables import ListedTable
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec


def is_delta(source: SourceSpec) -> bool:
    """Whether a source is a Delta table at a path."""
    return source.location is not None and source.file_format == "delta"


def is_iceberg(source: SourceSpec) -> bool:
    """Whether a source is an Iceberg table at a path."""
    return source.location is not None and source.file_format == "iceberg"


def lists_its_files(source: SourceSpec) -> bool:
    """Whether a source is a table at a path whose metadata lists its files."""
    return is_delta(source) or is_iceberg(source)


def open_table_version(source: SourceSpec, router: Router) -> ListedTable:
    """The version of a source's table that it means: the latest, unless its options say another.

    Args:
        source: such that :func:`lists_its_files`.
        router: knows the sites.

    Raises:
        TableFeatureError: the table, or an option, needs what this package does not read.
        SourceNotFoundError: nothing is there.
        SourceError: what is there is no such table, it is damaged, or the version is not there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        RoutingError: the path is a pattern that also expands to what is on another site.
    """
    if is_delta(source):
        return delta_table(source, router)
    from feast_hybrid.sources.iceberg import iceberg_table

    return iceberg_table(source, router)


#: A table, how it is read, and who reads it.
VersionKey = tuple[str, tuple[tuple[str, str], ...], bytes]


def version_key(source: SourceSpec) -> VersionKey:
    """What tells a source's table from others in one call: what one source may read is not for another."""
    assert source.location is not None
    sign_in = source.location.site.sign_in_key(source.location.uri)
    return str(source.location), tuple(sorted(source.options.items())), sign_in
