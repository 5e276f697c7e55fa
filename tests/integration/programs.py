"""Programs of Python that tests run in a process of their own, since what they do lasts as long as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.integration.places import outside_of_spark

if TYPE_CHECKING:
    from collections.abc import Mapping


def run_python(
    *arguments: str, seconds: float = 300, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A program that has ended well, with what it printed; the environment is this process's with more."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=outside_of_spark(**(environment or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return done


def answers_in(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON objects that a program printed, each in a line of its own."""
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
