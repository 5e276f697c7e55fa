"""The join of a retrieval, but for the frame that its entity rows become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feast_hybrid.asof import JoinRequest, planned_join

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof import AsOfView, EntityStats, JoinPlan


@dataclass(frozen=True, kw_only=True, eq=False)
class RetrievalJoin:
    """What is joined to the entity rows of a retrieval, and how.

    Attributes:
        spark: the session of the views' frames.
        views: the histories.
        keys: the join keys of all views, as entity rows call them.
        timestamp: the time column of the entity rows.
        stats: what is known of the entity rows.
        filter_by_created_timestamp: whether a row only counts from its created time on.
        strategy: ``auto``, or one that the configuration asks for.
        parallelism: how many tasks run at once, where it is known.
        what: how errors and Spark's UI call the result.
        engine: why Spark is taken, for plans; empty where the configuration says so.
    """

    spark: SparkSession
    views: Sequence[AsOfView]
    keys: Sequence[str]
    timestamp: str
    stats: EntityStats
    filter_by_created_timestamp: bool
    strategy: str
    parallelism: int | None
    what: str
    engine: str = ""

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Pairs of (view, output column)."""
        return [(view.name, output) for view in self.views for _, output in view.features]

    def apply(self, entities: DataFrame) -> tuple[DataFrame, JoinPlan]:
        """The entity rows with their features, lazily, and how they get them.

        Raises:
            SchemaError: a column is missing, or has a type that does not do.
            JoinError: two output columns would have one name.
        """
        request = JoinRequest(
            entities=entities,
            views=self.views,
            timestamp=self.timestamp,
            filter_by_created_timestamp=self.filter_by_created_timestamp,
            strategy=self.strategy,
            stats=self.stats,
            parallelism=self.parallelism,
        )
        frame, plan = planned_join(request)
        return frame, replace(plan, engine=self.engine)
