"""What ``feast apply`` asks of a source, whatever class of Feast's or ours says where its rows are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SourceNotFoundError
from feast_hybrid.sources.declared import LiveObjects, agreed_types, declared_types, join_keys
from feast_hybrid.sources.inference import source_columns, validate_source
from feast_hybrid.sources.view_rules import check_columns, require_supported

if TYPE_CHECKING:
    from feast.data_source import DataSource
    from feast.feature_view import FeatureView

    from feast_hybrid.sources.spec import SourceSpec


def validate_applied(source: DataSource, resolve: Callable[[], SourceSpec], store: Any) -> None:
    """Ask the site whether the rows are there and have the columns that the source and its views name.

    Where the rows are those that a view's transformation will write (``sink_source``), they may be missing yet.

    Args:
        source: Feast's object, by which its views are found.
        resolve: what it means.
        store: the offline store's configuration.

    Raises:
        SourceNotFoundError: nothing is there, or the site cannot be reached. Says which site was asked.
        SchemaError: a column that this source names is missing, or a view's join key; or what a view declares is
            not what a column holds.
        NotSupportedError: a view asks for what cannot be answered.
    """
    live = LiveObjects.find()
    views, spec = _with_views(source, resolve, live)
    try:
        validate_source(
            spec,
            store.spark,
            store.router,
            keys=join_keys(views, spec),
            views=_for_each_view(spec, views),
            check=lambda columns: check_columns(views, spec, columns, live),
        )
    except SourceNotFoundError:
        if not views or any(not getattr(view, "source_views", None) for view in views):
            raise


def applied_columns(source: DataSource, resolve: Callable[[], SourceSpec], store: Any) -> list[tuple[str, str]]:
    """Names and Spark type names of a source's columns; for Parquet and ORC paths without a JVM.

    Args:
        source: Feast's object, by which its views are found.
        resolve: what it means.
        store: the offline store's configuration.

    Raises:
        SourceNotFoundError: nothing is there, or the site cannot be reached. Says which site was asked.
        SchemaError: a view's join key is missing; or views declare what a column does not hold, or what does not
            go together.
        NotSupportedError: a view asks for what cannot be answered.
    """
    # ``FeatureStore.apply`` validates no source: where Feast infers a view's columns, it asks here.
    live = LiveObjects.find()
    views, spec = _with_views(source, resolve, live)
    columns = source_columns(spec, store.spark, store.router, views=_for_each_view(spec, views))
    check_columns(views, spec, [name for name, _ in columns], live)
    return columns


def _with_views(
    source: DataSource, resolve: Callable[[], SourceSpec], live: LiveObjects
) -> tuple[list[FeatureView], SourceSpec]:
    """The source's views, each of which can be answered, and what it means with what they declare together.

    Raises:
        NotSupportedError: a view asks for what cannot be answered.
    """
    views = live.views_of(source)
    for view in views:
        require_supported(view)
    spec = resolve()
    return views, replace(spec, declared=agreed_types(views, spec))


def _for_each_view(source: SourceSpec, views: Sequence[FeatureView]) -> list[SourceSpec]:
    """What a source means to each of its views."""
    return [replace(source, view=view.name, declared=declared_types(view, source)) for view in views]
