"""The stripes of an ORC file: which of them can hold a match, and their columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.orc_footer import OrcFooter, open_for_footer
from feast_hybrid.arrow.orc_statistics import (
    TEXTS,
    WHOLE_NUMBERS,
    as_instants,
    data_ranges,
    number_range,
    only_sparks,
    text_range,
    time_range,
)
from feast_hybrid.arrow.spark_notes import with_naive_times
from feast_hybrid.asof.columnar.held_ranges import HeldRanges
from feast_hybrid.asof.columnar.row_groups import may_match
from feast_hybrid.errors import SourceError

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.file_columns import FileColumns
    from feast_hybrid.asof.columnar.spec import FileSplit, KeyColumn, SourceColumn, ViewSpec


class OrcStripes:
    """The stripes of a file that begin within a range of its bytes.

    Args:
        footer: Of the file.
        file: The same file as pyarrow reads it.
        held: Where ranges of it are read ahead; None where pyarrow reads it from a disk.
        instants: Columns of times without a zone that pyarrow takes for instants in UTC.
    """

    def __init__(
        self,
        footer: OrcFooter,
        file: pyarrow.orc.ORCFile,
        held: HeldRanges | None,
        instants: Collection[str] = frozenset(),
    ) -> None:
        self._footer, self._file, self._held, self._instants = footer, file, held, instants

    @cached_property
    def _schema(self) -> pa.Schema:
        """The file's, as it is."""
        schema = self._file.schema
        for number, field in enumerate(schema):
            if field.name in self._instants:
                schema = schema.set(number, field.with_type(pa.timestamp(field.type.unit)))
        return schema

    @property
    def names(self) -> list[str]:
        """The file's columns."""
        return list(self._file.schema.names)

    def chosen(self, split: FileSplit, columns: FileColumns, view: ViewSpec) -> list[int]:
        """The numbers of the stripes of a part of the file that can hold a match."""
        return [
            number
            for number, stripe in enumerate(self._footer.stripes)
            if split.start <= stripe.offset < split.end and stripe.rows and self._may_match(number, columns, view)
        ]

    def rows(self, number: int) -> int:
        """How many a stripe has."""
        return self._footer.stripes[number].rows

    def require_alike(self, split: FileSplit, columns: Collection[str], numbers: Collection[int], what: str) -> None:
        """Refuse columns that Arrow's reader would read otherwise than Spark's, without saying so.

        Raises:
            SourceError: Names the first of them.
        """
        stripes = [self._footer.stripes[number] for number in numbers]
        for column, reason in only_sparks(self._footer, columns, stripes).items():
            raise SourceError(
                f"{what}: column {column!r} of {split.path} {reason}. Only Spark reads such columns of ORC, and it "
                "cannot read these files together: write them anew as Parquet, or alike in names and types."
            )

    def read(self, number: int, names: list[str], path: str) -> pa.RecordBatch:
        """Some columns of a stripe."""
        if self._held is not None:
            self._held.hold(data_ranges(self._footer, names, self._footer.stripes[number]))
        batch = self._file.read_stripe(number, columns=names)
        if set(batch.schema.names) != set(names):
            raise SourceError(f"{path}: columns {names} were asked for, and {batch.schema.names} were read")
        arrays = [
            array.view(pa.timestamp(array.type.unit)) if name in self._instants else array
            for name, array in zip(batch.schema.names, batch.columns, strict=True)
        ]
        batch = pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)
        return with_naive_times(batch, self._schema)

    def _may_match(self, number: int, columns: FileColumns, view: ViewSpec) -> bool:
        all_statistics = self._footer.stripe_statistics
        if not all_statistics:
            return True
        of_stripe = all_statistics[number]

        def find(column: SourceColumn) -> tuple[Any, Any] | None:
            """A column's type, and what is known of its values."""
            name = columns.in_file.get(column.name)
            numbers = [] if name is None else self._footer.numbers(name)
            if not numbers or numbers[0] >= len(of_stripe):
                return None
            return self._footer.types[numbers[0]], of_stripe[numbers[0]]

        def times(column: SourceColumn) -> tuple[int, int] | None:
            found = find(column)
            return None if found is None else time_range(*found)

        def keys(key: KeyColumn) -> tuple[Any, Any] | None:
            data_type, statistics = find(key.source) or (None, None)
            if data_type is None:
                return None
            if key.form.family == "whole number":
                return number_range(statistics) if data_type.kind in WHOLE_NUMBERS else None
            return text_range(self._footer, statistics) if data_type.kind in TEXTS else None

        return may_match(view, times, keys)


@contextmanager
def opened_stripes(source: Any) -> Iterator[OrcStripes]:
    """The stripes of a file: of a path of this machine, or of one that is open and stays so."""
    with open_for_footer(source) as file:
        footer = OrcFooter(file)
        end = as_instants(footer)
        if end is None and isinstance(source, str):
            yield OrcStripes(footer, pyarrow.orc.ORCFile(source), None)
            return
        instants, start, content = end or (frozenset(), footer.size, b"")
        held = HeldRanges(file, start + len(content), (start, content))
        held.keep(footer.tail_start, footer.tail[: max(0, start - footer.tail_start)])
        yield OrcStripes(footer, pyarrow.orc.ORCFile(held), held, instants)
