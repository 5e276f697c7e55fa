"""The point-in-time join: entity rows in, the same rows with features out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from feast_hybrid.asof.columnar.eligibility import match_column
from feast_hybrid.asof.columnar.plan import join_columnar
from feast_hybrid.asof.planner import choose
from feast_hybrid.asof.prepare import ENTITY_TS, TS, prepare
from feast_hybrid.asof.request import JoinRequest
from feast_hybrid.asof.window import window
from feast_hybrid.spark.times import within_ttl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from feast_hybrid.asof.entity_stats.model import EntityStats
    from feast_hybrid.asof.join_plan import JoinPlan
    from feast_hybrid.asof.prepare import History
    from feast_hybrid.asof.view import AsOfView


def asof_join(
    entities: DataFrame,
    views: Sequence[AsOfView],
    *,
    timestamp: str,
    filter_by_created_timestamp: bool = False,
    strategy: str = "auto",
    stats: EntityStats | None = None,
    parallelism: int | None = None,
) -> DataFrame:
    """Give each entity row the features that were true at its time.

    For an entity row with keys k and time t, a view's candidates are the rows whose keys equal k by value
    (null equals nothing), with ``timestamp`` <= t and, if the view has a ttl, ``timestamp`` >= t - ttl. The
    candidate with the greatest (``timestamp``, ``created``) is the answer, a null ``created`` being the
    least; of rows that tie on both, the one with the greatest requested features
    (:mod:`feast_hybrid.asof.ties`). All features of a view come from one row. No candidate: nulls.

    Times are instants, to the microsecond; the session's time zone has no influence. Nothing runs before the
    result is asked for rows but the planner's statistics: a footer of each scan; once for each session and place
    whether executors can open files there; and one pass over the entity rows' keys and times where ``stats`` does not
    say enough and there is much to read.

    Args:
        entities: The entity rows. Their columns come back first, as they are.
        views: The histories; their features follow in this order. May be frames of other sessions of the same
            Spark application, except with Spark Connect.
        timestamp: The entity column that says when: timestamp, timestamp_ntz (UTC) or date (midnight UTC).
        filter_by_created_timestamp: A row is a candidate only if also ``created`` <= t, for views that have
            a created column. A null ``created`` never is.
        strategy: ``auto``, ``columnar`` or ``window``: the answer is the same. ``columnar`` is for views
            that have a scan; others are joined as with ``auto``.
        stats: What is known of the entity rows.
        parallelism: How many tasks run at once, where it is known.

    Returns:
        One row for each entity row, in no particular order.

    Raises:
        SchemaError: A column is missing, is ambiguous, or has a type that does not do.
        JoinError: Two output columns would have one name, or there is no such strategy.
    """
    request = JoinRequest(
        entities=entities,
        views=views,
        timestamp=timestamp,
        filter_by_created_timestamp=filter_by_created_timestamp,
        strategy=strategy,
        stats=stats,
        parallelism=parallelism,
    )
    return planned_join(request)[0]


def planned_join(request: JoinRequest) -> tuple[DataFrame, JoinPlan]:
    """Do what :func:`asof_join` says.

    Returns:
        The joined rows, and the plan that was followed.

    Raises:
        SchemaError: As :func:`asof_join`.
        JoinError: As :func:`asof_join`.
    """
    prepared = prepare(
        request.entities,
        request.views,
        timestamp=request.timestamp,
        filter_by_created_timestamp=request.filter_by_created_timestamp,
    )
    plan = choose(prepared, request)
    rows = prepared.entities
    if plan.columnar:
        rows = join_columnar(
            rows,
            plan.entity_schema,
            list(plan.columnar.values()),
            parallelism=request.parallelism,
            entity_rows=plan.entity_rows,
        )
    features = []
    for n, history in enumerate(prepared.histories):
        if n in plan.columnar:
            columns = {value: match_column(n, i) for i, value in enumerate(history.values)}
        else:
            match = f"__fh_a{n}"
            rows = _join_by_window(rows, _cut(history, prepared.entities) if plan.cut else history, match)
            columns = {value: f"{match}.{value}" for value in history.values}
        features += [F.col(columns[value]) for value, _ in history.outputs]
    names = [*prepared.names, *(out for history in prepared.histories for _, out in history.outputs)]
    # Named by position, since the caller's names may be anything.
    numbered = [feature.alias(f"__fh_o{i}") for i, feature in enumerate(features)]
    return rows.select(*prepared.columns, *numbered).toDF(*names), plan


def _join_by_window(rows: DataFrame, history: History, match: str) -> DataFrame:
    """The rows with the struct ``match`` of a history's time and values, null where there is none within the ttl."""
    rows = window(rows, history, match)
    if history.ttl is None:
        return rows
    fresh = within_ttl(F.col(f"{match}.{TS}"), F.col(ENTITY_TS), history.ttl)
    return rows.withColumn(match, F.when(fresh, F.col(match)))


def _cut(history: History, entities: DataFrame) -> History:
    """The history's rows whose keys are those of an entity row, before they are shuffled; all of it without keys."""
    if not history.keys:
        return history
    wanted = entities.select(*history.keys).distinct()
    cut = history.frame.join(F.broadcast(wanted), list(history.keys), "left_semi")
    return replace(history, make_frame=lambda _: cut)
