"""Entity rows in a pandas frame: keys and times go through Spark, all else stays here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkTypeError
from pyspark.sql.pandas.types import from_arrow_type

from feast_hybrid.arrow.convert import spark_compatible
from feast_hybrid.arrow.utc import datetimes_of
from feast_hybrid.asof import EntityStats
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.entity_columns import column_to_arrow, refuse_columns, with_uuids_as_text
from feast_hybrid.retrieval.entity_rows import Bounds, EntityRows, pick_timestamp, require_keys
from feast_hybrid.retrieval.entity_times import time_column
from feast_hybrid.spark.arrow_frames import frame_of
from feast_hybrid.spark.columns import is_case_sensitive, refuse_clashes
from feast_hybrid.spark.frames import collect

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
    def known_bounds(self) -> Bounds | None:
        """See :attr:`EntityRows.known_bounds`."""
        return self.bounds()

    def bounds(self) -> Bounds | None:
        """See :meth:`EntityRows.bounds`; none are asked of Spark."""
        low, high = self._micros()
        return datetimes_of(low, high)

    def numbered(self, spark: SparkSession, keys: Sequence[str]) -> DataFrame:
        """Row number, join keys and time, in Spark. The number's name is used once, so it is nobody else's.

        Raises:
            EntityFrameError: a key or the time is missing or holds what has no type in Spark.
        """
        require_keys(keys, self.frame.columns)
        columns: dict[str, Any] = {f"__fh_row_{uuid.uuid4().hex}": pa.array(range(len(self.frame)), pa.int64())}
        columns |= self._key_arrays(keys)
        columns[self.timestamp] = self.times
        return frame_of(spark, pa.table(columns))

    def stats(self, keys: Sequence[str]) -> EntityStats:
        """See :meth:`EntityRows.stats`; all of it is known."""
        low, high = self._micros()
        table = pa.table(self._key_arrays(keys) | {self.timestamp: self.times})
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
            columns[name] = self.times if name == self.timestamp else self._for_spark(name)
        return frame_of(spark, pa.table(columns))

    def _for_spark(self, name: str) -> pa.Array:
        array = spark_compatible(column_to_arrow(self.frame[name], name))
        if not _has_spark_type(array.type):
            raise EntityFrameError(
                f"entity_df column {name!r} is {array.type}, which Spark has no type for: cast it, or collect the "
                "result by to_df or to_arrow, where it comes back as it is."
            )
        return array

    def attach(self, features: pa.Table) -> pa.Table:
        """Put features, whose first column has the row numbers, beside the rows they belong to."""
        if features.num_rows != len(self.frame):
            raise AssertionError(f"{len(self.frame)} entity rows have {features.num_rows} answers")
        ordered = features.take(pc.sort_indices(features.column(0)))
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        if self.of_arrow:
            table = table.replace_schema_metadata(None)
        for position in range(1, ordered.num_columns):
            table = table.append_column(ordered.schema.field(position), ordered.column(position))
        return table

    def _micros(self) -> tuple[int | None, int | None]:
        extremes = pc.min_max(self.times.view(pa.int64())).as_py()
        return extremes["min"], extremes["max"]


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
        own_names = [names[position] for position in positions]
        table = collect(features, timeout=timeout, what=self.what, sites=sites, names=own_names)
        return self._rows.attach(table.rename_columns(own_names))


def _with_times_of_one_type(frame: pd.DataFrame, name: str, times: pa.Array) -> pd.DataFrame:
    """The frame with instants in place of objects of which Arrow makes no column, such as NumPy's of two units."""
    try:
        refuse_columns(frame[[name]])
    except EntityFrameError:
        frame = frame.copy(deep=False)
        frame[name] = pd.arrays.ArrowExtensionArray(times)
    return frame


def _has_spark_type(data_type: pa.DataType) -> bool:
    """Whether Spark takes columns of this type: its client knows times of the day before its engine does."""
    if any(time in str(data_type) for time in ("time32[", "time64[")):
        return False
    try:
        from_arrow_type(data_type)
    except PySparkTypeError:
        return False
    return True


def _is_time(dtype: Any) -> bool:
    """Whether a pandas column of this type holds times, in NumPy's way or in Arrow's."""
    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_timestamp(dtype.pyarrow_dtype))
    return bool(pd.api.types.is_datetime64_any_dtype(dtype))


def _key_array(series: pd.Series[Any], name: str) -> pa.Array:
    """A key as Spark can compare it. pandas turns integers with gaps into floats: turn them back."""
    array = spark_compatible(column_to_arrow(series, name))
    if not _has_spark_type(array.type):
        raise EntityFrameError(f"entity_df column {name!r} is {array.type}, which no join key can be: cast it.")
    if pa.types.is_floating(array.type):
        whole = pc.all(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), _EXACT_FLOAT_LIMIT)))
        if whole.as_py() in (True, None):
            return array.cast(pa.int64())
    return array
