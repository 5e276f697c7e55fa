"""What the reader options of a path mean: for the listing of its files, for Spark's reader, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_hybrid.files.selection import SELECTING_OPTIONS, FileSelection, option_is_true

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location

#: Options that change nothing in what is read: the first is a writer's, and the schemas of files are always merged.
#: Times in options are read in the time zone; those in the names of folders are UTC.
_WITHOUT_EFFECT = frozenset({"compression", "mergeschema", "parquet.writer.version", "timezone"})

#: Options that say what is read without them.
_DEFAULTS = {
    "ignorecorruptfiles": "false",
    "ignoremissingfiles": "false",
    "datetimerebasemode": "corrected",
    "int96rebasemode": "corrected",
}

_SKIP_DAMAGED = "ignorecorruptfiles"

#: Beginnings of options by which encrypted files are read, whose footers are closed to us.
_ENCRYPTION = ("parquet.crypto.", "parquet.encryption.")


@dataclass(frozen=True)
class ReaderOptions:
    """The options of a source, taken apart.

    Attributes:
        selection: which files count.
        for_spark: what only Spark's reader follows, as it was given.
        to_spark: all that Spark's reader has to get.
        skip_damaged: whether files that cannot be read are left out.
    """

    selection: FileSelection
    for_spark: Mapping[str, str]
    to_spark: Mapping[str, str]
    skip_damaged: bool

    @classmethod
    def of(cls, options: Mapping[str, str], location: Location) -> ReaderOptions:
        """Take a source's options apart.

        Raises:
            SourceError: a value is none that Spark takes.
        """
        selection = FileSelection.of(options, location)
        for_spark = {
            name: value
            for name, value in options.items()
            if name.lower() not in _WITHOUT_EFFECT | SELECTING_OPTIONS
            and value.lower() != _DEFAULTS.get(name.lower())
        }
        skips = {name.lower(): value for name, value in options.items()}.get(_SKIP_DAMAGED, "false")
        return cls(
            selection=selection,
            for_spark=for_spark,
            to_spark={**for_spark, **selection.to_spark(options)},
            skip_damaged=option_is_true("ignoreCorruptFiles", skips),
        )


def reads_encrypted(options: Mapping[str, str]) -> bool:
    """Whether the options are those of encrypted files."""
    return any(name.lower().startswith(_ENCRYPTION) for name in options)
