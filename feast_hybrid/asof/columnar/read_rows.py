"""Rows of files as tasks give them to a frame: of files that Spark's reader would read otherwise, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.asof.columnar.file_batches import read_columns

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import FileSplit, ViewSpec


@dataclass(frozen=True, eq=False)
class ReadRows:
    """For ``mapInArrow`` over the numbers of tasks: each task's rows, in the columns ``view.values``.

    Args:
        tasks: What each task reads.
        view: The columns, and which rows are wanted by their time.
        required: The columns that each file has to have.
    """

    tasks: tuple[tuple[FileSplit, ...], ...]
    view: ViewSpec
    required: frozenset[str]
    __name__ = "read_rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read."""
        schema = pa.schema([(column.name, column.data_type) for column in self.view.values])
        for batch in batches:
            for number in batch.column(0).to_pylist():
                for split in self.tasks[number]:
                    for columns, found, rows in read_columns(split, self.view, self.view.values, self.required):
                        arrays = [columns.get(column, found, rows) for column in self.view.values]
                        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
