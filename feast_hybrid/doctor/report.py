"""What was tried, what was found and what to do: as a table, as JSON, and as an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from textwrap import wrap

#: Exit codes, documented in docs/doctor.md.
ALL_WORKS, SOMETHING_FAILED, NOT_CONFIGURED = 0, 1, 2

#: Of the JSON; it changes where a key of it changes its meaning or goes.
JSON_VERSION = 1

_WIDTH = 118
_STATUS_WIDTH, _NAME_WIDTH = 9, 18


class Status(StrEnum):
    """How something that was looked at is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        area: ``configuration``, ``machine``, ``spark``, ``site`` or ``site by spark``.
        name: what was looked at, such as ``Java`` or ``write``.
        status: how it is.
        found: what was found, or why it was not tried.
        advice: what to do; empty where there is nothing to do, or where ``found`` says it.
        site: the site's name; None where it is of none.
        seconds: that it took.
    """

    area: str
    name: str
    status: Status
    found: str
    advice: str = ""
    site: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """All checks of one run, in the order in which they are shown."""

    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """Zero where nothing failed; warnings count for nothing."""
        failed = [check for check in self.checks if check.status is Status.FAILED]
        if any(check.area == "configuration" for check in failed):
            return NOT_CONFIGURED
        return SOMETHING_FAILED if failed else ALL_WORKS

    def without(self, secrets: Iterable[str]) -> Report:
        """The report with these texts struck out, wherever a client or a server may have repeated them."""
        checks = self.checks
        for secret in sorted(secrets, key=len, reverse=True):
            checks = tuple(
                replace(check, found=check.found.replace(secret, "…"), advice=check.advice.replace(secret, "…"))
                for check in checks
            )
        return Report(checks)

    def to_json(self) -> str:
        """One object: ``version``, ``ok``, ``exit_code`` and ``checks``, whose keys are those of :class:`Check`."""
        content = {
            "version": JSON_VERSION,
            "ok": self.exit_code == ALL_WORKS,
            "exit_code": self.exit_code,
            "checks": [{**asdict(check), "seconds": round(check.seconds, 2)} for check in self.checks],
        }
        return json.dumps(content, indent=2, ensure_ascii=False)

    def to_text(self) -> str:
        """A table with a part for each area and site, and a line that counts."""
        lines: list[str] = []
        part = ""
        for check in _joined(self.checks):
            if (title := _title(check)) != part:
                part = title
                lines += ["", title] if lines else [title]
            lines += _rows(check)
        counts = [(status, sum(check.status is status for check in self.checks)) for status in Status]
        return "\n".join([*lines, "", ", ".join(f"{count} {status}" for status, count in counts if count)])


def _joined(checks: Sequence[Check]) -> list[Check]:
    """The checks for people: what was not tried for one reason is one row."""
    rows: list[Check] = []
    for check in checks:
        last = rows[-1] if rows else None
        if last is not None and check.status is Status.NOT_TRIED and check == replace(last, name=check.name):
            rows[-1] = replace(last, name=f"{last.name}, {check.name}")
        else:
            rows.append(check)
    return rows


def _title(check: Check) -> str:
    return check.area if check.site is None else check.area.replace("site", f"site {check.site}", 1)


def _rows(check: Check) -> Sequence[str]:
    indent = " " * (2 + _STATUS_WIDTH + 1 + _NAME_WIDTH + 1)
    head = f"  {check.status:<{_STATUS_WIDTH}} {check.name:<{_NAME_WIDTH}} "
    texts = [check.found, *([f"→ {check.advice}"] if check.advice else [])]
    lines = [
        line
        for text in texts
        for line in wrap(text, _WIDTH - len(indent), break_long_words=False, break_on_hyphens=False) or [""]
    ]
    return [(head if number == 0 else indent) + line for number, line in enumerate(lines)]
