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
    done = subprocess.run(
        [found, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    version = re.search(r'version "(\d+)', done.stderr)
    if version is None or int(version[1]) < JAVA_MINIMUM:
        first_line = next(iter(done.stderr.strip().splitlines()), "nothing")
        raise MissingDependencyError(
            f"Spark needs Java {JAVA_MINIMUM} or newer, and {found} says: {first_line}. Set JAVA_HOME to the folder "
            "of a newer one."
        )
    return found
