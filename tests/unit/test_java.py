"""The Java that a session is started with is looked for before anything else is done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
from feast.types import Int64

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import MissingDependencyError
from feast_hybrid.spark.config import SparkConfig
from feast_hybrid.spark.java import find_java
from feast_hybrid.spark.session import get_session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            'openjdk version "11.0.2" 2019-01-15\nOpenJDK Runtime',
            r"Java 17 or newer, and \S+/bin/java says: .*11\.0\.2",
        ),
        ('java version "1.8.0_402"', r"1\.8\.0_402"),
        ("no idea", "no idea"),
        ("", "says: nothing"),
    ],
)
def test_a_java_that_is_too_old_is_refused_in_one_line(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "java"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{output}' >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=message) as caught:
        find_java()
    assert "\n" not in str(caught.value)


def test_a_java_home_without_java_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=rf"JAVA_HOME={tmp_path} has no bin/java.*apt-get install"):
        find_java()


def test_a_session_that_has_no_java_to_start_with_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="Java 17 or newer: no java on PATH and JAVA_HOME is not set"):
        get_session(SparkConfig())


@pytest.mark.parametrize("verb", ["get_historical_features", "materialize", "SQL text", "no entity rows"])
def test_no_verb_reads_anything_before_it_says_that_there_is_no_java(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source's file is none, which every verb would say if it had looked."""
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "part.parquet").write_text("no Parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="java",
            provider="local",
            registry=str(tmp_path / "registry.db"),
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
            offline_store={"type": "feast_hybrid.HybridSparkOfflineStore", "engine": "spark"},
            entity_key_serialization_version=3,
        )
    )
    key = Entity(name="k", value_type=ValueType.INT64)
    rows = HybridSparkSource(name="rows", path=f"file://{tmp_path}/rows", timestamp_field="event_timestamp")
    schema = [Field(name="k", dtype=Int64), Field(name="v", dtype=Int64)]
    store.apply([key, FeatureView(name="view", entities=[key], source=rows, schema=schema)])
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    now = datetime(2026, 1, 10, tzinfo=UTC)
    frame = pd.DataFrame({"k": [1], "event_timestamp": [now]})
    call: dict[str, Callable[[], object]] = {
        "get_historical_features": lambda: store.get_historical_features(frame, ["view:v"]),
        "SQL text": lambda: store.get_historical_features("SELECT * FROM rows", ["view:v"]),
        "no entity rows": lambda: store.get_historical_features(None, ["view:v"], start_date=now, end_date=now),
        "materialize": lambda: store.materialize(now, now, ["view"]),
    }
    with pytest.raises(MissingDependencyError, match="Java 17 or newer: no java on PATH") as refused:
        call[verb]()
    assert "\n" not in str(refused.value)
