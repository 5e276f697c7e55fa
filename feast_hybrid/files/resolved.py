"""What a source's files hold together, as everybody reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from feast_hybrid.arrow.names import positions_of
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from feast_hybrid.lakes.versions import FileVersion


class DeletedRows(Protocol):
    """Rows of a file that do not count, by a table's log."""

    def rows(self, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        """Their numbers from 0, each once and in order; the files where they stand are opened by their paths."""


@dataclass(frozen=True)
class StoredColumn:
    """How the files of a table call one of its columns, by the table's log.

    Attributes:
        name: in the files.
        data_type: with the names that parts of it have in the files; None where they are the table's own.
        numbered: with the numbers by which files' columns are known, whatever their names; None where names count:
            see :func:`feast_hybrid.arrow.field_ids.numbered_field`.
    """

    name: str
    data_type: pa.DataType | None = None
    numbered: pa.Field | None = None


class ColumnTimes(Protocol):
    """What a table's log says of the times in a file."""

    def between(self, column: str) -> tuple[int, int] | None:
        """The first and the last time that a file can have in a column, in microseconds; None where it is not said.

        Args:
            column: as :attr:`StoredColumn.name` has it: of times or of days; a day is its midnight in UTC, as is a
                time without a zone.
        """


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
        version: of the file that was listed; its size, in bytes, is part of it.
        partitions: what the folders on the way to it say, or a table's log, by the resolved columns' names and in
            their types; None for null. They win over the file. A partition column that no folder on the way gives is
            the file's own, or null.
        deleted: the rows of it that do not count, by a table's log; None where all do.
        times: of its rows, by a table's log; None where that says nothing.
    """

    path: str
    version: FileVersion
    partitions: Mapping[str, Any]
    deleted: DeletedRows | None = None
    times: ColumnTimes | None = None


@dataclass(frozen=True, eq=False)
class ResolvedSchema:
    """What a source's files hold, as everybody reads them.

    Attributes:
        columns: in the order of the files, those of folders last.
        partition_columns: those that folders tell, the outermost first.
        files: that hold rows, in the order of their paths.
        empty_files: those of zero bytes, which are left out.
        damaged_files: those that cannot be read, where the source's options leave them out.
        unreadable: column that is left out → why: a type that Spark has not, or types that do not go together.
        only_ours: why Spark's own reader would fail on the files or read them otherwise; None where it reads them
            alike, given these columns as its schema.
        int96: whether the first file's times are INT96, for writers.
        first_file: its path; the file may have no rows.
        missing_in: column → the first file with rows that has it not, neither by itself nor by its folder.
        file_schema: the columns that files hold, those among them that folders give too; for writers.
        times: column → how its times are kept, where Spark reads them by what a session or a JVM says: ``INT96`` or
            ``ORC``.
        only_sparks: column → in which file it is or holds something that our reader would read otherwise than
            Spark's, and what: ``of FILE holds …``.
        stored: column → how files call it, where a table's log says which columns there are: a file without one gives
            nulls, whoever needs it. None where the files say it.
    """

    columns: tuple[ResolvedColumn, ...]
    partition_columns: tuple[str, ...]
    files: tuple[ResolvedFile, ...]
    empty_files: tuple[str, ...]
    damaged_files: tuple[str, ...]
    unreadable: Mapping[str, str]
    only_ours: str | None
    int96: bool
    first_file: str
    missing_in: Mapping[str, str]
    file_schema: pa.Schema
    times: Mapping[str, str]
    only_sparks: Mapping[str, str] = field(default_factory=dict)
    stored: Mapping[str, StoredColumn] | None = None

    def find(self, name: str) -> ResolvedColumn | None:
        """The column of a name, or the only one of that name but for case; None where there is none."""
        found = positions_of(name, [column.name for column in self.columns])
        return self.columns[found[0]] if len(found) == 1 else None

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
        names = [column.name for column in self.columns]
        alike = [names[position] for position in positions_of(name, names)]
        if alike:
            return f"column {name!r} may be {' or '.join(map(repr, alike))}. Rename all but one."
        columns = ", ".join(names)
        return f"there is no column {name!r}. The columns are {columns}."

    def to_arrow(self) -> pa.Schema:
        """The columns as a schema of Arrow's."""
        return pa.schema([(column.name, column.data_type) for column in self.columns])
