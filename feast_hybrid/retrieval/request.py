"""From Feast's feature views to the views of the as-of join, with their sources resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from feast.errors import EntityNotFoundException
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_NAME
from feast.utils import _get_requested_feature_views_to_features_dict

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.arrow.utc import as_utc, datetime_of
from feast_hybrid.asof import AsOfView, Ineligible
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows, require_keys
from feast_hybrid.retrieval.job import HybridRetrievalMetadata
from feast_hybrid.retrieval.join import RetrievalJoin
from feast_hybrid.retrieval.transformed import TransformedRows, kept_rows
from feast_hybrid.sources.declared import transforms
from feast_hybrid.sources.files_frame import SourceFrame
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.time_filter import filter_time_range
from feast_hybrid.sources.view_rules import refuse_missing_key, require_history
from feast_hybrid.spark.runtime import parallelism

if TYPE_CHECKING:
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.repo_config import RepoConfig
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.reader import Reader
    from feast_hybrid.sources.spec import SourceSpec


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

    def rows(
        self,
        reader: Reader,
        columns: Sequence[str],
        required: Sequence[str],
        between: tuple[datetime | None, datetime | None],
        *,
        scan: bool = False,
    ) -> SourceFrame:
        """The view's rows between two times.

        Args:
            reader: reads the source.
            columns: that will be used.
            required: those without which a row is no answer.
            between: the first and the last time; None for no bound.
            scan: see :meth:`Reader.open`.

        Raises:
            SourceError, SourceNotFoundError, StorageError: the source cannot be read.
            SchemaError: a column is missing.
            RetrievalError: the view's transformation failed.
        """
        start, end = between
        if self.transformed is not None:
            frame = self.transformed.frame(reader, end)
            self._require_made(frame, columns)
            return SourceFrame(self._between(frame, start, end), Ineligible("a transformation makes its rows"))
        rows = reader.open(self.source, columns, required=required, between=(start, end), scan=scan)
        return replace(rows, frame=self._between(rows.frame, start, end))

    def _between(self, frame: DataFrame, start: datetime | None, end: datetime | None) -> DataFrame:
        """Of the view's rows those between two times."""
        # What partitions the source need not be a column any more of what a transformation makes.
        source = self.source if self.transformed is None else replace(self.source, date_partition_column=None)
        return filter_time_range(frame, source, self.timestamp, start, end)

    def as_of_view(self, reader: Reader, bounds: Bounds | None, *, scan: bool = True) -> AsOfView:
        """The view for the as-of join, its history cut to what entity rows within the bounds can see.

        Args:
            reader: reads the source.
            bounds: the first and last time of the entity rows, where they are known.
            scan: whether to look for the source's files, for joins that read them themselves.
        """
        ttl = self.view.ttl
        start = _earlier(bounds[0], ttl) if ttl and bounds is not None else None
        end = None if bounds is None else bounds[1]
        rows = self.rows(reader, self._columns, self._required, (start, end), scan=scan)
        self._refuse_aggregations(rows.frame.columns)
        return AsOfView(
            name=self.name,
            frame=rows.frame,
            keys=self.keys,
            timestamp=self.timestamp,
            created=self._created(rows.frame.columns),
            ttl=ttl,
            features=self.features,
            scan=rows.scan if scan else Ineligible("the strategy is 'window'"),
            within=lambda low, high: self._between(rows.frame, datetime_of(low), datetime_of(high)),
            where=self.source.describe(),
            notes=rows.notes,
        )

    @property
    def _required(self) -> list[str]:
        """The columns without which a row is no answer: keys and event time."""
        return [*(column for _, column in self.keys), self.timestamp]

    @property
    def _columns(self) -> list[str]:
        """The columns that the join takes."""
        created = self.source.created_timestamp if self.transformed is None else None
        return [*self._required, *([created] if created else []), *(column for column, _ in self.features)]

    def _created(self, columns: Sequence[str]) -> str | None:
        """The created time's column; a transformation may leave it out."""
        if self.transformed is None:
            return self.source.created_timestamp
        return self.transformed.created if self.transformed.created in columns else None

    def _require_made(self, frame: DataFrame, columns: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(columns) if not positions_of(name, frame.columns)]
        if missing:
            raise SchemaError(
                f"view {self.name!r}: its transformation gives no column {', '.join(missing)}; it gives "
                f"{', '.join(frame.columns)}."
            )

    def _refuse_aggregations(self, columns: Sequence[str]) -> None:
        """Feast aggregates when it materialises; a source may hold what was aggregated already."""
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


def plan_join(
    rows: EntityRows,
    views: Sequence[RequestedView],
    reader: Reader,
    *,
    strategy: str,
    filter_by_created_timestamp: bool,
) -> RetrievalJoin:
    """What is joined to the entity rows, with no more of each history than they can see.

    Args:
        rows: the entity rows.
        views: what is asked for.
        reader: reads the views' sources.
        strategy: ``auto``, or one that the configuration asks for.
        filter_by_created_timestamp: whether a row only counts from its created time on.

    Raises:
        EntityFrameError: the rows lack a join key.
        SourceError, SourceNotFoundError, StorageError: a source cannot be read.
        SchemaError: a source lacks a join key or an aggregation, or a transformation a column.
        RetrievalError: a transformation failed.
    """
    keys = list(dict.fromkeys(key for view in views for key, _ in view.keys))
    for view in views:
        _require_keys_of_source(view, reader, rows.columns)
    require_keys(keys, rows.columns)
    # What a transformation makes can depend on which rows it sees: it is the same for all forms of entity rows. And
    # of a table by days only the partitions within the times are asked of its catalog.
    needs_bounds = any(view.transformed or view.source.is_table_by_days for view in views)
    bounds = rows.bounds() if needs_bounds else rows.known_bounds
    reads_files = strategy in ("auto", "columnar")
    return RetrievalJoin(
        spark=reader.spark,
        views=[view.as_of_view(reader, bounds, scan=reads_files) for view in views],
        keys=keys,
        timestamp=rows.timestamp,
        stats=rows.stats(keys),
        filter_by_created_timestamp=filter_by_created_timestamp,
        strategy=strategy,
        parallelism=parallelism(reader.spark),
        what=f"historical features of {', '.join(view.name for view in views)}",
    )


def _require_keys_of_source(view: RequestedView, reader: Reader, entity_columns: Sequence[str]) -> None:
    """Refuse a view of which Feast did not know all join keys, and whose source lacks one."""
    known = {column.name for column in view.view.entity_columns}
    for key in view.join_keys:
        if key in known:
            continue
        column = view.source.column_of(key)
        columns = reader.open(view.source, [column]).frame.columns
        if column not in columns:
            entities = ", ".join(view.view.entities)
            refuse_missing_key(view.view, entities, repr(key), view.source, columns, entity_columns)


def retrieval_metadata(
    rows: EntityRows, feature_refs: Sequence[str], versions: Mapping[str, str]
) -> HybridRetrievalMetadata:
    """What Feast tells of a training set; for entity rows in Spark this runs a job."""
    low, high = rows.bounds() or (None, None)
    return HybridRetrievalMetadata(
        versions=versions,
        features=list(feature_refs),
        keys=[name for name in rows.columns if name != rows.timestamp],
        min_event_timestamp=low,
        max_event_timestamp=high,
    )
