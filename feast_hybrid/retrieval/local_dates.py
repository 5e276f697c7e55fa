"""Entity rows of this process where a caller gives none: the distinct (join keys, event time) of the views' rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.arrow.utc import INSTANT, epoch_micros_of_array, is_time, no_time, to_epoch_micros
from feast_hybrid.asof.columnar.spec import SourceColumn, rows_spec
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.rows import read_rows
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.retrieval.dates import date_range, require_one_type_for_each_key
from feast_hybrid.retrieval.entity_times import EVENT_TIMESTAMP
from feast_hybrid.retrieval.local_frames import rows_of_arrow

if TYPE_CHECKING:
    from feast_hybrid.asof.local.work import Watch
    from feast_hybrid.config import LocalConfig
    from feast_hybrid.retrieval.entity_rows import Bounds
    from feast_hybrid.retrieval.history import HistoryRequest
    from feast_hybrid.retrieval.pandas_rows import PandasRows
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.local_files import LocalReader


@dataclass(frozen=True, eq=False)
class _History:
    """One view's own rows within the dates: what is read of its source."""

    view: RequestedView
    reading: Reading
    types: dict[str, pa.DataType]


@dataclass(frozen=True, eq=False)
class DatedRows:
    """Entity rows that are made of the views' own, each time they are asked for.

    Attributes:
        schema: the join keys, and the event time.
        bounds_of_dates: the dates.
    """

    schema: pa.Schema
    bounds_of_dates: Bounds
    local: LocalConfig
    histories: Sequence[_History]

    timestamp = EVENT_TIMESTAMP

    @property
    def columns(self) -> list[str]:
        """See :attr:`EntityRows.columns`."""
        return list(self.schema.names)

    @property
    def known_bounds(self) -> Bounds:
        """See :attr:`EntityRows.known_bounds`."""
        return self.bounds_of_dates

    def bounds(self) -> Bounds:
        """See :meth:`EntityRows.bounds`."""
        return self.bounds_of_dates

    @property
    def most_rows(self) -> int:
        """How many there can be, about."""
        return sum(history.reading.estimate.rows for history in self.histories)

    @property
    def read_bytes(self) -> int:
        """Bytes of needed columns that are read for them, about."""
        return sum(history.reading.estimate.read_bytes for history in self.histories)

    def rows(self, watch: Watch, deadline: float | None) -> PandasRows:
        """Read them."""
        tables = [self._of(history, watch, deadline) for history in self.histories]
        whole = pa.concat_tables(tables).group_by(self.schema.names).aggregate([]).select(self.schema.names)
        return rows_of_arrow(whole)

    def _of(self, history: _History, watch: Watch, deadline: float | None) -> pa.Table:
        """The join keys of a view's rows in the types of all, and the event time as an instant."""
        required = [column.name for column in history.reading.spec.values]
        table = read_rows(
            history.reading,
            required,
            watch,
            distinct=True,
            threads=self.local.thread_count(far=history.reading.scan.is_far),
            memory=self.local.memory_bytes,
            deadline=deadline,
        )
        of_key = dict(history.view.keys)
        arrays = []
        for field in self.schema:
            if field.name == EVENT_TIMESTAMP:
                times = [
                    epoch_micros_of_array(chunk).view(INSTANT)
                    for chunk in table.column(history.view.timestamp).chunks
                ]
                arrays.append(pa.chunked_array(times, INSTANT))
            elif field.name in of_key:
                arrays.append(_as_key(table.column(of_key[field.name]).cast(field.type)))
            else:
                arrays.append(pa.chunked_array([pa.nulls(table.num_rows, field.type)]))
        rows = pa.Table.from_arrays(arrays, schema=self.schema)
        return rows.filter(pc.is_valid(rows.column(EVENT_TIMESTAMP)))


def dated_rows(request: HistoryRequest, reader: LocalReader) -> DatedRows | Ineligible:
    """The distinct (join keys, event time) of each view's rows within the dates; views of the same keys united.

    Args:
        request: what is asked for.
        reader: opens their sources.

    Raises:
        EntityFrameError: the dates are in the wrong order.
        SchemaError: a source lacks a column, or a join key has types that cannot be united.
    """
    bounds = date_range(request.views, request.dates)
    histories = []
    for view in request.views:
        found = _history(view, reader, bounds)
        if isinstance(found, Ineligible):
            return Ineligible(f"view {view.name!r}: {found.reason}")
        histories.append(found)
    require_one_type_for_each_key(
        [
            (history.view, {name: spark_type_of_arrow(data_type) for name, data_type in history.types.items()})
            for history in histories
        ]
    )
    keys: dict[str, pa.DataType] = {}
    for history in histories:
        for key, column in history.view.keys:
            found_type = history.types[column]
            keys[key] = _wider(keys.get(key, found_type), found_type)
    schema = pa.schema([*keys.items(), (EVENT_TIMESTAMP, INSTANT)])
    return DatedRows(schema, bounds, request.store.local, histories)


def _history(view: RequestedView, reader: LocalReader, bounds: Bounds) -> _History | Ineligible:
    names = [*(column for _, column in view.keys), view.timestamp]
    files = reader.open(view.source, names, required=names, between=bounds)
    if isinstance(files, Ineligible):
        return files
    types = {name: files.schema.field(name).type for name in dict.fromkeys(names)}
    if not is_time(types[view.timestamp]):
        raise no_time(
            spark_type_of_arrow(types[view.timestamp]),
            owner=f"view {view.name!r}",
            role="timestamp column",
            name=view.timestamp,
        )
    columns = [SourceColumn(name, data_type) for name, data_type in types.items()]
    time = next(column for column in columns if column.name == view.timestamp)
    low, high = map(to_epoch_micros, bounds)
    spec = rows_spec(columns, time, low, high, what=f"view {view.name!r} ({files.scan.where})")
    return _History(view, Reading(spec, files.scan, files.scan.files, estimate(spec, files.scan)), types)


def _as_key(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers that are equal as keys in one form, so that they make one row: both zeros, and each NaN."""
    if not pa.types.is_floating(column.type):
        return column
    zero, nan = pa.scalar(0.0, column.type), pa.scalar(float("nan"), column.type)
    column = pc.if_else(pc.equal(column, zero), zero, column)
    return pc.if_else(pc.is_nan(column), nan, column)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that holds the values of both, of one family."""
    if pa.types.is_integer(one) and pa.types.is_integer(other):
        return one if one.bit_width >= other.bit_width else other
    return one
