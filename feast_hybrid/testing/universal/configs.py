"""The module that Feast's suite asks for its configurations (``FULL_REPO_CONFIGS_MODULE``).

``FEAST_HYBRID_CREATOR`` says which: ``hdfs``, ``adls`` or ``hybrid``, or ``feast`` for Feast's own Spark store.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from feast_hybrid.testing.universal import creators
from feast_hybrid.testing.universal.runs import CREATOR_VARIABLE, PEER

CREATORS: dict[str, type[Any]] = {
    "hdfs": creators.HdfsDataSourceCreator,
    "adls": creators.AdlsDataSourceCreator,
    "hybrid": creators.HybridDataSourceCreator,
}


def _creator(name: str) -> type[Any]:
    if name != PEER:
        return CREATORS[name]
    from feast_hybrid.testing.universal.peer import FeastSparkDataSourceCreator  # which needs PySpark

    return FeastSparkDataSourceCreator


_chosen = ("local", _creator(os.environ.get(CREATOR_VARIABLE, "hybrid")))

AVAILABLE_OFFLINE_STORES = [_chosen]
AVAILABLE_ONLINE_STORES: dict[str, Any] = {"sqlite": ({"type": "sqlite"}, None)}

# Tests that are pinned to "file" would test Feast's file store. The suite's own module is being imported when it
# imports this one.
_suite = sys.modules.get("tests.universal.feature_repos.repo_configuration")
if _suite is not None:
    _suite.OFFLINE_STORE_TO_PROVIDER_CONFIG["file"] = _chosen
