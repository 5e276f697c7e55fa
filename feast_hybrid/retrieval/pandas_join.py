"""Entity rows in a pandas frame joined by Spark: keys and times travel there and back, all else stays here."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from feast_hybrid.retrieval.frame_rows import SparkMadeRows
from feast_hybrid.spark.arrow_frames import frame_of
from feast_hybrid.spark.frames import collect

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.lakes import Site
    from feast_hybrid.retrieval.join import RetrievalJoin
    from feast_hybrid.retrieval.pandas_rows import PandasRows


class JoinedPandasRows(SparkMadeRows):
    """Entity rows of a pandas frame joined with features: the features go through Spark, the rows stay here.

    The join is planned at once, so that what is wrong with keys or columns is raised by the call that caused it.
    """

    def __init__(self, rows: PandasRows, join: RetrievalJoin) -> None:
        self._rows = rows
        self._join = join
        self.what = join.what
        self._numbered, self.plan = join.apply(numbered(rows, join.spark, join.keys))

    def to_spark(self) -> DataFrame:
        """All columns of the pandas frame, and the features, in Spark."""
        return self._join.apply(full(self._rows, self._join.spark))[0]

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """The features collected and put beside the pandas frame's rows, in their order."""
        names = self._numbered.columns
        first_feature = 1 + len({*self._join.keys, self._rows.timestamp})
        positions = [0, *range(first_feature, len(names))]
        # By position: a feature may have any name.
        by_place = self._numbered.toDF(*(f"c{position}" for position in range(len(names))))
        features = by_place.select(*(f"c{position}" for position in positions))
        own_names = [names[position] for position in positions]
        table = collect(features, timeout=timeout, what=self.what, sites=sites, names=own_names)
        ordered = table.rename_columns(own_names).take(pc.sort_indices(table.column(0)))
        return self._rows.attach(ordered.select(range(1, ordered.num_columns)))


def numbered(rows: PandasRows, spark: SparkSession, keys: Sequence[str]) -> DataFrame:
    """Row number, join keys and time, in Spark. The number's name is used once, so it is nobody else's.

    Raises:
        EntityFrameError: a key or the time is missing or holds what has no type in Spark.
    """
    columns: dict[str, Any] = {f"__fh_row_{uuid.uuid4().hex}": pa.array(range(len(rows.frame)), pa.int64())}
    columns |= rows.key_arrays(keys)
    columns[rows.timestamp] = rows.times
    return frame_of(spark, pa.table(columns))


def full(rows: PandasRows, spark: SparkSession) -> DataFrame:
    """All columns in Spark; times to the microsecond.

    Raises:
        EntityFrameError: a column holds what has no type in Spark.
    """
    columns = {name: rows.times if name == rows.timestamp else rows.for_spark(name) for name in rows.columns}
    return frame_of(spark, pa.table(columns))
