"""The retrieval job: what was asked for, run when the caller asks for rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata

from feast_hybrid.errors import NotSupportedError
from feast_hybrid.spark.cancellation import Cancellation

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.saved_dataset import SavedDatasetStorage, ValidationReference
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Router
    from feast_hybrid.retrieval.job_rows import JobRows


class HybridRetrievalMetadata(RetrievalMetadata):
    """What Feast tells of a training set, and which versions of tables it is made of.

    Attributes:
        versions: feature view → which version of its table was read, in words; of views whose tables have versions.
    """

    def __init__(self, *, versions: Mapping[str, str], **told: Any) -> None:
        super().__init__(**told)
        self.versions = dict(versions)


class HybridSparkRetrievalJob(RetrievalJob):
    """A lazy training set, or rows of a source.

    ``to_df``, ``to_arrow`` and ``to_spark_df`` each run it anew. Timestamps are UTC in pandas and Arrow.
    """

    def __init__(
        self,
        rows: JobRows,
        *,
        router: Router,
        full_feature_names: bool = False,
        on_demand_feature_views: Sequence[OnDemandFeatureView] = (),
        feature_refs: Sequence[str] = (),
        metadata: Callable[[], HybridRetrievalMetadata] | None = None,
        staging_location: str | None = None,
        order: Sequence[str] = (),
    ) -> None:
        self._rows = rows
        self._router = router
        self._full_feature_names = full_feature_names
        self._on_demand_feature_views = list(on_demand_feature_views)
        self._feature_refs = tuple(feature_refs)
        self._make_metadata = metadata
        self._staging_location = staging_location
        self._order = tuple(order)  # of rows in files: keys first, then times
        self._metadata: HybridRetrievalMetadata | None = None
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
    def metadata(self) -> HybridRetrievalMetadata | None:
        """Features, keys, the first and last time of the entity rows, and the versions of tables that are read.

        For entity rows in Spark or SQL the times are asked for now, which runs a job.
        """
        if self._metadata is None and self._make_metadata is not None:
            self._metadata = self._make_metadata()
        return self._metadata

    def explain(self) -> str:
        """How each feature view is joined, why so, and what is read of it: a line each. Runs nothing.

        Rows that are read as they are, of ``pull_latest`` and ``pull_all``, have no join to explain: where they are,
        what is read of them, and by which engine.
        """
        if self._rows.plan is not None:
            return self._rows.plan.describe()
        engine = f"\nengine: {self._rows.engine}" if self._rows.engine else ""
        return f"no join: the rows of {self._rows.reads or 'one source'}{engine}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._rows.what}>\n{self.explain()}"

    def _repr_html_(self) -> str:
        """What a notebook shows of the job: its views, where they are read, how they are joined. Runs nothing."""
        from feast_hybrid.retrieval.notebook import as_html

        rows = self._rows
        if rows.plan is not None:
            return as_html(rows.what, rows.plan)
        return as_html(rows.what, None, rows.reads, rows.engine)

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
        return self._rows.to_arrow(timeout, self._router.sites)

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
            storage: a :class:`~feast_hybrid.SavedDatasetHybridSparkStorage`, or one of Feast's for Spark or files.
            allow_overwrite: whether what is there may be replaced.
            timeout: seconds; the job is cancelled after them. What has begun to take its place by then is waited for.

        Raises:
            WriteError: something is there already, or the rows could not be written.
            RetrievalTimeoutError: the time ran out; nothing was changed, and nothing will be.
        """
        from feast_hybrid.sources.resolve import storage_spec
        from feast_hybrid.sources.spec import sites_of
        from feast_hybrid.writing.local_datasets import can_save_locally, save_locally

        target = storage_spec(storage, self._router)
        sites = sites_of(target, self._router)
        if self._rows.is_local and can_save_locally(target):
            save_locally(
                lambda: self._rows_to_save(timeout),
                target,
                timeout=timeout,
                overwrite=allow_overwrite,
                sites=sites,
                order=self._order,
            )
            return
        from feast_hybrid.spark.jobs import run
        from feast_hybrid.writing.datasets import save

        frame = self.to_spark_df() if self._on_demand_feature_views else self._rows.kept_spark()
        cancellation = Cancellation()
        run(
            frame.sparkSession,
            lambda: save(frame, target, cancellation, overwrite=allow_overwrite, sites=sites, order=self._order),
            timeout=timeout,
            what=f"persisting {self._rows.what} to {target.describe()}",
            cancellation=cancellation,
        )

    def _rows_to_save(self, timeout: int | None) -> pa.Table:
        """The rows as they are saved, on-demand features included, of an engine in this process."""
        if self._on_demand_feature_views:
            return self._rows.as_saved(self.to_arrow(timeout=timeout))
        return self._rows.kept_arrow(timeout, self._router.sites)

    def supports_remote_storage_export(self) -> bool:
        """Whether ``offline_store.staging_location`` says where :meth:`to_remote_storage` may put files."""
        return self._staging_location is not None

    def to_remote_storage(self) -> list[str]:
        """Write the result as Parquet files into a new folder under ``offline_store.staging_location``.

        The rows are those of ``to_arrow``: Feast's engines that read such files take what was pulled as they take it
        from there, and rename its columns themselves. Times of entity rows are instants.

        Returns:
            The URIs of the files. Nobody deletes them: let a rule of the lake do it.

        Raises:
            NotSupportedError: there is no staging location.
            WriteError: the rows could not be written.
        """
        from feast_hybrid.writing.local_datasets import export_locally

        if self._staging_location is None:
            raise NotSupportedError(
                "to_remote_storage needs a place on a lake: set offline_store.staging_location in feature_store.yaml."
            )
        if self._rows.is_local:
            table = self._rows.as_saved(self.to_arrow())
            return export_locally(table, self._staging_location, self._router, order=self._order)
        from feast_hybrid.spark.jobs import run
        from feast_hybrid.writing.datasets import export

        frame = self.to_spark_df() if self._on_demand_feature_views else self._rows.exported_spark()
        staging_location = self._staging_location
        cancellation = Cancellation()
        return run(
            frame.sparkSession,
            lambda: export(frame, staging_location, self._router, cancellation, order=self._order),
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
