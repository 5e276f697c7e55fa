"""Point-in-time joins on Spark, usable by themselves: frames in, one frame out.

Knows Spark and nothing else: no Feast, no lakes. Its names are loaded when they are first used, so that importing it
imports no Spark.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_hybrid.asof.entity_stats.model import EntityStats
    from feast_hybrid.asof.join import asof_join, planned_join
    from feast_hybrid.asof.join_plan import JoinPlan, Step
    from feast_hybrid.asof.request import JoinRequest, Strategy
    from feast_hybrid.asof.scan import Ineligible, Scan, ScanFile
    from feast_hybrid.asof.view import AsOfView

__all__ = [
    "AsOfView",
    "EntityStats",
    "Ineligible",
    "JoinPlan",
    "JoinRequest",
    "Scan",
    "ScanFile",
    "Step",
    "Strategy",
    "asof_join",
    "planned_join",
]

_MODULES = {
    "AsOfView": "view",
    "EntityStats": "entity_stats.model",
    "Ineligible": "scan",
    "JoinPlan": "join_plan",
    "JoinRequest": "request",
    "Scan": "scan",
    "ScanFile": "scan",
    "Step": "join_plan",
    "Strategy": "request",
    "asof_join": "join",
    "planned_join": "join",
}


def __getattr__(name: str) -> Any:
    """Load a public name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
