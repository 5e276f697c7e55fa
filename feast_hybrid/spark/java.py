"""The Java that a Spark session of this process is started with."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path

from feast_hybrid.errors import MissingDependencyError

JAVA_MINIMUM = 17
"""What every supported Spark needs at the least."""


def find_java() -> str:
    """The path of a Java that Spark runs on: ``$JAVA_HOME``'s, or else the one on ``PATH``, as Spark looks for it.

    Raises:
        MissingDependencyError: There is none, or it is too old.
    """
    return _find_java(os.environ.get("JAVA_HOME"), os.environ.get("PATH"))


@functools.cache
def _find_java(home: str | None, path: str | None) -> str:
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=path)
    if not found or not os.access(found, os.X_OK):
        where = f"JAVA_HOME={home} has no bin/java" if home else "no java on PATH and JAVA_HOME is not set"
        raise MissingDependencyError(
            f"Spark needs Java {JAVA_MINIMUM} or newer: {where}. Install one (Debian: apt-get install "
            f"openjdk-{JAVA_MINIMUM}-jre-headless), or set JAVA_HOME to the folder of one."
        )
    says = java_version(found)
    version = re.search(r'version "(\d+)', says)
    if version is None or int(version[1]) < JAVA_MINIMUM:
        raise MissingDependencyError(
            f"Spark needs Java {JAVA_MINIMUM} or newer, and {found} says: {says}. Set JAVA_HOME to the folder "
            "of a newer one."
        )
    return found


def java_version(path: str) -> str:
    """What a Java says of its version, such as ``openjdk version "17.0.12" 2024-07-16``."""
    done = subprocess.run(
        [path, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    # A variable that Java takes note of comes first.
    lines = [line.strip() for line in done.stderr.splitlines() if not line.startswith("Picked up ")]
    return next(filter(None, lines), "nothing")
