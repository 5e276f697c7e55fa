"""The wanted columns of a part of a file, batch by batch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.arrow.faults import read_faults
from feast_hybrid.arrow.orc_footer import UnknownCompressionError
from feast_hybrid.asof.columnar.file_columns import FileColumns
from feast_hybrid.asof.columnar.orc_stripes import opened_stripes
from feast_hybrid.asof.columnar.parquet_batches import OPTIONS, row_group_batches
from feast_hybrid.asof.columnar.row_groups import RowGroups
from feast_hybrid.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.spec import FileSplit, SourceColumn, ViewSpec

#: Rows of a batch of ORC.
_BATCH_ROWS = 1 << 18
#: The bytes that a batch of Parquet has at most, about, where nobody says; see :func:`row_group_batches`.
BATCH_BYTES = 64 << 20

#: A file's columns, some rows of the file, and how many they are; no rows where none of the wanted columns is in it.
Batch = tuple[FileColumns, pa.RecordBatch | None, int]


def read_columns(
    split: FileSplit,
    view: ViewSpec,
    wanted: Sequence[SourceColumn],
    required: Collection[str],
    batch_bytes: int = BATCH_BYTES,
) -> Iterator[Batch]:
    """The rows of a part of a file, but for row groups and stripes that cannot hold a match.

    Args:
        split: Which part of which file.
        view: Names the source, and says which rows can be a match.
        wanted: The columns that are read.
        required: Those that each file has to have.
        batch_bytes: What a batch has at most, about, as it is decoded. Of a Parquet file twice as many are held as
            they are stored. A stripe of ORC is held whole.

    Raises:
        SchemaError: The file lacks a required column, or a wanted one could be several of its columns.
        SourceError: The file cannot be read, or is not the one that was listed.
        SourceNotFoundError: The file is gone.
    """
    with _opened(split, view) as source:
        if split.file_format == "orc":
            yield from _read_orc(source, split, view, wanted, required)
        else:
            yield from _read_parquet(source, split, view, wanted, required, batch_bytes)


def _read_parquet(
    source: Any,
    split: FileSplit,
    view: ViewSpec,
    wanted: Sequence[SourceColumn],
    required: Collection[str],
    batch_bytes: int,
) -> Iterator[Batch]:
    with pq.ParquetFile(source, pre_buffer=True, **OPTIONS) as file:
        metadata = file.metadata.metadata or {}
        columns = _columns(file.schema_arrow, metadata, split, view, wanted, required)
        row_groups = RowGroups(file, columns, view)
        groups = [
            n
            for n in range(file.metadata.num_row_groups)
            if split.start <= _offset(file.metadata.row_group(n)) < split.end and row_groups.may_match(n)
        ]
        if groups:
            batches = row_group_batches(source, file, groups, list(columns.in_file.values()), batch_bytes)
            if split.deleted is not None:
                batches = _without(split.deleted.rows(split.open), batches, file.metadata, groups)
            for batch, rows in batches:
                yield columns, batch, rows


def _read_orc(
    source: Any, split: FileSplit, view: ViewSpec, wanted: Sequence[SourceColumn], required: Collection[str]
) -> Iterator[Batch]:
    with opened_stripes(source) as stripes:
        columns = _columns(stripes.names, {}, split, view, wanted, required)
        names = list(columns.in_file.values())
        chosen = stripes.chosen(split, columns, view)
        stripes.require_alike(split, names, chosen, view.what)
        for number in chosen:
            if not names:
                yield columns, None, stripes.rows(number)
                continue
            stripe = stripes.read(number, names, split.path)
            # What is made of a whole stripe at once would take new memory again and again.
            for start in range(0, stripe.num_rows, _BATCH_ROWS):
                batch = stripe.slice(start, _BATCH_ROWS)
                yield columns, batch, batch.num_rows


def _columns(
    names: Sequence[str] | pa.Schema,
    metadata: dict[bytes, bytes],
    split: FileSplit,
    view: ViewSpec,
    wanted: Sequence[SourceColumn],
    required: Collection[str],
) -> FileColumns:
    return FileColumns(
        split.path,
        names,
        metadata,
        split.partitions,
        wanted=wanted,
        required=required,
        what=view.what,
        stored=split.stored,
    )


def _without(
    deleted: NDArray[np.int64],
    batches: Iterable[tuple[pa.RecordBatch | None, int]],
    metadata: pq.FileMetaData,
    groups: Sequence[int],
) -> Iterator[tuple[pa.RecordBatch | None, int]]:
    """The batches of some row groups without the rows of the file that are deleted.

    Args:
        deleted: their numbers in the file, in order.
        batches: all rows of the groups, in order.
        metadata: of the file.
        groups: which row groups.
    """
    counts = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    begins = np.concatenate([[0], np.cumsum(counts)])
    kept = np.concatenate([np.arange(begins[n], begins[n + 1]) for n in groups])
    kept = ~np.isin(kept, deleted, assume_unique=True)
    at = 0
    for batch, rows in batches:
        mask = kept[at : at + rows]
        at += rows
        if not mask.any():
            continue
        count = int(np.count_nonzero(mask))
        yield None if batch is None else batch if count == rows else batch.filter(pa.array(mask)), count


@contextmanager
def _opened(split: FileSplit, view: ViewSpec) -> Iterator[Any]:
    source: Any = None
    try:
        with read_faults(f"{view.what}: {split.path}", UnknownCompressionError):
            try:
                source = split.open(split.path)
                yield source
            except Exception:
                _refuse_another(split, view)  # what is wrong with it is that
                raise
            # Afterwards: nothing of another file has been read if the one that was listed is still there.
            _refuse_another(split, view)
    finally:
        # pyarrow leaves files open that it did not open itself.
        if hasattr(source, "close"):
            source.close()


def _refuse_another(split: FileSplit, view: ViewSpec) -> None:
    """Refuse a file that is not the one that was listed: only some of its rows would be read, or of both files some.

    Raises:
        SourceError: It is another one.
        FileNotFoundError: It is gone.
    """
    if split.version is None or split.current_version is None:
        return
    found = split.current_version(split.path)
    if found != split.version:
        raise SourceError(
            f"{view.what}: {split.path} was replaced after the plan was made: it had {split.version}, and has "
            f"{found}; ask for the features again"
        )


def _offset(group: Any) -> int:
    """Where a row group begins."""
    column = group.column(0)
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return int(start)
