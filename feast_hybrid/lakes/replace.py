"""A folder put in the place of another: readers find the old files or the new ones, or for a moment an error.

HDFS renames a folder in one step, so two renames do it, with nothing there between them
(:mod:`feast_hybrid.lakes.replace_hdfs`). Azure's Blob service renames nothing: new files are copied in and old ones
deleted one by one, while a file that no reader can read stands among them (:mod:`feast_hybrid.lakes.replace_adls`).
What a writer that died has left is finished or taken back by the next one. Of several writers at the same time one
fails or the last one's rows count; their files are never mixed.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.exchange_hdfs import FileReplacement
from feast_hybrid.lakes.replace_adls import BlobReplacement
from feast_hybrid.lakes.replace_hdfs import FolderReplacement, remove
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location
    from feast_hybrid.lakes.versions import FileVersion

__all__ = ["Exchange", "aside", "is_unfinished", "left_over", "put_in_place", "recover", "remove"]


def aside(target: Location) -> Location:
    """Where to write what is to replace a folder: beside it, hidden from readers.

    Raises:
        WriteError: it is a root, which nothing lies beside.
    """
    if not target.name:
        raise WriteError(
            f"{target} is the root of a container or file system, where no rows can be replaced: there is no folder "
            "beside it for new ones. Give a folder in it."
        )
    return target.parent().child(f".{target.name}.{uuid.uuid4().hex[:12]}.writing")


class Exchange:
    """New files in the place of some of a folder's own, for readers in one step: see the table of each lake.

    What others add to the folder meanwhile stays. New files are written to :meth:`place` first, hidden from readers.

    Args:
        folder: the files are in it, and not below.
    """

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._aside = aside(folder) if folder.lake is LakeType.ADLS else None
        self._by_renames = FileReplacement(folder)

    def place(self, name: str) -> Location:
        """Where to write a new file, whose name nobody else has."""
        return self._by_renames.hidden(name) if self._aside is None else self._aside.child(name)

    def put_in_place(self, new: Sequence[str], old: Mapping[str, FileVersion]) -> None:
        """Have the new files in the place of old ones.

        Args:
            new: names of files that are at their :meth:`place`.
            old: names of the folder's own files, and the versions whose rows the new ones hold.

        Raises:
            FilesChangedError: an old file is not there any more as it was; nothing was changed.
            WriteError: another writer is at it; nothing was changed.
            ReplacementError: it could be neither finished nor taken back; it says what is there.
            OSError, AzureError: the lake refused something; nothing was changed.
        """
        if self._aside is None:
            self._by_renames.exchange(new, old)
            return
        # Who may not delete is told so before there is anything to take back, which would be refused as well.
        probe = self._aside.child("probe")
        with probe.fs.open(probe.path, "wb") as opened:
            opened.write(b"-")
        probe.fs.rm_file(probe.path)
        BlobReplacement(self._folder).exchange(self._aside, old)

    def discard(self) -> None:
        """Remove the new files that are not in their place."""
        if self._aside is None:
            self._by_renames.discard()
        else:
            remove(self._aside)


def put_in_place(new: Location, target: Location, *, overwrite: bool = True) -> None:
    """Make a folder's files the whole content of another, whose own files go.

    Args:
        new: the folder with the new files, from :func:`aside`.
        target: the other.
        overwrite: whether something may be there. While the new files were written somebody else may have come.

    Raises:
        FileExistsError: something is there that may not be replaced.
        ReplacementError: something failed, and the old files could not be put back, or the new ones not be finished:
            it says where they are.
        WriteError: another writer was faster, or is at it; its rows, or those that were there, are whole.
        OSError, AzureError: the lake refused something; the old files are there, and nothing was changed.
    """
    replacement = _replacement(target)
    if overwrite:
        replacement.replace(new)
    else:
        replacement.create(new)


def recover(target: Location) -> None:
    """Finish or take back a replacement whose writer died: of the folder, or of files in it.

    Raises:
        WriteError: a writer has been at it within the last minutes, and may be alive.
    """
    _replacement(target).recover()
    if target.lake is not LakeType.ADLS:
        FileReplacement(target).recover()


def left_over(target: Location) -> Location | None:
    """The old folder, hidden, while or after a writer replaces it; None where there is none."""
    if target.lake is LakeType.ADLS:
        return None
    return next(iter(FolderReplacement(target).left_over()), None)


def is_unfinished(target: Location) -> bool:
    """Whether new rows for a folder of HDFS, or of a local disk, lie beside it: their writer is at it, or died.

    Where old rows are left over and no new ones are, the replacement was done, and somebody has deleted the folder.
    """
    return target.lake is not LakeType.ADLS and FolderReplacement(target).has_new_rows()


def _replacement(target: Location) -> FolderReplacement | BlobReplacement:
    return BlobReplacement(target) if target.lake is LakeType.ADLS else FolderReplacement(target)
