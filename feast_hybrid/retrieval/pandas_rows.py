"""Entity rows in a pandas frame: keys and times are joined, all else stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import spark_compatible
from feast_hybrid.arrow.types import has_spark_type
from feast_hybrid.arrow.utc import datetimes_of
from feast_hybrid.asof import EntityStats
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_columns import column_to_arrow, refuse_columns, with_uuids_as_text
from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows, pick_timestamp, require_keys
from feast_hybrid.retrieval.entity_times import time_column
from feast_hybrid.spark.columns import is_case_sensitive, refuse_clashes

if TYPE_CHECKING:
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.join import RetrievalJoin

#: Whole floats below this are exact, so they can be integers again.
_EXACT_FLOAT_LIMIT = 2.0**53


@dataclass(frozen=True)
class PandasRows(EntityRows):
    """Entity rows in a pandas frame, which stays as it is.

    Only the join keys and the time are joined, so that every other column comes back untouched and the rows keep
    their order.

    Attributes:
        frame: the rows.
        timestamp: their time column.
        times: its instants, in microseconds and UTC.
        of_arrow: whether the rows came as Arrow, and so leave without what pandas notes of its own types.
    """

    frame: pd.DataFrame
    timestamp: str
    times: pa.Array
    of_arrow: bool = False

    @classmethod
    def of(cls, frame: pd.DataFrame, *, of_arrow: bool = False) -> PandasRows:
        """Check a caller's frame and find its time column.

        Args:
            frame: the rows.
            of_arrow: whether they came as Arrow.

        Raises:
            EntityFrameError: no time column can be found, it holds what is no time, a column holds what cannot
                travel, or the columns' names cannot be used.
        """
        if frame.columns.nlevels > 1:
            raise EntityFrameError(
                f"entity_df has column names of {frame.columns.nlevels} levels; give each column one name, such as "
                "by entity_df.columns = ['_'.join(name) for name in entity_df.columns]."
            )
        names = [str(name) for name in frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise EntityFrameError(f"entity_df has several columns named {', '.join(twice)}; names must differ.")
        if any(not isinstance(name, str) for name in frame.columns):
            frame = frame.rename(columns=str)
        timestamp = pick_timestamp(names, [name for name in frame.columns if _is_time(frame[name].dtype)])
        times = time_column(frame[timestamp], timestamp)
        frame = with_uuids_as_text(frame)
        refuse_columns(frame.drop(columns=timestamp))
        frame = _with_times_of_one_type(frame, timestamp, times)
        return cls(frame, timestamp, times, of_arrow)

    @property
    def columns(self) -> list[str]:
        """See :attr:`EntityRows.columns`."""
        return list(self.frame.columns)

    @property
    def most_rows(self) -> int:
        """How many there are."""
        return len(self.frame)

    @property
    def known_bounds(self) -> Bounds | None:
        """See :attr:`EntityRows.known_bounds`."""
        return self.bounds()

    def bounds(self) -> Bounds | None:
        """See :meth:`EntityRows.bounds`; none are asked of Spark."""
        low, high = self._micros()
        return datetimes_of(low, high)

    def stats(self, keys: Sequence[str]) -> EntityStats:
        """See :meth:`EntityRows.stats`; all of it is known."""
        low, high = self._micros()
        table = pa.table(self.key_arrays(keys) | {self.timestamp: self.times})
        return EntityStats(rows=len(self.frame), low=low, high=high, table=table, may_collect=False)

    def join(self, join: RetrievalJoin) -> JobRows:
        """See :meth:`EntityRows.join`."""
        # Spark sees the keys and the time alone: the join cannot tell that another column has a feature's name.
        from feast_hybrid.retrieval.pandas_join import JoinedPandasRows

        case_sensitive = is_case_sensitive(join.spark)
        refuse_clashes(self.columns, join.outputs, case_sensitive=case_sensitive)
        return JoinedPandasRows(self, join)

    def key_arrays(self, keys: Sequence[str]) -> dict[str, Any]:
        """The join keys in types that Spark has, but for the time.

        Raises:
            EntityFrameError: a key is missing, or holds what has no type in Spark.
        """
        require_keys(keys, self.frame.columns)
        return {key: _key_array(self.frame[key], key) for key in keys if key != self.timestamp}

    def for_spark(self, name: str) -> pa.Array:
        """A column, but for the time, in a type that Spark has.

        Raises:
            EntityFrameError: it holds what has no type in Spark.
        """
        array = _in_sparks_types(self.frame[name], name)
        if not has_spark_type(array.type):
            raise EntityFrameError(
                f"entity_df column {name!r} is {array.type}, which Spark has no type for: cast it, or collect the "
                "result by to_df or to_arrow, where it comes back as it is."
            )
        return array

    def attach(self, features: pa.Table) -> pa.Table:
        """Put features, whose rows are in the order of these, beside them."""
        if features.num_rows != len(self.frame):
            raise AssertionError(f"{len(self.frame)} entity rows have {features.num_rows} answers")
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        if self.of_arrow:
            table = table.replace_schema_metadata(None)
        for position in range(features.num_columns):
            table = table.append_column(features.schema.field(position), features.column(position))
        return table

    def _micros(self) -> tuple[int | None, int | None]:
        extremes = pc.min_max(self.times.view(pa.int64())).as_py()
        return extremes["min"], extremes["max"]


def _with_times_of_one_type(frame: pd.DataFrame, name: str, times: pa.Array) -> pd.DataFrame:
    """The frame with instants in place of objects of which Arrow makes no column, such as NumPy's of two units."""
    try:
        refuse_columns(frame[[name]])
    except EntityFrameError:
        frame = frame.copy(deep=False)
        frame[name] = pd.arrays.ArrowExtensionArray(times)
    return frame


def _is_time(dtype: Any) -> bool:
    """Whether a pandas column of this type holds times, in NumPy's way or in Arrow's."""
    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_timestamp(dtype.pyarrow_dtype))
    return bool(pd.api.types.is_datetime64_any_dtype(dtype))


def _key_array(series: pd.Series[Any], name: str) -> pa.Array:
    """A key as Spark can compare it. pandas turns integers with gaps into floats: turn them back."""
    array = _in_sparks_types(series, name)
    if not has_spark_type(array.type):
        raise EntityFrameError(f"entity_df column {name!r} is {array.type}, which no join key can be: cast it.")
    if pa.types.is_floating(array.type):
        whole = pc.all(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), _EXACT_FLOAT_LIMIT)))
        if whole.as_py() in (True, None):
            return array.cast(pa.int64())
    return array


def _in_sparks_types(series: pd.Series[Any], name: str) -> pa.Array:
    try:
        return spark_compatible(column_to_arrow(series, name))
    except pa.ArrowInvalid as fault:
        raise EntityFrameError(f"entity_df column {name!r} holds what Spark has no type for: {fault}") from None
