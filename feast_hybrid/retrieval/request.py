"""From Feast's feature views to the views of the as-of join, with their sources resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.offline_stores.offline_store import RetrievalMetadata
from feast.utils import _get_requested_feature_views_to_features_dict

from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.asof import AsOfView, Ineligible
from feast_hybrid.errors import SchemaError
from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows, require_keys
from feast_hybrid.retrieval.join import RetrievalJoin
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.time_range import filter_time_range
from feast_hybrid.spark.runtime import parallelism

if TYPE_CHECKING:
    from feast.feature_view import FeatureView
    from feast.on_demand_feature_view import OnDemandFeatureView

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.reader import Reader
    from feast_hybrid.sources.spec import SourceSpec


@dataclass(frozen=True)
class RequestedView:
    """A feature view of a request, with Feast's names translated to the source's.

    Attributes:
        name: what full feature names begin with.
        view: Feast's object.
        source: what its batch source means.
        keys: pairs of (entity column, source column).
        features: pairs of (source column, output column).
    """

    name: str
    view: FeatureView
    source: SourceSpec
    keys: tuple[tuple[str, str], ...]
    features: tuple[tuple[str, str], ...]

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
        rows = reader.open(self.source, self._columns, required=self._required, between=(start, end))
        frame = rows.frame
        self._refuse_aggregations(frame.columns)
        if bounds is not None:
            frame = filter_time_range(frame, self.source, self.source.timestamp, start, end)
        return AsOfView(
            name=self.name,
            frame=frame,
            keys=self.keys,
            timestamp=self.source.timestamp,
            created=self.source.created_timestamp,
            ttl=ttl,
            features=self.features,
            scan=rows.scan if scan else Ineligible("the strategy is 'window'"),
            notes=rows.notes,
        )

    @property
    def _required(self) -> list[str]:
        """The source's columns without which a row is no answer: keys and event time."""
        return [*(column for _, column in self.keys), self.source.timestamp]

    @property
    def _columns(self) -> list[str]:
        """The source's columns that the join takes."""
        created = self.source.created_timestamp
        return [*self._required, *([created] if created else []), *(column for column, _ in self.features)]

    def _refuse_aggregations(self, columns: Sequence[str]) -> None:
        """Feast aggregates when it materialises; a source may hold what was aggregated already."""
        in_source = {name.lower() for name in columns}
        lacking = {column for column, _ in self.features if column.lower() not in in_source}
        aggregations = getattr(self.view, "aggregations", None) or ()
        aggregated = [aggregation.resolved_name(aggregation.time_window) for aggregation in aggregations]
        missing = [name for name in aggregated if name in lacking]
        if missing:
            raise SchemaError(
                f"view {self.name!r}: source {self.source.name!r} has no column {', '.join(missing)}, which is an "
                "aggregation of the view. Feast aggregates when it materialises, not when history is asked for: "
                "keep the aggregated rows in a source of their own, and make a feature view of it."
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
    router: Router,
) -> list[RequestedView]:
    """Which features are asked of which view, in the order of the references.

    Raises:
        SourceError, RoutingError: a view's batch source is of another class, or on no site.
    """
    by_view, _ = _get_requested_feature_views_to_features_dict(
        list(feature_refs), list(feature_views), list(on_demand)
    )
    return [_requested(view, features, full_feature_names, router) for view, features in by_view.items()]


def _requested(view: FeatureView, features: Sequence[str], full_feature_names: bool, router: Router) -> RequestedView:
    source = source_spec(view.batch_source, router, view=view)
    name = view.projection.name_to_use()
    join_keys = view.projection.join_key_map
    return RequestedView(
        name=name,
        view=view,
        source=source,
        keys=tuple(
            (join_keys.get(column.name, column.name), source.column_of(column.name))
            for column in view.entity_columns
            if column.name != DUMMY_ENTITY_ID
        ),
        features=tuple(
            (source.column_of(feature), f"{name}__{feature}" if full_feature_names else feature)
            for feature in dict.fromkeys(features)
        ),
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
        SchemaError: a source lacks an aggregation.
    """
    keys = list(dict.fromkeys(key for view in views for key, _ in view.keys))
    require_keys(keys, rows.columns)
    bounds = rows.known_bounds
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


def retrieval_metadata(rows: EntityRows, feature_refs: Sequence[str]) -> RetrievalMetadata:
    """What Feast tells of a training set; for entity rows in Spark this runs a job."""
    low, high = rows.bounds() or (None, None)
    return RetrievalMetadata(
        features=list(feature_refs),
        keys=[name for name in rows.columns if name != rows.timestamp],
        min_event_timestamp=low,
        max_event_timestamp=high,
    )
