"""The entity rows of a retrieval, in the forms that a caller can give them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from numbers import Number
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import floor_to_micros, from_epoch_micros, to_epoch_micros
from feast_hybrid.errors import EntityFrameError
from feast_hybrid.spark.frames import frame_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof import EntityFacts

#: The time column that Feast looks for first.
EVENT_TIMESTAMP = "event_timestamp"

Bounds = tuple[datetime, datetime]


@dataclass(frozen=True)
class SparkRows:
    """Entity rows in a Spark frame, whoever made it.

    Attributes:
        frame: the rows.
        timestamp: their time column.
        known_bounds: the first and last time, where they are known without asking.
    """

    frame: DataFrame
    timestamp: str
    known_bounds: Bounds | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the rows' columns."""
        return list(self.frame.columns)

    def facts(self) -> EntityFacts:
        """What the planner of the join may go by; it may ask for more only of a caller's own frame."""
        from feast_hybrid.asof import EntityFacts

        if self.known_bounds is None:
            return EntityFacts()
        # The frame is made of histories, over which no pass is worth a plan.
        return EntityFacts(
            low=to_epoch_micros(self.known_bounds[0]), high=to_epoch_micros(self.known_bounds[1]), may_ask=False
        )

    def bounds(self) -> Bounds | None:
        """The first and last time; runs a job where they are not known. None without rows."""
        if self.known_bounds is not None:
            return self.known_bounds
        from pyspark.sql import functions as F

        from feast_hybrid.spark.columns import quoted
        from feast_hybrid.spark.times import micros

        kind = self.frame.schema[self.timestamp].dataType
        at = micros(F.col(quoted(self.timestamp)), kind)
        low, high = self.frame.select(F.min(at), F.max(at)).collect()[0]
        if low is None:
            return None
        return from_epoch_micros(low), from_epoch_micros(high)


@dataclass(frozen=True)
class PandasRows:
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
            EntityFrameError: no time column can be told, it holds numbers, or the columns' names cannot be used.
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
        """The names of the rows' columns."""
        return list(self.frame.columns)

    def bounds(self) -> Bounds | None:
        """The first and last time; None without rows."""
        times = self._times().dropna()
        if times.empty:
            return None
        return times.min().to_pydatetime(warn=False), times.max().to_pydatetime(warn=False)

    def numbered(self, spark: SparkSession, keys: Sequence[str]) -> DataFrame:
        """Row number, join keys and time, in Spark. The number's name is used once, so it is nobody else's.

        Raises:
            EntityFrameError: a key or the time is missing or holds what has no type in Spark.
        """
        import pyarrow as pa

        require_keys(keys, self.frame.columns)
        columns: dict[str, Any] = {f"__fh_row_{uuid.uuid4().hex}": pa.array(range(len(self.frame)), pa.int64())}
        columns |= self._key_arrays(keys)
        columns[self.timestamp] = self._time_array()
        return frame_of(spark, pa.table(columns))

    def facts(self, keys: Sequence[str]) -> EntityFacts:
        """What the planner of the join need not ask Spark for."""
        import pyarrow as pa

        from feast_hybrid.asof import EntityFacts

        bounds = self.bounds()
        low, high = (None, None) if bounds is None else map(to_epoch_micros, bounds)
        table = pa.table(self._key_arrays(keys) | {self.timestamp: self._time_array()})
        return EntityFacts(rows=len(self.frame), low=low, high=high, table=table, may_ask=False)

    def _key_arrays(self, keys: Sequence[str]) -> dict[str, Any]:
        return {key: _key_array(self.frame[key], key) for key in keys if key != self.timestamp}

    def full(self, spark: SparkSession) -> DataFrame:
        """All columns in Spark; times to the microsecond.

        Raises:
            EntityFrameError: a column holds what has no type in Spark.
        """
        import pyarrow as pa

        columns: dict[str, Any] = {}
        for name in self.columns:
            columns[name] = (
                self._time_array() if name == self.timestamp else _spark_array(_arrow(self.frame[name], name))
            )
        return frame_of(spark, pa.table(columns))

    def attach(self, answers: pa.Table) -> pa.Table:
        """Put the answers, whose first column has the row numbers, beside the rows they belong to."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if answers.num_rows != len(self.frame):
            raise AssertionError(f"{len(self.frame)} entity rows have {answers.num_rows} answers")
        ordered = answers.take(pc.sort_indices(answers.column(0)))
        try:
            table = pa.Table.from_pandas(self.frame, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise EntityFrameError(f"entity_df has a column that Arrow cannot hold: {error}") from error
        for position in range(1, ordered.num_columns):
            table = table.append_column(ordered.schema.field(position), ordered.column(position))
        return table

    def _times(self) -> pd.Series[Any]:
        import pandas as pd

        try:
            return pd.to_datetime(self.frame[self.timestamp], utc=True)
        except (ValueError, TypeError) as error:
            raise EntityFrameError(f"entity_df column {self.timestamp!r} does not hold times: {error}") from error

    def _time_array(self) -> pa.Array:
        import pyarrow as pa

        # Floored, not rounded: a row must not see what happened after it.
        floored = self._times().dt.floor("us").dt.as_unit("us")
        return pa.Array.from_pandas(floored, type=pa.timestamp("us", tz="UTC"))


EntityRows = SparkRows | PandasRows


def require_keys(keys: Sequence[str], columns: Sequence[str] | pd.Index[Any]) -> None:
    """Refuse entity rows that lack a join key.

    Raises:
        EntityFrameError: it names the missing keys.
    """
    missing = [key for key in keys if key not in columns]
    if missing:
        raise EntityFrameError(f"entity_df lacks the join keys {', '.join(missing)}; it has {', '.join(columns)}.")


def pick_timestamp(names: Sequence[str], times: Sequence[str]) -> str:
    """The time column: ``event_timestamp``, or the only one of a time type.

    Raises:
        EntityFrameError: there is none, or there are several.
    """
    if EVENT_TIMESTAMP in names:
        return EVENT_TIMESTAMP
    if len(times) == 1:
        return times[0]
    found = f"several time columns ({', '.join(times)})" if times else "no time column"
    raise EntityFrameError(f"entity_df has {found}; name the one to join on {EVENT_TIMESTAMP!r}.")


def spark_rows(frame: DataFrame) -> SparkRows:
    """Check a caller's Spark frame and find its time column."""
    from feast_hybrid.spark.times import is_time

    names = list(frame.columns)
    times = [field.name for field in frame.schema.fields if is_time(field.dataType)]
    return SparkRows(frame, pick_timestamp(names, times))


def _is_time(dtype: Any) -> bool:
    """Whether a pandas column of this type holds times, in NumPy's way or in Arrow's."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_timestamp(dtype.pyarrow_dtype))
    return bool(pd.api.types.is_datetime64_any_dtype(dtype))


def _refuse_numbers(series: pd.Series[Any], name: str) -> None:
    """pandas takes numbers for nanoseconds since 1970; who writes them means seconds or milliseconds as a rule."""
    import pandas as pd

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
    import pyarrow as pa

    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise EntityFrameError(f"entity_df column {name!r} holds values of no one type: {error}") from error
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _key_array(series: pd.Series[Any], name: str) -> pa.Array:
    """A key as Spark can compare it. pandas turns integers with gaps into floats: turn them back."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = _spark_array(_arrow(series, name))
    if pa.types.is_floating(array.type):
        whole = pc.all(pc.and_(pc.equal(pc.floor(array), array), pc.less(pc.abs(array), 2.0**53)))
        if whole.as_py() in (True, None):
            return array.cast(pa.int64())
    return array


def _spark_array(array: pa.Array) -> pa.Array:
    """An array of a type that Spark has."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_dictionary(kind):
        return _spark_array(array.dictionary_decode())
    if pa.types.is_unsigned_integer(kind):
        wider = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
        return array.cast(wider[kind.bit_width])
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return floor_to_micros(array)
    if pa.types.is_large_string(kind):
        return array.cast(pa.string())
    if pa.types.is_float16(kind):
        return array.cast(pa.float32())
    return array
