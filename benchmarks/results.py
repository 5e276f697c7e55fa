"""What was measured, kept as a file for each shape, so that a run can be taken up again."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(kw_only=True)
class Outcome:
    """One contender in one shape.

    Attributes:
        seconds: of the counted runs.
        warm_up: of the first run, in which the answer was compared.
        limit: seconds after which a run was cancelled; None where none was.
        failed: the error, where there was one.
        differs: how the answer differs from the oracle's.
        bytes_read: for each counted run, what each lake's servers sent.
        spilled: bytes that Spark wrote to disk for want of memory, all runs together.
    """

    seconds: list[float] = field(default_factory=list)
    warm_up: float | None = None
    limit: float | None = None
    failed: str | None = None
    differs: list[str] = field(default_factory=list)
    bytes_read: list[dict[str, int]] = field(default_factory=list)
    spilled: int = 0

    @property
    def median(self) -> float | None:
        """Of the counted runs; None where one was cancelled or failed."""
        return statistics.median(self.seconds) if self.seconds and not self.limit and not self.failed else None


@dataclass(kw_only=True)
class Result:
    """A shape.

    Attributes:
        shape: its name.
        what: in words.
        history_rows: of all views.
        entity_rows: how many.
        heap: of the session.
        outcomes: by contender.
        needed: the bytes that had to be read, by lake; empty where no lake was.
        environment: versions, machine, commit, date: where and with what it was measured.
    """

    shape: str
    what: str
    history_rows: int = 0
    entity_rows: int = 0
    heap: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    needed: dict[str, int] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def median(self, contender: str) -> float | None:
        """Seconds; None where there is no such measurement."""
        outcome = self.outcomes.get(contender)
        return outcome.median if outcome else None

    def at_least(self, contender: str) -> float | None:
        """The median, or the limit that was exceeded."""
        outcome = self.outcomes.get(contender)
        return None if outcome is None else outcome.median or outcome.limit

    def ratio(self, to: str, of: str = "ours") -> float | None:
        """How many times as long one takes as the other; an upper bound where the other exceeded its limit."""
        numerator, denominator = self.median(of), self.at_least(to)
        return None if numerator is None or denominator is None else numerator / denominator


def save(result: Result, folder: Path) -> None:
    """Write it whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{result.shape}.json"
    aside.write_text(json.dumps(asdict(result), indent=1))
    aside.rename(folder / f"{result.shape}.json")


def load(folder: Path) -> dict[str, Result]:
    """All that was finished, by shape."""
    found = {}
    for file in sorted(folder.glob("[!.]*.json")):
        result = parse(json.loads(file.read_text()))
        found[result.shape] = result
    return found


def parse(raw: Mapping[str, Any]) -> Result:
    """A result from its JSON."""
    outcomes = {name: Outcome(**outcome) for name, outcome in raw["outcomes"].items()}
    return Result(**{**raw, "outcomes": outcomes})


def missing(wanted: list[str], folder: Path, *, again: bool) -> list[str]:
    """Which of the shapes are still to be measured."""
    done = set() if again else set(load(folder))
    return [name for name in wanted if name not in done]
