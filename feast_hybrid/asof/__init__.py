"""Point-in-time joins on Spark, usable by themselves: frames in, one frame out.

Knows Spark and nothing else: no Feast, no lakes. Importing it imports no Spark either.
"""

from __future__ import annotations

from feast_hybrid.asof.entity_stats.model import EntityFacts
from feast_hybrid.asof.join import asof_join, planned_join
from feast_hybrid.asof.planner import JoinPlan, Step, Strategy, plan
from feast_hybrid.asof.scan import Scan, ScanFile
from feast_hybrid.asof.view import AsOfView, Buckets

__all__ = [
    "AsOfView",
    "Buckets",
    "EntityFacts",
    "JoinPlan",
    "Scan",
    "ScanFile",
    "Step",
    "Strategy",
    "asof_join",
    "plan",
    "planned_join",
]
