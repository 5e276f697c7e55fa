"""Entity rows in a pandas frame: keys and times go through Spark, all else stays here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Number
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.arrow.convert import combined, spark_compatible
from feast_hybrid.arrow.utc import to_epoch_micros
from feast_hybrid.asof import EntityStats
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows, pick_timestamp, require_keys
from feast_hybrid.spark.columns import is_case_sensitive, refuse_clashes
from feast_hybrid.spark.frames import collect, frame_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Site
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.join import RetrievalJoin

#: Whole floats below this are exact, so they can be integers again.
_EXACT_FLOAT_LIMIT = 2.0**53


@dataclass(frozen=True)
class PandasRows(EntityRows):
    """Entity rows in a pandas frame, which stays as it is.

    Only the join keys, the time and a row number travel to Spark and back, so that every other column comes back
    untouched and the rows keep their order.
    """

    frame: pd.DataFrame
    timestamp: str

    @classmethod
    def of(cls, frame: pd.DataFrame) -> PandasRows:
        """Check a caller's frame and find its time column.

        Raises:
            EntityFrameError: no time column can be found, it holds numbers, or the columns' names cannot be used.
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
        _refuse_numbers(frame[timestamp], timestamp)
        return cls(frame, timestamp)

    @property
    def columns(self) -> list[str]:
        """See :attr:`EntityRows.columns`."""
        return list(self.frame.columns)

    @property
    def known_bounds(self) -> Bounds | None:
        """See :attr:`EntityRows.known_bounds`."""
        return self.bounds()

    def bounds(self) -> Bounds | None:
        """See :meth:`EntityRows.bounds`; none are asked of Spark."""
        times = self._times().dropna()
        if times.empty:
            return None
        return times.min().to_pydatetime(warn=False), times.max().to_pydatetime(warn=False)

    def numbered(self, spark: SparkSession, keys: Sequence[str]) -> DataFrame:
        """Row number, join keys and time, in Spark. The number's name is used once, so it is nobody else's.

        Raises:
            EntityFrameError: a key or the time is missing or holds what has no type in Spark.
        """
        require_keys(keys, self.frame.columns)
        columns: dict[str, Any] = {f"__fh_row_{uuid.uuid4().hex}": pa.array(range(len(self.frame)), pa.int64())}
        columns |= self._key_arrays(keys)
        columns[self.timestamp] = self._time_array()
        return frame_of(spark, pa.table(columns))

    def stats(self, keys: Sequence[str]) -> EntityStats:
        """See :meth:`EntityRows.stats`; all of it is known."""
        bounds = self.bounds()
        low, high = (None, None) if bounds is None else map(to_epoch_micros, bounds)
        table = pa.table(self._key_arrays(keys) | {self.timestamp: self._time_array()})
        return EntityStats(rows=len(self.frame), low=low, high=high, table=table, may_collect=False)

    def join(self, join: RetrievalJoin) -> JobRows:
        """See :meth:`EntityRows.join`."""
        # Spark sees the keys and the time alone: the join cannot tell that another column has a feature's name.
        case_sensitive = is_case_sensitive(join.spark)
        refuse_clashes(self.columns, join.outputs, case_sensitive=case_sensitive)
        return JoinedPandasRows(self, join)

    def _key_arrays(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: _key_array(self.frame[key], key) for key in keys if key != self.timestamp}

    def full(self, spark: SparkSession) -> DataFrame:
        """All columns in Spark; times to the microsecond.

        Raises:
            EntityFrameError: a column holds what has no type in Spark.
        """
        columns: dict[str, Any] = {}
        for name in self.columns:
            columns[name] = (
                self._time_array() if name == self.timestamp else spark_compatible(_arrow(self.frame[name], name))
            )
        return frame_of(spark, pa.table(columns))

    def attach(self, features: pa.Table) -> pa.Table:
        """Put features, whose first column has the row numbers, beside the rows they belong to."""
        if features.num_rows != len(self.frame):
            raise AssertionError(f"{len(self.frame)} entity rows have {features.num_rows} answers")
        ordered = features.take(pc.sort_indices(features.column(0)))
        try:
            table = pa.Table.from_pandas(self.frame, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise EntityFrameError(f"entity_df has a column that Arrow cannot hold: {error}") from error
        for position in range(1, ordered.num_columns):
            table = table.append_column(ordered.schema.field(position), ordered.column(position))
        return table

    def _times(self) -> pd.Series[Any]:
        try:
            return pd.to_datetime(self.frame[self.timestamp], utc=True)
        except (ValueError, TypeError) as error:
            raise EntityFrameError(f"entity_df column {self.timestamp!r} does not hold times: {error}") from error

    def _time_array(self) -> pa.Array:
        # Floored, not rounded: a row must not see what happened after it.
        floored = self._times().dt.floor("us").dt.as_unit("us")
        return pa.Array.from_pandas(floored, type=pa.timestamp("us", tz="UTC"))


class JoinedPandasRows:
    """Entity rows of a pandas frame joined with features: the features go through Spark, the rows stay here.

    The join is planned at once, so that what is wrong with keys or columns is raised by the call that caused it.
    """

    def __init__(self, rows: PandasRows, join: RetrievalJoin) -> None:
        self._rows = rows
        self._join = join
        self.what = join.what
        self._numbered, self.plan = join.apply(rows.numbered(join.spark, join.keys))

    def to_spark(self) -> DataFrame:
        """All columns of the pandas frame, and the features, in Spark."""
        return self._join.apply(self._rows.full(self._join.spark))[0]

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """The features collected and put beside the pandas frame's rows, in their order."""
        names = self._numbered.columns
        first_feature = 1 + len({*self._join.keys, self._rows.timestamp})
        positions = [0, *range(first_feature, len(names))]
        # By position: a feature may have any name.
        numbered = self._numbered.toDF(*(f"c{position}" for position in range(len(names))))
        features = numbered.select(*(f"c{position}" for position in positions))
        table = collect(features, timeout=timeout, what=self.what, sites=sites)
        return self._rows.attach(table.rename_columns([names[position] for position in positions]))


def _is_time(dtype: Any) -> bool:
    """Whether a pandas column of this type holds times, in NumPy's way or in Arrow's."""
    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_timestamp(dtype.pyarrow_dtype))
    return bool(pd.api.types.is_datetime64_any_dtype(dtype))


def _refuse_numbers(series: pd.Series[Any], name: str) -> None:
    """pandas takes numbers for nanoseconds since 1970; who writes them means seconds or milliseconds as a rule."""
    dtype = series.dtype
    values = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else series.dropna()
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = len(values) > 0
    else:
        numbers = values.dtype == object and any(isinstance(value, Number) for value in values)
    if numbers:
        raise EntityFrameError(
            f"entity_df column {name!r} does not hold times: it has numbers (dtype {dtype}), which do not say their "
            f"unit. Turn them into times first, such as by pd.to_datetime(entity_df[{name!r}], unit='s', utc=True)."
        )


def _arrow(series: pd.Series[Any], name: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise EntityFrameError(f"entity_df column {name!r} holds values of no one type: {error}") from error
    return combined(array)


def _key_array(series: pd.Series[Any], name: str) -> pa.Array:
    """A key as Spark can compare it. pandas turns integers with gaps into floats: turn them back."""
    array = spark_compatible(_arrow(series, name))
    if pa.types.is_floating(array.type):
        whole = pc.all(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), _EXACT_FLOAT_LIMIT)))
        if whole.as_py() in (True, None):
            return array.cast(pa.int64())
    return array
