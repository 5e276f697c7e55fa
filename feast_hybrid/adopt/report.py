"""What ``feast-hybrid check`` found: as text, as JSON, and as an exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from textwrap import wrap
from typing import Any

#: Exit codes, documented in docs/migrating.md.
NOTHING_REFUSED, SOMETHING_REFUSED, UNREADABLE = 0, 1, 2

#: Of the JSON; it changes where a key of it changes its meaning or goes.
JSON_VERSION = 1

_WIDTH = 118


@dataclass(frozen=True)
class Place:
    """Where rows are read or written.

    Attributes:
        kind: ``path``, ``table`` or ``query``.
        at: the URI, the table's name, or the query.
        lake: ``hdfs``, ``adls`` or ``local``; None for a table or a query.
        site: the site's name; None where no sites are configured and for a catalog's own.
        file_format: of a path.
    """

    kind: str
    at: str
    lake: str | None = None
    site: str | None = None
    file_format: str | None = None

    def __str__(self) -> str:
        if self.kind == "query":
            shown = f"query: {' '.join(self.at.split())}"
        else:
            shown = self.at if self.kind == "path" else f"table {self.at}"
        words = ", ".join(word for word in (self.file_format, self.lake, self.site and f"site {self.site}") if word)
        return f"{shown} ({words})" if words else shown


@dataclass(frozen=True)
class Refusal:
    """What is refused, and why.

    Attributes:
        when: ``history``, ``materialise``, ``apply``, ``logging`` or ``always``.
        reason: the words of the error that would be raised.
    """

    when: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """What was found of a view, a source that no view has, or a feature service's logging.

    Attributes:
        name: its name.
        kind: its class.
        source: the name of its source; empty where it has none.
        source_class: the class of that.
        reads: where its rows are read; None where that is refused.
        writes: where batches go, if elsewhere.
        refused: what is refused.
        differs: ids of :data:`~feast_hybrid.adopt.differences.DIFFERENCES`.
        notes: what was not looked at, and why.
    """

    name: str
    kind: str
    source: str = ""
    source_class: str = ""
    reads: Place | None = None
    writes: Place | None = None
    refused: Sequence[Refusal] = ()
    differs: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class UnreadFile:
    """A Python file that could not be imported; as :class:`~feast_hybrid.adopt.repository.Unread`."""

    file: str
    reason: str
    views: Sequence[str] = ()
    defines: bool = False


@dataclass(frozen=True)
class CheckReport:
    """All that was found.

    Attributes:
        file: ``feature_store.yaml``.
        store_type: the offline store's that the repository has now.
        read_from: where the definitions are from.
        views, sources, services: findings, in Feast's order; sources are those that no view has.
        differs: ids of the differences of the repository as a whole.
        texts: of each difference that is named, its text and the page of the documents.
        unread: the files whose definitions are missing.
        notes: of the settings.
        refused: of the settings, without which the rest was looked at then.
        fault: why nothing could be read; empty where something was.
    """

    file: str
    store_type: str = ""
    read_from: str = ""
    views: Sequence[Finding] = ()
    sources: Sequence[Finding] = ()
    services: Sequence[Finding] = ()
    differs: Sequence[str] = ()
    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    unread: Sequence[UnreadFile] = ()
    notes: Sequence[str] = ()
    refused: Sequence[str] = ()
    fault: str = ""

    @property
    def exit_code(self) -> int:
        """2 where definitions could not be read, 1 where something is refused, else 0."""
        if self.fault or any(each.defines for each in self.unread):
            return UNREADABLE
        found = (*self.views, *self.sources, *self.services)
        return SOMETHING_REFUSED if self.refused or any(each.refused for each in found) else NOTHING_REFUSED

    def to_json(self) -> str:
        """One object, described in docs/migrating.md."""
        content: dict[str, Any] = {
            "version": JSON_VERSION,
            "ok": self.exit_code == NOTHING_REFUSED,
            "exit_code": self.exit_code,
            **asdict(self),
        }
        content["differences"] = content.pop("texts")
        return json.dumps(content, indent=2, ensure_ascii=False)

    def to_text(self) -> str:
        """A paragraph for each view, then the differences, and a line that counts."""
        if self.fault:
            return _wrapped(self.fault, "", "")
        lines = [f"{self.file}: offline_store.type {self.store_type}, definitions of {self.read_from}"]
        lines += [_wrapped(f"settings: {reason}", "  REFUSED  ", " " * 11) for reason in self.refused]
        lines += [_wrapped(note, "  note     ", " " * 11) for note in self.notes]
        for each in self.unread:
            views = f" (views {', '.join(each.views)})" if each.views else ""
            mark = "not read" if each.defines else "skipped "
            lines.append(_wrapped(f"{each.file}{views}: {each.reason}", f"{mark} ", " " * 9))
        for title, findings in (("view", self.views), ("source", self.sources), ("service", self.services)):
            for finding in findings:
                lines += ["", *_paragraph(title, finding)]
        lines += self._explained()
        refused = sum(bool(each.refused) for each in self.views)
        rest = sum(bool(each.refused) for each in (*self.sources, *self.services))
        count = f"{_counted(len(self.views), 'view')}, {refused} with something refused"
        if rest:
            count += f"; {rest} of the other sources and services"
        if unread := [each for each in self.unread if each.defines]:
            count += f"; {_counted(len(unread), 'file')} not read"
        return "\n".join([*lines, "", count])

    def _explained(self) -> Iterable[str]:
        if not self.texts:
            return
        yield from ("", "Answers that differ from those of the store that the repository has now:")
        for name, text in self.texts.items():
            of = "" if name not in self.differs else ", everywhere"
            yield _wrapped(f"{name}{of}: {text['text']} [{text['docs']}]", "  - ", "    ")


def _paragraph(title: str, finding: Finding) -> Iterable[str]:
    yield f"{title} {finding.name} ({finding.kind})"
    indent = " " * 11
    if finding.source_class:
        yield _wrapped(f"{finding.source_class} {finding.source}", "  source   ", indent)
    if finding.reads is not None:
        yield _wrapped(str(finding.reads), "  read     ", indent)
    if finding.writes is not None:
        yield _wrapped(str(finding.writes), "  written  ", indent)
    for refusal in finding.refused:
        when = "" if refusal.when == "always" else f"{refusal.when}: "
        yield _wrapped(f"{when}{refusal.reason}", "  REFUSED  ", indent)
    if finding.differs:
        yield _wrapped(", ".join(finding.differs), "  differs  ", indent)
    for note in finding.notes:
        yield _wrapped(note, "  note     ", indent)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _wrapped(text: str, first: str, then: str) -> str:
    lines = wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
