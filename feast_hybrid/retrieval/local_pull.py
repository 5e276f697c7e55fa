"""What is pulled from a source, in this process, without Spark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL

from feast_hybrid.arrow.required_values import require_values
from feast_hybrid.arrow.types import as_spark_returns
from feast_hybrid.arrow.utc import in_utc, to_epoch_micros
from feast_hybrid.asof.columnar.spec import rows_spec
from feast_hybrid.asof.join_plan import describe_reads, described_size
from feast_hybrid.asof.local.reading import Reading, estimate
from feast_hybrid.asof.local.rows import latest_spec, read_latest, read_rows
from feast_hybrid.asof.local.view import ColumnFinder
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.retrieval.local_encoding import encode_locally
from feast_hybrid.retrieval.local_run import (
    LocalRun,
    described_engine,
    reads_too_much,
    sparks_by_settings,
    stripes_too_large,
)
from feast_hybrid.retrieval.pulled import in_one_piece, require_columns, visible_in_feast
from feast_hybrid.sources.local_files import LocalReader
from feast_hybrid.spark.sparks_reader import spark_is_elsewhere

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.asof.columnar.spec import ViewSpec
    from feast_hybrid.asof.local.work import Watch
    from feast_hybrid.lakes import Site
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.pulled import Pull
    from feast_hybrid.sources.local_files import LocalFiles


def local_pull(pull: Pull, by_spark: Callable[[], JobRows]) -> LocalPullRows | Ineligible:
    """Plan a pull for this process, or say why it is Spark's.

    Args:
        pull: what is pulled.
        by_spark: gives the rows by Spark, for a caller who asks for a Spark frame.

    Raises:
        SourceError, SourceNotFoundError, StorageError: the source cannot be read.
        SchemaError: it lacks a column, or one has a type that does not do.
    """
    store = pull.store
    if pull.for_spark:
        return Ineligible("Feast's batch engine works on Spark")
    if (refused := sparks_by_settings(store)) is not None:
        return refused
    reader = LocalReader(store.router, elsewhere=spark_is_elsewhere(store.spark.remote))
    files = reader.open(pull.source, pull.columns, required=pull.required, between=(pull.start, pull.end))
    if isinstance(files, Ineligible):
        return files
    require_columns(pull.named, files.schema.names, pull.source)
    spec = _spec(pull, files)
    if isinstance(spec, Ineligible):
        return spec
    reading = Reading(spec, files.scan, files.scan.files, estimate(spec, files.scan))
    if (refused := stripes_too_large(store, reading)) is not None:
        return refused
    if (refused := _too_much(pull, reading)) is not None:
        return refused
    return LocalPullRows(pull, files.schema, reading, by_spark)


def _spec(pull: Pull, files: LocalFiles) -> ViewSpec | Ineligible:
    low = None if pull.start is None else to_epoch_micros(pull.start)
    high = None if pull.end is None else to_epoch_micros(pull.end)
    if pull.latest:
        return latest_spec(
            files.schema,
            keys=pull.keys,
            timestamp=pull.timestamp,
            created=pull.created,
            values=pull.features or files.schema.names,
            low=low,
            high=high,
            what=pull.place,
        )
    source = ColumnFinder(files.schema, pull.place)
    named = [source.find(name, "column") for name in pull.named]
    columns = named if pull.features else [source.find(name, "column") for name in files.schema.names]
    time = source.find_time(pull.timestamp, "timestamp column")
    return rows_spec(list(dict.fromkeys(columns)), time, low, high, what=pull.place)


def _too_much(pull: Pull, reading: Reading) -> Ineligible | None:
    """Why a pull is too large for this process."""
    if (refused := reads_too_much(pull.store, reading.estimate.read_bytes)) is not None:
        return refused
    local = pull.store.local
    # All are held, and once more when they are put in one piece, beside what is being read.
    if pull.store.engine == "auto" and 4 * reading.estimate.memory_bytes > local.memory_bytes:
        return Ineligible(
            f"its rows take about {described_size(reading.estimate.memory_bytes)}, of which a quarter of "
            f"offline_store.local.memory may be, which is {described_size(local.memory_bytes)}"
        )
    return None


@dataclass(frozen=True, eq=False)
class LocalPullRows:
    """Rows of a source, read in this process each time they are asked for."""

    pull: Pull
    schema: pa.Schema
    reading: Reading
    by_spark: Callable[[], JobRows]

    plan = None

    @property
    def what(self) -> str:
        """How errors call the rows."""
        return self.pull.what

    @property
    def engine(self) -> str:
        """See :attr:`feast_hybrid.retrieval.job_rows.JobRows.engine`."""
        return described_engine(self.pull.store.local, self._threads)

    is_local = True

    @property
    def reads(self) -> str:
        """See :attr:`JobRows.reads`."""
        read = self.reading
        files = describe_reads(read.spec, read.scan, read.files, read.estimate)
        return f"{self.pull.source.describe()}, {files}"

    @property
    def _threads(self) -> int:
        return self.pull.store.local.thread_count(far=self.reading.scan.is_far)

    def as_saved(self, table: pa.Table) -> pa.Table:
        """See :meth:`JobRows.as_saved`."""
        return table

    def to_spark(self) -> DataFrame:
        """All columns, in Spark, by Spark."""
        return self.by_spark().to_spark()

    def kept_spark(self) -> DataFrame:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.kept_spark`."""
        return self.by_spark().kept_spark()

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """All columns in the forms of Feast's engines; in one piece, since Feast's default engine takes the first."""
        pull = self.pull
        table = self.kept_arrow(timeout, sites)
        if pull.source.timestamp_field:
            table = table.select(visible_in_feast(table.column_names, pull.source.field_mapping))
            table = encode_locally(table, pull.features, pull.source.declared, what=self.what)
            if not pull.keys:
                if DUMMY_ENTITY_ID in table.column_names:
                    table = table.drop_columns(DUMMY_ENTITY_ID)
                dummy = pa.array([DUMMY_ENTITY_VAL]).take(pa.array([0] * table.num_rows, pa.int64()))
                table = table.append_column(pa.field(DUMMY_ENTITY_ID, dummy.type, nullable=False), dummy)
        return in_one_piece(table, self.what)

    def exported_spark(self) -> DataFrame:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.exported_spark`."""
        return self.by_spark().exported_spark()

    def kept_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.kept_arrow`."""
        run = LocalRun(self.pull.store.local, self.what, sites)
        table = run.run(self._read, timeout=timeout, size=self.reading.estimate.read_bytes)
        require_values(table, table.column_names, self.what)
        return in_utc(table)

    def _read(self, watch: Watch, deadline: float | None) -> pa.Table:
        pull, local = self.pull, self.pull.store.local
        threads = self._threads
        if pull.latest:
            found = read_latest(self.reading, watch, threads=threads, memory=local.memory_bytes, deadline=deadline)
        else:
            found = read_rows(
                self.reading,
                pull.required,
                watch,
                threads=threads,
                memory=local.memory_bytes,
                deadline=deadline,
            )
        source = ColumnFinder(self.schema, pull.place)
        names = pull.named if pull.features or pull.latest else self.schema.names
        if pull.latest and not pull.features:
            names = list(dict.fromkeys([*pull.keys, *self.schema.names]))
        columns = [found.column(source.find(name, "column").name) for name in names]
        typed = [column.cast(as_spark_returns(column.type)) for column in columns]
        return pa.Table.from_arrays(typed, names)
