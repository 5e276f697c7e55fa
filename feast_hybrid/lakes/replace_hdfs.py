"""A folder of HDFS, or of a local disk, put in the place of another by renaming.

The steps, for a folder ``set`` and new rows in ``.set.….writing``; each rename is one step of the NameNode:

====================  ============================  ===================  ===================================
step                  there is                      a reader sees        the next writer does
====================  ============================  ===================  ===================================
0 before              ``set`` (old), ``.writing``   the old rows         replaces them
1 ``set`` → old       ``.replaced``, ``.writing``   nothing; our own     puts ``.replaced`` back, then
                                                    wait, then read the  replaces it
                                                    old rows there
2 ``.writing`` → set  ``set`` (new), ``.replaced``  the new rows         replaces them
3 old removed         ``set`` (new)                 the new rows         replaces them
====================  ============================  ===================  ===================================

A step whose answer was lost counts as done, as is seen by what is there. What fails in step 1 or 2 puts the old rows
back; :class:`~feast_hybrid.errors.ReplacementError` says where they are if that fails too. Of two writers at the same
time one fails, or the last one's rows count: every place is renamed to only where nothing is there. A folder that
stays away for two seconds is one whose writer died.

A folder that could not be removed in step 3 is hidden from readers and stays. So there may be several; their names
hold the time of their step 1, and the latest one is what was there last.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.lakes.errors import lost_connection, raise_from, redacted_summary
from feast_hybrid.lakes.removal import remove_tree
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: The file with which Spark says that a folder is all of what a job wrote; batches have none.
_COMPLETE = "_SUCCESS"

#: Seconds for which a folder can be away while a writer that is alive replaces it, and between two looks.
REPLACEMENT_SECONDS = 2.0
_PAUSE_SECONDS = 0.1

#: UTC, of one width, so that names sort by it.
_TIME = "%Y%m%dT%H%M%S.%fZ"
#: What stands in the name of a replaced folder: its time and a random part; names of before had that part only.
_REPLACED = re.compile(r"(?:(?P<time>\d{8}T\d{6}\.\d{6}Z)-)?[0-9a-f]+")


def remove(folder: Location) -> None:
    """Remove a folder that no reader looks at; only warns where that fails."""
    try:
        if folder.exists():
            remove_tree(folder)
    except Exception as error:
        logger.warning("%s is hidden from readers, and could not be removed: %s", folder, type(error).__name__)


def rename_once(rename: Callable[[], Any], filesystem: Any, source: Location, destination: Location) -> None:
    """Rename what nobody else renames: one of the two names is known to this writer alone.

    It counts as done where its answer was lost, as is seen by what is there; where it was lost itself, as when
    NameNodes change places, it is done again.

    Raises:
        Exception: what the file system said.
    """
    for again in (True, False):
        try:
            rename()
        except Exception as error:
            if _was_renamed(filesystem, source, destination):
                return
            if not (again and lost_connection(error)):
                raise
        else:
            return


def _was_renamed(filesystem: Any, source: Location, destination: Location) -> bool:
    try:
        return bool(filesystem.exists(destination.path) and not filesystem.exists(source.path))
    except Exception:  # what the rename itself said is what there is to say
        return False


class FolderReplacement:
    """Puts folders of HDFS or of a local disk in the place of ``target``."""

    def __init__(self, target: Location) -> None:
        self._target = target
        self._filesystem = target.fs

    def _rename(self, source: Location, destination: Location) -> None:
        """Strictly: HDFS refuses a place that is taken, where older interfaces would move into it."""
        if destination.lake is LakeType.LOCAL and self._exists(destination):
            raise FileExistsError(str(destination))
        rename_once(lambda: self._filesystem.mv(source.path, destination.path), self._filesystem, source, destination)

    def _exists(self, location: Location) -> bool:
        return bool(self._filesystem.exists(location.path))

    def _beside(self, suffix: str) -> Location:
        """A new hidden name beside the target, with the time in it."""
        time = datetime.now(UTC).strftime(_TIME)
        return self._target.parent().child(f".{self._target.name}.{time}-{uuid.uuid4().hex[:12]}.{suffix}")

    def create(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`, where nothing may be there."""
        try:
            self._rename(new, self._target)
        except Exception as error:
            if not self._exists(self._target):
                raise
            if not self._exists(new):
                return  # it was done, and the answer was lost
            raise FileExistsError(str(self._target)) from error

    def replace(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`."""
        self._mark_complete(new)
        if not self._exists(self._target):
            self._fill(new)
            return
        old = self._beside("replaced")
        try:
            self._rename(self._target, old)
        except BaseException as error:
            self._undo_first(old, error)
            if isinstance(error, FileNotFoundError) and self._exists(new):
                raise_from(self._slower(), error)  # another writer has just moved it away
            raise
        try:
            self._rename(new, self._target)
        except BaseException as error:
            if not self._undo_second(new, old, error):
                raise
        remove(old)

    def _fill(self, new: Location) -> None:
        """Put the new folder where nothing is."""
        try:
            self.create(new)
        except FileExistsError as error:
            raise_from(self._slower(), error)

    def _slower(self) -> WriteError:
        return WriteError(
            f"{self._target} was written by somebody else at the same time. Those rows, or the ones that were there, "
            "are whole. Save again to have these rows there."
        )

    def _mark_complete(self, folder: Location) -> None:
        """Have a new folder say that it is no batch which was added meanwhile, where Spark was told not to say so."""
        mark = folder.child(_COMPLETE)
        if not self._exists(mark):
            with self._filesystem.open(mark.path, "wb"):
                pass

    def _undo_first(self, old: Location, error: BaseException) -> None:
        """After a failure of step 1, which may have been done with its answer lost.

        Raises:
            ReplacementError: the old rows were moved, or may have been, and could not be put back.
        """
        try:
            if not self._exists(self._target) and self._exists(old):
                self._rename(old, self._target)
        except Exception as second:
            self._lost(old, error, second)

    def _undo_second(self, new: Location, old: Location, error: BaseException) -> bool:  # noqa: RET503
        """After a failure of step 2.

        Returns:
            Whether it was done, and only its answer was lost. Else the old rows are in their place again.

        Raises:
            WriteError: somebody else has written there meanwhile.
            ReplacementError: the old rows could not be put back.
        """
        try:
            if not self._exists(self._target):
                if not isinstance(error, FileExistsError):
                    self._rename(old, self._target)
                    return False
                # Else what another writer has put there is being replaced by a third: newer rows than the old ones.
            elif not self._exists(new):
                return True
            elif self._exists(self._target.child(_COMPLETE)):
                remove(old)  # another writer found nothing here, and put its own rows in
            elif self._exists(old):  # else another writer took us for dead and put it back
                self._put_back_beside_batches(old)
        except WriteError:
            raise
        except Exception as second:
            self._lost(old, error, second)
        raise_from(self._slower(), error)

    def _lost(self, old: Location, error: BaseException, second: Exception) -> NoReturn:
        text = (
            f"{self._target} could not be replaced ({redacted_summary(error)}), and its old rows could not be put "
            f"back ({redacted_summary(second)}). If nothing is at {self._target}, they are at {old}: rename that, or "
            "write again, which does so."
        )
        raise_from(ReplacementError(text, old_rows=str(old)), error)

    def _put_back_beside_batches(self, old: Location) -> None:
        """Have the old rows again where somebody, who found nothing, has begun to add rows of their own to them.

        Raises:
            ReplacementError: the old rows are back, and some of the added ones are not.
        """
        added = self._beside("added")
        self._rename(self._target, added)
        if self._exists(added.child(_COMPLETE)):  # no batches: another writer's rows have just come there
            self.create(added)
            remove(old)
            return
        self._rename(old, self._target)
        try:
            self._move_into(added, self._target)
        except Exception as error:
            text = (
                f"{self._target} has its old rows; rows that were added meanwhile are at {added}, and could not be "
                f"moved back: {redacted_summary(error)}. Move its files into {self._target}."
            )
            raise_from(ReplacementError(text, old_rows=str(self._target)), error)
        remove(added)

    def _move_into(self, folder: Location, target: Location) -> None:
        for name in self._names(folder):
            source, destination = folder.child(name), target.child(name)
            if self._exists(destination):  # a partition's folder: files have names of their own
                self._move_into(source, destination)
            else:
                self._rename(source, destination)

    def _names(self, folder: Location) -> list[str]:
        entries = self._filesystem.ls(folder.path, detail=False)
        return [str(entry).rstrip("/").rpartition("/")[2] for entry in entries]

    def left_over(self) -> list[Location]:
        """The folders that were moved away and are still there, the latest first."""
        parent = self._target.parent()
        try:
            names = self._names(parent)
        except FileNotFoundError:
            return []
        times: dict[str, str] = {}
        for name in names:
            if name.startswith(f".{self._target.name}.") and name.endswith(".replaced"):
                inner = name.removeprefix(f".{self._target.name}.").removesuffix(".replaced")
                parsed = _REPLACED.fullmatch(inner)
                if parsed is None or (parsed["time"] and not _is_time(parsed["time"])):
                    continue  # somebody else's
                # A name of before says no time: that of the last change in the folder stands for it.
                times[name] = parsed["time"] or self._modified(parent.child(name))
        return [parent.child(name) for name in sorted(times, key=lambda name: (times[name], name), reverse=True)]

    def has_new_rows(self) -> bool:
        """Whether new rows of a writer lie beside the target."""
        beside = self._names(self._target.parent())
        return any(name.startswith(f".{self._target.name}.") and name.endswith(".writing") for name in beside)

    def _modified(self, folder: Location) -> str:
        return _time_text(self._filesystem.info(folder.path))

    def recover(self) -> None:
        """See :func:`feast_hybrid.lakes.replace.recover`."""
        if not (found := self._left_by_the_dead()):
            return
        latest, *older = found
        logger.warning(
            "%s was being replaced when its writer died; the old rows are put back from %s.%s",
            self._target,
            latest,
            f" Left as they are, hidden from readers and older: {', '.join(map(str, older))}." if older else "",
        )
        try:
            self._rename(latest, self._target)
        except Exception as error:
            if self._exists(self._target):
                return  # another writer was faster, or it had not died
            if not self._exists(latest):
                raise_from(self._slower(), error)
            raise

    def _left_by_the_dead(self) -> list[Location]:
        """The folders that were moved away, if nothing came in their place for as long as a living writer takes."""
        deadline = time.monotonic() + REPLACEMENT_SECONDS
        while not self._exists(self._target) and (found := self.left_over()):
            if time.monotonic() > deadline:
                return found
            time.sleep(_PAUSE_SECONDS)
        return []


def _is_time(text: str) -> bool:
    """Whether there is such a time; digits alone are none, as where they name a month 13."""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC).strftime(_TIME) == text
    except ValueError:
        return False


def _time_text(info: dict[str, object]) -> str:
    """When a folder was changed last, as the names of replaced folders write it.

    Args:
        info: of fsspec: hdfs-native has milliseconds in ``modification_time``, a local disk seconds in ``mtime``.
    """
    millis, seconds = info.get("modification_time"), info.get("mtime")
    since_1970 = float(str(millis)) / 1000 if millis is not None else float(str(seconds or 0))
    return datetime.fromtimestamp(since_1970, UTC).strftime(_TIME)
