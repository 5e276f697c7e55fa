"""Point-in-time joins on Spark, usable by themselves: frames in, one frame out.

Knows Spark and nothing else: no Feast, no lakes. Importing it imports no Spark either.
"""

from __future__ import annotations

from feast_hybrid.asof.join import asof_join
from feast_hybrid.asof.planner import JoinPlan, Step, Strategy, plan
from feast_hybrid.asof.view import AsOfView

__all__ = ["AsOfView", "JoinPlan", "Step", "Strategy", "asof_join", "plan"]
