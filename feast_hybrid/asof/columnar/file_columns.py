"""A file's columns by the names that a source's frame has for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.convert import convert_by_number, convert_by_position, convert_for_reading
from feast_hybrid.arrow.field_ids import NumberedColumns
from feast_hybrid.arrow.names import positions_of, value_of
from feast_hybrid.arrow.old_calendar import has_old_calendar, holds_old_times
from feast_hybrid.errors import SchemaError, SourceError

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import SourceColumn
    from feast_hybrid.asof.scan import StoredColumn


class FileColumns:
    """A file's columns by the names that the source's frame has for them.

    Args:
        path: The file's, for messages.
        names: Of the file's columns; or the columns themselves with their numbers, where it is Parquet.
        metadata: What the file's writer noted.
        partitions: What the folders on the way to the file say, by the frame's names; they win over the file.
        wanted: The columns that are read.
        required: Those of them that each file has to have: the keys and the event time, without which its rows
            would vanish.
        what: Names the view or the source, for messages.
        stored: How the file calls the frame's columns, where a table's log says which there are: then none is
            required of a file.

    Attributes:
        in_file: The wanted columns that the file has: names in the frame and in the file.

    Raises:
        SchemaError: A wanted column could be several of the file's, or a required one is not there.
    """

    def __init__(
        self,
        path: str,
        names: Sequence[str] | pa.Schema,
        metadata: Mapping[bytes, bytes],
        partitions: Mapping[str, Any],
        *,
        wanted: Sequence[SourceColumn],
        required: Collection[str] = (),
        what: str,
        stored: Mapping[str, StoredColumn] | None = None,
    ) -> None:
        self._path, self._partitions, self._what = path, partitions, what
        self._has_old_calendar = has_old_calendar(metadata)
        self._stored = stored
        in_file = FileNames(names, stored)
        self._by_mapping = in_file.by_mapping
        self.in_file: dict[str, str] = {}
        for column in wanted:
            if column.name in partitions:
                continue
            try:
                found = in_file.of(column.name)
            except SchemaError as error:
                raise SchemaError(f"{self._describe(column)}: {error}") from None
            if len(found) > 1:
                raise SchemaError(f"{self._describe(column)}: the file has {', '.join(map(repr, found))}")
            if found:
                self.in_file[column.name] = found[0]
            elif column.name in required and stored is None:
                raise SchemaError(
                    f"{self._describe(column)}: the file has no such column, so its rows would be lost; it has "
                    f"{', '.join(in_file.names)}. Write it anew with the column, or move it away"
                )

    def _describe(self, column: SourceColumn) -> str:
        return f"{self._what}: column {column.name!r} of {self._path}"

    def get(self, column: SourceColumn, batch: pa.RecordBatch | None, rows: int) -> pa.Array:
        """A column in the frame's type; of the folder's name or of nulls where the file does not have it.

        Args:
            column: A wanted one.
            batch: Rows of the file, None where no column of it is wanted.
            rows: How many rows there are.

        Raises:
            SchemaError: The file has it in a type that does not go with the frame's, or a value that does not.
            SourceError: It has times that another calendar would have moved.
        """
        if column.name in self._partitions:
            value = self._partitions[column.name]
            return self._in_our_calendar(column, pa.repeat(pa.scalar(value, column.data_type), rows))
        name = self.in_file.get(column.name)
        if name is None or batch is None:
            return pa.nulls(rows, column.data_type)
        try:
            array = batch.column(batch.schema.get_field_index(name))
            in_file = None if self._stored is None else value_of(column.name, self._stored)
            if in_file is not None and in_file.numbered is not None:
                array = convert_by_number(array, in_file.numbered.type, by_names=self._by_mapping)
                array = convert_by_position(array, column.data_type)
            elif in_file is not None and in_file.data_type is not None:
                array = convert_by_position(convert_for_reading(array, in_file.data_type), column.data_type)
            array = convert_for_reading(array, column.data_type)
        except (SchemaError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"{self._describe(column)}: {error}") from None
        return self._in_our_calendar(column, array)

    def _in_our_calendar(self, column: SourceColumn, array: pa.Array) -> pa.Array:
        """The array, unless a file of an old Spark holds times in it that another calendar would have moved."""
        if self._has_old_calendar and holds_old_times(array):
            raise SourceError(
                f"{self._describe(column)} holds times before 1900 in the calendar of an old Spark, which Spark's "
                "own reader converts, and feast-hybrid's does not. Write the file anew with a newer Spark; where "
                "all files are alike, Spark reads them with offline_store.engine 'spark' and join.strategy 'window'"
            )
        return array


class FileNames:
    """How a file calls the columns of the frame.

    Args:
        names: Of the file's columns; or the columns themselves with their numbers, where it is Parquet.
        stored: How it calls the frame's columns, where a table's log says so.

    Attributes:
        names: Of the file's columns.
        by_mapping: Whether the table knows its columns by numbers and the file has none, so that the names of the
            table's name mapping count.
    """

    def __init__(self, names: Sequence[str] | pa.Schema, stored: Mapping[str, StoredColumn] | None) -> None:
        self.names: Sequence[str] = names.names if isinstance(names, pa.Schema) else names
        self._stored = stored or {}
        self._numbered: NumberedColumns | None = None
        if any(each.numbered is not None for each in self._stored.values()):
            self._numbered = NumberedColumns(names if isinstance(names, pa.Schema) else ())
        self.by_mapping = self._numbered is not None and self._numbered.by_names

    def of(self, name: str) -> list[str]:
        """The file's columns that a column of the frame may be: none, one, or, where it is unclear, several.

        Raises:
            SchemaError: The table knows columns by their numbers, and the file has none, nor the table names for it;
                or it has some, but none for a column of the name.
        """
        found = value_of(name, self._stored)
        if found is None or found.numbered is None or self._numbered is None:
            positions = positions_of(name if found is None else found.name, self.names)
            return [self.names[position] for position in positions]
        return self._numbered.names_of(found.numbered)
