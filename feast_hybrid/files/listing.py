"""The data files of a location and what the folders on the way to them say, listed through fsspec: no JVM."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.globs import expand
from feast_hybrid.files.partitions import HIDDEN_SUFFIX, parse_folder
from feast_hybrid.files.replaced_folders import markers_above, whole_rows
from feast_hybrid.files.selection import FileSelection
from feast_hybrid.files.table_formats import refuse_table, refuse_tables_above
from feast_hybrid.lakes.markers import BEING_REPLACED, BEING_REPLACED_ADVICE
from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.lakes.versions import FileVersion, file_version

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

#: How many folders are listed at once.
_CONCURRENT_LISTINGS = 8

#: How often files are listed anew that a writer replaces meanwhile.
_TRIES = 3

#: A byte of a character that is no ASCII.
_ENCODED_BYTE = re.compile(r"%[89A-Fa-f][0-9A-Fa-f]")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")

_ALL_FILES = FileSelection()

PartitionTexts = dict[str, str | None]


class DataFile(NamedTuple):
    """A file with rows.

    Attributes:
        path: as the file system has it.
        size: in bytes, never zero.
        partitions: what the names of the folders on the way to it say, the outermost first.
        version: changes when the file does.
    """

    path: str
    size: int
    partitions: PartitionTexts
    version: FileVersion


@dataclass
class Listing:
    """What is at a location.

    Attributes:
        files: in the order of their paths.
        empty_files: paths of files of zero bytes, which hold no rows.
        damaged_files: paths of those that were left out since they cannot be read.
        folder_texts: partition column → all values that folders have.
        encoded_folders: partition column → the first folder whose value is percent-encoded in part.
        columns_of_empty: the columns of partitions that hold a file of zero bytes, which to Spark is a file too.
        only_ours: why Spark would not read the tree as we do; None where it does.
        markers: paths of the files by which writers say that they are replacing a folder's files.
    """

    files: list[DataFile] = field(default_factory=list)
    empty_files: list[str] = field(default_factory=list)
    damaged_files: list[str] = field(default_factory=list)
    folder_texts: dict[str, set[str | None]] = field(default_factory=dict)
    encoded_folders: dict[str, str] = field(default_factory=dict)
    columns_of_empty: set[tuple[str, ...]] = field(default_factory=set)
    only_ours: str | None = None
    markers: list[str] = field(default_factory=list)

    def note(self, only_ours: str) -> None:
        """Remember why Spark would read the tree otherwise; the first reason counts."""
        self.only_ours = self.only_ours or only_ours

    def read_otherwise(self, column: str, data_type: pa.DataType) -> str | None:
        """Why Spark would read the folders of a column of that type otherwise; None where it reads them alike.

        It decodes the names of text and of times alone: ``1e%2B20``, as pyarrow and pandas write a double, it cannot
        read.
        """
        name = self.encoded_folders.get(column)
        if name is None or pa.types.is_string(data_type) or pa.types.is_timestamp(data_type):
            return None
        return f"Spark does not decode %XX of the folder {name!r} as {data_type}"


class _Folder(NamedTuple):
    """A folder that is to be listed.

    Attributes:
        path: of it.
        partitions: what the way to it says.
        within: the name of a folder on the way that is no partition; files below are Spark's to leave out where no
            partition is above it.
    """

    path: str
    partitions: PartitionTexts
    within: str | None = None


def list_files(
    location: Location,
    *,
    selection: FileSelection = _ALL_FILES,
    check_roots: Callable[[list[str]], None] | None = None,
    read_by_us: bool = False,
) -> Listing:
    """The data files at a file, a folder or a glob.

    Hidden names are left out, as Spark leaves them out. Glob signs in names that are found are plain characters.

    Args:
        location: where they are.
        selection: which of them count.
        check_roots: gets what a glob expands to, before any of that is listed; it raises to refuse it.
        read_by_us: whether these files are read, and not what Spark finds at the location. Then, while a writer
            replaces the rows on ADLS, or after it died, the files are those of the old rows, or of the new ones.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders cannot be read as partitions: Spark would refuse them, or leave files out.
        TableFormatError: the files are those of a table, whose log says which of them count.
        SourceError: the selection cannot be followed; or the rows are being replaced, and which are whole is not
            known.
    """
    listing = _listed_at_once(location, selection, check_roots)
    if read_by_us:
        return whole_rows(location, listing, lambda: _listed_at_once(location, selection, check_roots))
    if listing.markers:
        raise SourceError(f"{listing.markers[0]}: {BEING_REPLACED_ADVICE}")
    return listing


def _listed_at_once(
    location: Location, selection: FileSelection, check_roots: Callable[[list[str]], None] | None
) -> Listing:
    """A listing during which nobody has replaced the files.

    Else what is in some folders would be of the old rows, and what is in others of the new ones.
    """
    for _ in range(_TRIES):
        listing, is_replaced = _listed(location, selection, check_roots)
        if not is_replaced:
            return listing
    raise SourceError(f"the files at {location} are replaced while they are listed. Try again.")


def _listed(
    location: Location, selection: FileSelection, check_roots: Callable[[list[str]], None] | None
) -> tuple[Listing, bool]:
    """A listing, and whether the files have been replaced meanwhile."""
    listing = Listing()
    top: dict[str, dict[str, FileVersion]] = {}
    depth = 0
    level = roots = [_Folder(path.rstrip("/") or "/", {}) for path in expand(location)]
    if check_roots is not None:
        check_roots([root.path for root in roots])
    reading = _Reading(listing, selection, has_markers=location.lake is LakeType.ADLS)
    filesystem = location.fs
    with ThreadPoolExecutor(_CONCURRENT_LISTINGS) as threads:
        while level:
            listings = list(threads.map(lambda folder: filesystem.ls(folder.path, detail=True), level))
            for folder, entries in zip(level, listings, strict=True):
                refuse_table(folder.path, entries)
            depth += 1
            if roots:
                paths = [root.path for root in roots]
                top = {path: _files_in(entries) for path, entries in zip(paths, listings, strict=True)}
                files = {path for path, entries in zip(paths, listings, strict=True) if _is_file(path, entries)}
                refuse_tables_above(location, paths, files, threads)
                listing.markers += markers_above(location, paths, files, threads)
                if selection.base is not None and not selection.is_recursive:
                    level = [_within_base(path, selection.base, listing, is_file=path in files) for path in paths]
                roots = []
            level = [
                inner
                for folder, entries in zip(level, listings, strict=True)
                for inner in reading.read_folder(folder, entries)
            ]
        # Whoever replaces rows puts a file there that says that all have come, _SUCCESS.
        again = threads.map(lambda path: _files_in(filesystem.ls(path, detail=True)), top if depth > 1 else ())
        is_replaced = any(files != found for files, found in zip(top.values(), again, strict=False))
    _finish(listing)
    return listing, is_replaced


def _files_in(entries: Sequence[Mapping[str, Any]]) -> dict[str, FileVersion]:
    """The files in a folder, hidden ones too."""
    return {str(entry["name"]): file_version(entry) for entry in entries if entry["type"] == "file"}


def _finish(listing: Listing) -> None:
    listing.files.sort(key=lambda file: file.path)
    listing.empty_files.sort()
    listing.markers.sort()
    columns = {*listing.columns_of_empty, *(tuple(file.partitions) for file in listing.files)}
    if len({tuple(map(str.lower, names)) for names in columns}) > 1:
        listing.note("files lie below folders of different partition columns, or beside them")


def listing_of(paths: Mapping[str, str], *, selection: FileSelection, base: str | None) -> Listing:
    """What folders say of files that another has listed; sizes and versions of the files are not known.

    Args:
        paths: of all files, hidden ones left out, and the path that each was found by: a folder, or the file itself.
        selection: how the files were chosen.
        base: as that of the selection, in the same form as the paths.

    Raises:
        SchemaError: the folders cannot be read as partitions.
    """
    listing = Listing()
    folders: dict[str, _Folder] = {}
    for path, root in sorted(paths.items()):
        above = path.rpartition("/")[0]
        if above not in folders:
            folder = _Folder(root, {})
            if base is not None and not selection.is_recursive:
                folder = _within_base(root, base, listing, is_file=path == root)
            for name in [] if selection.is_recursive else filter(None, above.removeprefix(root).split("/")):
                folder = folder if path == root else _enter(folder, f"{folder.path}/{name}", listing)
            folders[above] = folder
        listing.files.append(_data_file(folders[above], path, {"size": 0}))
    _finish(listing)
    return listing


class _Reading:
    """Notes what folders hold, one after another."""

    def __init__(
        self,
        listing: Listing,
        selection: FileSelection,
        *,
        has_markers: bool,
    ) -> None:
        self._listing = listing
        self._is_recursive = selection.is_recursive
        self._counts = selection.file_filter()
        self._has_markers = has_markers

    def read_folder(self, folder: _Folder, entries: Sequence[Mapping[str, Any]]) -> list[_Folder]:
        """Note the files that a folder holds.

        Returns:
            The folders in it that are to be listed.
        """
        below: list[_Folder] = []
        # Azurite lists a folder that was made as such twice: as a prefix of others, and as itself.
        entries = list({(str(each["name"]).rstrip("/"), each["type"] == "file"): each for each in entries}.values())
        folders = {str(entry["name"]).rstrip("/") for entry in entries if entry["type"] != "file"}
        for entry in entries:
            path = str(entry["name"]).rstrip("/")
            name = base_name(path)
            if is_hidden(name):
                continue
            if name.startswith(BEING_REPLACED) and entry["type"] == "file":
                self._listing.markers.append(path)
            elif entry["type"] != "file":
                if path == folder.path:  # its own marker
                    continue
                below.append(_Folder(path, {}) if self._is_recursive else _enter(folder, path, self._listing))
            elif entry["size"]:
                if self._counts(name, entry):
                    self._listing.files.append(_data_file(folder, path, entry))
            elif path in folders or (self._has_markers and "." not in name):  # a folder's marker on Azure
                continue
            elif self._counts(name, entry):
                self._listing.empty_files.append(path)
                if folder.partitions:  # beside all partitions it costs Spark no rows
                    self._listing.columns_of_empty.add(tuple(folder.partitions))
        return below


def _data_file(folder: _Folder, path: str, entry: Mapping[str, Any]) -> DataFile:
    if folder.within is not None and not folder.partitions:
        raise SchemaError(
            f"{path} lies in a folder {folder.within!r} that is no partition, where Spark does not look for rows. "
            "Move its files up, name the folder column=value, or end the path with a pattern such as /*."
        )
    return DataFile(path, int(entry["size"]), folder.partitions, file_version(entry))


def _is_file(path: str, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what was listed at a path is a file, which is all that is listed there."""
    return [(str(entry["name"]).rstrip("/"), entry["type"]) for entry in entries] == [(path, "file")]


def _within_base(path: str, base: str, listing: Listing, *, is_file: bool) -> _Folder:
    """The folder or file at a path, with what the folders on the way to it from a base say."""
    folder = _Folder(base, {})
    names = list(filter(None, path.removeprefix(base).split("/")))
    for name in names[:-1] if is_file else names:
        inner = _enter(folder, f"{folder.path}/{name}", listing)
        # Above the first partition folders may have any name.
        folder = inner if inner.partitions else inner._replace(within=None)
    return folder._replace(path=path)


def _enter(folder: _Folder, path: str, listing: Listing) -> _Folder:
    """A folder within another."""
    name = base_name(path)
    partition = parse_folder(name)
    if partition is None:
        if folder.partitions:
            listing.note(f"there is a folder {name!r} within a partition that is none itself")
        return _Folder(path, folder.partitions, name)
    if not partition.text and partition.text is not None:
        listing.note(f"the folder {name!r} has no value")
    if _ENCODED_BYTE.search(name):
        listing.note(f"Spark takes each %XX of the folder {name!r} for one character")
    column = partition.column
    if folder.within is not None:
        raise SchemaError(
            f"the folder {path} of a partition lies in a folder {folder.within!r} that is none, which Spark does not "
            "read. Move it up, or name that folder column=value."
        )
    known = next((known for known in listing.folder_texts if known.lower() == column.lower()), column)
    if known in folder.partitions:
        raise SchemaError(f"{path} gives the partition column {column!r} twice: rename one of its folders.")
    listing.folder_texts.setdefault(known, set()).add(partition.text)
    if _ENCODED.search(name.partition("=")[2]):
        listing.encoded_folders.setdefault(known, name)
    return _Folder(path, {**folder.partitions, known: partition.text})


def base_name(path: str) -> str:
    """The last segment of a path."""
    return str(path).rstrip("/").rpartition("/")[2]


def is_hidden(name: str) -> bool:
    """Spark's rule for names that hold no rows."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith(HIDDEN_SUFFIX)


def partition_columns(location: Location, selection: FileSelection = _ALL_FILES) -> tuple[str, ...]:
    """The columns that folders give, whatever the format of the files; the outermost first.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders cannot be read as partitions.
    """
    return tuple(list_files(location, selection=selection).folder_texts)
