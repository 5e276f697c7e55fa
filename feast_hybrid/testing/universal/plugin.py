"""A pytest plugin for runs of Feast's suite: in the hybrid configuration, each retrieval over several tables must
read both lakes, as its plan shows.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

_seen: list[tuple[str, list[str]]] = []


@pytest.fixture(autouse=True)
def _watch_plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    from feast_hybrid import HybridSparkOfflineStore

    retrieve = HybridSparkOfflineStore.get_historical_features

    def watched(*args: Any, **kwargs: Any) -> Any:
        job = retrieve(*args, **kwargs)
        views = kwargs.get("feature_views") or args[1]
        tables = {view.batch_source.path for view in views}
        if len(tables) > 1:
            schemes = sorted({uri.partition(":")[0] for uri in job.to_spark_df().inputFiles()})
            _seen.append((request.node.nodeid, schemes))
            if os.environ.get("FEAST_HYBRID_CREATOR") == "hybrid":
                assert schemes == ["abfs", "hdfs"], f"{len(tables)} tables were read from {schemes} alone"
        return job

    monkeypatch.setattr(HybridSparkOfflineStore, "get_historical_features", staticmethod(watched))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many retrievals were watched, and what they read."""
    both = sum(schemes == ["abfs", "hdfs"] for _, schemes in _seen)
    terminalreporter.write_line(f"retrievals over several tables: {len(_seen)}, of which read both lakes: {both}")
