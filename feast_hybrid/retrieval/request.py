"""From Feast's feature views to the views of the as-of join, with their sources resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from feast.errors import EntityNotFoundException
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME
from feast.utils import _get_requested_feature_views_to_features_dict

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.job import HybridRetrievalMetadata
from feast_hybrid.retrieval.kept_rows import kept_rows
from feast_hybrid.sources.declared import transforms
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.view_rules import refuse_missing_key, require_history

if TYPE_CHECKING:
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.repo_config import RepoConfig

    from feast_hybrid.lakes import Router
    from feast_hybrid.retrieval.entity_rows import Bounds
    from feast_hybrid.retrieval.transformed import TransformedRows
    from feast_hybrid.sources.spec import SourceSpec

#: Feast adds a second to a saved dataset's last time to read its rows back. Python's times end with the year 9999.
_LATEST_FOR_FEAST = datetime.max.replace(tzinfo=UTC) - timedelta(seconds=1)


@dataclass(frozen=True)
class RequestedView:
    """A feature view of a request, with Feast's names translated to the source's.

    Attributes:
        name: what full feature names begin with.
        view: Feast's object.
        source: what the source means that is read for it.
        keys: pairs of (entity column, column of its rows).
        features: pairs of (column of its rows, output column).
        join_keys: by Feast's names.
        transformed: makes its rows of the source's; None where they are the source's.
    """

    name: str
    view: FeatureView
    source: SourceSpec
    keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]
    join_keys: tuple[str, ...] = ()
    transformed: TransformedRows | None = None

    @property
    def timestamp(self) -> str:
        """The event time's column of its rows."""
        return self.source.timestamp if self.transformed is None else self.transformed.timestamp

    def between(self, bounds: Bounds | None) -> tuple[datetime | None, datetime | None]:
        """Between which times entity rows within some bounds can see the view's rows; None for no bound."""
        ttl = self.view.ttl
        start = _earlier(bounds[0], ttl) if ttl and bounds is not None else None
        return start, None if bounds is None else bounds[1]

    @property
    def required(self) -> list[str]:
        """The columns without which a row is no answer: keys and event time."""
        return [*(column for _, column in self.keys), self.timestamp]

    @property
    def columns(self) -> list[str]:
        """The columns that the join takes."""
        created = self.source.created_timestamp if self.transformed is None else None
        return [*self.required, *([created] if created else []), *(column for column, _ in self.features)]

    def created(self, columns: Sequence[str]) -> str | None:
        """The created time's column; a transformation may leave it out."""
        if self.transformed is None:
            return self.source.created_timestamp
        return self.transformed.created if self.transformed.created in columns else None

    def require_keys_of_source(
        self, columns_of: Callable[[str], Sequence[str]], entity_columns: Sequence[str]
    ) -> None:
        """Refuse a view of which Feast did not know all join keys, and whose source lacks one.

        Args:
            columns_of: opens the source for a column, and gives all that it has.
            entity_columns: the columns of the entity rows.

        Raises:
            SchemaError: it names the key.
        """
        known = {column.name for column in self.view.entity_columns}
        for key in self.join_keys:
            if key in known:
                continue
            column = self.source.column_of(key)
            columns = columns_of(column)
            if column not in columns:
                entities = ", ".join(self.view.entities)
                refuse_missing_key(self.view, entities, repr(key), self.source, columns, entity_columns)

    def refuse_aggregations(self, columns: Sequence[str]) -> None:
        """Feast aggregates when it materialises; a source may hold what was aggregated already.

        Args:
            columns: of the view's rows.

        Raises:
            SchemaError: a feature is an aggregation, and they do not have it.
        """
        features = {column for column, _ in self.features}
        aggregations = getattr(self.view, "aggregations", None) or ()
        inputs = {self.source.column_of(aggregation.column) for aggregation in aggregations}
        aggregated = [aggregation.resolved_name(aggregation.time_window) for aggregation in aggregations]
        for name in map(self.source.column_of, aggregated):
            if name not in features:
                continue
            if not positions_of(name, columns):
                found = f"has no column {name}, which is an aggregation of the view"
            elif name in inputs:
                found = f"has the column {name}, which an aggregation of the view takes and gives"
            else:
                continue
            raise SchemaError(
                f"view {self.name!r}: source {self.source.name!r} {found}. Feast aggregates when it materialises, "
                "not when history is asked for: keep the aggregated rows in a source of their own, and make a "
                "feature view of it."
            )


def _earlier(time: datetime, ttl: timedelta) -> datetime | None:
    """The time less a ttl; None where no datetime is so early."""
    try:
        return as_utc(time) - ttl
    except OverflowError:
        return None


def requested_views(
    feature_views: Sequence[FeatureView],
    feature_refs: Sequence[str],
    on_demand: Sequence[OnDemandFeatureView],
    full_feature_names: bool,
    config: RepoConfig,
    registry: BaseRegistry,
    project: str,
) -> list[RequestedView]:
    """Which features are asked of which view, in the order of the references.

    Args:
        feature_views: those that are referred to.
        feature_refs: ``view:feature`` each.
        on_demand: views whose inputs are asked for, too.
        full_feature_names: whether features are called ``view__feature``.
        config: says how sites are reached, and which engine runs transformations.
        registry: knows join keys that views do not have.
        project: the project in the registry.

    Raises:
        SourceError, RoutingError: a view's batch source is of another class, or on no site.
        NotSupportedError: a view asks for what cannot be answered.
        SchemaError: the registry has none of a view's entities.
    """
    by_view, _ = _get_requested_feature_views_to_features_dict(
        list(feature_refs), list(feature_views), list(on_demand)
    )
    views = []
    for view, features in by_view.items():
        require_history(view)
        join_keys = _join_keys(view, registry, project)
        views.append(_requested(view, features, join_keys, full_feature_names, config))
    return views


def _join_keys(view: FeatureView, registry: BaseRegistry, project: str) -> list[str]:
    """A view's join keys: all of its entities', also those that Feast did not find in the source.

    Feast leaves out of a view what it does not find; a view without keys would give one row's values to everybody.
    """
    keys = [column.name for column in view.entity_columns if column.name != DUMMY_ENTITY_ID]
    entities = [name for name in view.entities if name != DUMMY_ENTITY_NAME]
    if len(keys) >= len(entities):
        return keys
    for name in entities:
        try:
            keys.append(registry.get_entity(name, project, allow_cache=True).join_key)
        except EntityNotFoundException:
            raise SchemaError(
                f"view {view.name!r}: its entity {name!r} is not in the registry; apply it together with the view."
            ) from None
    return list(dict.fromkeys(keys))


def _requested(
    view: FeatureView,
    features: Sequence[str],
    join_keys: Sequence[str],
    full_feature_names: bool,
    config: RepoConfig,
) -> RequestedView:
    router: Router = config.offline_store.router
    source = source_spec(view.batch_source, router, view=view)
    transformed = None
    if (kept := kept_rows(view, source)) is not None:
        source = kept
    elif transforms(view):
        from feast_hybrid.retrieval.transformed import TransformedRows

        transformed = TransformedRows(view, router, config)
        source = transformed.source
    name = view.projection.name_to_use()
    entity_columns = view.projection.join_key_map

    def column_of(feast_name: str) -> str:
        return feast_name if transformed is not None else source.column_of(feast_name)

    return RequestedView(
        name=name,
        view=view,
        source=source,
        keys=tuple((entity_columns.get(key, key), column_of(key)) for key in join_keys),
        features=tuple(
            (column_of(feature), f"{name}__{feature}" if full_feature_names else feature)
            for feature in dict.fromkeys(features)
        ),
        join_keys=tuple(join_keys),
        transformed=transformed,
    )


class TimedRows(Protocol):
    """Entity rows of any engine."""

    @property
    def columns(self) -> list[str]:
        """The names of the rows' columns."""

    @property
    def timestamp(self) -> str:
        """The time column."""

    def bounds(self) -> Bounds | None:
        """The first and last time; None where there is none, or no datetime is one of them."""


def retrieval_metadata(
    rows: TimedRows, feature_refs: Sequence[str], versions: Mapping[str, str]
) -> HybridRetrievalMetadata:
    """What Feast tells of a training set; for entity rows in Spark this runs a job.

    A last time within the last second of the year 9999 is told as the start of that second, which Feast adds.
    """
    low, high = rows.bounds() or (None, None)
    return HybridRetrievalMetadata(
        versions=versions,
        features=list(feature_refs),
        keys=[name for name in rows.columns if name != rows.timestamp],
        min_event_timestamp=low,
        max_event_timestamp=None if high is None else min(high, _LATEST_FOR_FEAST),
    )
