"""A folder of HDFS, or of a local disk, put in the place of another by renaming."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.uri import Lake

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

#: The file with which Spark says that a folder is all of what a job wrote; batches have none.
_COMPLETE = "_SUCCESS"


def remove(folder: Location) -> None:
    """Remove a folder that no reader looks at; only warns where that fails."""
    try:
        if folder.exists():
            folder.fs.rm(folder.path, recursive=True)
    except Exception as error:
        logger.warning("%s is hidden from readers, and could not be removed: %s", folder, type(error).__name__)


class FolderReplacement:
    """Puts folders of HDFS or of a local disk in the place of ``target``."""

    def __init__(self, target: Location) -> None:
        self._target = target
        self._filesystem = target.fs

    def _rename(self, one: Location, other: Location) -> None:
        """Strictly: HDFS refuses a place that is taken, where older interfaces would move into it."""
        if other.lake is Lake.LOCAL and self._exists(other):
            raise FileExistsError(str(other))
        self._filesystem.mv(one.path, other.path)

    def _exists(self, location: Location) -> bool:
        return bool(self._filesystem.exists(location.path))

    def create(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`, where nothing may be there."""
        try:
            self._rename(new, self._target)
        except Exception as error:
            if self._exists(self._target):
                raise FileExistsError(str(self._target)) from error
            raise

    def replace(self, new: Location) -> None:
        """See :func:`feast_hybrid.lakes.replace.put_in_place`."""
        if not self._exists(self._target):
            self._rename(new, self._target)
            return
        old = self._target.parent().child(f".{self._target.name}.{uuid.uuid4().hex[:12]}.replaced")
        self._rename(self._target, old)
        try:
            self._rename(new, self._target)
        except BaseException as error:
            if self._exists(self._target):
                if self._exists(self._target.child(_COMPLETE)):
                    # Another writer found nothing here, and put its own rows in.
                    remove(old)
                elif self._exists(old):  # else another writer took us for dead and put it back
                    self._put_back_beside_batches(old)
                raise WriteError(f"{self._target} was written by somebody else at the same time.") from error
            self._rename(old, self._target)
            raise
        remove(old)

    def _put_back_beside_batches(self, old: Location) -> None:
        """Have the old rows again where somebody, who found nothing, has begun to add rows of their own to them."""
        added = self._target.parent().child(f".{self._target.name}.{uuid.uuid4().hex[:12]}.added")
        self._rename(self._target, added)
        self._rename(old, self._target)
        self._move_into(added, self._target)
        remove(added)

    def _move_into(self, folder: Location, target: Location) -> None:
        for entry in self._filesystem.ls(folder.path, detail=False):
            name = str(entry).rstrip("/").rpartition("/")[2]
            one, other = folder.child(name), target.child(name)
            if self._exists(other):  # a partition's folder: files have names of their own
                self._move_into(one, other)
            else:
                self._rename(one, other)

    def replaced(self) -> Location | None:
        """See :func:`feast_hybrid.lakes.replace.left_over`."""
        parent = self._target.parent()
        try:
            entries = self._filesystem.ls(parent.path, detail=False)
        except FileNotFoundError:
            return None
        names = (str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
        ours = [name for name in names if name.startswith(f".{self._target.name}.") and name.endswith(".replaced")]
        return parent.child(max(ours)) if ours else None

    def recover(self) -> None:
        """See :func:`feast_hybrid.lakes.replace.recover`."""
        if not self._exists(self._target) and (old := self.replaced()) is not None:
            logger.warning("%s was being replaced when its writer died; the old rows are put back.", self._target)
            self._rename(old, self._target)
