"""The Java that a session is started with is looked for before anything else is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from feast_hybrid.errors import MissingDependencyError
from feast_hybrid.spark.config import SparkConfig
from feast_hybrid.spark.java import find_java
from feast_hybrid.spark.session import get_session

if TYPE_CHECKING:
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
