"""Spark's text of a plan, which a session may have cut off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import SessionError
from feast_hybrid.spark.reader_settings import PLAN_LENGTH
from feast_hybrid.spark.runtime import is_connect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: How Spark says that it has left out a part of a plan, which it does from ``spark.sql.maxPlanStringLength`` on.
_CUT_OFF = re.compile(r"^Truncated plan of \d+ characters|\.\.\. \d+ more characters$", re.MULTILINE)
#: Fields of a node that stand in its text; ours is what comes before them.
_FIELDS = 1


def is_cut_off(text: str) -> bool:
    """Whether Spark has left out the end of a plan's text."""
    return _CUT_OFF.search(text) is not None


def leaves_as_text(frame: DataFrame) -> str:
    """What a frame's analysed plan reads, those of its subqueries too: a line each, perhaps among others.

    Raises:
        SessionError: the server of Spark Connect cuts such texts off.
    """
    analysed: Any = frame
    if is_connect(frame):
        text = str(analysed._explain_string(extended=True))
        before_optimized, found, _ = text.partition("== Optimized Logical Plan ==")
        if not found and is_cut_off(text):
            raise SessionError(
                f"the server cuts the plans off that it explains, and which tables a query reads is seen there. Set "
                f"{PLAN_LENGTH} higher on it, or leave it out."
            )
        return before_optimized.partition("== Analyzed Logical Plan ==")[2]
    plan = analysed._jdf.queryExecution().analyzed()
    subqueries = plan.subqueriesAll()
    plans = [plan, *(subqueries.apply(n) for n in range(subqueries.size()))]
    leaves = [each.collectLeaves() for each in plans]
    return "\n".join(str(of.apply(n).simpleString(_FIELDS)) for of in leaves for n in range(of.size()))
