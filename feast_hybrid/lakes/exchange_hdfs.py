"""Files of a folder of HDFS, or of a local disk, put in the place of others in it.

HDFS renames one file in one step, and not several. To rename the folder instead, as a saved dataset does, is not good
enough here: while one of many partitions is away, whoever lists them finds the others, and misses nothing. So the
folder stays, and a file that no reader can read stands in it meanwhile, as on ADLS (:mod:`.replace_adls`); it names
the new files and the old ones, by which our own readers find the rows that are whole:

========================  =========================  ============  ============  ===================================
step                      in the folder there are    Spark sees    we read       the next writer does
========================  =========================  ============  ============  ===================================
0 before                  old files                  the old rows  the old rows  replaces them
1 claim created           old files, claim           an error      the old rows  refuses for 5 minutes, then removes
                                                                                 the claim
2 new files renamed       old files, claim, new      an error      the old rows  refuses …, then removes the new
                          files (some, then all)                                 files and the claim; with all there
                                                                                 as in 3
3 old files deleted       old files (some, then      an error      the new rows  refuses …, then removes the old
                          none), claim, new files                                files and the claim
4 claim deleted           new files                  the new rows  the new rows  replaces them
========================  =========================  ============  ============  ===================================

The new files are written before step 1, hidden in the folder itself. So all steps are ones of the NameNode, which
takes milliseconds for each; and where another writer replaces the whole folder meanwhile, there is nothing to rename
any more. A rename whose answer was given up finds nothing either, once what it renames was removed: whoever takes new
files back does that first.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from feast_hybrid.errors import AccessDeniedError, ReplacementError, WriteError
from feast_hybrid.lakes.blob_claim import DEAD_AFTER
from feast_hybrid.lakes.create_once import create_once
from feast_hybrid.lakes.errors import classify_storage_error, raise_from, redacted_summary
from feast_hybrid.lakes.markers import CLAIM, ReplacementRecord
from feast_hybrid.lakes.replace_hdfs import rename_once
from feast_hybrid.lakes.versions import FilesChangedError, FileVersion, file_version, modified

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: How many files are renamed or deleted at once.
_AT_ONCE = 8
#: A claim is not renewed. Who has had it for so long does nothing more: nobody can have taken it over before.
_SECONDS_OF_A_CLAIM = 180.0


class FileReplacement:
    """Puts files of ``folder`` in the place of others; :class:`feast_hybrid.lakes.replace.Exchange` says how."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._writer = uuid.uuid4().hex
        self._placed: set[str] = set()
        self._until = 0.0

    @property
    def _filesystem(self) -> Any:
        return self._folder.fs

    def hidden(self, name: str) -> Location:
        """Where a new file is before it has its name."""
        self._placed.add(name)
        return self._folder.child(_hidden_name(name, self._writer))

    def discard(self) -> None:
        """Remove the new files that do not have their names yet; only warns where that fails."""
        for name in self._placed:
            try:
                self._delete(_hidden_name(name, self._writer))
            except Exception as error:
                hidden = self._folder.child(_hidden_name(name, self._writer))
                logger.warning("%s is hidden from readers and stays: %s", hidden, type(error).__name__)

    def exchange(self, new: Sequence[str], old: Mapping[str, FileVersion]) -> None:
        """See :meth:`feast_hybrid.lakes.replace.Exchange.put_in_place`."""
        are_known = all(version.mark for version in old.values())
        versions = tuple(str(version.without_inode()) for version in old.values()) if are_known else ()
        record = ReplacementRecord(self._writer, "", tuple(new), tuple(old), versions)
        claim = self._folder.child(CLAIM)
        self._until = time.monotonic() + _SECONDS_OF_A_CLAIM
        if not create_once(claim, record.to_bytes()):
            raise WriteError(
                f"{self._folder} is being written by another writer at this moment. Nothing was changed."
            )
        try:
            self._require_unchanged(old)
            _each(self._show, new)
            # The folder may have been replaced, or written to, since its files were looked at.
            self._require_unchanged(old)
            self._require_claim(new)
        except BaseException as error:
            self._take_back(record, error)
            raise
        if (refused := self._delete_first(old)) is not None:
            self._take_back(record, refused)
            raise refused
        self._end(record)

    def _show(self, name: str) -> None:
        self._require_time()
        hidden, file = self._folder.child(_hidden_name(name, self._writer)), self._folder.child(name)
        filesystem = self._filesystem
        rename_once(lambda: filesystem.mv(hidden.path, file.path), filesystem, hidden, file)

    def _require_time(self) -> None:
        if time.monotonic() > self._until:
            raise WriteError(f"{self._folder} took longer than {_SECONDS_OF_A_CLAIM:.0f} s to answer. Try again.")

    def _require_unchanged(self, old: Mapping[str, FileVersion]) -> None:
        found = self._files()
        for name, version in old.items():
            if found.get(name) != version:
                raise FilesChangedError(f"{self._folder.child(name)} was written or deleted meanwhile.")

    def _require_claim(self, new: Collection[str]) -> None:
        if not self._is_ours() or not set(new) <= set(self._files()):
            raise WriteError(f"{self._folder} was written by another writer at the same time. Try again.")

    def _is_ours(self) -> bool:
        try:
            content = self._filesystem.cat_file(self._folder.child(CLAIM).path)
        except FileNotFoundError:
            return False
        return ReplacementRecord.from_bytes(content).writer == self._writer

    def _delete_first(self, old: Collection[str]) -> Exception | None:
        """Delete one old file; whoever may not delete it has changed nothing, and can take back what is done.

        What fails otherwise may have been done, or be done later: then there is no way back.
        """
        name = next(iter(old))
        try:
            self._delete(name)
        except Exception as error:
            if classify_storage_error(error) is AccessDeniedError and name in self._files():
                return error
            logger.debug("%s: %s", name, redacted_summary(error))  # it is tried again
        return None

    def _take_back(self, record: ReplacementRecord, error: BaseException) -> None:
        """Remove the new files and the claim; the old files are all there while the claim is ours.

        Raises:
            ReplacementError: that failed.
        """
        try:
            self.discard()
            if self._is_ours():  # else who took us for dead has ended this, and the new files may be the rows
                _each(self._delete, record.new_files)
                self._delete(CLAIM)
        except Exception as second:
            self._unfinished(error, f"what was done could not be taken back: {redacted_summary(second)}")

    def _end(self, record: ReplacementRecord) -> None:
        """Remove the old files and the claim.

        Raises:
            ReplacementError: that failed, also when it was tried again.
        """
        for is_last in (False, True):
            try:
                _each(self._delete, record.old_files or ())
                if self._is_ours():  # else who took us for dead has ended this
                    self._delete(CLAIM)
            except Exception as error:
                if is_last:
                    self._unfinished(error, "its new files are all there, and its old ones in part")
            else:
                return

    def _unfinished(self, error: BaseException, what: str) -> NoReturn:
        text = (
            f"{self._folder} is half replaced ({redacted_summary(error)}): {what}. Until that is ended, a file that "
            f"cannot be read stands there, {CLAIM}. Do this again in {DEAD_AFTER.seconds} s, which ends it first."
        )
        raise_from(ReplacementError(text, old_rows=str(self._folder)), error)

    def recover(self) -> None:
        """See :func:`feast_hybrid.lakes.replace.recover`, where files of the folder were being replaced."""
        claim = self._folder.child(CLAIM)
        try:
            entry = self._filesystem.info(claim.path)
            record = ReplacementRecord.from_bytes(self._filesystem.cat_file(claim.path))
        except FileNotFoundError:
            return
        age = self._now() - (modified(entry) or datetime.fromtimestamp(0, UTC))
        if age < DEAD_AFTER:
            raise WriteError(
                f"{self._folder} is being written by another writer, who began {max(int(age.total_seconds()), 0)} s "
                f"ago. Wait for it; should it have died, this can be called again after {DEAD_AFTER.seconds} s."
            )
        logger.warning("%s was being written when its writer died: finishing that.", self._folder)
        # Should a rename still be on its way, it finds nothing any more; so what is there now stays as it is.
        for name in record.new_files:
            self._delete(_hidden_name(name, record.writer))
        found = self._files()
        old = record.old_files or ()
        is_whole = bool(record.new_files) and set(record.new_files) <= set(found)
        # A file that somebody has written anew since stays: one of the old rows, as long as these are all there.
        if (changed := record.rewritten(found)) and set(old) <= set(found):
            is_whole = False
        _each(self._delete, [name for name in old if name not in changed] if is_whole else record.new_files)
        if changed and is_whole:
            names = ", ".join(sorted(changed))
            logger.warning("%s: %s was written meanwhile; what was in it before is there too.", self._folder, names)
        with suppress(FileNotFoundError):
            if ReplacementRecord.from_bytes(self._filesystem.cat_file(claim.path)).writer == record.writer:
                self._delete(CLAIM)

    def _now(self) -> datetime:
        """The time by the clock of the NameNode, which says when files were written."""
        probe = self._folder.child(_hidden_name("clock", self._writer))
        with self._filesystem.open(probe.path, "wb") as opened:
            opened.write(b"-")
        now = modified(self._filesystem.info(probe.path))
        self._delete(_hidden_name("clock", self._writer))
        return now or datetime.now(UTC)

    def _files(self) -> dict[str, FileVersion]:
        entries = self._filesystem.ls(self._folder.path, detail=True)
        return {
            str(entry["name"]).rpartition("/")[2]: file_version(entry) for entry in entries if entry["type"] == "file"
        }

    def _delete(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._filesystem.rm(self._folder.child(name).path)


def _hidden_name(name: str, writer: str) -> str:
    return f".{name}.{writer[:12]}.writing"


def _each(step: Any, names: Collection[str]) -> None:
    """Do a step for each name, some at a time; the first failure is raised when all have ended."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        outcomes = [threads.submit(step, name) for name in names]
    for outcome in outcomes:
        outcome.result()
