"""From Feast's words to the as-of join's: feature views to views, entity frames to entity rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from feast.feature_view import DUMMY_ENTITY_ID
from feast.utils import _get_requested_feature_views_to_features_dict

from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.asof import AsOfView
from feast_hybrid.errors import EntityFrameError, SchemaError
from feast_hybrid.retrieval.entity_rows import EVENT_TIMESTAMP, Bounds, EntityRows, PandasRows, SparkRows, spark_rows
from feast_hybrid.sources.data_source import HybridSparkSource
from feast_hybrid.sources.parquet_scan import scan_of
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.time_range import filter_time_range
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.sql import single_select

if TYPE_CHECKING:
    from feast.feature_view import FeatureView
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.on_demand_feature_view import OnDemandFeatureView
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
        frame = reader.read(self.source)
        self._refuse_aggregations(frame.columns)
        ttl = self.view.ttl
        start = _minus(bounds[0], ttl) if ttl and bounds is not None else None
        end = None if bounds is None else bounds[1]
        files = scan_of(self.source, frame, start, end) if scan else "it was not asked for"
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
            scan=None if isinstance(files, str) else files,
            no_scan=files if isinstance(files, str) else "",
        )

    def _refuse_aggregations(self, columns: Sequence[str]) -> None:
        """Feast aggregates when it materialises; a source may hold what was aggregated already."""
        there = {name.lower() for name in columns}
        wanted = {column for column, _ in self.features if column.lower() not in there}
        made = [a.resolved_name(a.time_window) for a in getattr(self.view, "aggregations", None) or ()]
        missing = [name for name in made if name in wanted]
        if missing:
            raise SchemaError(
                f"view {self.name!r}: source {self.source.name!r} has no column {', '.join(missing)}, which is an "
                "aggregation of the view. Feast aggregates when it materialises, not when history is asked for: "
                "keep the aggregated rows in a source of their own, and make a feature view of it."
            )


def _minus(time: datetime, by: timedelta) -> datetime | None:
    try:
        return as_utc(time) - by
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
    source = source_spec(view.batch_source, router, view=view.name)
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


def entity_rows(
    entity_df: Any,
    views: Sequence[RequestedView],
    reader: Reader,
    registry: BaseRegistry,
    project: str,
    dates: tuple[datetime | None, datetime | None],
) -> EntityRows:
    """The entity rows of a request.

    Args:
        entity_df: a pandas frame, a Spark frame, SQL text, or None for the rows of the views themselves.
        views: what is asked for.
        reader: reads sources, in the session of the call.
        registry: knows the sources that SQL text may name.
        project: the project in the registry.
        dates: start and end, used where ``entity_df`` is None.

    Raises:
        EntityFrameError: it has another type, or lacks a column.
    """
    import pandas as pd

    if isinstance(entity_df, pd.DataFrame):
        return PandasRows.of(entity_df)
    if isinstance(entity_df, str):
        return spark_rows(_from_sql(entity_df, views, reader, registry, project))
    if entity_df is None:
        return _from_views(views, reader, dates)
    if hasattr(entity_df, "sparkSession"):
        return spark_rows(entity_df)
    raise EntityFrameError(
        f"entity_df is a {type(entity_df).__name__}; give a pandas frame, a Spark frame, SQL text, or None with "
        "start_date and end_date."
    )


def _from_sql(
    query: str, views: Sequence[RequestedView], reader: Reader, registry: BaseRegistry, project: str
) -> DataFrame:
    """Run SQL in which a source's name stands for its rows; the names are seen by this call alone."""
    from sqlglot.expressions import Table

    from feast_hybrid.sources.reader import analysed
    from feast_hybrid.spark.errors import translate_spark_errors

    parsed = single_select(query, what="entity_df", error=EntityFrameError)
    named = {table.name.lower() for table in parsed.find_all(Table) if not table.db}
    ours = {view.source.name: view.source for view in views}
    for source in registry.list_data_sources(project, allow_cache=True):
        if source.name not in ours and source.name.lower() in named and isinstance(source, HybridSparkSource):
            ours[source.name] = source_spec(source, reader.router)
    # Read in the call's own session, where alone the views can be seen; all of them under names of their own before
    # the first gets its source's name, which may be that of a table that another source reads.
    rows: dict[str, str] = {}
    for name, spec in ours.items():
        if name.lower() in named:
            rows[quoted(name)] = f"__fh_{uuid.uuid4().hex}"
            reader.read(spec, session=reader.spark).createOrReplaceTempView(rows[quoted(name)])
    for table_ref, own_name in rows.items():
        reader.spark.table(own_name).createOrReplaceTempView(table_ref)
    with translate_spark_errors("entity_df", "SQL text"):
        return analysed(reader.spark.sql(query))


def _from_views(
    views: Sequence[RequestedView], reader: Reader, dates: tuple[datetime | None, datetime | None]
) -> SparkRows:
    """The distinct (join keys, event time) of each view's rows within the dates, views of the same keys united."""
    from feast.utils import compute_non_entity_date_range
    from pyspark.sql import functions as F

    from feast_hybrid.spark.times import micros, require_time

    start, end = compute_non_entity_date_range([view.view for view in views], dates[0], dates[1])
    if start > end:
        raise EntityFrameError(
            f"start_date {start.isoformat()} is after end_date {end.isoformat()}; give the earlier first."
        )
    frames: list[DataFrame] = []
    kinds: dict[str, tuple[str, str]] = {}
    for view in views:
        frame = filter_time_range(reader.read(view.source), view.source, view.source.timestamp, start, end)
        owner = f"view {view.name!r}"
        fields = {field.name: field.dataType for field in frame.schema.fields}
        timestamp = view.source.timestamp
        wanted = [timestamp, *(column for _, column in view.keys)]
        missing = [column for column in wanted if column not in fields]
        if missing:
            raise SchemaError(
                f"{owner}: source {view.source.name!r} lacks {', '.join(missing)}; it has {', '.join(fields)}."
            )
        require_time(fields[timestamp], owner=owner, role="timestamp column", name=timestamp)
        for key, column in view.keys:
            kind = fields[column].simpleString()
            before = kinds.setdefault(key, (view.name, kind))
            if _family(before[1]) != _family(kind):
                raise SchemaError(
                    f"join key {key!r} is {before[1]} in view {before[0]!r} and {kind} in view {view.name!r}: "
                    "their rows cannot be united."
                )
        numbered = frame.toDF(*(f"c{i}" for i in range(len(fields))))
        at = {name: f"c{i}" for i, name in enumerate(fields)}
        frames.append(
            numbered.select(
                *(F.col(at[column]).alias(key) for key, column in view.keys),
                F.timestamp_micros(micros(F.col(at[timestamp]), fields[timestamp])).alias(EVENT_TIMESTAMP),
            ).dropna(subset=[f"`{EVENT_TIMESTAMP}`"])
        )
    united = frames[0]
    for frame in frames[1:]:
        united = united.unionByName(frame, allowMissingColumns=True)
    keys = [column for column in united.columns if column != EVENT_TIMESTAMP]
    ordered = united.select(*map(quoted, [*keys, EVENT_TIMESTAMP]))
    return SparkRows(ordered.distinct(), EVENT_TIMESTAMP, (start, end))


def _family(kind: str) -> str:
    """Types whose values can stand in one key column."""
    return "a whole number" if kind in ("tinyint", "smallint", "int", "bigint") else kind
