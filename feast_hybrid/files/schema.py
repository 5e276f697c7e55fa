"""The resolved schema of a source's files: one meaning for all who read, cut, write or register them.

It is found from the footers of all files, from the names of partition folders, and from the types that are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from feast_hybrid.arrow.unify import ConflictsWithDeclaredError, NoCommonTypeError, resolve_type
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.footers import FileColumn, Footer, read_footers
from feast_hybrid.files.listing import DataFile, Listing, PartitionTexts, list_files
from feast_hybrid.files.partitions import partition_type, partition_value

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location


@dataclass(frozen=True)
class ResolvedColumn:
    """A column of a source.

    Attributes:
        name: in its files, or in the names of folders.
        data_type: one that Spark has, in Arrow.
    """

    name: str
    data_type: pa.DataType


@dataclass(frozen=True)
class ResolvedFile:
    """A file that holds rows.

    Attributes:
        path: as the file system has it.
        size: in bytes.
        partitions: what the folders on the way to it say, by the resolved columns' names and in their types; None for
            null. They win over the file. A partition column that no folder on the way gives is the file's own, or
            null.
    """

    path: str
    size: int
    partitions: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ResolvedSchema:
    """What a source's files hold, as everybody reads them.

    Attributes:
        columns: in the order of the files, those of folders last.
        partition_columns: those that folders tell, the outermost first.
        files: that hold rows, in the order of their paths.
        empty_files: those of zero bytes, which are left out.
        unreadable: column that is left out → why: a type that Spark has not, or types that do not go together.
        unchecked: how many files' footers were not read for lack of time; they are checked where they are read.
        only_ours: why Spark's own reader would fail on the files or read them otherwise; None where it reads them
            alike, given these columns as its schema.
        int96: whether the first file's times are INT96, for writers.
        first_file: its path; the file may have no rows.
        missing_in: column → the first file with rows that has it not, neither by itself nor by its folder.
        file_schema: the columns that files hold, those among them that folders give too; for writers.
    """

    columns: tuple[ResolvedColumn, ...]
    partition_columns: tuple[str, ...]
    files: tuple[ResolvedFile, ...]
    empty_files: tuple[str, ...]
    unreadable: Mapping[str, str]
    unchecked: int
    only_ours: str | None
    int96: bool
    first_file: str
    missing_in: Mapping[str, str]
    file_schema: pa.Schema

    def find(self, name: str) -> ResolvedColumn | None:
        """The column of a name, or the only one of that name but for case; None where there is none."""
        found = [column for column in self.columns if column.name == name] or [
            column for column in self.columns if column.name.lower() == name.lower()
        ]
        return found[0] if len(found) == 1 else None

    def require(self, names: Collection[str], *, what: str = "", in_each_file: bool = False) -> None:
        """Refuse columns that are not there or that cannot be read.

        Args:
            names: of the source's columns that are wanted.
            what: names the view or the source and its place, for the message; empty where the caller does.
            in_each_file: whether each file with rows must have them: without its key or its event time a row would
                vanish.

        Raises:
            SchemaError: names such a column.
        """
        prefix = f"{what}: " if what else ""
        for name in names:
            column = self.find(name)
            if column is None:
                raise SchemaError(f"{prefix}{self._why_missing(name)}")
            if in_each_file and column.name in self.missing_in:
                raise SchemaError(
                    f"{prefix}{self.missing_in[column.name]} has no column {name!r}, without which its rows would be "
                    "lost. Write it anew with the column, or move it away."
                )

    def _why_missing(self, name: str) -> str:
        reason = next((why for known, why in self.unreadable.items() if known.lower() == name.lower()), None)
        if reason is not None:
            return f"column {name!r} {reason}."
        columns = ", ".join(column.name for column in self.columns)
        return f"there is no column {name!r}. The columns are {columns}."

    def to_arrow(self) -> pa.Schema:
        """The columns as a schema of Arrow's."""
        return pa.schema([(column.name, column.data_type) for column in self.columns])


def resolve_schema(
    location: Location,
    file_format: str,
    *,
    declared: Mapping[str, pa.DataType] | None = None,
    required: Collection[str] = (),
    wanted: Callable[[PartitionTexts], bool] = lambda _: True,
    seconds: float = 3.0,
) -> ResolvedSchema | None:
    """Find the schema of the files at a place.

    A column that cannot be read, or whose types do not go together, matters only to who wants it: it is left out and
    remembered in ``unreadable``, unless it is required.

    Args:
        location: a file, a folder or a glob.
        file_format: ``parquet`` or ``orc``.
        declared: types that are declared for columns of the source.
        required: columns that each file with rows must have: without its key or its event time a row would vanish.
        wanted: whether to look into a folder, by the partition values on the way to it as text. What lies in other
            folders adds nothing but the folder's own name to the schema.
        seconds: for how long footers are read that are not known yet.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: a required column is missing in a file, or cannot be read; folders cannot be read as partitions.
        SourceError: a file is none of the format, or damaged.
    """
    listing = list_files(location, wanted=wanted)
    if not listing.files:
        return None
    try:
        footers = read_footers(location, file_format, listing.files, seconds=seconds)
    except FileNotFoundError:  # a writer replaces files
        listing = list_files(location, wanted=wanted)
        if not listing.files:
            return None
        footers = read_footers(location, file_format, listing.files, seconds=seconds)
    resolved = _Resolution(listing, footers, declared or {}).resolve()
    resolved.require(required, in_each_file=True)
    return resolved


class FolderColumns(NamedTuple):
    """What folders say of files in any format.

    Attributes:
        types: of the columns that they give, the outermost first.
        only_ours: why Spark would read them otherwise; None where it does not.
        empty_files: those of zero bytes.
    """

    types: Mapping[str, pa.DataType]
    only_ours: str | None
    empty_files: tuple[str, ...]


def folder_columns(location: Location, declared: Mapping[str, pa.DataType]) -> FolderColumns:
    """The columns that the folders at a place give, whatever the format of the files.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: the folders cannot be read as partitions, or a name is none of the declared type.
    """
    listing = list_files(location)
    lower = {name.lower(): data_type for name, data_type in declared.items()}
    types = {
        name: partition_type(name, texts, lower.get(name.lower())) for name, texts in listing.folder_texts.items()
    }
    return FolderColumns(types, listing.only_ours, tuple(listing.empty_files))


class _Group(NamedTuple):
    """Files of one schema below folders of the same partition columns.

    Attributes:
        columns: of the files.
        folders: the partition columns that the folders on the way to them give.
        path: of the first of them.
        has_rows: whether any of them has.
    """

    columns: tuple[FileColumn, ...]
    folders: frozenset[str]
    path: str
    has_rows: bool


class _Found(NamedTuple):
    """A type of a column, and the first file that has it so."""

    data_type: pa.DataType
    path: str


class _Resolution:
    """The work of :func:`resolve_schema` once files are listed and footers read."""

    def __init__(self, listing: Listing, footers: Mapping[str, Footer], declared: Mapping[str, pa.DataType]) -> None:
        self._listing = listing
        self._footers = footers
        self._declared = declared
        self._all_groups = _grouped(listing.files, footers)
        # What has no rows has no values whose types could clash, as an empty day of pandas' has.
        self._groups = [group for group in self._all_groups if group.has_rows] or self._all_groups
        self._unreadable: dict[str, str] = {}
        self._doubled: set[str] = set()  # names in lower case that a file has twice
        self._only_ours = listing.only_ours

    def resolve(self) -> ResolvedSchema:
        folder_columns = list(self._listing.folder_texts)
        columns: list[ResolvedColumn] = []
        partitions: dict[str, pa.DataType] = {}
        in_files: list[tuple[str, pa.DataType]] = []
        for name in self._names():
            partition = next((known for known in folder_columns if known.lower() == name.lower()), None)
            data_type = in_file = self._data_type(name, is_read=partition is None)
            if in_file is not None:
                in_files.append((name, in_file))
            if partition in partitions:
                continue
            if partition is not None:
                self._unreadable.pop(name, None)  # folders win
                data_type = self._partition_type(partition, in_file)
            if data_type is not None:
                columns.append(ResolvedColumn(partition or name, data_type))
                if partition is not None:
                    partitions[partition] = data_type
        for name in folder_columns:
            if not any(column.name == name for column in columns) and name not in self._unreadable:
                data_type = self._partition_type(name, None)
                if data_type is not None:
                    columns.append(ResolvedColumn(name, data_type))
                    partitions[name] = data_type
        files = self._listing.files
        first = self._footers[files[0].path]
        unchecked = len(files) - len(self._footers)
        if unchecked:
            self._ours(f"{unchecked} files' footers have not been read")
        return ResolvedSchema(
            columns=tuple(columns),
            partition_columns=tuple(name for name in folder_columns if name in partitions),
            files=tuple(
                ResolvedFile(
                    file.path,
                    file.size,
                    {
                        name: partition_value(text, partitions[name])
                        for name, text in file.partitions.items()
                        if name in partitions
                    },
                )
                for file in files
                if file.path not in self._footers or self._footers[file.path].has_rows
            ),
            empty_files=tuple(self._listing.empty_files),
            unreadable=self._unreadable,
            unchecked=unchecked,
            only_ours=self._only_ours,
            int96=first.int96,
            first_file=files[0].path,
            missing_in=self._missing_in(columns),
            file_schema=pa.schema(in_files),
        )

    def _ours(self, reason: str) -> None:
        self._only_ours = self._only_ours or reason

    def _names(self) -> list[str]:
        """The columns of the files, by the spelling of the first file that has them."""
        spellings: dict[str, dict[str, None]] = {}
        for group in self._groups:
            lower = [column.name.lower() for column in group.columns]
            if len(set(lower)) < len(lower):
                self._doubled.update(name for name in lower if lower.count(name) > 1)
            for column in group.columns:
                spellings.setdefault(column.name.lower(), {})[column.name] = None
        names: list[str] = []
        for name, spelt in spellings.items():
            if name in self._doubled:
                self._ours("columns that differ by case alone")
                names += spelt
                continue
            if len(spelt) > 1:
                self._ours("columns whose names differ by case between files")
            names.append(next(iter(spelt)))
        return names

    def _data_type(self, name: str, *, is_read: bool) -> pa.DataType | None:
        """The type of a column of the files, which are read for it or not; None where it cannot be read."""
        found = self._found(name, self._groups)
        if found is None:
            return None
        declared = self._declared_type(name)
        try:
            data_type = resolve_type([each.data_type for each in found], declared)
        except NoCommonTypeError as error:
            left, right = error.positions or (0, len(found) - 1)
            self._unreadable[name] = _no_common_type(error, found[left], found[right])
            return None
        except ConflictsWithDeclaredError as error:
            path = next(each.path for each in found if each.data_type == _conflicting(found, declared, error))
            part = f" (in {error.path})" if error.path else ""
            self._unreadable[name] = (
                f"is declared {error.declared}, but is {error.found} in {path}{part}. Declare the type that the "
                "files hold, or write the files anew"
            )
            return None
        if is_read:
            self._compare_with_spark(name, data_type)
        return data_type

    def _found(self, name: str, groups: Sequence[_Group]) -> list[_Found] | None:
        """The types that a column has in files; None where one of them cannot be read."""
        found: dict[pa.DataType, str] = {}
        for group in groups:
            columns = _columns_of(group, name)
            if len(columns) > 1:
                reason = f"may be each of {', '.join(repr(column.name) for column in columns)} of {group.path}"
            elif columns and columns[0].data_type is None:
                reason = f"cannot be read from {group.path}: {columns[0].unreadable}"
            elif columns and columns[0].name != name and name.lower() in self._doubled:
                reason = f"may be {columns[0].name!r} of {group.path} or not, since other files have both"
            else:
                if columns:
                    found.setdefault(columns[0].data_type, group.path)
                continue
            self._unreadable[name] = reason
            return None
        return [_Found(data_type, path) for data_type, path in found.items()]

    def _compare_with_spark(self, name: str, data_type: pa.DataType) -> None:
        """Note why Spark's reader would not read a column as we do."""
        for group in self._all_groups:
            for column in _columns_of(group, name):
                if column.only_ours:
                    self._ours(f"column {name!r} has {column.only_ours} in {group.path}")
                elif not _spark_widens(column.data_type, data_type):
                    self._ours(f"column {name!r} is {column.data_type} in {group.path}, and {data_type} elsewhere")

    def _partition_type(self, name: str, in_files: pa.DataType | None) -> pa.DataType | None:
        """The type of a column that folders give, and files where no folder does; None where it cannot be read."""
        texts = self._listing.folder_texts[name]
        declared = self._declared_type(name)
        try:
            try:
                data_type = partition_type(name, texts, declared or in_files)
            except SchemaError:
                if declared is not None:
                    raise
                data_type = partition_type(name, texts, None)
        except SchemaError as error:
            self._unreadable[name] = f"cannot be read from the names of folders: {str(error).rstrip('.')}"
            return None
        outside = [group for group in self._groups if name not in group.folders]
        found = self._found(name, outside)
        if found is None:
            return None
        if not found:
            return data_type
        for of_folders in (data_type, pa.string()):
            try:
                return resolve_type([of_folders, *(each.data_type for each in found)], declared)
            except (NoCommonTypeError, ConflictsWithDeclaredError):
                continue
        self._unreadable[name] = (
            f"is {data_type} by the names of folders and {found[0].data_type} in {found[0].path}, and no type holds "
            "both. Write the file into a folder as the others are"
        )
        return None

    def _declared_type(self, name: str) -> pa.DataType | None:
        if name in self._declared:
            return self._declared[name]
        return next((found for known, found in self._declared.items() if known.lower() == name.lower()), None)

    def _missing_in(self, columns: Sequence[ResolvedColumn]) -> dict[str, str]:
        missing: dict[str, str] = {}
        for group in self._groups:
            names = {column.name.lower() for column in group.columns} | {name.lower() for name in group.folders}
            for column in columns:
                if column.name.lower() not in names:
                    missing.setdefault(column.name, group.path)
        return missing


def _grouped(files: Sequence[DataFile], footers: Mapping[str, Footer]) -> list[_Group]:
    groups: dict[tuple[int, tuple[str, ...]], _Group] = {}
    for file in files:
        footer = footers.get(file.path)
        if footer is None:
            continue
        key = id(footer.columns), tuple(file.partitions)
        group = groups.get(key)
        if group is None or (footer.has_rows and not group.has_rows):
            groups[key] = _Group(footer.columns, frozenset(file.partitions), file.path, footer.has_rows)
    return list(groups.values())


def _columns_of(group: _Group, name: str) -> list[FileColumn]:
    """The column of some files for a name: the same, or else those that differ by case alone."""
    return [column for column in group.columns if column.name == name] or [
        column for column in group.columns if column.name.lower() == name.lower()
    ]


def _conflicting(
    found: Sequence[_Found], declared: pa.DataType | None, error: ConflictsWithDeclaredError
) -> pa.DataType:
    """The type of a column that conflicts with the declared one."""
    for each in found:
        try:
            resolve_type([each.data_type], declared)
        except ConflictsWithDeclaredError:
            return each.data_type
    return error.found


def _no_common_type(error: NoCommonTypeError, left: _Found, right: _Found) -> str:
    part = f" (in {error.path})" if error.path else ""
    is_ = pa.types
    sides = {error.left, error.right}
    would_be_text = pa.string() in sides and any(is_.is_integer(side) for side in sides)
    advice = "Declare it as String" if would_be_text else "Declare a type that does where there is one"
    return (
        f"is {error.left} in {left.path} and {error.right} in {right.path}{part}, and no type holds both. {advice}, "
        "or write one of the files anew"
    )


def _spark_widens(found: pa.DataType | None, wanted: pa.DataType) -> bool:
    """Whether Spark's readers give a file's column in the wanted type, without a value changed."""
    if found == wanted:
        return True
    is_ = pa.types
    if found is None or not is_.is_integer(found):
        return bool(is_.is_float32(found) and is_.is_float64(wanted)) if found is not None else False
    return bool(
        (is_.is_integer(wanted) and found.bit_width < wanted.bit_width)
        or (is_.is_float64(wanted) and found.bit_width <= 32)
    )
