"""What the demo says: numbered steps, where each one works, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from feast_hybrid.errors import HybridError

_INDENT = " " * 6


class DemoError(HybridError):
    """A step of the demo failed; the message says which one, and why."""


class Console:
    """Says what happens, and adds up the time.

    Args:
        steps: how many there will be.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._began = time.monotonic()
        self._downloads = 0.0

    def print(self, text: str = "") -> None:
        """One or more lines, indented under the step."""
        for line in text.splitlines() or [""]:
            click.echo(f"{_INDENT}{line}".rstrip())

    def downloaded(self, what: str, seconds: float) -> None:
        """Count download time, which is shown apart from the work."""
        self._downloads += seconds
        self.print(f"{what}: downloaded in {seconds:.1f} s" if seconds else f"{what}: in the cache")

    @contextmanager
    def step(self, title: str, where: str) -> Iterator[None]:
        """One step.

        Args:
            title: what it does.
            where: the site it works on.

        Raises:
            DemoError: whatever was raised inside, named by the step.
        """
        self._step += 1
        click.echo()
        click.secho(f"[{self._step}/{self._steps}] {title}", bold=True, nl=False)
        click.echo(f"  · {where}")
        began, downloads = time.monotonic(), self._downloads
        try:
            yield
        except Exception as error:
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            message = str(error) if isinstance(error, HybridError) else f"{type(error).__name__}: {lines[0]}"
            raise DemoError(f"step {self._step} of {self._steps} ({title}) failed: {message}") from error
        self.print(f"{time.monotonic() - began - (self._downloads - downloads):.1f} s")

    def total(self) -> None:
        """How long everything took."""
        work = time.monotonic() - self._began - self._downloads
        click.echo()
        click.secho(f"Done in {work:.0f} s, and {self._downloads:.0f} s of downloads.", bold=True)
