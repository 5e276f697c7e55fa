"""The rows of a retrieval job that are a Spark frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feast_hybrid.errors import NotSupportedError
from feast_hybrid.retrieval.pulled import in_one_piece
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.frames import collect

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from feast_hybrid.asof import JoinPlan
    from feast_hybrid.lakes import Site


class SparkMadeRows(ABC):
    """Rows that Spark makes, which it saves too, as they are unless a subclass says otherwise."""

    is_local = False
    reads = ""
    #: See :attr:`JobRows.engine`; the plan of a join says it too.
    engine = ""

    @abstractmethod
    def to_spark(self) -> DataFrame:
        """See :meth:`JobRows.to_spark`."""

    @abstractmethod
    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """See :meth:`JobRows.to_arrow`."""

    def kept_spark(self) -> DataFrame:
        """See :meth:`JobRows.kept_spark`."""
        return self.to_spark()

    def exported_spark(self) -> DataFrame:
        """See :meth:`JobRows.exported_spark`."""
        return self.to_spark()

    def kept_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """See :meth:`JobRows.kept_arrow`."""
        return self.to_arrow(timeout, sites)

    def as_saved(self, table: pa.Table) -> pa.Table:
        """See :meth:`JobRows.as_saved`."""
        return table


class FrameRows(SparkMadeRows):
    """Rows that are a Spark frame."""

    def __init__(self, frame: DataFrame, what: str, plan: JoinPlan | None = None, reads: str = "") -> None:
        self._frame = frame
        self.what = what
        self.plan = plan
        self.reads = reads

    def to_spark(self) -> DataFrame:
        """The frame itself."""
        return self._frame

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """The frame, collected; planned anew, since Spark keeps the failure of a stage that was cancelled.

        Its rows are in one piece, as far as that can hold them.
        """
        return collect(self._frame.select("*"), timeout=timeout, what=self.what, sites=sites).combine_chunks()


class SourceRows(FrameRows):
    """Rows of a source, for Feast's engines.

    The local one takes Arrow and renames its columns itself, the Spark one takes a frame whose columns have Feast's
    names already.

    Args:
        frame: the rows in the forms of Feast's engines.
        what: how errors call them.
        field_mapping: column in the source → name in Feast.
        keys: the join keys, by the source's names.
        reads: where they are.
        kept: the rows with the source's own columns, names and types, as they are saved.
    """

    def __init__(
        self,
        frame: DataFrame,
        what: str,
        field_mapping: Mapping[str, str],
        keys: Sequence[str],
        *,
        kept: DataFrame,
        reads: str,
    ) -> None:
        super().__init__(frame, what, reads=reads)
        self._kept = kept
        self._field_mapping = field_mapping
        self._keys = keys

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """The frame, collected; see :func:`in_one_piece`."""
        return in_one_piece(super().to_arrow(timeout, sites), self.what)

    def kept_spark(self) -> DataFrame:
        """The rows as they are in the source."""
        return self._kept

    def exported_spark(self) -> DataFrame:
        """The rows as Feast's engines take them, with the source's names: who reads the files renames them."""
        return self._frame

    def to_spark(self) -> DataFrame:
        """The frame with the names of the field mapping; a renamed join key under both of its names.

        Feast's Spark engine looks for a join key under the source's name while it picks rows, and under Feast's
        name when it writes them.

        Raises:
            NotSupportedError: another column has been given the name that a join key has in the source.
        """
        if not self._field_mapping:
            return self._frame
        columns = self._frame.columns
        names = [self._field_mapping.get(name, name) for name in columns]
        for key in self._keys:
            if key in columns and key in names and self._field_mapping.get(key, key) != key:
                raise NotSupportedError(
                    f"{self.what}: field_mapping gives another column the name {key!r}, which a join key has in the "
                    "source. Feast's Spark engine would take one for the other: rename a column, or use its default "
                    "engine."
                )
        renamed_keys = [name for name in self._keys if name in columns and name not in names]
        selected = [quoted(name) for name in (*columns, *renamed_keys)]
        return self._frame.select(*selected).toDF(*names, *renamed_keys)
