"""From a source of Feast's to what it means here; the one place that tells Feast's classes of sources apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.declared import agreed_types, declared_types, views_of
from feast_hybrid.sources.view_rules import require_pull

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec


def source_spec(source: DataSource | None, router: Router, *, view: FeatureView | None = None) -> SourceSpec:
    """What a source means, with its place found on its site.

    Args:
        source: Feast's object.
        router: finds the site.
        view: the feature view that the source belongs to; None for a source by itself.

    Raises:
        SourceError: it is of a class that this store does not know.
        RoutingError: it is on none of the configured sites, or does not say on which of several.
    """
    if isinstance(source, HybridSparkSource):
        spec = source.resolve(router)
        if view is None:
            return spec
        return replace(spec, view=view.name, declared=declared_types(view, spec))
    found = type(source).__name__ if source is not None else "none"
    if view is not None:
        raise SourceError(
            f"feature view {view.name!r} has a batch source of type {found}; this offline store reads "
            "and writes HybridSparkSource. Change the class's name in the repository and run feast apply."
        )
    name = f"source {source.name!r}" if source is not None else "the source"
    raise SourceError(f"{name} is a {found}; this offline store reads and writes HybridSparkSource.")


def pulled_source_spec(source: DataSource, router: Router) -> SourceSpec:
    """As :func:`source_spec`, for a source that Feast's engines take out of a view and hand over without it.

    What its views declare is looked up in this process, which takes a look at all of its objects.
    """
    return _with_declared(source_spec(source, router), views_of(source))


def engine_source_spec(source: DataSource, router: Router) -> SourceSpec:
    """As :func:`pulled_source_spec`, for rows that an engine runs the views' transformations on.

    Raises:
        NotSupportedError: a stream feature view's function would be run on rows that it made.
    """
    spec = source_spec(source, router)
    views = views_of(source)
    require_pull(views)
    return _with_declared(spec, views)


def _with_declared(spec: SourceSpec, views: Sequence[FeatureView]) -> SourceSpec:
    return replace(spec, declared=agreed_types(views, spec))
