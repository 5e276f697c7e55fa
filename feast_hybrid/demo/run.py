"""The demo from its first step to its last line."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from feast_hybrid.demo import repo, steps
from feast_hybrid.demo.console import Console


def run(folder: Path, flights: int, *, keep: bool) -> None:
    """Run the demo; the lakes end with it.

    Args:
        folder: where the repo is left.
        flights: how many flights the training set has.
        keep: whether the lakes stay until Ctrl-C.

    Raises:
        DemoError: a step failed, or training and serving differ.
        MissingDependencyError: a package is not installed.
    """
    shown = folder
    folder = repo.claim(folder)
    console = Console(steps=11)
    with ExitStack() as lakes:
        steps.fetch_servers(console)
        steps.start_lakes(console, lakes, folder)
        with ExitStack() as session:
            tables = steps.read_flights(console)
            spark, router = steps.start_spark(console, session, folder)
            steps.fill_lakes(console, spark, router, tables)
            store = steps.apply(console, folder)
            joined = steps.training_set(console, store, tables, flights)
            steps.train(console, joined)
            steps.materialize(console, store)
            example = steps.check_serving(console, store, tables)
        console.total()
        if keep:
            click.echo("Both lakes stay until Ctrl-C.")
        _go_on(shown, example, keep=keep)
        if keep:
            _wait()


def _go_on(folder: Path, flight: dict[str, Any], *, keep: bool) -> None:
    """The last lines: where the repo is, and three commands that work."""
    place = shlex.quote(str(folder))
    feast, python, ours = (_program(name) for name in ("feast", "python", "feast-hybrid"))
    keys = " ".join(shlex.quote(str(flight[key])) for key in ("carrier", "tailnum", "origin", "dest"))
    online, past = (shlex.quote(str(folder / name)) for name in ("online.py", "past.py"))
    bearing = f"--bearing {flight['bearing']:g}"
    commands = [
        (f"{feast} -c {place} feature-views list", "what is registered"),
        (f"{python} {online} {keys} {bearing}", "a flight's features now, from SQLite"),
        (f"{python} {past} {keys} {steps.SPLIT} {bearing}", "and in the past, from both lakes")
        if keep
        else (f"{ours} demo --repo {place} --keep", "once more, and both lakes stay"),
    ]
    width = max(len(command) for command, _ in commands)
    click.echo(f"The repo is {folder.absolute()}. Go on with:")
    for command, meaning in commands:
        click.echo(f"  {command:{width}}  # {meaning}")


def _program(name: str) -> str:
    """How the user's shell finds a program of this Python's environment."""
    script = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found and Path(found).absolute() == script:
        return name
    return shlex.quote(os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script))


def _wait() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nThe lakes end.")
