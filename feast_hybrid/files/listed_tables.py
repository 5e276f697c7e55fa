"""Tables whose metadata lists their columns and files, as Delta's and Iceberg's does: one meaning for their readers.

No file is opened to know the schema, and nothing but what the metadata names is read. What this package does not read
is refused by name, or left to Spark's package: :class:`TableFeatureError`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from feast_hybrid.arrow.names import value_of
from feast_hybrid.arrow.unify import ConflictsWithDeclaredError, resolve_type
from feast_hybrid.errors import SourceError
from feast_hybrid.files.resolved import ResolvedColumn, ResolvedFile, ResolvedSchema, StoredColumn

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location


class TableFeatureError(SourceError):
    """A table needs what this package does not do."""


class ListedTable(Protocol):
    """A version of a table, for readers that declare other types: a ``Resolvable`` of ``files.schema``."""

    @property
    def note(self) -> str:
        """Which version it is, as plans and a job's metadata have it."""

    def resolve(
        self, declared: Mapping[str, pa.DataType] | None = None, *, required: Collection[str] = ()
    ) -> ResolvedSchema:
        """The schema of the table for a reader: its own, a declared type where that is wider.

        Args:
            declared: types that are declared for columns of the source.
            required: columns that the table must have; files that were written before it had them give nulls.

        Raises:
            SchemaError: a required column is missing, or cannot be read.
            SourceError: the metadata gives a partition a value that is none of its column's type.
        """


@dataclass(frozen=True)
class TableColumn:
    """A column of a table.

    Attributes:
        name: in the table.
        data_type: Spark's, in Arrow; None where it cannot be read.
        unreadable: why not.
        stored: how files call it.
    """

    name: str
    data_type: pa.DataType | None
    unreadable: str
    stored: StoredColumn


def resolve_columns(
    columns: Iterable[TableColumn], declared: Mapping[str, pa.DataType] | None
) -> tuple[tuple[ResolvedColumn, ...], dict[str, str]]:
    """The columns of a table in a reader's types, and why others have none."""
    resolved, unreadable = [], {}
    for column in columns:
        data_type, reason = _resolved_type(column, value_of(column.name, declared or {}))
        if data_type is None:
            unreadable[column.name] = reason
        else:
            resolved.append(ResolvedColumn(column.name, data_type))
    return tuple(resolved), unreadable


def _resolved_type(column: TableColumn, declared: pa.DataType | None) -> tuple[pa.DataType | None, str]:
    """A column's type for a reader, or why it has none."""
    if column.data_type is None:
        return None, f"cannot be read: {column.unreadable}"
    try:
        return resolve_type([column.data_type], declared), ""
    except ConflictsWithDeclaredError as error:
        part = f" (in {error.path})" if error.path else ""
        return None, (
            f"is declared {error.declared}, but is {error.found} in the table{part}. Declare the type that the table "
            "has"
        )


def resolve_table(
    location: Location,
    columns: Sequence[TableColumn],
    declared: Mapping[str, pa.DataType] | None,
    required: Collection[str],
    *,
    partition_columns: Collection[str],
    files: Callable[[Mapping[str, pa.DataType]], Iterable[ResolvedFile]],
    only_ours: str,
) -> ResolvedSchema:
    """What :meth:`ListedTable.resolve` gives.

    Args:
        location: the table's folder.
        columns: of the table.
        declared: types that are declared for columns of the source.
        required: columns that the table must have.
        partition_columns: those of which the metadata gives files' values, the outermost first.
        files: gets the readable columns' types, and gives the files.
        only_ours: why Spark's own reader of files would read others.
    """
    resolved, unreadable = resolve_columns(columns, declared)
    types = {column.name: column.data_type for column in resolved}
    schema = ResolvedSchema(
        columns=resolved,
        partition_columns=tuple(name for name in partition_columns if name in types),
        files=tuple(files(types)),
        empty_files=(),
        damaged_files=(),
        unreadable=unreadable,
        only_ours=only_ours,
        int96=False,
        first_file=f"{location}",
        missing_in={},
        file_schema=pa.schema(
            [(name, data_type) for name, data_type in types.items() if name not in partition_columns]
        ),
        times={},
        stored={column.name: column.stored for column in columns if column.name in types},
    )
    schema.require(required)
    return schema
