"""A pytest plugin for runs of Feast's suite.

It writes down what became of each test, and which tests of the suite were not run at all. In the hybrid
configuration, each retrieval over several tables must read both lakes, as its plan shows; where the local engine is
tested, it must be what answers. Where PySpark is not installed, each test that needs it must say so, and no other.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid import HybridSparkOfflineStore
from feast_hybrid.errors import SparkNotInstalledError
from feast_hybrid.testing.universal.needs_spark import NEEDS_SPARK, name_of
from feast_hybrid.testing.universal.runs import (
    BY_LOCAL_ENGINE,
    CREATOR_VARIABLE,
    NONE,
    REPORT_VARIABLE,
    SPARK_VARIABLE,
)

_seen: list[tuple[str, list[str]]] = []
_tests: dict[str, str] = {}
_left_out: list[str] = []


@pytest.fixture(autouse=True)
def _watch_plans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    retrieve = HybridSparkOfflineStore.get_historical_features

    def watched(*args: Any, **kwargs: Any) -> Any:
        job = retrieve(*args, **kwargs)
        is_local = os.environ.get(SPARK_VARIABLE) in BY_LOCAL_ENGINE
        rows = kwargs["entity_df"] if "entity_df" in kwargs else args[3]
        if is_local and not isinstance(rows, str):  # SQL text is Spark's to read
            assert "engine: local" in job.explain(), job.explain()
        views = kwargs.get("feature_views") or args[1]
        tables = {view.batch_source.path for view in views}
        if len(tables) > 1:
            schemes = sorted(_schemes(job, args[0] if args else kwargs["config"]))
            _seen.append((request.node.nodeid, schemes))
            if os.environ.get(CREATOR_VARIABLE) == "hybrid":
                assert schemes == ["abfs", "hdfs"], f"{len(tables)} tables were read from {schemes} alone"
        return job

    monkeypatch.setattr(HybridSparkOfflineStore, "get_historical_features", staticmethod(watched))


def _schemes(job: Any, config: Any) -> set[str]:
    """Of what the plan reads: by Spark's readers, and by tasks or threads that open a site's files themselves."""
    found: set[str] = set()
    if "engine: local" not in job.explain():
        # A credential of a process may have a scheme of its own, such as abfs-k3fq.
        found = {uri.partition(":")[0].partition("-")[0] for uri in job.to_spark_df().inputFiles()}
    by_tasks = re.findall(r": (?:columnar|local) .* on site '([^']+)'", job.explain())
    return found | {site.uri.partition(":")[0] for site in config.offline_store.sites if site.name in by_tasks}


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Note the tests of the suite that others take out, whether or not they say so."""
    collected = list(items)
    yield
    kept = set(items)
    _left_out.extend(
        item.nodeid
        for item in collected
        if item not in kept
        and item.get_closest_marker("universal_offline_stores")
        and not item.get_closest_marker("benchmark")
    )
    if os.environ.get(SPARK_VARIABLE) == NONE:
        for item in items:
            if (reason := NEEDS_SPARK.get(name_of(item.nodeid))) is not None:
                item.add_marker(pytest.mark.xfail(raises=SparkNotInstalledError, strict=True, reason=reason))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A test that needs Spark must fail for the reason that is listed, in the words of its error."""
    result: Any = yield
    report = result.get_result()
    if call.excinfo is not None and call.excinfo.errisinstance(SparkNotInstalledError):
        reason = NEEDS_SPARK.get(name_of(item.nodeid))
        if reason is not None and reason not in str(call.excinfo.value):
            report.outcome = "failed"
            report.longrepr = f"{reason!r} is listed as the reason, but the error is: {call.excinfo.value}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note what became of a test; the worst of its phases counts."""
    if report.failed:
        _tests[report.nodeid] = "failed"
    elif hasattr(report, "wasxfail"):
        _tests.setdefault(report.nodeid, "expected")
    elif report.skipped:
        _tests.setdefault(report.nodeid, "skipped")
    elif report.when == "call":
        _tests.setdefault(report.nodeid, "passed")


def pytest_sessionfinish() -> None:
    """Write it all down."""
    where = os.environ.get(REPORT_VARIABLE)
    if where:
        Path(where).write_text(json.dumps({"tests": _tests, "left_out": _left_out}), encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many retrievals were watched, and what they read."""
    both = sum(schemes == ["abfs", "hdfs"] for _, schemes in _seen)
    terminalreporter.write_line(f"retrievals over several tables: {len(_seen)}, of which read both lakes: {both}")
