"""Reading a view's Parquet files in tasks, and splitting the rows that can matter into blocks."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.utc import DAY_MICROS, epoch_micros_of_array
from feast_hybrid.asof.columnar.blocks import in_one, key_filter_slot, split
from feast_hybrid.asof.columnar.keys import hashed
from feast_hybrid.asof.columnar.match import answering
from feast_hybrid.asof.columnar.spec import KeyFilter, Piece, SourceColumn, ViewSpec
from feast_hybrid.errors import JoinError, SchemaError, SourceNotFoundError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_ROWS = 1 << 18
#: A batch of rows is no larger than this while it is decoded.
_DECODED = 64 << 20
#: After as many rows, a key filter that keeps most of them is no longer asked.
_TRIAL, _USELESS = 100_000, 0.8
#: To look for the answers among some rows is not worth it where the entity rows are more than so many times as many.
_ASKED_PER_ROW = 4


@dataclass(frozen=True, eq=False)
class ReadBlocks:
    """For ``mapInArrow`` over the numbers of tasks: each task's rows as blocks.

    Args:
        tasks: The pieces of files that each task reads.
        views: By their parts.
        buckets: How many.
        flush: Bytes of rows that are reduced and split at once.
    """

    tasks: tuple[tuple[Piece, ...], ...]
    views: dict[int, ViewSpec]
    buckets: int
    flush: int
    __name__ = "read_history"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Read and split."""
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from self._task(self.tasks[number])

    def _task(self, pieces: tuple[Piece, ...]) -> Iterator[pa.RecordBatch]:
        pending: _Pending | None = None
        for piece in pieces:
            if pending is None or pending.view.part != piece.part:
                if pending is not None:
                    yield from self._split(pending)
                pending = _Pending(self.views[piece.part])
            for rows in read_piece(piece, pending.view):
                pending.add(rows)
                if pending.size >= self.flush:
                    pending.reduce()
                    # What is left of some parts may be reduced again together with the next ones.
                    if pending.size >= self.flush / 2:
                        yield from self._split(pending)
        if pending is not None:
            yield from self._split(pending)

    def _split(self, pending: _Pending) -> Iterator[pa.RecordBatch]:
        pending.reduce()
        rows = pending.taken()
        if rows is not None:
            keys = [rows.column(n) for n in range(len(pending.view.forms))]
            yield from split(rows, hashed(keys), self.buckets, pending.view.part)


class _Pending:
    """Rows of a view that are read and not yet split."""

    def __init__(self, view: ViewSpec) -> None:
        self.view = view
        self.size = 0
        self._batches: list[pa.RecordBatch] = []
        self._reduced = True
        self._asked = view.asked

    def add(self, rows: pa.RecordBatch) -> None:
        self._batches.append(rows)
        self.size += rows.nbytes
        self._reduced = False

    def reduce(self) -> None:
        """Keep only the rows that answer an entity row, where these are known and it is worth it."""
        if self._reduced or self._asked is None:
            return
        rows = self.taken()
        if rows is None:
            return
        if rows.num_rows * _ASKED_PER_ROW >= len(self._asked.codes):
            kept = answering(rows, self.view, self._asked)
            if kept.num_rows > _USELESS * rows.num_rows:
                self._asked = None
            rows = kept
        if rows.num_rows:
            self.add(rows)
        self._reduced = True

    def taken(self) -> pa.RecordBatch | None:
        """All rows, which are no longer pending then; None where there are none."""
        batches, self._batches, self.size = self._batches, [], 0
        return in_one(batches)


def read_piece(piece: Piece, view: ViewSpec) -> Iterator[pa.RecordBatch]:
    """The rows of a piece that can be an answer, as the view's blocks have them.

    Raises:
        SchemaError: A column of the file does not go with the view's frame.
        JoinError: The file's old times are in a calendar that only Spark's reader converts.
        SourceNotFoundError: The file is gone.
    """
    import pyarrow.parquet as pq

    with (
        _opened(piece, view) as source,
        pq.ParquetFile(source, pre_buffer=True, coerce_int96_timestamp_unit="us") as file,
    ):
        columns = _Columns(piece, view, file)
        groups = [
            n
            for n in range(file.metadata.num_row_groups)
            if piece.start <= _offset(file.metadata.row_group(n)) < piece.end and columns.may_matter(n)
        ]
        if not groups:
            return
        chosen = _Rows(view, columns)
        if not columns.in_file:
            for n in groups:
                yield from chosen.of(None, file.metadata.row_group(n).num_rows)
            return
        width = sum(file.metadata.row_group(n).total_byte_size for n in groups) / max(
            1, sum(file.metadata.row_group(n).num_rows for n in groups)
        )
        width *= len(columns.in_file) / max(1, file.metadata.num_columns)
        rows = int(min(_ROWS, max(1024, _DECODED / max(width, 1))))
        for batch in file.iter_batches(
            batch_size=rows, row_groups=groups, columns=list(columns.in_file.values()), use_threads=False
        ):
            yield from chosen.of(batch, batch.num_rows)


@contextmanager
def _opened(piece: Piece, view: ViewSpec) -> Iterator[Any]:
    source: Any = None
    try:
        source = piece.open(piece.path)
        yield source
    except FileNotFoundError:
        raise SourceNotFoundError(
            f"view {view.name!r}: {piece.path} was there when the plan was made, and is gone; ask for the features "
            "again"
        ) from None
    finally:
        # pyarrow leaves files open that it did not open itself.
        if hasattr(source, "close"):
            source.close()


def _offset(group: Any) -> int:
    """Where a row group begins."""
    column = group.column(0)
    start = column.data_page_offset
    if column.dictionary_page_offset is not None:
        start = min(start, column.dictionary_page_offset)
    return int(start)


class _Columns:
    """A file's columns by the names that the view's frame has for them."""

    def __init__(self, piece: Piece, view: ViewSpec, file: Any) -> None:
        self._piece = piece
        self._view = view
        self._file = file
        #: Names in the frame and in the file.
        self.in_file: dict[str, str] = {}
        names = file.schema_arrow.names
        for column in view.columns:
            if column.name not in piece.partitions:
                found = [name for name in names if name == column.name]
                if not found and not view.case_sensitive:
                    found = [name for name in names if name.lower() == column.name.lower()]
                if len(found) > 1:
                    raise SchemaError(f"{self._where(column)}: the file has {', '.join(map(repr, found))}")
                if found:
                    self.in_file[column.name] = found[0]
        self._refuse_old_calendars()

    def _where(self, column: SourceColumn) -> str:
        return f"view {self._view.name!r}: column {column.name!r} of {self._piece.path}"

    def get(self, column: SourceColumn, batch: pa.RecordBatch | None, rows: int) -> pa.Array:
        """A column in the frame's type."""
        import pyarrow as pa

        if column.name in self._piece.partitions:
            value = self._piece.partitions[column.name]
            return pa.repeat(pa.scalar(value, column.kind), rows)
        name = self.in_file.get(column.name)
        if name is None or batch is None:
            return pa.nulls(rows, column.kind)
        try:
            return convert_for_reading(batch.column(batch.schema.get_field_index(name)), column.kind)
        except (SchemaError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"{self._where(column)}: {error}") from None

    def may_matter(self, group: int) -> bool:
        """Whether a row group's statistics leave room for a row that can be an answer."""
        view = self._view
        ts = self._range(view.timestamp, group)
        if ts is not None and (
            (view.high is not None and ts[0] > view.high) or (view.low is not None and ts[1] < view.low)
        ):
            return False
        if view.by_created and view.created is not None and view.high is not None:
            created = self._range(view.created, group)
            if created is not None and created[0] > view.high:
                return False
        exact = view.filter.exact if view.filter is not None else None
        if exact is None:
            return True
        form, column, _ = view.keys[0]
        if form.family not in ("whole number", "string") or not self._plain(column, form.family):
            return True
        keys = self._statistics(column, group)
        if keys is None:
            return True
        at = bisect.bisect_left(exact, keys[0])
        return bool(at < len(exact) and exact[at] <= keys[1])

    def _plain(self, column: SourceColumn, family: str) -> bool:
        """Whether the statistics of a key column are ranges of what is compared."""
        import pyarrow as pa

        if column.name not in self.in_file:
            return False
        found = self._file.schema_arrow.field(self.in_file[column.name]).type
        return bool(pa.types.is_signed_integer(found) if family == "whole number" else pa.types.is_string(found))

    def _range(self, column: SourceColumn, group: int) -> tuple[int, int] | None:
        """The first and last time of a row group, in microseconds."""
        import pyarrow as pa

        if column.name not in self.in_file:
            return None
        kind = self._file.schema_arrow.field(self.in_file[column.name]).type
        found = self._statistics(column, group)
        if found is None:
            return None
        low, high = found
        if pa.types.is_date32(kind):
            return low * DAY_MICROS, high * DAY_MICROS
        if not pa.types.is_timestamp(kind):
            return None
        factor = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(kind.unit)
        return (low // 1000, high // 1000) if factor is None else (low * factor, high * factor)

    def _statistics(self, column: SourceColumn, group: int) -> tuple[Any, Any] | None:
        """The least and the greatest value as Parquet holds them."""
        name = self.in_file[column.name]
        leaves = [n for n in range(len(self._file.schema)) if self._file.schema.column(n).path == name]
        if len(leaves) != 1:
            return None
        statistics = self._file.metadata.row_group(group).column(leaves[0]).statistics
        if statistics is None or not statistics.has_min_max or statistics.physical_type == "INT96":
            return None
        return statistics.min_raw, statistics.max_raw

    def _refuse_old_calendars(self) -> None:
        """Spark's reader converts times before 1900 in files of Spark 2 and of its legacy mode; pyarrow does not."""
        about = self._file.metadata.metadata or {}
        version = about.get(b"org.apache.spark.version", b"3").split(b".")[0]
        legacy = b"org.apache.spark.legacyDateTime" in about or b"org.apache.spark.legacyINT96" in about
        self.old_calendar = legacy or (version.isdigit() and int(version) < 3)

    def check_calendar(self, column: SourceColumn, array: pa.Array) -> None:
        """Refuse the times of such a file that another calendar would have moved.

        Raises:
            JoinError: There is one.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.old_calendar or not (pa.types.is_timestamp(array.type) or pa.types.is_date(array.type)):
            return
        first = pc.min(epoch_micros_of_array(array)).as_py()
        if first is not None and first < _YEAR_1900:
            raise JoinError(
                f"{self._where(column)} holds times before 1900 in the calendar of an old Spark, which Spark's own "
                "reader converts: use another strategy than 'columnar' for it (offline_store.join.strategy)"
            )


_YEAR_1900 = -2_208_988_800 * 1_000_000


class _Rows:
    """Chooses the rows of batches that can be an answer."""

    def __init__(self, view: ViewSpec, columns: _Columns) -> None:
        import numpy as np

        self._view = view
        self._columns = columns
        self._filter: KeyFilter | None = view.filter
        self._places: NDArray[np.uint8] | None = None
        if view.filter is not None:
            self._places = np.unpackbits(view.filter.places)
        self._seen = self._kept = 0

    def of(self, batch: pa.RecordBatch | None, rows: int) -> Iterator[pa.RecordBatch]:
        """The chosen rows of a batch, in blocks' columns; nothing where there are none."""
        import numpy as np
        import pyarrow as pa

        view = self._view
        keys: list[pa.Array] = []
        keep: list[Any] = []
        for form, column, repeats in view.keys:
            key = form.source(self._get(column, batch, rows))
            if repeats:
                keep.append(_equal(keys[-1], key))
            else:
                keys.append(key)
        ts = epoch_micros_of_array(self._get(view.timestamp, batch, rows))
        times = [ts]
        if view.created is not None:
            times.append(epoch_micros_of_array(self._get(view.created, batch, rows)))
        mask = self._mask(keys, times, keep)
        if mask is not None and not mask.any():
            return
        arrays = [*keys, *times]
        # Places: Arrow's filter takes up to four times as long, where about half of the rows are chosen.
        chosen = None if mask is None or mask.all() else pa.array(np.flatnonzero(mask))
        if chosen is not None:
            arrays = [array.take(chosen) for array in arrays]
        for value in view.values:
            array = self._get(value, batch, rows)
            arrays.append(array if chosen is None else array.take(chosen))
        yield pa.RecordBatch.from_arrays(arrays, schema=view.block_schema())

    def _get(self, column: SourceColumn, batch: pa.RecordBatch | None, rows: int) -> pa.Array:
        array = self._columns.get(column, batch, rows)
        self._columns.check_calendar(column, array)
        return array

    def _mask(self, keys: list[pa.Array], times: list[pa.Array], keep: list[Any]) -> NDArray[np.bool_] | None:
        """Which rows can be an answer; None for all."""
        import numpy as np
        import pyarrow.compute as pc

        view = self._view
        masks = list(keep)
        needed = [*keys, times[0], *(times[1:] if view.by_created else [])]
        masks += [np.asarray(array.is_valid()) for array in needed if array.null_count]
        for array, bounded_below in ((times[0], True), *(((times[1], False),) if view.by_created else ())):
            low = view.low if bounded_below else None
            if low is None and view.high is None:
                continue
            span = pc.min_max(array).as_py()
            if span["min"] is None:
                continue
            values = array.fill_null(0).to_numpy()
            if low is not None and span["min"] < low:
                masks.append(values >= low)
            if view.high is not None and span["max"] > view.high:
                masks.append(values <= view.high)
        if self._filter is not None and self._places is not None:
            found = self._places[key_filter_slot(hashed(keys), self._filter.bits)].view(np.bool_)
            self._seen += len(found)
            self._kept += int(np.count_nonzero(found))
            masks.append(found)
            if self._seen > _TRIAL and self._kept > _USELESS * self._seen:
                self._filter = None
        if not masks:
            return None
        mask = masks[0]
        for other in masks[1:]:
            mask = mask & other
        return np.asarray(mask)


def _equal(left: pa.Array, right: pa.Array) -> Any:
    import numpy as np
    import pyarrow.compute as pc

    return np.asarray(pc.equal(left, right).fill_null(False))
