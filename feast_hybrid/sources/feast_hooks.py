"""Where Feast asks its own sources themselves, and not the store: here they ask the store, where it is this one.

``feast apply`` infers a missing ``timestamp_field``, and the columns of on-demand views, by a method of the source;
so does Feast's offline server. Those of ``SparkSource`` start a Spark session of their own, and those of
``FileSource`` sign in nowhere. docs/adr/0014 says why the methods are wrapped, and what another store sees of it.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from feast.errors import DataSourceNoNameException
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SavedDatasetSparkStorage, SparkSource
from feast.types import from_value_type

from feast_hybrid.errors import SchemaError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.applied import applied_columns, validate_applied
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.declared import views_of
from feast_hybrid.sources.feast_sources import FEAST_SOURCES, type_words
from feast_hybrid.sources.resolve import require_written_here, router_of, source_spec

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.repo_config import RepoConfig


def validate(source: DataSource, config: RepoConfig) -> None:
    """Ask the site whether a source's rows are there and have the columns that it and its views name.

    Args:
        source: of whatever class.
        config: the repository's, with this offline store.

    Raises:
        SourceError: it is of a class that this store does not know, or asks for what is not answered.
        RoutingError: it is on none of the configured sites, or does not say on which of several.
        SourceNotFoundError: nothing is there, or the site cannot be reached. Says which site was asked.
        SchemaError: a column that this source names is missing, or a view's join key; or what a view declares is
            not what a column holds.
        NotSupportedError: a view asks for what cannot be answered.
    """
    router = router_of(config)
    require_written_here(source, config)
    validate_applied(source, lambda: source_spec(source, router), config.offline_store)


def columns(source: DataSource, config: RepoConfig) -> list[tuple[str, str]]:
    """Names and types of a source's columns, as the source's own class calls types.

    Raises:
        SourceError, RoutingError, SourceNotFoundError, NotSupportedError: as :func:`validate`.
        SchemaError: as :func:`validate`; or a feature is to be inferred of a column for whose type Feast's class has
            no word.
    """
    router = router_of(config)
    found = applied_columns(source, lambda: source_spec(source, router), config.offline_store)
    if isinstance(source, HybridSparkSource):
        return found
    words = type_words(source)
    named = [(name, words(_as_instant(source, spark_type))) for name, spark_type in found]
    _require_words(source, named)
    return named


def _as_instant(source: DataSource, spark_type: str) -> str:
    """A date as the instant that it is to Feast; but no candidate where the event time is still looked for."""
    return "timestamp" if spark_type == "date" and source.timestamp_field else spark_type


def _require_words(source: DataSource, named: list[tuple[str, str]]) -> None:
    """Refuse to infer a feature whose type Feast would fail on without saying of which column."""
    inferring = [view.name for view in views_of(source) if not view.features]
    if not inferring or not source.timestamp_field:
        return
    to_value_type = source.source_datatype_to_feast_value_type()
    times = {source.timestamp_field, source.created_timestamp_column}
    for name, data_type in named:
        if name in times or source.field_mapping.get(name) in times:
            continue
        try:
            from_value_type(to_value_type(data_type))
        except (KeyError, ValueError):
            raise SchemaError(
                f"view {inferring[0]!r}: no feature can be inferred of column {name!r} of source {source.name!r}: "
                f"Feast's {type(source).__name__} has no type for {data_type}. Give the view a schema."
            ) from None


def install() -> None:
    """Have Feast's sources ask this store wherever it is the one that is configured; once for each process."""
    for cls in FEAST_SOURCES:
        _wrap(cls, "validate", validate)
        _wrap(cls, "get_table_column_names_and_types", columns)
    _name_saved_datasets()


def _wrap(cls: Any, method: str, ours: Any) -> None:
    feasts = getattr(cls, method)
    if hasattr(feasts, "of_feast"):
        return

    @wraps(feasts)
    def asked(self: DataSource, config: RepoConfig) -> Any:
        # Feast's own methods ask less of a configuration: one without a store is theirs.
        is_ours = isinstance(getattr(getattr(config, "offline_store", None), "router", None), Router)
        return ours(self, config) if is_ours else feasts(self, config)

    asked.of_feast = feasts  # type: ignore[attr-defined]
    setattr(cls, method, asked)


def _name_saved_datasets() -> None:
    """Give the source of a saved dataset in a path a name: without, Feast 0.67 writes it and cannot read it back."""
    feasts = SavedDatasetSparkStorage.to_data_source
    if hasattr(feasts, "of_feast"):
        return

    @wraps(feasts)
    def named(self: SavedDatasetSparkStorage) -> DataSource:
        try:
            return feasts(self)
        except (DataSourceNoNameException, AssertionError):
            options = self.spark_options
            return SparkSource(
                name=options.path or "saved dataset",
                query=options.query,
                path=options.path,
                file_format=options.file_format,
                table_format=options.table_format,
            )

    named.of_feast = feasts  # type: ignore[attr-defined]
    setattr(SavedDatasetSparkStorage, "to_data_source", named)  # noqa: B010 - a method is replaced
