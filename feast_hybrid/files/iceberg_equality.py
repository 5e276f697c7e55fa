"""Which rows of a data file an Iceberg table has deleted by values: those that equal a row of a file of deletes.

https://iceberg.apache.org/spec/#equality-delete-files has the form. All columns of a file of deletes have to be
equal, and a null equals a null. Columns are found by their numbers in both files, and a column that the data file
lacks has there what its partition says, or is null.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.field_ids import NumberedColumns, number_of
from feast_hybrid.arrow.old_calendar import has_old_calendar, holds_old_times
from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.iceberg_deletes import opened_deletes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.files.resolved import DeletedRows

#: Rows of a data file that are compared at once.
_BATCH_ROWS = 1 << 18


def is_comparable(data_type: pa.DataType) -> bool:
    """Whether values of a type are equal in Iceberg where Arrow has them equal, and can be had as they are.

    Readers of Iceberg do not agree on zeros of floats, which have a sign; nanoseconds are cut where rows are read.
    """
    is_ = pa.types
    if is_.is_timestamp(data_type):
        return bool(data_type.unit == "us")
    return not (
        is_.is_floating(data_type) or is_.is_nested(data_type) or is_.is_null(data_type) or is_.is_time(data_type)
    )


@dataclass(frozen=True)
class EqualityFile:
    """A file of deletes.

    Attributes:
        path: as the file system has it.
        columns: by which it deletes, in the table's types: see :func:`feast_hybrid.arrow.field_ids.numbered_field`.
    """

    path: str
    columns: tuple[pa.Field, ...]


@dataclass(frozen=True)
class EqualityDeletes:
    """The deleted rows of one data file.

    Attributes:
        path: the data file, as the file system has it.
        files: of deletes that are for it.
        constants: number of a column → the value that the file's partition has for it, in the table's type: it wins
            over the file.
        others: what else deletes rows of it; None where nothing does.
    """

    path: str
    files: tuple[EqualityFile, ...]
    constants: Mapping[int, Any] = field(default_factory=dict)
    others: DeletedRows | None = None

    def rows(self, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        """The numbers of the deleted rows, from 0, each once and in order.

        Args:
            open_file: opens a file by its path: gives a path of this machine, or a file.

        Raises:
            FileNotFoundError: the data file is gone.
            SchemaError: the data file's columns cannot be compared.
            SourceError: a file of deletes cannot be read, or lacks a column.
            SourceNotFoundError: a file of deletes is gone.
        """
        found = [np.empty(0, np.int64) if self.others is None else self.others.rows(open_file)]
        groups = [group for group in self._groups(open_file) if group.count]
        if groups:
            columns = {number_of(column) or 0: column for group in groups for column in group.columns}
            source = open_file(self.path)
            try:
                with pq.ParquetFile(source, pre_buffer=True, coerce_int96_timestamp_unit="us") as file:
                    begin = 0
                    for values, count in self._batches(file, columns):
                        for group in groups:
                            mask = group.holds([values[number_of(column) or 0] for column in group.columns], count)
                            found.append(np.flatnonzero(mask) + begin)
                        begin += count
            finally:
                if hasattr(source, "close"):
                    source.close()
        return np.unique(np.concatenate(found))

    def _groups(self, open_file: Callable[[str], Any]) -> Iterator[_Values]:
        """The deleted values, of all files that delete by the same columns together."""
        by_columns: dict[tuple[int | None, ...], list[EqualityFile]] = {}
        for file in self.files:
            by_columns.setdefault(tuple(map(number_of, file.columns)), []).append(file)
        for files in by_columns.values():
            columns = files[0].columns
            batches = [batch for file in files for batch in _deleted_values(file, open_file)]
            yield _Values(
                columns,
                [
                    pa.chunked_array([batch[place] for batch in batches], column.type)
                    for place, column in enumerate(columns)
                ],
            )

    def _batches(
        self, file: pq.ParquetFile, columns: Mapping[int, pa.Field]
    ) -> Iterator[tuple[dict[int, pa.Array], int]]:
        """The columns of the data file by their numbers, and how many rows each batch has: all, in their order."""
        where = f"{self.path}, by which rows are deleted"
        in_file = NumberedColumns(file.schema_arrow)
        names = {
            number: None if number in self.constants else _name_in(in_file, column, where)
            for number, column in columns.items()
        }
        wanted = [name for name in names.values() if name is not None]
        is_old = has_old_calendar(file.metadata.metadata or {})
        rows: Iterable[tuple[pa.RecordBatch | None, int]] = [(None, file.metadata.num_rows)]
        if wanted:
            batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted, use_threads=False)
            rows = ((batch, batch.num_rows) for batch in batches)
        for batch, count in rows:
            values = {}
            for number, column in columns.items():
                name = names[number]
                if name is None or batch is None:
                    values[number] = pa.repeat(pa.scalar(self.constants.get(number), column.type), count)
                else:
                    values[number] = _values(batch, name, column, where, is_old=is_old)
            yield values, count


def _deleted_values(file: EqualityFile, open_file: Callable[[str], Any]) -> Iterator[list[pa.Array]]:
    """The columns by which a file deletes, in batches."""
    where = f"the file of deletes {file.path}"
    with opened_deletes(file.path, open_file) as opened:
        in_file = NumberedColumns(opened.schema_arrow)
        names = []
        for column in file.columns:
            name = _name_in(in_file, column, where)
            if name is None:
                raise SourceError(f"column {column.name!r} of {where}: the file has no such column")
            names.append(name)
        is_old = has_old_calendar(opened.metadata.metadata or {})
        for batch in opened.iter_batches(batch_size=_BATCH_ROWS, columns=names, use_threads=False):
            yield [
                _values(batch, name, column, where, is_old=is_old)
                for name, column in zip(names, file.columns, strict=True)
            ]


def _name_in(in_file: NumberedColumns, column: pa.Field, where: str) -> str | None:
    """How a file calls a column; None where it has none."""
    try:
        names = in_file.names_of(column)
    except SchemaError as error:
        raise SchemaError(f"column {column.name!r} of {where}: {error}") from None
    if len(names) > 1:
        raise SchemaError(f"column {column.name!r} of {where}: the file has {', '.join(map(repr, names))}")
    return names[0] if names else None


def _values(batch: pa.RecordBatch, name: str, column: pa.Field, where: str, *, is_old: bool) -> pa.Array:
    """A column of a file in the table's type."""
    what = f"column {column.name!r} of {where}"
    place = batch.schema.get_field_index(name)
    if place < 0:
        raise SchemaError(f"{what}: the file has {name!r} twice")
    try:
        values = convert_for_reading(batch.column(place), column.type)
    except (SchemaError, pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"{what}: {error}") from None
    if is_old and holds_old_times(values):
        raise SourceError(
            f"{what} holds times before 1900 in the calendar of an old Spark, which Spark's own reader converts, and "
            "feast-hybrid's does not. Write the file anew with a newer Spark"
        )
    return values


class _Values:
    """Rows of values, and which others equal one of them.

    Each row becomes one number, column by column: of the column's values, each has a number, and each pair of the
    number so far and the value's has one, too. So numbers stay below the square of how many rows there are.

    Args:
        columns: by which rows are deleted.
        values: of the deleted rows, one for each column.

    Attributes:
        columns: likewise.
        count: of the deleted rows.
    """

    def __init__(self, columns: tuple[pa.Field, ...], values: Sequence[pa.ChunkedArray]) -> None:
        self.columns, self.count = columns, len(values[0])
        self._steps: list[tuple[pa.Array, NDArray[np.int64]]] = []
        numbers = np.zeros(self.count, np.int64)
        for column in values:
            distinct = pc.unique(column)
            pairs = numbers * len(distinct) + _places(column, distinct)
            known, numbers = np.unique(pairs, return_inverse=True)
            self._steps.append((distinct, known))

    def holds(self, rows: Sequence[pa.Array], count: int) -> NDArray[np.bool_]:
        """Which rows are among them.

        Args:
            rows: one array for each column.
            count: of the rows.
        """
        is_in = np.ones(count, np.bool_)
        numbers = np.zeros(count, np.int64)
        for column, (distinct, known) in zip(rows, self._steps, strict=True):
            places = _places(column, distinct)
            pairs = numbers * len(distinct) + places
            numbers = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
            is_in &= (places >= 0) & (known[numbers] == pairs)
        return is_in


def _places(values: pa.Array | pa.ChunkedArray, distinct: pa.Array) -> NDArray[np.int64]:
    """Where each value stands among distinct ones, of which a null may be one; -1 where it is none of them."""
    found = pc.index_in(values, value_set=distinct)
    return np.asarray(pc.fill_null(found, -1)).astype(np.int64)
