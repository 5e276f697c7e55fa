"""From a source of Feast's to what it means here; the one place that tells Feast's classes of sources apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

from feast_hybrid.errors import NotSupportedError, RoutingError, SourceError, WriteError
from feast_hybrid.lakes.uri import shown
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.declared import LiveObjects, agreed_types, declared_types, made_types, views_of
from feast_hybrid.sources.feast_sources import (
    SITE_TAG,
    SOURCES_READ,
    Translated,
    is_feasts,
    translate,
    translate_destination,
    translate_storage,
)
from feast_hybrid.sources.saved_datasets import HybridSparkLoggingDestination, SavedDatasetHybridSparkStorage
from feast_hybrid.sources.view_rules import require_pull

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.feature_logging import LoggingDestination
    from feast.feature_view import FeatureView
    from feast.repo_config import RepoConfig
    from feast.saved_dataset import SavedDatasetStorage

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec


def router_of(config: RepoConfig) -> Router:
    """The router of a repository's sites, which knows where relative paths of Feast's ``FileSource`` begin."""
    router: Router = config.offline_store.router
    if router.bare_paths.repo != config.repo_path:
        router.bare_paths = replace(router.bare_paths, repo=config.repo_path)
    return router


def is_read(source: DataSource | None) -> bool:
    """Whether it is of a class that this store reads."""
    return isinstance(source, HybridSparkSource) or is_feasts(source)


def source_spec(source: DataSource | None, router: Router, *, view: FeatureView | None = None) -> SourceSpec:
    """What a source means, with its place found on its site.

    Args:
        source: Feast's object.
        router: finds the site.
        view: the feature view that the source belongs to; None for a source by itself.

    Raises:
        SourceError: it is of a class that this store does not know, or asks for what is not answered.
        RoutingError: it is on none of the configured sites, or does not say on which of several.
    """
    if source is None or not is_read(source):
        raise SourceError(_not_read(source, view))
    if isinstance(source, HybridSparkSource):
        spec = source.resolve(router)
    else:
        spec = _resolved(translate(source, router), router, what=f"source {shown(source.name)}")
    if view is None:
        return spec
    written = spec.written_to
    if written is not None:
        written = replace(written, view=view.name, declared=made_types(view, written))
    return replace(spec, view=view.name, declared=declared_types(view, spec), written_to=written)


def storage_spec(storage: SavedDatasetStorage, router: Router) -> SourceSpec:
    """Where a saved dataset is kept.

    Raises:
        WriteError: the storage is of a class that this store does not know.
        SourceError: it is a query, or asks for what is not answered.
        RoutingError: it is on none of the configured sites, or does not say on which of several.
    """
    if isinstance(storage, SavedDatasetHybridSparkStorage):
        return storage.to_data_source().resolve(router)
    kept = translate_storage(storage, router)
    if kept is None:
        raise WriteError(
            "persist needs a SavedDatasetHybridSparkStorage, or Feast's SavedDatasetSparkStorage or "
            f"SavedDatasetFileStorage; found {type(storage).__name__}."
        )
    return kept.resolve(router, at_home=True)


def destination_spec(destination: LoggingDestination, router: Router) -> SourceSpec:
    """Where served features are logged.

    Raises:
        WriteError: the destination is of a class that this store does not know.
        SourceError: it asks for what is not answered.
        RoutingError: it is on none of the configured sites, or does not say on which of several.
    """
    if isinstance(destination, HybridSparkLoggingDestination):
        return destination.to_data_source().resolve(router)
    kept = translate_destination(destination, router)
    if kept is None:
        raise WriteError(
            f"features are logged to a {type(destination).__name__}; this offline store logs to a "
            "HybridSparkLoggingDestination, or to Feast's FileLoggingDestination."
        )
    return kept.resolve(router)


def pulled_source_spec(source: DataSource, router: Router) -> SourceSpec:
    """As :func:`source_spec`, for a source that Feast's engines take out of a view and hand over without it.

    What its views declare is looked up in this process, which takes a look at all of its objects.
    """
    return _with_declared(source_spec(source, router), views_of(source))


def engine_source_spec(source: DataSource, config: RepoConfig) -> SourceSpec:
    """As :func:`pulled_source_spec`, for rows that an engine runs the views' transformations on.

    Raises:
        NotSupportedError: a stream feature view's function would be run on rows that it made; or the engine would
            write them past this store.
    """
    router = router_of(config)
    spec = source_spec(source, router)
    views = views_of(source)
    require_pull(views)
    require_written_here(source, config)
    return _with_declared(spec, views)


def require_written_here(source: DataSource, config: RepoConfig) -> None:
    """Refuse to let Feast's Spark engine write a view's rows past this store.

    To a ``SparkSource`` it writes by itself, in one folder for all days, with no sign-in of a site's, and readers see
    parts of it; to a source of any other class by :meth:`HybridSparkOfflineStore.offline_write_batch`.

    Raises:
        NotSupportedError: a view of this source, or one that is made of it, has ``offline=True`` and a
            ``SparkSource``, and the engine is Spark.
    """
    if not engine_is_spark(config):
        return
    engine = _engine_type(config)
    for view in LiveObjects.find().views_made_of(source):
        if getattr(view, "offline", False) and isinstance(view.batch_source, SparkSource):
            raise NotSupportedError(
                f"view {view.name!r} has offline=True and a SparkSource, to which Feast's {engine} "
                "writes by itself, past this store and its sites. Make that source a HybridSparkSource, or "
                "materialise by the local engine (batch_engine: {type: local})."
            )


def engine_is_spark(config: RepoConfig) -> bool:
    """Whether the engine by which Feast materialises works on Spark."""
    return "spark" in _engine_type(config).lower()


def _engine_type(config: RepoConfig) -> str:
    """What stands for ``type`` in ``batch_engine``, whose other words Feast's own class need not know."""
    given: Any = config.batch_engine_config
    if isinstance(given, dict):
        return str(given.get("type", ""))
    return given if isinstance(given, str) else str(getattr(given, "type", ""))


def _with_declared(spec: SourceSpec, views: Sequence[FeatureView]) -> SourceSpec:
    return replace(spec, declared=agreed_types(views, spec))


def _resolved(translated: Translated, router: Router, *, what: str) -> SourceSpec:
    spec = translated.read.resolve(router, at_home=True)
    written = translated.written.resolve(router, at_home=True) if translated.written is not None else None
    for location in (spec.location, written.location if written is not None else None):
        if location is not None and translated.site not in (None, location.site.name):
            raise RoutingError(
                f"{what}: its tag {SITE_TAG} is {translated.site!r}, but its path belongs to {location.describe()}. "
                "Leave the tag out: the URI tells a path's site."
            )
    return replace(spec, written_to=written, warehouse=translated.warehouse)


def _not_read(source: DataSource | None, view: FeatureView | None) -> str:
    found = type(source).__name__ if source is not None else "none"
    read = f"this offline store reads and writes {SOURCES_READ}"
    if view is not None:
        return (
            f"feature view {view.name!r} has a batch source of type {found}; {read}. Change the source in the "
            "repository and run feast apply."
        )
    name = f"source {shown(source.name)}" if source is not None else "the source"
    return f"{name} is a {found}; {read}."
