"""What an as-of join is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from feast_hybrid.errors import JoinError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame

    from feast_hybrid.asof.entity_stats.model import EntityStats
    from feast_hybrid.asof.view import AsOfView

#: How a view can be joined. ``auto`` takes what is estimated to be the fastest.
Strategy = Literal["auto", "columnar", "window"]

#: Strategies that there once were, and what to say of them.
REMOVED_STRATEGIES = {
    "native": (
        "'native' was removed: Spark's as-of operator was never faster than 'window', and 30 times slower where a key"
        " has many rows; write 'auto' or 'window'"
    )
}


@dataclass(frozen=True, kw_only=True, eq=False)
class JoinRequest:
    """An as-of join; what it means is said in :func:`feast_hybrid.asof.asof_join`.

    Args:
        entities: The entity rows.
        views: The histories.
        timestamp: The entity column that says when.
        filter_by_created_timestamp: Whether a row only counts from its created time on.
        strategy: See :data:`Strategy`.
        stats: What is known of the entity rows; None for nothing.
        parallelism: How many tasks run at once, where it is known.

    Raises:
        JoinError: There is no such strategy.
    """

    entities: DataFrame
    views: Sequence[AsOfView]
    timestamp: str
    filter_by_created_timestamp: bool = False
    strategy: str = "auto"
    stats: EntityStats | None = None
    parallelism: int | None = None

    def __post_init__(self) -> None:
        """Check the strategy."""
        if self.strategy in REMOVED_STRATEGIES:
            raise JoinError(f"strategy {REMOVED_STRATEGIES[self.strategy]}")
        if self.strategy not in get_args(Strategy):
            known = ", ".join(map(repr, get_args(Strategy)))
            raise JoinError(f"strategy {self.strategy!r} is unknown; expected one of {known}")
