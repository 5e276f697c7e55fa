"""Folders of ADLS whose files a writer is replacing, or was when it died: which of the files are rows that are whole.

The writer's own file stands among them (:mod:`feast_hybrid.lakes.markers`), and names the old files and the new ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from feast_hybrid.errors import SourceError
from feast_hybrid.files.table_formats import folders_above
from feast_hybrid.lakes.markers import BEING_REPLACED_ADVICE, CLAIM, ReplacementRecord
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.lakes.versions import FileVersion, file_version

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How often a folder is listed anew while a writer replaces its files, and after which pause, the longer each time.
_LOOKS, _PAUSE_SECONDS = 8, 0.1


class _Listing(Protocol):
    files: list[Any]
    markers: list[str]

    def note(self, only_ours: str) -> None: ...


ListingT = TypeVar("ListingT", bound=_Listing)


def markers_above(location: Location, paths: Collection[str], files: Collection[str], threads: Executor) -> list[str]:
    """Writers' files in the folders above what a source names, as where that is a partition, or a pattern of files.

    Args:
        location: of the source.
        paths: what the source names, or what its pattern expands to.
        files: those of the paths that are files.
        threads: look at several folders at once.
    """
    if location.lake is not LakeType.ADLS:  # there a writer's file is about its own folder's files alone
        folders = {path.rpartition("/")[0] for path in files}
    else:
        top = location.site.fsspec_path(location.site.root).rstrip("/")
        folders = {folder for path in paths for folder in folders_above(path, top, is_file=path in files)}
    markers = [f"{folder.rstrip('/')}/{CLAIM}" for folder in sorted(folders)]
    filesystem = location.fs

    def is_there(path: str) -> bool:
        try:
            return bool(filesystem.exists(path))
        except Exception:  # the rights to a folder are none to the one above it
            return False

    return [path for path, found in zip(markers, threads.map(is_there, markers), strict=True) if found]


def whole_rows(location: Location, listing: ListingT, list_again: Callable[[], ListingT]) -> ListingT:
    """A listing without the files that are not yet, or no more, of the rows.

    Args:
        location: what was listed.
        listing: as it was found.
        list_again: does it once more.

    Raises:
        SourceError: a writer goes on faster than files are listed, or does not say what it replaces.
    """
    for look in range(_LOOKS):
        time.sleep(look * _PAUSE_SECONDS)
        markers = listing.markers
        if not markers:
            return listing
        try:
            before = _names_below(location, markers)
            listing = list_again()
            left_out: set[str] = set()
            for marker, names in zip(markers, before, strict=True):
                record = ReplacementRecord.from_bytes(location.fs.cat_file(marker))
                if (superseded := record.superseded(names)) is None:
                    raise SourceError(f"{marker}: {BEING_REPLACED_ADVICE}")
                superseded -= record.rewritten(names)
                left_out |= {f"{marker.rpartition('/')[0]}/{name}" for name in superseded}
            after = _names_below(location, markers)
        except FileNotFoundError:  # a replacement has just ended
            listing = list_again()
            continue
        except ValueError:
            break
        # A writer adds or deletes a file once: what is the same before and after was so all the time between.
        if before == after and listing.markers == markers:
            listing.files = [file for file in listing.files if file.path not in left_out]
            listing.note("a writer is replacing the rows, or died while it did so")
            return listing
    raise SourceError(f"{(listing.markers or markers)[0]}: {BEING_REPLACED_ADVICE}")


def _names_below(location: Location, markers: Sequence[str]) -> list[dict[str, FileVersion]]:
    """The files that are in the folder of each marker and below, by their names below it."""
    found = []
    for marker in markers:
        folder = marker.rpartition("/")[0]
        entries = location.fs.find(folder, detail=True)
        found.append({path.removeprefix(f"{folder}/"): file_version(entry) for path, entry in entries.items()})
    return found
