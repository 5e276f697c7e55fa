"""What writers leave on a lake that were killed: found, and on request removed.

Readers see nothing of it but the file of a replacement that was not ended. It is known by its name, which is ours or
that of Spark's committers, and by its age. What may be the only copy of rows is found and never removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError
from fsspec.asyn import sync

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.lakes.removal import remove_tree
from feast_hybrid.lakes.replace import recover
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.lakes.versions import modified

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: What is younger may be a writer's that is alive.
DAY = timedelta(days=1)

_ASIDE = re.compile(r"\.(?P<target>.*)\.[0-9a-f]{12}\.writing")
_MOVED = re.compile(r"\.(?P<target>.*)\.(?:\d{8}T\d{6}\.\d{6}Z-)?[0-9a-f]+\.(?P<how>replaced|added)")
_EXPORT = re.compile(r"export-[0-9a-f]{32}")
_COMMITTERS = "_temporary"
_COMPLETE = "_SUCCESS"

_BEING_WRITTEN = "rows that a writer had not put in their place"
_REPLACED = "old rows that were replaced"
_ONLY_COPY = "rows that a writer moved away, and none are in their place: save there again, or rename this"
_ADDED = "rows that were added while others were replaced, and could not be moved back: move its files there"
_OF_COMMITTERS = "what a job of Spark's had not committed"
_UNFINISHED_EXPORT = "an export that was not finished"
_UNENDED = "a replacement of rows that was not ended"
_UNCOMMITTED = "blocks of a file that were sent and not committed; Azure drops them after a week"


@dataclass(frozen=True)
class Leftover:
    """Something that a writer has left.

    Attributes:
        location: the folder or file.
        what: it is, in words.
        modified: when anything of it was written last, in UTC.
        size: of all its files, in bytes; that of blocks is not known.
        can_be_removed: whether nothing is lost with it.
    """

    location: Location
    what: str
    modified: datetime
    size: int
    can_be_removed: bool = True

    def __str__(self) -> str:
        return f"{self.location}: {self.what}, {self.size:,} bytes, of {self.modified:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class _Entry:
    """A file or folder below a folder that is looked through; ``name`` is relative to that."""

    name: str
    modified: datetime
    size: int
    is_committed: bool = True


def find_leftovers(folder: Location, *, older_than: timedelta = DAY) -> list[Leftover]:
    """What writers have left in a folder, below it and beside it, in order of their places.

    All that is below is listed. Nothing is changed.

    Args:
        folder: a source's path, a saved dataset's, a staging location, or all of a site.
        older_than: what was written later is left out: its writer may be alive.

    Raises:
        OSError, AzureError: the lake refused something, or does not answer.
    """
    before = datetime.now(UTC) - older_than
    found = [*_below(folder, _entries(folder)), *_beside(folder)]
    return sorted((each for each in found if each.modified < before), key=lambda each: str(each.location))


def remove_leftovers(found: Iterable[Leftover]) -> list[tuple[Leftover, str]]:
    """Remove what was found, unless it was written since; a replacement that was not ended is ended.

    Args:
        found: by :func:`find_leftovers`; what cannot be removed without a loss is passed over.

    Returns:
        What could not be removed, and why.
    """
    stayed = []
    for each in found:
        if not each.can_be_removed:
            continue
        try:
            _remove(each)
        except Exception as error:
            stayed.append((each, redacted_summary(error)))
    return stayed


def _remove(leftover: Leftover) -> None:
    location = leftover.location
    if leftover.what == _UNENDED:
        recover(location.parent())
        return
    if leftover.what == _UNCOMMITTED:
        _drop_blocks(location)
        return
    now = [entry.modified for entry in _entries(location)]
    if now and max(now) > leftover.modified:
        raise WriteError(f"{location} has been written to since it was found.")
    if location.exists():
        remove_tree(location)


def _below(folder: Location, entries: Sequence[_Entry]) -> Iterator[Leftover]:
    names = {entry.name for entry in entries}
    folders = {name[:end] for name in names for end in _ends(name)}
    parts: dict[str, list[_Entry]] = {}
    for entry in entries:
        root = _root_of(entry, folders | names)
        if root is not None:
            parts.setdefault(root, []).append(entry)
    for root, of_root in parts.items():
        yield _leftover(folder, root, of_root, names | folders)


def _root_of(entry: _Entry, names: set[str]) -> str | None:
    """The outermost leftover that an entry is or lies in."""
    for end in (*_ends(entry.name), len(entry.name)):
        root = entry.name[:end]
        name = root.rpartition("/")[2]
        if _ASIDE.fullmatch(name) or _MOVED.fullmatch(name) or name == _COMMITTERS:
            return root
        is_unfinished = f"{root}/{_COMMITTERS}" in names and f"{root}/{_COMPLETE}" not in names
        if _EXPORT.fullmatch(name) and is_unfinished:
            return root
    name = entry.name.rpartition("/")[2]
    return entry.name if name.startswith(BEING_REPLACED) or not entry.is_committed else None


def _ends(name: str) -> list[int]:
    """Where the names of the folders end that an entry lies in."""
    return [match.start() for match in re.finditer("/", name)]


def _leftover(folder: Location, root: str, entries: Sequence[_Entry], names: set[str]) -> Leftover:
    if any(entry.name == root and not entry.is_committed for entry in entries):
        what, can_be_removed = _UNCOMMITTED, True
    else:
        above, _, name = root.rpartition("/")
        what, can_be_removed = _meaning(name, {each.rpartition("/")[2] for each in names if _is_in(each, above)})
    newest = max(entry.modified for entry in entries)
    return Leftover(folder.child(root), what, newest, sum(entry.size for entry in entries), can_be_removed)


def _is_in(name: str, folder: str) -> bool:
    return name.rpartition("/")[0] == folder


def _meaning(name: str, siblings: set[str]) -> tuple[str, bool]:
    """What a leftover is, and whether it can be removed without a loss.

    Args:
        name: of it.
        siblings: the names of all that lies beside it.
    """
    if moved := _MOVED.fullmatch(name):
        if moved["how"] == "added":
            return _ADDED, False
        return (_REPLACED, True) if moved["target"] in siblings else (_ONLY_COPY, False)
    if aside := _ASIDE.fullmatch(name):
        # Beside old rows that were moved away it says that new ones were to come.
        moved_away = any(
            (found := _MOVED.fullmatch(sibling)) and found["target"] == aside["target"] for sibling in siblings
        )
        return _BEING_WRITTEN, aside["target"] in siblings or not moved_away
    if name.startswith(BEING_REPLACED):
        return _UNENDED, True
    return (_UNFINISHED_EXPORT if _EXPORT.fullmatch(name) else _OF_COMMITTERS), True


def _beside(folder: Location) -> list[Leftover]:
    """What is left beside a folder, and belongs to it."""
    parent = folder.parent()
    if parent == folder:
        return []
    try:
        listed = parent.fs.ls(parent.path, detail=True)
    except FileNotFoundError:
        return []
    entries: list[_Entry] = []
    for each in listed:
        name = str(each["name"]).rstrip("/").rpartition("/")[2]
        found = _ASIDE.fullmatch(name) or _MOVED.fullmatch(name)
        if name == folder.name or (found and found["target"] == folder.name):
            entries.append(_entry(name, each))
            if found:
                entries += [_prefixed(name, inner) for inner in _entries(parent.child(name)) if inner.name]
    return list(_below(parent, entries))


def _prefixed(name: str, entry: _Entry) -> _Entry:
    return _Entry(f"{name}/{entry.name}", entry.modified, entry.size, entry.is_committed)


def _entry(name: str, info: dict[str, Any]) -> _Entry:
    # Azure gives folders no time, unless they are blobs; files in them have theirs.
    size = int(info.get("size") or 0) if info["type"] == "file" else 0
    return _Entry(name, modified(info) or datetime.fromtimestamp(0, UTC), size)


def _entries(folder: Location) -> list[_Entry]:
    """All that is below a folder, and the folder or file itself, whose name is empty."""
    if folder.lake is LakeType.ADLS:
        found: list[_Entry] = sync(folder.fs.loop, _blobs, folder)
        return found
    filesystem = folder.fs
    try:
        below = filesystem.find(folder.path, withdirs=True, detail=True)
    except FileNotFoundError:
        return []
    prefix = f"{folder.path.rstrip('/')}/"
    # Itself too is among them.
    return [
        _entry(f"{str(path).rstrip('/')}/".removeprefix(prefix).rstrip("/"), info) for path, info in below.items()
    ]


async def _blobs(folder: Location) -> list[_Entry]:
    container_name, _, path = folder.path.partition("/")
    prefix = f"{path.rstrip('/')}/" if path else ""
    entries: dict[str, _Entry] = {}
    async with folder.fs.service_client.get_container_client(container_name) as container:
        for include, is_committed in ((["uncommittedblobs"], False), ([], True)):
            async for blob in container.list_blobs(name_starts_with=prefix or None, include=include):
                name = blob.name.rstrip("/").removeprefix(prefix)
                entries[name] = _Entry(name, blob.last_modified, blob.size or 0, is_committed)
        if path and not entries:
            async for blob in container.list_blobs(name_starts_with=path):
                if blob.name == path:
                    entries[""] = _Entry("", blob.last_modified, blob.size or 0)
    return list(entries.values())


def _drop_blocks(location: Location) -> None:
    """Have the service forget blocks, unless they were committed meanwhile."""

    async def drop() -> None:
        container, _, name = location.path.partition("/")
        async with location.fs.service_client.get_blob_client(container, name) as blob:
            try:
                made = await blob.commit_block_list([], match_condition=MatchConditions.IfMissing)
            except ResourceExistsError:
                return
            await blob.delete_blob(etag=made["etag"], match_condition=MatchConditions.IfNotModified)

    sync(location.fs.loop, drop)
