"""The versions of an Iceberg table at a path: which one is the last, how the next one is made known.

A version belongs to whoever creates its file, ``v12.metadata.json``. ``version-hint.text`` names one of the last
ones: readers go on from there as long as there is a next one. So a hint that is late, or missing, hides nothing.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyiceberg.table.metadata import TableMetadata, TableMetadataUtil

from feast_hybrid.errors import CommitUnknownError, SourceError
from feast_hybrid.files.iceberg_commit import deletes_metadata, is_there
from feast_hybrid.files.table_formats import refuse_table
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import raise_from, redacted_summary
from feast_hybrid.lakes.uri import LakeType

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

logger = logging.getLogger(__name__)

METADATA_FOLDER = "metadata"
HINT = "version-hint.text"
_VERSION = re.compile(r"v(?P<number>\d+)(?P<suffix>(?:\.gz)?\.metadata\.json|\.metadata\.json\.gz)")
#: As a catalog names the files that it alone knows the last one of.
_CATALOGS = re.compile(r"\d+-[0-9a-fA-F-]{36}(?:\.gz)?\.metadata\.json(?:\.gz)?")
_GZIP = b"\x1f\x8b"
#: How the name of a version ends, plain or compressed; where both are there the first one is it, as for Iceberg.
_SUFFIXES = (".metadata.json", ".gz.metadata.json", ".metadata.json.gz")
#: How often the last version is looked for anew where it was deleted before it was read.
_TRIES = 3


@dataclass(frozen=True)
class TableVersion:
    """A version of a table.

    Attributes:
        location: the table's folder.
        number: of the version.
        file: its metadata file.
        raw: what that says, as it stands there.
    """

    location: Location
    number: int
    file: Location
    raw: Mapping[str, Any]

    @cached_property
    def metadata(self) -> TableMetadata:
        """What the metadata file says, checked.

        Raises:
            SourceError: it is no metadata of Iceberg's.
        """
        try:
            return TableMetadataUtil.parse_raw(json.dumps(self.raw))
        except Exception as error:
            reason = " ".join(str(error).partition("For further information")[0].split())
            raise SourceError(f"{self.file} holds no metadata of Iceberg's: {reason}") from None


def last_version(location: Location) -> TableVersion | None:
    """The last version of a table; None where there is none.

    Raises:
        SourceError: a catalog keeps the table, its metadata is damaged, or a table of another format is there.
    """
    for tries_left in reversed(range(_TRIES)):
        try:
            return _last_version(location)
        except FileNotFoundError:  # deleted by the writer of a later one
            if not tries_left:
                raise
    return None


def _last_version(location: Location) -> TableVersion | None:
    folder = location.child(METADATA_FOLDER)
    hinted = _hinted(location)  # before the others are listed, which may be more at that time
    try:
        found = folder.fs.ls(folder.path, detail=False)
    except FileNotFoundError:
        with suppress(FileNotFoundError):
            refuse_table(str(location), location.fs.ls(location.path, detail=True))
        return None
    names = [str(path).rstrip("/").rpartition("/")[2] for path in found]
    if of_catalog := sorted(filter(_CATALOGS.fullmatch, names)):
        raise SourceError(
            f"{location} is a table that a catalog keeps ({METADATA_FOLDER}/{of_catalog[-1]}): which of its "
            "versions is the last one is known to the catalog alone, and rows added beside it would be lost. Name "
            "the table by table= instead of path=; to read one version of it, name that file by path="
        )
    versions = {
        int(match["number"]): match.string
        for suffix in reversed(_SUFFIXES)
        for match in map(_VERSION.fullmatch, names)
        if match and match["suffix"] == suffix
    }
    if not versions:
        if hinted is not None:
            raise SourceError(f"{location} has a {HINT}, and no version of the table is there: its metadata is gone")
        return None
    if hinted is not None and hinted > max(versions):
        raise SourceError(f"version {hinted} of the table {location}, which its {HINT} names, is gone")
    number = hinted if hinted in versions else max(versions)
    while number + 1 in versions:
        number += 1
    if number != max(versions):
        raise SourceError(
            f"version {number + 1} of the table {location} is missing, and version {max(versions)} is there: "
            "readers end before it"
        )
    return _read(location, number, folder.child(versions[number]))


def read_version(file: Location) -> TableVersion:
    """A version of a table by its metadata file, which is in the ``metadata`` folder of the table.

    Raises:
        FileNotFoundError: it is not there.
        SourceError: it is damaged.
    """
    match = _VERSION.fullmatch(file.name)
    return _read(file.parent().parent(), int(match["number"]) if match else 0, file)


def _hinted(location: Location) -> int | None:
    """The version that the hint names; None where it names none."""
    hint = location.child(METADATA_FOLDER).child(HINT)
    try:
        text = hint.fs.cat_file(hint.path).decode(errors="replace").strip()
    except FileNotFoundError:  # while another writer puts its own in the place
        return None
    return int(text) if text.isdecimal() else None


def _read(location: Location, number: int, file: Location) -> TableVersion:
    content: bytes = file.fs.cat_file(file.path)
    try:
        raw = json.loads(gzip.decompress(content) if content.startswith(_GZIP) else content)
    except (ValueError, OSError, EOFError) as error:
        raise SourceError(f"{file} is damaged: {error}") from None
    if not isinstance(raw, dict):
        raise SourceError(f"{file} is damaged: it holds no metadata of Iceberg's")
    return TableVersion(location, number, file, raw)


def is_taken(version: TableVersion) -> bool:
    """Whether another writer has created a version whose name ends otherwise: compressed or plain."""
    names = {f"v{version.number}{suffix}" for suffix in _SUFFIXES} - {version.file.name}
    return any(version.file.parent().child(name).exists() for name in sorted(names))


def was_overtaken(version: TableVersion, snapshot_id: int) -> bool:
    """Whether readers do not come by a version that was just created; then its file is removed again.

    Where a table wants earlier metadata files to be deleted, a writer that was slow finds the place of a version free
    that others have made and left behind.

    Raises:
        CommitUnknownError: that could not be seen.
    """
    if not deletes_metadata(version.raw):
        return False
    try:
        hinted = _hinted(version.location)
        if hinted is None or hinted <= version.number:
            return False
        later = last_version(version.location)
        if later is not None and is_there(later.raw, snapshot_id=snapshot_id):
            return False
        version.file.fs.rm(version.file.path)
    except Exception as error:
        text = (
            f"whether {version.file} was committed is not known: later versions are there, and they could not be "
            f"looked into ({redacted_summary(error)}). Read the rows before you write them again."
        )
        raise_from(CommitUnknownError(text), error)
    return True


def make_known(version: TableVersion) -> None:
    """Have the hint name a version that was just created, or a later one; readers find it without that, too."""
    folder = version.location.child(METADATA_FOLDER)
    number = version.number
    try:
        hinted = _hinted(version.location)
        if version.location.lake is LakeType.LOCAL:
            with suppress(FileNotFoundError):  # Hadoop's sum of what it wrote itself
                folder.fs.rm(folder.child(f".{HINT}.crc").path)
        while hinted is None or hinted < number:
            publish({folder.child(HINT): str(number).encode()}, replace=True)
            hinted = number
            # Whoever was faster has named a later one, which this has just replaced.
            while any(folder.child(f"v{number + 1}{suffix}").exists() for suffix in _SUFFIXES):
                number += 1
    except Exception as error:
        logger.warning("%s still names an earlier version: %s", folder.child(HINT), type(error).__name__)
