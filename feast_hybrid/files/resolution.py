"""How one schema is found for files whose footers are read: see :mod:`feast_hybrid.files.schema`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from feast_hybrid.arrow.names import positions_of, value_of
from feast_hybrid.arrow.unify import (
    ConflictsWithDeclaredError,
    NoCommonTypeError,
    resolve_type,
    resolve_type_in_files,
    without_durations,
)
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.partitions import partition_type, partition_value
from feast_hybrid.files.resolved import ResolvedColumn, ResolvedFile, ResolvedSchema

if TYPE_CHECKING:
    from feast_hybrid.files.footers import FileColumn, Footer
    from feast_hybrid.files.listing import DataFile, Listing


class _Group(NamedTuple):
    """Files of one schema below folders of the same partition columns.

    Attributes:
        columns: of the files.
        folders: the partition columns that the folders on the way to them give.
        path: of the first of them.
        has_rows: whether any of them has.
        has_no_names: whether Spark takes their columns by place.
    """

    columns: tuple[FileColumn, ...]
    folders: frozenset[str]
    path: str
    has_rows: bool
    has_no_names: bool


class _Found(NamedTuple):
    """A type of a column, and the first file that has it so."""

    data_type: pa.DataType
    path: str


class Resolution:
    """The work of finding a schema once files are listed and footers read."""

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
        self._times: dict[str, str] = {}
        self._only_sparks: dict[str, str] = {}

    def resolve(self) -> ResolvedSchema:
        """The schema; columns that cannot be read are remembered in it."""
        folder_columns = list(self._listing.folder_texts)
        columns: list[ResolvedColumn] = []
        partitions: dict[str, pa.DataType] = {}
        in_files: list[tuple[str, pa.DataType]] = []
        for name in self._names():
            partition = next((known for known in folder_columns if known.lower() == name.lower()), None)
            data_type = in_file = self._data_type(name, is_read=partition is None)
            if in_file is not None:
                in_files.append((name, in_file))
                data_type = without_durations(in_file)
            if partition in partitions:
                continue
            if partition is not None:
                self._unreadable.pop(name, None)  # folders win
                data_type = self._partition_type(partition, data_type)
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
        self._compare_places([name for name, _ in in_files])
        for name, data_type in partitions.items():
            if (reason := self._listing.read_otherwise(name, data_type)) is not None:
                self._ours(reason)
        files = self._listing.files
        first = self._footers[files[0].path]
        return ResolvedSchema(
            columns=tuple(columns),
            partition_columns=tuple(name for name in folder_columns if name in partitions),
            files=tuple(
                ResolvedFile(
                    file.path,
                    file.version,
                    {
                        name: partition_value(text, partitions[name])
                        for name, text in file.partitions.items()
                        if name in partitions
                    },
                )
                for file in files
                if self._footers[file.path].has_rows
            ),
            empty_files=tuple(self._listing.empty_files),
            damaged_files=tuple(self._listing.damaged_files),
            unreadable=self._unreadable,
            only_ours=self._only_ours,
            int96=first.int96,
            first_file=files[0].path,
            missing_in=self._missing_in(columns),
            file_schema=pa.schema(in_files),
            times=self._times,
            only_sparks=self._only_sparks,
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
        """The type of a column in the files, which are read for it or not; None where it cannot be read."""
        found = self._found(name, self._groups)
        if found is None:
            return None
        declared = value_of(name, self._declared)
        try:
            data_type = resolve_type_in_files([each.data_type for each in found], declared)
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
            self._compare_with_spark(name, without_durations(data_type))
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
                if column.times:
                    self._times[name] = column.times
                if column.only_sparks:
                    self._only_sparks.setdefault(name, f"of {group.path} {column.only_sparks}")
                if column.only_ours:
                    self._ours(f"column {name!r} has {column.only_ours} in {group.path}")
                elif column.data_type is None or not spark_widens(without_durations(column.data_type), data_type):
                    self._ours(f"column {name!r} is {column.data_type} in {group.path}, and {data_type} elsewhere")

    def _compare_places(self, names: Sequence[str]) -> None:
        """Note where Spark's reader would take columns by their places, and these are not those of their names."""
        for group in self._all_groups:
            found = [column.name for column in group.columns]
            if group.has_no_names and found != list(names[: len(found)]):
                self._ours(f"columns called _col0 and so on, which Spark takes by their places, in {group.path}")

    def _partition_type(self, name: str, in_files: pa.DataType | None) -> pa.DataType | None:
        """The type of a column that folders give, and files where no folder does; None where it cannot be read."""
        texts = self._listing.folder_texts[name]
        declared = value_of(name, self._declared)
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
        for group in outside:
            for column in _columns_of(group, name):
                if column.only_sparks:
                    self._only_sparks.setdefault(name, f"of {group.path} {column.only_sparks}")
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
        footer = footers[file.path]
        key = id(footer.columns), tuple(file.partitions)
        group = groups.get(key)
        if group is None or (footer.has_rows and not group.has_rows):
            groups[key] = _Group(
                footer.columns, frozenset(file.partitions), file.path, footer.has_rows, footer.has_no_names
            )
    return list(groups.values())


def _columns_of(group: _Group, name: str) -> list[FileColumn]:
    """The column of some files for a name: the same, or else those that differ by case alone."""
    return [group.columns[position] for position in positions_of(name, [column.name for column in group.columns])]


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


def spark_widens(found: pa.DataType | None, wanted: pa.DataType) -> bool:
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
