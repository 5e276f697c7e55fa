"""Feast's own sources, storages and destinations, each as a :class:`~feast_hybrid.HybridSparkSource` of one meaning.

The one place that knows their attributes. Nothing of what is made here reaches the registry, whose entries stay
Feast's. What each attribute becomes is in docs/feast-sources.md.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast.data_format import DeltaFormat as DeltaFiles
from feast.data_format import ParquetFormat
from feast.infra.data_sources.contrib.iceberg_catalog.iceberg_source import IcebergSource
from feast.infra.data_sources.contrib.iceberg_catalog.unity_catalog_source import UnityCatalogSource
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage, SparkSource
from feast.infra.offline_stores.file_source import FileLoggingDestination, FileSource, SavedDatasetFileStorage

from feast_hybrid.errors import SourceError
from feast_hybrid.files.globs import SIGNS
from feast_hybrid.lakes.bare_paths import SERVER, is_bare
from feast_hybrid.lakes.uri import shown
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.feast_types import (
    as_file_source_has_it,
    as_iceberg_source_has_it,
    as_spark_source_has_it,
)
from feast_hybrid.spark.columns import quoted

if TYPE_CHECKING:
    from feast.data_format import FileFormat
    from feast.data_source import DataSource
    from feast.feature_logging import LoggingDestination
    from feast.saved_dataset import SavedDatasetStorage
    from feast.table_format import TableFormat

    from feast_hybrid.lakes import BarePaths, Router

#: The classes of Feast's sources that are read as they are.
FEAST_SOURCES: tuple[type[DataSource], ...] = (SparkSource, FileSource, IcebergSource)
#: Methods by which these classes read. A subclass that has its own reads other rows than its attributes say.
_READING = (
    *("get_table_query_string", "_load_dataframe_from_path"),
    *("get_uri_for_file_path", "create_filesystem_and_path", "get_catalog_client"),
)
#: For errors: what a view may have for a batch source.
SOURCES_READ = "HybridSparkSource, and Feast's own SparkSource, FileSource, IcebergSource and UnityCatalogSource"
#: The tag of a source of Feast's that says on which of several sites its table or query is.
SITE_TAG = "feast_hybrid.site"
#: With which this store's tags begin, and those that a source of Feast's may have.
_OUR_TAGS = "feast_hybrid."
_KNOWN_TAGS = (SITE_TAG,)

#: Properties that Feast's table formats repeat beside Spark's options, or that say how a table was made. Neither
#: format's reader knows them: Feast hands them over, and nothing comes of it.
_WITHOUT_EFFECT = {
    "iceberg": re.compile(
        r"iceberg\.(catalog|namespace)|catalog(-impl)?|warehouse|uri|type|format-version|(write|commit|history)\..*"
    ),
    "delta": re.compile(r"delta\..*"),
}
#: What Spark's parser takes for a name without quotes: no number, and no letters but ASCII's.
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Translated:
    """A source of Feast's in our words.

    Attributes:
        read: where its rows are.
        written: where batches go, if elsewhere.
        site: what its tag names, which a path's URI has to agree with; None without the tag. A rule of the
            configuration counts where there is no tag, and no URI.
        warehouse: what an ``IcebergSource`` says of its catalog; empty for others.
    """

    read: HybridSparkSource
    written: HybridSparkSource | None = None
    site: str | None = None
    warehouse: str = ""


def is_feasts(source: DataSource | None) -> bool:
    """Whether a source is of one of :data:`FEAST_SOURCES`, or of a subclass that reads as they do."""
    of = type(source)
    return isinstance(source, FEAST_SOURCES) and all(
        getattr(of, name, None) is getattr(cls, name, None)
        for cls in FEAST_SOURCES
        if isinstance(source, cls)
        for name in _READING
    )


def translate(source: DataSource, router: Router) -> Translated:
    """A source of one of :data:`FEAST_SOURCES` in our words.

    Raises:
        SourceError: it asks for what is not answered; it names what, and what to change.
        RoutingError: its path names no lake that is known, or its tag a site that is not configured.
    """
    what = f"source {shown(source.name)}"
    _refuse_unknown_tags(source, what)
    site = source.tags.get(SITE_TAG)
    if site is not None:
        router.named(site, what=f"{what}, tag {SITE_TAG}")
    if isinstance(source, IcebergSource):
        # Databricks has a warehouse's name for a catalog; for others the session knows it by Feast's name for it.
        is_unity = isinstance(source, UnityCatalogSource)
        catalog = source.warehouse if is_unity else source.catalog_name
        table = _quoted_table(f"{catalog}.{source.namespace}.{source.iceberg_table}")
        warehouse = "" if is_unity else source.warehouse
        return Translated(_source(source, table=table, site=site), site=site, warehouse=warehouse)
    if isinstance(source, FileSource):
        place = _of_file(source.path, source.file_format, router, what=what)
        return Translated(_source(source, **place), site=site)
    assert isinstance(source, SparkSource)
    if source.table:
        return Translated(_source(source, table=_quoted_table(source.table), site=site), site=site)
    stored = None
    if source.path:
        named = site if site is not None else router.by_rule(source.name)
        place = _of_spark(source.path, source.file_format, source.table_format, router, what=what, site=named)
        stored = _source(source, **place, **({"site": site} if "table" in place else {}))
    if source.query:
        return Translated(_source(source, query=source.query, site=site), written=stored, site=site)
    assert stored is not None
    return Translated(stored, site=site)


def translate_storage(storage: SavedDatasetStorage, router: Router) -> HybridSparkSource | None:
    """Where a saved dataset is kept that has a class of Feast's; None for other classes.

    Raises:
        SourceError: it is a query, or asks for what is not answered.
        RoutingError: its path names no lake that is known.
    """
    what = "a saved dataset"
    if isinstance(storage, SavedDatasetFileStorage):
        options = storage.file_options
        place = _of_file(options.uri, options.file_format, router, what=what)
        return HybridSparkSource(name=options.uri, **place)
    if isinstance(storage, SavedDatasetSparkStorage):
        spark = storage.spark_options
        if spark.query:
            raise SourceError(
                f"{what} needs a path or a table to be kept in; this SavedDatasetSparkStorage has a query."
            )
        if spark.table:
            return HybridSparkSource(name=spark.table, table=_quoted_table(spark.table))
        # Feast's own store writes Parquet where no format is given.
        named = router.by_rule(spark.path)
        kind = spark.file_format or "parquet"
        place = _of_spark(spark.path, kind, spark.table_format, router, what=what, site=named)
        return HybridSparkSource(name=spark.path, **place)
    return None


def translate_destination(destination: LoggingDestination, router: Router) -> HybridSparkSource | None:
    """Where features are logged by a destination of Feast's for files; None for other classes.

    Raises:
        SourceError: it has ``partition_by``.
        RoutingError: its path names no lake that is known.
    """
    if not isinstance(destination, FileLoggingDestination):
        return None
    if destination.partition_by:
        raise SourceError(
            f"features are logged with partition_by={destination.partition_by!r}: Feast names the folders by values "
            "alone, and nobody who reads them finds these columns again. Leave it out."
        )
    place = _of_file(destination.path, ParquetFormat(), router, what="a logging destination")
    return HybridSparkSource(name=destination.path, **place)


def type_words(source: DataSource) -> Callable[[str], str]:
    """From Spark's type names to those that a source's ``source_datatype_to_feast_value_type`` takes."""
    if isinstance(source, FileSource):
        return as_file_source_has_it
    if isinstance(source, IcebergSource):
        return as_iceberg_source_has_it
    return as_spark_source_has_it if isinstance(source, SparkSource) else str


def _source(source: DataSource, **place: Any) -> HybridSparkSource:
    by_days: dict[str, Any] = {}
    if source.date_partition_column:
        by_days["date_partition_column"] = source.date_partition_column
        by_days["date_partition_column_format"] = getattr(source, "date_partition_column_format", None)
    return HybridSparkSource(
        name=source.name,
        timestamp_field=source.timestamp_field,
        created_timestamp_column=source.created_timestamp_column,
        field_mapping=source.field_mapping,
        connection_ref=source.connection_ref,
        **by_days,
        **place,
    )


def _of_file(path: str, file_format: FileFormat | None, router: Router, *, what: str) -> dict[str, Any]:
    """The place of a ``FileSource``: Feast reads it by pyarrow, so a bare path is this machine's."""
    if file_format is not None and not isinstance(file_format, ParquetFormat | DeltaFiles):
        raise SourceError(
            f"{what}: file_format {type(file_format).__name__} is none that Feast's FileSource has: ParquetFormat or "
            "DeltaFormat."
        )
    uri = router.bare_paths.on_this_machine(path, what=f"path of {what}")
    if is_bare(path) and SIGNS & set(path) and Path(uri.removeprefix("file://")).exists():
        # Feast's Dask store reads what has that very name, and its DuckDB store what matches it.
        raise SourceError(
            f"{what}: {uri} is there, and its name is a pattern too ({', '.join(sorted(SIGNS & set(path)))}), which "
            "other files may match. Give it a name without these signs."
        )
    return {"path": uri, "file_format": file_format}


def _of_spark(
    path: str,
    file_format: str | None,
    table_format: TableFormat | None,
    router: Router,
    *,
    what: str,
    site: str | None,
) -> dict[str, Any]:
    """The place of a ``SparkSource``: Feast has Spark read it, so a bare path is where Hadoop's default points.

    But where a tag or a rule names a site, it is there.
    """
    kind = table_format.format_type.value if table_format is not None else None
    options = _options(table_format) if table_format is not None else {}
    if kind == "iceberg" and is_bare(path) and "/" not in path:
        # Iceberg's reader takes what has no slash for the name of a table.
        if options:
            raise SourceError(
                f"{what}: {path!r} is the name of an Iceberg table, which takes no options; found "
                f"{', '.join(sorted(options))}. Give the table's folder as path, or read a version by a query."
            )
        return {"table": _quoted_table(path)}
    where = f"path of {what}"
    home = router.named(site, what=what) if site is not None and is_bare(path) else None
    if home is not None:
        uri = router.bare_paths.on_site(path, home.root, what=where)
    else:
        uri = _paths(path, router).by_hadoop(path, what=where)
    return {"path": uri, "file_format": kind or file_format, "options": options}


def _options(table_format: TableFormat) -> dict[str, str]:
    kind = table_format.format_type.value
    without_effect = _WITHOUT_EFFECT.get(kind)
    return {
        key: value
        for key, value in table_format.properties.items()
        if without_effect is None or not without_effect.fullmatch(key)
    }


def _paths(path: str, router: Router) -> BarePaths:
    """What a path means to the session that runs, if one does; nothing is loaded or started to ask."""
    if not is_bare(path):
        return router.bare_paths
    if "pyspark" not in sys.modules:
        on_server, of_session = bool(os.environ.get("SPARK_REMOTE")), None
    else:
        from feast_hybrid.spark.runtime import default_filesystem, works_on_server

        of_session = default_filesystem()
        on_server = of_session is None and works_on_server()
    elsewhere = SERVER if on_server else router.bare_paths.elsewhere
    return replace(router.bare_paths, of_session=of_session, elsewhere=elsewhere)


def _quoted_table(name: str) -> str:
    """A table's name as Feast means it: parts between dots, each by its letters; one that has quotes is as it is."""
    if "`" in name or all(_PLAIN_NAME.fullmatch(part) for part in name.split(".")):
        return name
    return ".".join(quoted(part) for part in name.split("."))


def _refuse_unknown_tags(source: DataSource, what: str) -> None:
    """A tag of ours that is misspelt would say nothing to anybody."""
    for tag in source.tags:
        if tag.lower().startswith(_OUR_TAGS) and tag not in _KNOWN_TAGS:
            near = difflib.get_close_matches(tag.lower(), _KNOWN_TAGS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise SourceError(
                f"{what}: the tag {tag!r} is none that this store knows, and tags that begin with {_OUR_TAGS!r} are "
                f"its own: there is {', '.join(_KNOWN_TAGS)}.{hint}"
            )
