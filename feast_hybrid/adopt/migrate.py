"""The changes that make a repository one of this store: planned, shown as a diff, and written."""

from __future__ import annotations

import difflib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from feast.repo_operations import get_repo_files

from feast_hybrid.adopt.check import config_and_faults, understand
from feast_hybrid.adopt.python_edit import rewrite_sources
from feast_hybrid.adopt.repository import (
    Repository,
    Unread,
    UnreadableError,
    read_repository,
    with_variables,
)
from feast_hybrid.adopt.settings import Adopted, adopt_section
from feast_hybrid.adopt.yaml_edit import with_section
from feast_hybrid.errors import ConfigError
from feast_hybrid.lakes import parse_uri
from feast_hybrid.lakes.errors import redacted
from feast_hybrid.lakes.secrets import holds_secret, literal_secrets

_STRUCK_OUT = "…"


@dataclass(frozen=True)
class Change:
    """A file that changes.

    Attributes:
        file: where it is.
        before: its text.
        after: its text then.
    """

    file: Path
    before: str
    after: str


@dataclass
class Migration:
    """What would be changed, and what is left to do.

    Attributes:
        folder: the repository's.
        changes: the files, ``feature_store.yaml`` last: until it is written, Feast's own store is in use.
        notes: what to do or to know besides, in sentences.
    """

    folder: Path
    changes: list[Change] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _secrets: Sequence[str] = field(default=(), repr=False)

    def diff(self) -> str:
        """The changes as a unified diff, secrets struck out; empty where there are none."""
        lines: list[str] = []
        for change in self.changes:
            name = change.file.relative_to(self.folder) if change.file.is_relative_to(self.folder) else change.file
            lines += difflib.unified_diff(
                change.before.splitlines(keepends=True),
                change.after.splitlines(keepends=True),
                f"a/{name}",
                f"b/{name}",
            )
        text = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _STRUCK_OUT)
        return redacted(text)

    def write(self) -> None:
        """Write the files: each is there as it was or as it will be, never in part.

        Raises:
            ConfigError: a file cannot be written. Those before it are.
        """
        written: list[tuple[Path, Path]] = []
        try:
            for change in self.changes:
                target = change.file.resolve()
                handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
                written.append((Path(name), target))
                with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                    file.write(change.after)
                    file.flush()
                    os.fsync(file.fileno())
                shutil.copymode(target, name)
            for temporary, target in written:
                temporary.replace(target)
        except OSError as error:
            raise ConfigError(f"{error.filename or self.folder} cannot be written: {error.strerror}.") from None
        finally:
            for temporary, _ in written:
                temporary.unlink(missing_ok=True)


def plan_migration(folder: Path, *, sources: bool = False, sites: Iterable[str] = ()) -> Migration:
    """What makes a repository one of this store. Nothing is written.

    Args:
        folder: of ``feature_store.yaml``.
        sources: whether Feast's sources in Python files are made ours.
        sites: URIs that sites are wanted for besides those that the sources name.

    Raises:
        UnreadableError: ``feature_store.yaml`` cannot be read.
        ConfigError: its settings cannot be changed safely; it says which, and what to do.
        RoutingError: one of ``sites`` is no URI of a lake.
    """
    repository = read_repository(folder)
    more = [parse_uri(uri, what="--site") for uri in sites]
    migration = Migration(repository.folder, _secrets=list(_secrets(repository.raw)))
    unread: Sequence[Unread] = ()
    try:
        definitions, adopted = understand(repository, more)
        unread = definitions.unread
    except UnreadableError as error:  # of a client of a registry, whose settings are all that is to be changed
        adopted = Adopted(repository.section) if repository.is_ours else adopt_section(repository.section, more)
        migration.notes.append(f"Places that sources name may lack a site: {redacted(str(error))}")
    if adopted.problems:
        raise ConfigError(" ".join([f"{repository.file} is left as it is.", *adopted.problems]))
    migration.notes += [
        f"{each.file} was not imported ({each.reason}): places that its sources name may lack a site."
        for each in unread
        if each.defines and "sites" in adopted.section
    ]
    migration.notes += adopted.notes
    if sources:
        _rewrite(repository, migration, several_sites=len(adopted.section.get("sites") or ()) > 1)
    if not repository.is_ours:
        after = with_section(repository.text, adopted)
        _, said = config_and_faults(repository, with_variables(adopted.section))
        migration.notes += [f"As the environment is now, the result is not accepted: {each}" for each in said.refused]
        migration.notes += said.warnings
        migration.changes.append(Change(repository.file, repository.text, after))
    return migration


def _rewrite(repository: Repository, migration: Migration, *, several_sites: bool) -> None:
    for file in get_repo_files(repository.folder):
        name = file.relative_to(repository.folder)
        try:
            with file.open(encoding="utf-8", newline="") as opened:  # line ends stay
                text = opened.read()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of Python's parser, on the file's own text
                made = rewrite_sources(text, several_sites=several_sites)
        except (SyntaxError, UnicodeDecodeError):
            migration.notes.append(f"{name}: this is no Python in UTF-8, and is left as it is.")
            continue
        if made.count:
            migration.changes.append(Change(file, text, made.text))
        migration.notes += [f"{name}:{left.line}: {left.call} stays: {left.reason}." for left in made.left]


def _secrets(value: Any, key: str = "") -> Iterator[str]:
    """The texts in a file that are or hold secrets, by the names of their keys."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _secrets(item, str(name))
    elif isinstance(value, list):
        for item in value:
            yield from _secrets(item, key)
    elif isinstance(value, str) and (holds_secret(key) or literal_secrets({key: value})):
        is_variable = value.startswith("$")
        if value and not is_variable:
            yield value
            yield yaml.safe_dump(value, width=10_000).strip().removesuffix("...").strip()
