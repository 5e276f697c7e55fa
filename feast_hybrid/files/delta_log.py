"""The log of a Delta table: which files are its rows in one of its versions, and what it says of them.

It is read through the location's own file system, so that both lakes, their sign-in, their limits of time and their
errors are what they are for any other file. Nothing of the table's data is opened, and no folder's name is looked at.
The protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.errors import SourceError
from feast_hybrid.lakes.versions import modified

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

LOG_FOLDER = "_delta_log"

#: How many files of the log are read at once.
_CONCURRENT_READS = 8

#: How often the log is read anew that a writer cleans up or goes on with meanwhile.
_TRIES = 3

_COMMIT = re.compile(r"(\d{20})\.json")
#: A version's whole content: one file, one of several parts, or the manifest of files beside it.
_CHECKPOINT = re.compile(
    r"(?P<version>\d{20})\.checkpoint(?:\.(?P<part>\d{10})\.(?P<parts>\d{10})|\.(?P<uuid>[0-9a-fA-F-]{36}))?"
    r"\.(?P<format>parquet|json)"
)
_SIDECARS = "_sidecars"

#: What is read of a checkpoint.
_CHECKPOINT_COLUMNS = {
    "add": ("path", "partitionValues", "size", "deletionVector", "stats"),
    "protocol": (),
    "metaData": (),
    "sidecar": (),
    "txn": (),
}

Action = Mapping[str, Any]


class BrokenLogError(SourceError):
    """The log does not say what the table holds: a file of it is missing, or is none."""


class NoSuchVersionError(SourceError):
    """The version that is asked for is not there, or not any more."""


@dataclass(frozen=True)
class LoggedFile:
    """A file of a version.

    Attributes:
        path: as the log has it, decoded: below the table's folder, or a whole URI.
        size: in bytes.
        partitions: partition column, by the name that files have for it → its value as text; None for null.
        deletion_vector: which of its rows do not count, as the log has it; None where all do.
        statistics: of its columns, as the log has them; None where it has none.
    """

    path: str
    size: int
    partitions: Mapping[str, str | None]
    deletion_vector: Mapping[str, Any] | None
    statistics: str | None


@dataclass(frozen=True)
class Snapshot:
    """One version of a table.

    Attributes:
        version: its number.
        protocol: what a reader has to know of.
        metadata: schema, partition columns and properties.
        files: in the order of their paths.
        transactions: what writers call themselves, of those that do → the number of their last commit.
    """

    version: int
    protocol: Mapping[str, Any]
    metadata: Mapping[str, Any]
    files: tuple[LoggedFile, ...]
    transactions: Mapping[str, int]

    @property
    def properties(self) -> Mapping[str, str]:
        """The table's properties."""
        return dict(self.metadata.get("configuration") or {})  # pairs, where it stands in a checkpoint


def read_snapshot(location: Location, *, version: int | None = None, timestamp: datetime | None = None) -> Snapshot:
    """Read a version of the table at a place.

    Args:
        location: the table's folder.
        version: its number; None for the latest.
        timestamp: for the version that was the latest at that time, which is then asked for instead.

    Raises:
        FileNotFoundError: no log is there.
        NoSuchVersionError: the version is not there, or has been cleaned away.
        BrokenLogError: the log has a gap, or a file of it cannot be read.
        Exception: what the file system raises where the lake does not answer, or refuses.
    """
    for attempt in range(_TRIES):
        log = _list_log(location)
        log.require_versions()
        try:
            wanted = log.version_at(timestamp) if timestamp is not None else version
            return log.read(log.latest if wanted is None else wanted)
        except FileNotFoundError as error:  # a writer cleans up
            gone = f"a file of the log is gone: {error}"
        except _GapError as error:  # a writer goes on while it is listed
            gone = str(error)
        if attempt == _TRIES - 1:
            raise BrokenLogError(gone)
    raise AssertionError


class _GapError(Exception):
    """Commits are missing between those that are there."""


@dataclass(frozen=True)
class _LogFile:
    path: str
    size: int
    written: datetime | None


@dataclass
class _Log:
    """What lies in the folder of a log.

    Attributes:
        location: the table's.
        commits: by their versions.
        checkpoints: the whole ones: version → its files.
    """

    location: Location
    commits: dict[int, _LogFile] = field(default_factory=dict)
    checkpoints: dict[int, list[_LogFile]] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        """The newest version."""
        return max([*self.commits, *self.checkpoints])

    def require_versions(self) -> None:
        """Refuse an empty log.

        Raises:
            FileNotFoundError: no version is there.
        """
        if not self.commits and not self.checkpoints:
            raise FileNotFoundError(f"no commit is in {self.location.child(LOG_FOLDER)}")

    def read(self, version: int) -> Snapshot:
        """A version.

        Raises:
            NoSuchVersionError: it is not there, or not any more.
            BrokenLogError, FileNotFoundError, _GapError: it cannot be read, or not now.
        """
        latest, earliest = self.latest, self._earliest()
        if not earliest <= version <= latest:
            raise NoSuchVersionError(
                f"there is no version {version}: the log has the versions {earliest} to {latest}. Older ones are "
                "cleaned away after the table's delta.logRetentionDuration"
            )
        start = max((number for number in self.checkpoints if number <= version), default=None)
        first = 0 if start is None else start + 1
        missing = [number for number in range(first, version + 1) if number not in self.commits]
        if missing:
            raise _GapError(f"the commit {missing[0]:020}.json is missing, and no later checkpoint replaces it")
        replay = _Replay()
        with ThreadPoolExecutor(_CONCURRENT_READS) as threads:
            for files in [] if start is None else [self.checkpoints[start]]:
                for table in threads.map(self._checkpoint, files):
                    replay.add_checkpoint(table)
                sidecars = [self._sidecar(path) for path in replay.sidecars]
                for table in threads.map(self._checkpoint, sidecars):
                    replay.add_checkpoint(table)
            numbers = range(first, version + 1)
            for actions in threads.map(lambda number: self._commit(self.commits[number]), numbers):
                replay.add_commit(actions)
        return replay.snapshot(version)

    def version_at(self, timestamp: datetime) -> int:
        """The version that was the latest at a time.

        Raises:
            NoSuchVersionError: the table was not there yet, or has no version as new as that.
            BrokenLogError, FileNotFoundError, _GapError: the log cannot be read, or not now.
        """
        times = self._commit_times()
        latest = self.latest
        earlier = [number for number, time in times.items() if time <= timestamp]
        if not times or not earlier or max(earlier) < self._earliest():
            first = f"; the first known is of {min(times.values()).isoformat()}" if times else ""
            raise NoSuchVersionError(f"there is no version as old as {timestamp.isoformat()}{first}")
        if times.get(latest, timestamp) < timestamp:
            raise NoSuchVersionError(
                f"there is no version as new as {timestamp.isoformat()}: the latest, {latest}, is of "
                f"{times[latest].isoformat()}. Leave out timestampAsOf to read the latest"
            )
        return max(earlier)

    def _earliest(self) -> int:
        """The oldest version that can still be had."""
        whole = list(self.checkpoints)
        return min([0, *whole] if 0 in self.commits else whole, default=self.latest + 1)

    def _commit_times(self) -> dict[int, datetime]:
        """When each version was committed: by the commits, where the table has them say so, else by the lake.

        The lake's times may go backwards, by its clocks; then a commit counts as made a millisecond after the one
        before, which is the protocol's rule.
        """
        snapshot = self.read(self.latest)
        properties = snapshot.properties
        in_commits = properties.get("delta.enableInCommitTimestamps", "false").lower() == "true"
        begins = int(properties.get("delta.inCommitTimestampEnablementVersion", 0)) if in_commits else None
        times: dict[int, datetime] = {}
        before: datetime | None = None
        own = sorted(number for number in self.commits if begins is not None and number >= begins)
        with ThreadPoolExecutor(_CONCURRENT_READS) as threads:
            said = dict(zip(own, threads.map(lambda number: self._time_in(self.commits[number]), own), strict=True))
        for number in sorted(self.commits):
            time = said.get(number) or self.commits[number].written
            if time is None:
                continue
            if before is not None and time <= before and number not in said:
                time = before + timedelta(milliseconds=1)
            times[number] = before = time
        return times

    def _time_in(self, file: _LogFile) -> datetime:
        for action in self._commit(file):
            if (info := action.get("commitInfo")) and (millis := info.get("inCommitTimestamp")) is not None:
                return datetime.fromtimestamp(millis / 1000, UTC)
        raise BrokenLogError(f"{file.path} does not say when it was committed, as the table's properties have it")

    def _commit(self, file: _LogFile) -> list[Action]:
        return _actions(file.path, self._content(file))

    def _checkpoint(self, file: _LogFile) -> list[Action] | pa.Table:
        content = self._content(file)
        if file.path.endswith(".json"):
            return _actions(file.path, content)
        try:
            with pq.ParquetFile(BytesIO(content)) as parquet:
                return parquet.read(columns=_wanted(parquet.schema_arrow))
        except (pa.ArrowException, OSError) as error:
            raise BrokenLogError(f"the checkpoint {file.path} cannot be read: {error}") from None

    def _sidecar(self, path: str) -> _LogFile:
        if "/" in path:
            raise BrokenLogError(f"a checkpoint names the file {path}, which lies elsewhere")
        return _LogFile(self.location.child(f"{LOG_FOLDER}/{_SIDECARS}/{path}").path, -1, None)

    def _content(self, file: _LogFile) -> bytes:
        content: bytes = self.location.fs.cat_file(file.path)
        if not content:
            raise BrokenLogError(f"{file.path} of the log is empty: its writer died, or its lake has lost it")
        return content


def _list_log(location: Location) -> _Log:
    log = _Log(location)
    parts: dict[tuple[int, int], dict[int, _LogFile]] = {}
    for entry in location.fs.ls(location.child(LOG_FOLDER).path, detail=True):
        if entry["type"] != "file":
            continue
        path = str(entry["name"])
        name = path.rpartition("/")[2]
        file = _LogFile(path, int(entry["size"] or 0), modified(entry))
        if found := _COMMIT.fullmatch(name):
            log.commits[int(found[1])] = file
        elif (found := _CHECKPOINT.fullmatch(name)) and (found["format"] == "parquet" or found["uuid"]):
            number = int(found["version"])
            if found["parts"]:
                parts.setdefault((number, int(found["parts"])), {})[int(found["part"])] = file
            else:
                log.checkpoints[number] = [file]  # whichever: each says the same
    for (number, count), of_version in parts.items():
        if number not in log.checkpoints and set(of_version) == set(range(1, count + 1)):
            log.checkpoints[number] = [of_version[part] for part in range(1, count + 1)]
    return log


def _actions(path: str, content: bytes) -> list[Action]:
    """The actions of a file of JSON lines."""
    actions: list[Action] = []
    for line in content.splitlines():
        if not line.strip():
            continue
        try:
            action = json.loads(line)
        except ValueError:
            action = None
        if not isinstance(action, dict):
            raise BrokenLogError(f"{path} of the log is damaged: a line of it is no action in JSON")
        actions.append(action)
    return actions


def _wanted(schema: pa.Schema) -> list[str]:
    """The columns of a checkpoint that are read."""
    wanted = []
    for name, parts in _CHECKPOINT_COLUMNS.items():
        if name not in schema.names:
            continue
        within = [part.name for part in schema.field(name).type] if parts else []
        wanted += [f"{name}.{part}" for part in parts if part in within] or ([] if parts else [name])
    return wanted


class _Replay:
    """The state of a table, made of a checkpoint and the commits after it in their order."""

    def __init__(self) -> None:
        self._protocol: Action | None = None
        self._metadata: Action | None = None
        self._files: dict[tuple[str, str], LoggedFile] = {}
        self._transactions: dict[str, int] = {}
        self.sidecars: list[str] = []

    def add_checkpoint(self, rows: list[Action] | pa.Table) -> None:
        actions: Iterable[Action] = rows if isinstance(rows, list) else _checkpoint_actions(rows)
        for action in actions:
            self._take(action)
            if sidecar := action.get("sidecar"):
                self.sidecars.append(sidecar["path"])

    def add_commit(self, actions: Sequence[Action]) -> None:
        removed = [action["remove"] for action in actions if action.get("remove")]
        missed = {_decoded(remove["path"]) for remove in removed if self._files.pop(_key(remove), None) is None}
        for path, _ in self._files if missed else ():
            if path in missed:
                raise BrokenLogError(
                    f"the log removes the file {path} with other rows deleted than it has: by Delta's rules it "
                    "stays, beside what its rows were written to. The writer has left out its deletion vector. Write "
                    "the table anew from a version before"
                )
        for action in actions:
            self._take(action)

    def _take(self, action: Action) -> None:
        if add := action.get("add"):
            self._files[_key(add)] = LoggedFile(
                _decoded(add["path"]),
                int(add["size"]),
                dict(add.get("partitionValues") or {}),  # pairs, where it stands in a checkpoint
                add.get("deletionVector"),
                add.get("stats"),
            )
        if transaction := action.get("txn"):
            self._transactions[transaction["appId"]] = int(transaction["version"])
        self._protocol = action.get("protocol") or self._protocol
        self._metadata = action.get("metaData") or self._metadata

    def snapshot(self, version: int) -> Snapshot:
        if self._protocol is None or self._metadata is None:
            raise BrokenLogError("the log says nothing of the table's protocol or schema")
        files = sorted(self._files.values(), key=lambda file: file.path)
        for before, file in pairwise(files):
            if before.path == file.path:
                raise BrokenLogError(f"the log has the file {file.path} twice, with different rows deleted")
        return Snapshot(version, self._protocol, self._metadata, tuple(files), self._transactions)


def _checkpoint_actions(table: pa.Table) -> Iterator[Action]:
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        for chunk in chunks:
            for value in chunk.filter(chunk.is_valid()).to_pylist():
                yield {name: value}


def _key(action: Action) -> tuple[str, str]:
    """What tells a file of a table from another: with other rows deleted it is another."""
    vector = action.get("deletionVector")
    if not vector:
        return _decoded(action["path"]), ""
    offset = vector.get("offset")
    return _decoded(action["path"]), f"{vector['storageType']}{vector['pathOrInlineDv']}@{offset}"


def _decoded(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise BrokenLogError(f"the log names the file {path!r}, which is no encoded UTF-8") from None
