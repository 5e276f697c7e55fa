"""The retrieval job: what was asked for, run when the caller asks for rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata

from feast_hybrid.errors import NotSupportedError, WriteError
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.frames import collect
from feast_hybrid.spark.jobs import run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.saved_dataset import SavedDatasetStorage, ValidationReference
    from pyspark.sql import DataFrame

    from feast_hybrid.asof import JoinPlan
    from feast_hybrid.lakes import Router
    from feast_hybrid.retrieval.entity_rows import PandasRows


class Rows(Protocol):
    """The rows of a job before on-demand transformations, lazily.

    Attributes:
        what: how errors and Spark's UI call them.
    """

    what: str

    def to_spark(self) -> DataFrame:
        """All columns, in Spark."""

    def to_arrow(self, timeout: float | None) -> pa.Table:
        """All columns, collected."""


class FrameRows:
    """Rows that are a Spark frame."""

    def __init__(self, frame: DataFrame, what: str) -> None:
        self._frame = frame
        self.what = what

    def to_spark(self) -> DataFrame:
        """The frame itself."""
        return self._frame

    def to_arrow(self, timeout: float | None) -> pa.Table:
        """The frame, collected; planned anew, since Spark keeps the failure of a stage that was cancelled.

        Its rows are in one piece: of several, Feast's default engine writes the first to the online store.
        """
        return collect(self._frame.select("*"), timeout=timeout, what=self.what).combine_chunks()


class SourceRows(FrameRows):
    """Rows of a source, for Feast's engines: the local one takes Arrow and renames its columns itself, the Spark
    one takes a frame whose columns have Feast's names already.

    Attributes:
        kept: the rows with the source's own columns, names and types, as they are saved.
    """

    def __init__(
        self, frame: DataFrame, what: str, mapping: Mapping[str, str], keys: Sequence[str], *, kept: DataFrame
    ) -> None:
        super().__init__(frame, what)
        self.kept = kept
        self._mapping = mapping
        self._keys = keys

    def to_spark(self) -> DataFrame:
        """The frame with the names of the field mapping; a renamed join key under both of its names.

        Feast's Spark engine looks for a join key under the source's name while it picks rows, and under Feast's
        name when it writes them.

        Raises:
            NotSupportedError: another column has been given the name that a join key has in the source.
        """
        if not self._mapping:
            return self._frame
        columns = self._frame.columns
        names = [self._mapping.get(name, name) for name in columns]
        for key in self._keys:
            if key in columns and key in names and self._mapping.get(key, key) != key:
                raise NotSupportedError(
                    f"{self.what}: field_mapping gives another column the name {key!r}, which a join key has in the "
                    "source. Feast's Spark engine would take one for the other: rename a column, or use its default "
                    "engine."
                )
        twice = [name for name in self._keys if name in columns and name not in names]
        taken = [quoted(name) for name in (*columns, *twice)]
        return self._frame.select(*taken).toDF(*names, *twice)


class JoinedPandasRows:
    """Entity rows of a pandas frame joined with features: the features go through Spark, the rows stay here."""

    def __init__(
        self,
        rows: PandasRows,
        join: Callable[[DataFrame], tuple[DataFrame, JoinPlan]],
        spark: Any,
        keys: Sequence[str],
        what: str,
    ) -> None:
        self._rows = rows
        self._join = join
        self._spark = spark
        self._keys = tuple(keys)
        self.what = what
        # Plan now, so that what is wrong with keys or columns is said by the call that caused it.
        self._numbered, self.plan = self._join(rows.numbered(spark, self._keys))

    def to_spark(self) -> DataFrame:
        """All columns of the pandas frame, and the features, in Spark."""
        return self._join(self._rows.full(self._spark))[0]

    def to_arrow(self, timeout: float | None) -> pa.Table:
        """The features collected and put beside the pandas frame's rows, in their order."""
        carried = {*self._keys, self._rows.timestamp}
        answers = self._numbered.toDF(*(f"c{i}" for i in range(len(self._numbered.columns))))
        names = self._numbered.columns
        kept = [i for i, name in enumerate(names) if i >= 1 + len(carried) or i == 0]
        table = collect(answers.select(*(f"c{i}" for i in kept)), timeout=timeout, what=self.what)
        return self._rows.attach(table.rename_columns([names[i] for i in kept]))


class HybridSparkRetrievalJob(RetrievalJob):
    """A lazy training set, or rows of a source.

    ``to_df``, ``to_arrow`` and ``to_spark_df`` each run it anew. Timestamps are UTC in pandas and Arrow.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        router: Router,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        feature_refs: Sequence[str] = (),
        metadata: Callable[[], RetrievalMetadata] | None = None,
        staging_location: str | None = None,
        plan: JoinPlan | None = None,
    ) -> None:
        self._plan = plan
        self._rows = rows
        self._router = router
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._feature_refs = tuple(feature_refs)
        self._make_metadata = metadata
        self._staging_location = staging_location
        self._metadata: RetrievalMetadata | None = None
        _be_a_spark_job()

    @property
    def full_feature_names(self) -> bool:
        """Whether features are called ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """The on-demand feature views that are applied to the rows."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features, keys, and the first and last time of the entity rows.

        For entity rows in Spark or SQL the times are asked for now, which runs a job.
        """
        if self._metadata is None and self._make_metadata is not None:
            self._metadata = self._make_metadata()
        return self._metadata

    def explain(self) -> str:
        """How each feature view is joined, why so, and what is read of it: a line each. Runs nothing.

        Rows that are read as they are, of ``pull_latest`` and ``pull_all``, have no join to explain.
        """
        return "no join: the rows of one source" if self._plan is None else self._plan.describe()

    def to_spark_df(self) -> DataFrame:
        """The result as a lazy Spark frame, on-demand feature views included.

        It stays valid whatever is called next. On-demand feature views run in the executors, batch by batch, so
        these need Feast installed.
        """
        frame = self._rows.to_spark()
        if self._on_demand_feature_views:
            from feast_hybrid.retrieval.on_demand import with_on_demand_features

            return with_on_demand_features(
                frame, self._on_demand_feature_views, self._feature_refs, self._full_feature_names
            )
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._rows.to_arrow(timeout)

    def to_df(
        self, validation_reference: ValidationReference | None = None, timeout: int | None = None
    ) -> pd.DataFrame:
        """The result as a pandas frame; maps are dicts, where Feast's own would make lists of pairs of them.

        Args:
            validation_reference: what to check the result against.
            timeout: seconds; the job is cancelled after them.

        Raises:
            RetrievalTimeoutError: the time ran out.
            RetrievalError: the job failed.
        """
        return _in_pandas(self.to_arrow(validation_reference, timeout))

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return _in_pandas(self._to_arrow_internal(timeout))

    def persist(
        self,
        storage: SavedDatasetStorage,
        allow_overwrite: bool = False,
        timeout: int | None = None,
    ) -> None:
        """Write the result to a path on either lake, or to a table; seen whole or not at all.

        Rows that were pulled from a source are written as they are there, not as Feast's engines take them.

        Args:
            storage: a :class:`~feast_hybrid.SavedDatasetHybridSparkStorage`.
            allow_overwrite: whether what is there may be replaced.
            timeout: seconds; the job is cancelled after them. What has begun to take its place by then is waited for.

        Raises:
            WriteError: something is there already, or the rows could not be written.
            RetrievalTimeoutError: the time ran out; nothing was changed, and nothing will be.
        """
        from feast_hybrid.sources.resolve import source_spec
        from feast_hybrid.sources.saved_datasets import SavedDatasetHybridSparkStorage
        from feast_hybrid.writing.datasets import save

        if not isinstance(storage, SavedDatasetHybridSparkStorage):
            raise WriteError(f"persist needs a SavedDatasetHybridSparkStorage, found {type(storage).__name__}.")
        frame = self._rows.kept if isinstance(self._rows, SourceRows) else self.to_spark_df()
        destination = storage.to_data_source()
        target = source_spec(destination, self._router)
        cancellation = Cancellation()
        run(
            frame.sparkSession,
            lambda: save(frame, target, cancellation, overwrite=allow_overwrite),
            timeout=timeout,
            what=f"persisting {self._rows.what} to {destination.location}",
            cancellation=cancellation,
        )

    def supports_remote_storage_export(self) -> bool:
        """Whether ``offline_store.staging_location`` says where :meth:`to_remote_storage` may put files."""
        return self._staging_location is not None

    def to_remote_storage(self) -> list[str]:
        """Write the result as Parquet files into a new folder under ``offline_store.staging_location``.

        Returns:
            The URIs of the files. Nobody deletes them: let a rule of the lake do it.

        Raises:
            NotSupportedError: there is no staging location.
            WriteError: the rows could not be written.
        """
        from feast_hybrid.writing.datasets import export

        if self._staging_location is None:
            raise NotSupportedError(
                "to_remote_storage needs a place on a lake: set offline_store.staging_location in feature_store.yaml."
            )
        frame, staging_location = self.to_spark_df(), self._staging_location
        cancellation = Cancellation()
        return run(
            frame.sparkSession,
            lambda: export(frame, staging_location, self._router, cancellation),
            timeout=None,
            what=f"exporting {self._rows.what} to {staging_location}",
            cancellation=cancellation,
        )

    def to_sql(self) -> str:
        """Not to be had: a result of two lakes is a plan of Spark's, which no SQL text stands for.

        Raises:
            NotSupportedError: always; it says what to use.
        """
        raise NotSupportedError(
            "there is no SQL text for this result: it is a plan of Spark's over both lakes. "
            "to_spark_df().createOrReplaceTempView(name) makes it a name in SQL."
        )


def _be_a_spark_job() -> None:
    """Have Feast's Spark engine see that our jobs are frames in Spark, or it would collect their rows.

    It asks ``isinstance(job, SparkRetrievalJob)``, so it has imported that class before it gets a job. Where nobody
    has, nothing is imported here: the module brings a whole offline store along.
    """
    module = sys.modules.get("feast.infra.offline_stores.contrib.spark_offline_store.spark")
    if module is not None:
        module.SparkRetrievalJob.register(HybridSparkRetrievalJob)


def _in_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(maps_as_pydicts="strict")
    return frame
