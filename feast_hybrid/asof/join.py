"""The point-in-time join: entity rows in, the same rows with features out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.asof.planner import choose
from feast_hybrid.asof.prepare import AT, TS, prepare
from feast_hybrid.asof.strategies import STRATEGIES
from feast_hybrid.asof.times import within_ttl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from feast_hybrid.asof.view import AsOfView


def asof_join(
    entities: DataFrame,
    views: Sequence[AsOfView],
    *,
    timestamp: str,
    filter_by_created_timestamp: bool = False,
    strategy: str = "auto",
) -> DataFrame:
    """Give each entity row the features that were true at its time.

    For an entity row with keys k and time t, a view's candidates are the rows whose keys equal k by value
    (null equals nothing), with ``timestamp`` <= t and, if the view has a ttl, ``timestamp`` >= t - ttl. The
    candidate with the greatest (``timestamp``, ``created``) is the answer, a null ``created`` being the
    least; of rows that tie on both, the one with the greatest requested features
    (:mod:`feast_hybrid.asof.ties`). All features of a view come from one row. No candidate: nulls.

    Times are instants, to the microsecond; the session's time zone has no influence. Nothing runs before the
    result is asked for rows.

    Args:
        entities: The entity rows. Their columns come back first, as they are.
        views: The histories; their features follow in this order. May be frames of other sessions of the same
            Spark application, except with Spark Connect.
        timestamp: The entity column that says when: timestamp, timestamp_ntz (UTC) or date (midnight UTC).
        filter_by_created_timestamp: A row is a candidate only if also ``created`` <= t, for views that have
            a created column. A null ``created`` never is.
        strategy: ``auto``, ``native`` or ``window``: the answer is the same.

    Returns:
        One row for each entity row, in no particular order.

    Raises:
        SchemaError: A column is missing, is ambiguous, or has a type that does not do.
        JoinError: Two output columns would have one name, or the strategy cannot be used.
    """
    from pyspark.sql import functions as F

    prepared = prepare(entities, views, timestamp=timestamp, filter_by_created_timestamp=filter_by_created_timestamp)
    chosen = choose(prepared, strategy)
    rows = prepared.entities
    features = []
    names = list(prepared.names)
    for n, (history, step) in enumerate(zip(prepared.histories, chosen.steps, strict=True)):
        answer = f"__fh_a{n}"
        rows = STRATEGIES[step.strategy](rows, history, answer)
        if history.ttl is not None:
            fresh = within_ttl(F.col(f"{answer}.{TS}"), F.col(AT), history.ttl)
            rows = rows.withColumn(answer, F.when(fresh, F.col(answer)))
        features += [F.col(f"{answer}.{value}") for value, _ in history.outputs]
        names += [out for _, out in history.outputs]
    # Named by position, since the caller's names may be anything.
    numbered = [feature.alias(f"__fh_o{i}") for i, feature in enumerate(features)]
    return rows.select(*prepared.columns, *numbered).toDF(*names)
