"""The ways to join one history to the entity rows. All of them answer alike.

A strategy is a function ``(rows, history, answer) -> rows``: it returns each of ``rows`` once, with one
more column ``answer``: a struct of the best candidate's :data:`~feast_hybrid.asof.prepare.TS` and feature
values, null where there is no candidate. It ignores the ttl: the best candidate of any age is also the best
within the ttl, or there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from feast_hybrid.asof.strategies.native import native
from feast_hybrid.asof.strategies.window import window

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.asof.prepare import History


class Strategy(Protocol):
    """Joins one history to the entity rows."""

    def __call__(self, rows: DataFrame, history: History, answer: str) -> DataFrame:
        """Each of ``rows`` once, with the struct ``answer``."""


STRATEGIES: dict[str, Strategy] = {"native": native, "window": window}
