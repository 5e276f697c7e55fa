"""Which strategy joins which view, and why."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from feast_hybrid.asof.prepare import Prepared, prepare
from feast_hybrid.errors import JoinError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof.prepare import History
    from feast_hybrid.asof.view import AsOfView

#: What may be asked for. ``auto`` takes what is never far from the best.
Strategy = Literal["auto", "native", "window"]
_NATIVE_SINCE = (4, 3)


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one view is joined.

    Args:
        view: The view's name.
        strategy: ``native`` or ``window``.
        reason: Why this one.
    """

    view: str
    strategy: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class JoinPlan:
    """How the views are joined, in their order."""

    steps: tuple[Step, ...]

    def describe(self) -> str:
        """One line for each view: its name, the strategy, the reason."""
        if not self.steps:
            return "no views: the entity rows as they are"
        return "\n".join(f"view {s.view!r}: {s.strategy} ({s.reason})" for s in self.steps)


def plan(
    entities: DataFrame,
    views: Sequence[AsOfView],
    *,
    timestamp: str,
    filter_by_created_timestamp: bool = False,
    strategy: str = "auto",
) -> JoinPlan:
    """What :func:`~feast_hybrid.asof.asof_join` would do with the same arguments, and why. Runs nothing.

    Raises:
        SchemaError: As :func:`~feast_hybrid.asof.asof_join`.
        JoinError: As :func:`~feast_hybrid.asof.asof_join`.
    """
    prepared = prepare(entities, views, timestamp=timestamp, filter_by_created_timestamp=filter_by_created_timestamp)
    return choose(prepared, strategy)


def choose(prepared: Prepared, strategy: str) -> JoinPlan:
    """Choose a strategy for each view.

    Raises:
        JoinError: The strategy is unknown, or cannot do what is asked of it.
    """
    if strategy not in get_args(Strategy):
        known = ", ".join(map(repr, get_args(Strategy)))
        raise JoinError(f"strategy {strategy!r} is unknown; expected one of {known}")
    session = prepared.entities.sparkSession
    return JoinPlan(steps=tuple(_step(history, strategy, session) for history in prepared.histories))


def _step(history: History, strategy: str, session: SparkSession) -> Step:
    if strategy == "window":
        return Step(view=history.name, strategy="window", reason="asked for")
    hindrance = _not_native(history, session)
    if strategy == "native":
        if hindrance:
            raise JoinError(f"view {history.name!r}: strategy 'native' cannot be used: {hindrance}; use 'auto'")
        return Step(view=history.name, strategy="native", reason="asked for")
    # Measured (docs/adr/0002): native gains nothing where keys have few rows, and where one key has many, it
    # takes 30 times as long. Without statistics of the rows per key, there is no case in which to risk it.
    reason = hindrance or "its time does not depend on the rows per key, as that of Spark's operator does"
    return Step(view=history.name, strategy="window", reason=reason)


def _not_native(history: History, session: SparkSession) -> str | None:
    """Why Spark's as-of operator cannot join this history, if it cannot."""
    found = re.match(r"(\d+)\.(\d+)", session.version)
    if found is None or (int(found[1]), int(found[2])) < _NATIVE_SINCE:
        return f"Spark {session.version} has no as-of operator, it came with 4.3"
    if not history.keys:
        return "no keys: Spark's as-of operator would compare every entity row with all of the history"
    return None
