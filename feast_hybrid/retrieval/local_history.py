"""Historical features in this process, without Spark: see :mod:`feast_hybrid.asof.local`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.required_values import require_values
from feast_hybrid.arrow.types import as_spark_returns
from feast_hybrid.arrow.utc import in_utc
from feast_hybrid.asof.join_plan import JoinPlan, Step, describe_reads, described_size
from feast_hybrid.asof.local.join import join_locally
from feast_hybrid.asof.local.reading import Reading, ReadingMemory, estimate, memory_needed
from feast_hybrid.asof.local.view import BoundView, LocalView, bind_view
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.retrieval.entity_rows import require_keys
from feast_hybrid.retrieval.history import History
from feast_hybrid.retrieval.local_dates import DatedRows, dated_rows
from feast_hybrid.retrieval.local_run import (
    LocalRun,
    described_engine,
    reads_too_much,
    sparks_by_settings,
    stripes_too_large,
)
from feast_hybrid.retrieval.request import retrieval_metadata
from feast_hybrid.sources.local_files import LocalFiles, LocalReader
from feast_hybrid.spark.columns import refuse_clashes
from feast_hybrid.spark.sparks_reader import spark_is_elsewhere

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.asof.local.work import Watch
    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.lakes import Site
    from feast_hybrid.retrieval.entity_rows import Bounds
    from feast_hybrid.retrieval.history import HistoryRequest
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.pandas_rows import PandasRows
    from feast_hybrid.retrieval.request import RequestedView

#: How many sources are listed at once: it is waiting, mostly.
_LISTED_AT_ONCE = 8


def local_history(request: HistoryRequest, by_spark: Callable[[], JobRows]) -> History | Ineligible:
    """Plan a request for this process, or say why it is Spark's.

    Args:
        request: what is asked for.
        by_spark: gives the rows by Spark, for a caller who asks for a Spark frame.

    Raises:
        EntityFrameError: the entity rows lack a column or have no time.
        SourceError, SourceNotFoundError, StorageError: a source cannot be read.
        SchemaError, JoinError: columns or types do not go together.
    """
    store, views = request.store, request.views
    if (reason := _sparks(request)) is not None:
        return reason
    reader = LocalReader(store.router, elsewhere=spark_is_elsewhere(store.spark.remote), tables=request.tables)
    rows = request.given_rows or dated_rows(request, reader)
    if isinstance(rows, Ineligible):
        return rows
    request.require_request_data(rows.columns)
    for view in views:
        if (refused := _require_keys_of_source(view, reader, rows.columns)) is not None:
            return refused
    require_keys(request.keys, rows.columns)
    refuse_clashes(rows.columns, request.outputs, case_sensitive=False)
    types = _key_types(rows, request.keys)
    readings = _readings(request, reader, types, rows.known_bounds)
    if isinstance(readings, Ineligible):
        return readings
    if (refused := _too_much(store, readings, rows)) is not None:
        return refused
    plan = _plan(readings, rows, store)
    joined = LocalRows(request, rows, readings, plan, by_spark)
    metadata = partial(retrieval_metadata, rows, request.feature_refs, reader.versions)
    return History(joined, metadata, (*request.keys, rows.timestamp))


def _sparks(request: HistoryRequest) -> Ineligible | None:
    """What of a request is Spark's, as far as that is seen before a lake is asked."""
    if request.store.join.strategy != "auto" and request.store.engine == "auto":
        return Ineligible(f"join.strategy {request.store.join.strategy!r} is one of Spark's")
    if isinstance(request.entity_df, str):
        return Ineligible("entity_df is SQL text")
    if request.entity_df is not None and request.given_rows is None:
        return Ineligible("entity_df is a Spark frame")
    for view in request.views:
        if view.transformed is not None:
            return Ineligible(f"view {view.name!r}: a transformation makes its rows")
    return sparks_by_settings(request.store)


def _require_keys_of_source(
    view: RequestedView, reader: LocalReader, entity_columns: Sequence[str]
) -> Ineligible | None:
    refused: list[Ineligible] = []

    def columns_of(column: str) -> Sequence[str]:
        found = reader.open(view.source, [])
        if isinstance(found, Ineligible):
            refused.append(found)
            return [column]
        return list(found.schema.names)

    view.require_keys_of_source(columns_of, entity_columns)
    return refused[0] if refused else None


def _key_types(rows: PandasRows | DatedRows, keys: Sequence[str]) -> dict[str, pa.DataType]:
    """Of the entity rows' key columns, in types that Spark has."""
    if isinstance(rows, DatedRows):
        return {key: rows.schema.field(key).type for key in keys}
    arrays = rows.key_arrays(keys)
    return {key: rows.times.type if key == rows.timestamp else arrays[key].type for key in keys}


def _readings(
    request: HistoryRequest,
    reader: LocalReader,
    entity_types: Mapping[str, pa.DataType],
    bounds: Bounds | None,
) -> list[tuple[BoundView, Reading]] | Ineligible:
    """The views with their columns found and their files listed; several views' files at once."""

    def opened(place: int) -> tuple[BoundView, Reading] | Ineligible:
        view = request.views[place]
        files = reader.open(view.source, view.columns, required=view.required, between=view.between(bounds))
        if isinstance(files, Ineligible):
            return files
        view.refuse_aggregations(files.schema.names)
        bound = bind_view(_local_view(view, files), place, entity_types, by_created=request.by_created)
        return bound if isinstance(bound, Ineligible) else (bound, _reading(bound, files))

    places = range(len(request.views))
    if len(places) == 1:
        found = [opened(0)]
    else:
        pool = ThreadPoolExecutor(min(_LISTED_AT_ONCE, max(1, len(places))), "feast-hybrid-list")
        try:
            found = [future.result() for future in [pool.submit(opened, place) for place in places]]
        finally:  # after an error nobody waits for the others
            pool.shutdown(wait=False, cancel_futures=True)
    readings: list[tuple[BoundView, Reading]] = []
    for view, each in zip(request.views, found, strict=True):
        if isinstance(each, Ineligible):
            return Ineligible(f"view {view.name!r}: {each.reason}")
        if (refused := stripes_too_large(request.store, each[1])) is not None:
            return Ineligible(f"view {view.name!r}: {refused.reason}")
        readings.append(each)
    return readings


def _local_view(view: RequestedView, files: LocalFiles) -> LocalView:
    return LocalView(
        name=view.name,
        schema=files.schema,
        keys=view.keys,
        timestamp=view.timestamp,
        created=view.created(files.schema.names),
        ttl=view.view.ttl,
        features=view.features,
        scan=files.scan,
        where=view.source.describe(),
        notes=files.notes,
    )


def _reading(bound: BoundView, files: LocalFiles) -> Reading:
    return Reading(bound.spec, files.scan, files.scan.files, estimate(bound.spec, files.scan))


def _too_much(
    store: HybridSparkOfflineStoreConfig,
    readings: Sequence[tuple[BoundView, Reading]],
    rows: PandasRows | DatedRows,
) -> Ineligible | None:
    """Why a request is too large for this process."""
    size = sum(reading.estimate.read_bytes for _, reading in readings)
    if isinstance(rows, DatedRows):
        size += rows.read_bytes
    if (refused := reads_too_much(store, size)) is not None:
        return refused
    threads = _threads(store, readings)
    needed = memory_needed([view for view, _ in readings], rows.most_rows, threads)
    memory = store.local.memory_bytes
    kept = ReadingMemory.of(memory, threads, [reading for _, reading in readings]).kept
    if needed > kept:
        return Ineligible(
            f"{rows.most_rows:,} entity rows with these features take about {described_size(needed)} in "
            f"{threads} threads (offline_store.local.threads), and may take "
            f"{described_size(kept)} of offline_store.local.memory, which is {described_size(memory)}"
        )
    return None


def _threads(store: HybridSparkOfflineStoreConfig, readings: Sequence[tuple[BoundView, Reading]]) -> int:
    return store.local.thread_count(far=any(reading.scan.is_far for _, reading in readings))


def _plan(
    readings: Sequence[tuple[BoundView, Reading]],
    rows: PandasRows | DatedRows,
    store: HybridSparkOfflineStoreConfig,
) -> JoinPlan:
    steps = tuple(
        Step(
            view=bound.view.name,
            strategy="local",
            reason="asked for" if store.engine == "local" else "little to read, and this process can read it",
            where=bound.view.where,
            reads=describe_reads(reading.spec, reading.scan, reading.files, reading.estimate),
            notes=bound.view.notes,
        )
        for bound, reading in readings
    )
    count = None if isinstance(rows, DatedRows) else len(rows.frame)
    engine = described_engine(store.local, _threads(store, readings))
    return JoinPlan(steps=steps, entities="" if count is None else f"{count:,}", entity_rows=count, engine=engine)


@dataclass(frozen=True, eq=False)
class LocalRows:
    """The entity rows of a request with their features, joined in this process each time they are asked for."""

    request: HistoryRequest
    entities: PandasRows | DatedRows
    readings: Sequence[tuple[BoundView, Reading]]
    plan: JoinPlan
    by_spark: Callable[[], JobRows]

    @property
    def what(self) -> str:
        """How errors call the rows."""
        return self.request.what

    @property
    def engine(self) -> str:
        """See :attr:`feast_hybrid.retrieval.job_rows.JobRows.engine`."""
        return self.plan.engine

    is_local = True
    reads = ""

    def to_spark(self) -> DataFrame:
        """All columns, in Spark, by Spark."""
        return self.by_spark().to_spark()

    def kept_spark(self) -> DataFrame:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.kept_spark`."""
        return self.to_spark()

    def exported_spark(self) -> DataFrame:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.exported_spark`."""
        return self.by_spark().exported_spark()

    def kept_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.kept_arrow`."""
        return self.as_saved(self.to_arrow(timeout, sites))

    def as_saved(self, table: pa.Table) -> pa.Table:
        """See :meth:`feast_hybrid.retrieval.job_rows.JobRows.as_saved`."""
        if isinstance(self.entities, DatedRows):
            return table
        place = table.column_names.index(self.entities.timestamp)
        return table.set_column(place, self.entities.timestamp, self.entities.times)

    def to_arrow(self, timeout: float | None, sites: Sequence[Site] = ()) -> pa.Table:
        """All columns; see :meth:`feast_hybrid.retrieval.job_rows.JobRows.to_arrow`."""
        run = LocalRun(self.request.store.local, self.what, sites)
        size = sum(reading.estimate.read_bytes for _, reading in self.readings)
        return run.run(self._joined, timeout=timeout, size=size)

    def _joined(self, watch: Watch, deadline: float | None) -> pa.Table:
        local = self.request.store.local
        entities = self.entities
        rows = entities.rows(watch, deadline) if isinstance(entities, DatedRows) else entities
        keys = rows.key_arrays(self.request.keys) | {rows.timestamp: rows.times}
        found = join_locally(
            self.readings,
            keys,
            rows.times.view(pa.int64()),
            watch,
            threads=_threads(self.request.store, self.readings),
            memory=local.memory_bytes,
            deadline=deadline,
        )
        columns: list[pa.Array] = []
        names: list[str] = []
        for (view, _), values in zip(self.readings, found, strict=True):
            for place, name in view.outputs:
                values_of = values[place]
                columns.append(values_of.cast(as_spark_returns(values_of.type)))
                names.append(name)
        features = pa.Table.from_arrays(columns, names)
        require_values(features, names, self.what)
        return rows.attach(in_utc(features))
