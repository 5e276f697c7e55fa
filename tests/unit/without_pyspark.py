"""A Python that has all packages of this environment but PySpark, for tests of what works without it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import feast_hybrid

_SPARKS = ("pyspark", "py4j")


class PythonWithoutSpark:
    """Runs programs where PySpark is not installed: a folder has links to all packages but it.

    Args:
        folder: an empty one, for the links.
    """

    def __init__(self, folder: Path) -> None:
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if not entry.name.startswith(_SPARKS):
                (folder / entry.name).symlink_to(entry)
        ours = Path(feast_hybrid.__file__).parents[1]
        self._env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ours), str(folder)])}

    def run(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments; without ``-S`` it would find the environment's own packages."""
        command = [sys.executable, "-S", *arguments]
        return subprocess.run(command, env=self._env, cwd=cwd, capture_output=True, text=True, check=False)

    def output(self, *arguments: str, cwd: Path | None = None) -> str:
        """What Python prints with these arguments, which must not fail."""
        done = self.run(*arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
