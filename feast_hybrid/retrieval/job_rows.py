"""The rows of a retrieval job before on-demand transformations: lazily, in the forms that callers ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from feast_hybrid.asof import JoinPlan
    from feast_hybrid.lakes import Site


class JobRows(Protocol):
    """What a job gives its caller, but for on-demand features."""

    @property
    def what(self) -> str:
        """How errors and Spark's UI call the rows."""

    @property
    def plan(self) -> JoinPlan | None:
        """How they are joined; None for the rows of one source."""

    @property
    def reads(self) -> str:
        """Of the rows of one source: where they are and what is read of them, in words; empty for joined rows."""

    @property
    def engine(self) -> str:
        """Which engine gives them, and why, in words; empty where the caller chose Spark."""

    def to_spark(self) -> DataFrame:
        """All columns, in Spark."""

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """All columns, collected; ``timeout`` is in seconds, and an error names which of the sites it is of."""

    def kept_spark(self) -> DataFrame:
        """The rows as they are saved, in Spark."""

    def exported_spark(self) -> DataFrame:
        """The rows as they are exported, in Spark: those of ``to_arrow``, which Feast's engines read from files."""

    @property
    def is_local(self) -> bool:
        """Whether this process makes them, without Spark."""

    def kept_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """The rows as they are saved, where this process makes them."""

    def as_saved(self, table: pa.Table) -> pa.Table:
        """The rows of a table that this process made for a caller, as they are saved: their time is an instant."""
