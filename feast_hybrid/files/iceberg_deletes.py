"""Which rows of a data file an Iceberg table has deleted without writing the file anew, by files of positions.

https://iceberg.apache.org/spec/#position-delete-files has the form. Deletion vectors of the format's version 3 are
what Delta has, too: see :mod:`feast_hybrid.files.deletion_vectors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.arrow.faults import read_faults
from feast_hybrid.arrow.field_ids import number_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The numbers of the two columns, which the format reserves, and their names in files without numbers.
_PATH, _POSITION = (2147483546, "file_path"), (2147483545, "pos")


@dataclass(frozen=True)
class PositionDeletes:
    """The deleted rows of one data file, as files of deletes have them.

    Attributes:
        data_file: its URI, as the table writes it.
        paths: of the files of deletes, as the file system has them.
    """

    data_file: str
    paths: tuple[str, ...]

    def rows(self, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        """The numbers of the deleted rows, from 0, each once and in order.

        Args:
            open_file: opens a file by its path: gives a path of this machine, or a file.

        Raises:
            SourceError: a file is no file of deletes.
            SourceNotFoundError: one is gone.
        """
        found = [np.empty(0, np.int64), *(self._rows_in(path, open_file) for path in self.paths)]
        return np.unique(np.concatenate(found))

    def _rows_in(self, path: str, open_file: Callable[[str], Any]) -> NDArray[np.int64]:
        with opened_deletes(path, open_file) as file:
            return self._positions(file)

    def _positions(self, file: pq.ParquetFile) -> NDArray[np.int64]:
        path, position = (_name(file.schema_arrow, *column) for column in (_PATH, _POSITION))
        groups = [n for n in range(file.metadata.num_row_groups) if self._may_be_in(file.metadata.row_group(n), path)]
        found = [np.empty(0, np.int64)]
        for batch in file.iter_batches(row_groups=groups, columns=[path, position], use_threads=False):
            paths = batch.column(batch.schema.get_field_index(path)).cast(pa.string())
            positions = batch.column(batch.schema.get_field_index(position)).cast(pa.int64())
            chosen = positions.filter(pc.equal(paths, self.data_file))
            if chosen.null_count:
                raise KeyError(f"a null in {position}")
            found.append(chosen.to_numpy(zero_copy_only=False))
        return np.concatenate(found)

    def _may_be_in(self, group: Any, path: str) -> bool:
        """Whether a row group may have rows of the data file, by its statistics."""
        for n in range(group.num_columns):
            column = group.column(n)
            if column.path_in_schema == path and (known := column.statistics) is not None and known.has_min_max:
                low, high = (_as_bytes(value) for value in (known.min, known.max))
                return bool(low <= self.data_file.encode() <= high)
        return True


@contextmanager
def opened_deletes(path: str, open_file: Callable[[str], Any]) -> Iterator[pq.ParquetFile]:
    """A file of deletes.

    Args:
        path: as the file system has it.
        open_file: opens a file by its path: gives a path of this machine, or a file.

    Raises:
        SourceError: it is no file of deletes, or damaged.
        SourceNotFoundError: it is gone.
    """
    source: Any = None
    try:
        # What pyarrow raises would else be taken for a fault of the data file.
        with read_faults(f"the file of deletes {path}", KeyError):
            source = open_file(path)
            with pq.ParquetFile(source, pre_buffer=True, coerce_int96_timestamp_unit="us") as file:
                yield file
    finally:
        if hasattr(source, "close"):
            source.close()


def _as_bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _name(schema: pa.Schema, number: int, name: str) -> str:
    """How a file of deletes calls a column."""
    found = [field.name for field in schema if number_of(field) == number]
    if not found and name not in schema.names:
        raise KeyError(f"no column {name}")
    return found[0] if found else name
