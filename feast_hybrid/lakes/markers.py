"""Files that stand among rows and are none: their names, and what they say of the rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_hybrid.lakes.versions import FileVersion

#: The beginning of the file that no reader can read, while a folder of ADLS is replaced: no reader passes it over for
#: its name, and text readers try to unzip it.
BEING_REPLACED = "part-being-replaced-"

#: Its name: one for each folder, so that one writer at a time can create it.
CLAIM = f"{BEING_REPLACED}now.gz"

#: What whoever meets that file is told.
BEING_REPLACED_ADVICE = (
    "its rows are being replaced at this moment, or a writer died while it did so. Read again; if that does not "
    "help, save the dataset again."
)


@dataclass(frozen=True)
class ReplacementRecord:
    """What that file says of the replacement.

    Attributes:
        writer: a token of the writer's own.
        new_folder: what the names of the files begin with that are copied from.
        new_files: the names, below the folder, of the files that are copied in; none before that begins.
        old_files: those of the files that were there and go, once all new ones are in; None where it is not said.
        old_versions: which versions of these, in their order; empty where it is not said.
    """

    writer: str
    new_folder: str = ""
    new_files: tuple[str, ...] = ()
    old_files: tuple[str, ...] | None = None
    old_versions: tuple[str, ...] = ()

    @classmethod
    def from_bytes(cls, content: bytes) -> ReplacementRecord:
        """The record that a file holds.

        Raises:
            ValueError: it holds none.
        """
        record = json.loads(content)
        if not isinstance(record, dict):
            raise ValueError("no record of a replacement")  # noqa: TRY004  # what it is made of is no type of ours
        old = record.get("old")
        new = tuple(map(str, record.get("new", ())))
        return cls(
            str(record.get("writer", "")),
            str(record.get("from", "")),
            new,
            None if old is None else tuple(map(str, old)),
            tuple(map(str, record.get("versions", ()))),
        )

    def to_bytes(self) -> bytes:
        """What the file holds."""
        record = {"writer": self.writer, "from": self.new_folder, "new": self.new_files, "old": self.old_files}
        versions = {"versions": self.old_versions} if self.old_versions else {}
        return json.dumps(record | versions).encode()

    def rewritten(self, files: Mapping[str, FileVersion]) -> frozenset[str]:
        """Those of the files that are called like old ones, and have been written since by somebody else.

        Args:
            files: all that are there, by their names below the folder.
        """
        noted = dict(zip(self.old_files or (), self.old_versions, strict=False))
        return frozenset(
            name
            for name, version in files.items()
            if version.mark and name in noted and str(version.without_inode()) != noted[name]
        )

    def superseded(self, names: Collection[str]) -> frozenset[str] | None:
        """Which of the files that are there belong to the other rows: the new ones, while all old ones are there.

        Args:
            names: of all files that are there at one moment, below the folder.

        Returns:
            The names; None where what is there is neither the old rows nor the new ones, or that is not known.
        """
        new = frozenset(self.new_files)
        if self.old_files is None:
            return frozenset() if not new else None
        old = frozenset(self.old_files)
        if old.issubset(names):
            return new - old
        # Old files go only when all the new ones have come.
        return old - new if new and new.issubset(names) else None
