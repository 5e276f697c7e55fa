"""The files of folders that a catalog names: those in them, and none below."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.files.listing import DataFile, base_name, is_hidden
from feast_hybrid.files.table_formats import refuse_table, refuse_tables_above
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.lakes.versions import file_version

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How many folders are listed at once.
_CONCURRENT_LISTINGS = 8


class NotPlainError(SourceError):
    """A folder holds what only its reader knows how to take."""


class UnreadFilesError(SourceError):
    """A file with rows lies below the folders whose files are read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} lies in a folder below")


def refuse_unread_files(folders: Sequence[Location], tops: Sequence[Location], *, takes_below: bool = False) -> None:
    """See that no folder holds files with rows deeper down, and that none is, or lies in, a table of another format.

    Args:
        folders: whose files are rows; one that is not there has none.
        tops: folders above which a table's log may be.
        takes_below: whether files in folders below are rows too.

    Raises:
        UnreadFilesError: it names the file.
        TableFormatError: it names the table.
        Exception: what the file system raises where it cannot say.
    """
    rows_in = {folder.path.rstrip("/") for folder in folders}
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as threads:
        list(threads.map(lambda folder: _refuse_below(folder, folder.path, rows_in, takes_below), folders))
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as threads:
        for top in tops:
            file = f"{top.path.rstrip('/')}/file"  # any in it: the folder itself is looked at, and what is above
            refuse_tables_above(top, [file], [file], threads)


def _refuse_below(folder: Location, path: str, rows_in: Collection[str], takes_below: bool) -> None:
    path = path.rstrip("/") or "/"
    try:
        entries = folder.fs.ls(path, detail=True)
    except FileNotFoundError:
        return
    refuse_table(path, entries)
    for entry in entries:
        found = str(entry["name"]).rstrip("/")
        if found == path or is_hidden(base_name(found)):
            continue
        if entry["type"] != "file":
            _refuse_below(folder, found, rows_in, takes_below)
        elif entry["size"] and path not in rows_in and not takes_below:
            raise UnreadFilesError(found)


def files_in(folders: Sequence[Location]) -> list[list[DataFile]]:
    """The files with rows in each of some folders of one site.

    Raises:
        FileNotFoundError: a folder is not there.
        NotPlainError: one holds a folder, or a file by which a writer says that it replaces the others.
        TableFormatError: one holds a table's log, which says which of the files count.
    """
    if not folders:
        return []
    with ThreadPoolExecutor(min(len(folders), _CONCURRENT_LISTINGS)) as threads:
        return list(threads.map(_files_in, folders))


def _files_in(folder: Location) -> list[DataFile]:
    path = folder.path.rstrip("/") or "/"
    entries = folder.fs.ls(path, detail=True)
    refuse_table(path, entries)
    # Azurite lists a folder that was made as such twice: as a prefix of others, and as itself.
    by_path = {(str(entry["name"]).rstrip("/"), entry["type"] == "file"): entry for entry in entries}
    files = []
    for (found, is_file), entry in by_path.items():
        name = base_name(found)
        if found == path and is_file:
            raise NotPlainError(f"{found} is a file")
        if found == path or is_hidden(name):  # the folder's own marker is one
            continue
        if name.startswith(BEING_REPLACED):
            raise NotPlainError(f"{found} says that its files are being replaced")
        if not is_file:
            raise NotPlainError(f"there is a folder {found} in it")
        if entry["size"]:  # Spark reads no others either
            files.append(DataFile(found, int(entry["size"]), {}, file_version(entry)))
    return sorted(files, key=lambda file: file.path)
