"""Batch feature views whose features are made by a transformation: their rows, as materialisation makes them.

Feast's engines pull a source's rows, all of their columns, and give them to the view's function; so does history. The
function gets what the engine of ``feature_store.yaml`` gives it: a frame of pandas (or Polars) from the local engine,
one of Spark from ``spark.engine``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
from feast.feature_view import DUMMY_ENTITY_ID
from feast.feature_view_utils import get_transformation_function
from feast.infra.compute_engines.backends.factory import BackendFactory
from feast.transformation.udf_rehydrate import resolve_udf

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.arrow.unify import ConflictsWithDeclaredError, resolve_type, spark_form
from feast_hybrid.errors import NotSupportedError, RetrievalError, SchemaError
from feast_hybrid.lakes.errors import raise_from, redacted_summary
from feast_hybrid.retrieval.pull import engine_rows
from feast_hybrid.sources.declared import transforms
from feast_hybrid.sources.feast_types import arrow_type_of_feast
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.sources.time_filter import filter_time_range
from feast_hybrid.spark.arrow_frames import frame_of
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.frames import analysed, collect

if TYPE_CHECKING:
    from feast.feature_view import FeatureView
    from feast.repo_config import RepoConfig
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Router
    from feast_hybrid.retrieval.frame_rows import SourceRows
    from feast_hybrid.sources.reader import Reader
    from feast_hybrid.sources.spec import SourceSpec

logger = logging.getLogger(__name__)

T = TypeVar("T")


class TransformedRows:
    """The rows that a view's transformation makes, once for all who need them in one call.

    Attributes:
        source: where the rows are that it gets.
        timestamp: the column of the event time in what it makes.
        created: that of the created time, which it may leave out; None where there is none.
    """

    def __init__(self, view: FeatureView, router: Router, config: RepoConfig) -> None:
        self._view = view
        self._router = router
        self._engine = config.batch_engine
        self.source = _original_source(view, router)
        made = source_spec(view.batch_source, router, view=view)
        self.timestamp = _feast_name(made, made.timestamp)
        self.created = None if made.created_timestamp is None else _feast_name(made, made.created_timestamp)
        self._frames: dict[datetime | None, DataFrame] = {}

    def frame(self, reader: Reader, end: datetime | None) -> DataFrame:
        """What the transformation makes of all rows up to a time.

        There is no earlier bound: a running sum or a window would be another if it began later.

        Args:
            reader: reads the source.
            end: the last event time that it sees; None for all rows.

        Raises:
            RetrievalError: the view's function failed, or gave no frame.
            SchemaError: what it gave has other types than the view declares.
            NotSupportedError: it is made of several views, and is not kept in a sink.
        """
        if end not in self._frames:
            self._frames[end] = self._rows_of(self._view, reader, end)
        return self._frames[end]

    def _rows_of(self, view: FeatureView, reader: Reader, end: datetime | None) -> DataFrame:
        collect_rows: Callable[[], pa.Table]
        if view.source_views:
            frame = self._rows_of(_only_source_view(view), reader, end)
            collect_rows = partial(_collect, frame, f"rows of view {view.name!r}", self._router)
        else:
            rows = self._source_rows(view, reader, end)
            frame = rows.to_spark()
            collect_rows = partial(_collect_as_engine, rows, view, self._router)
        return self._transformed(view, frame, collect_rows) if transforms(view) else frame

    def _source_rows(self, view: FeatureView, reader: Reader, end: datetime | None) -> SourceRows:
        source = source_spec(view.batch_source, self._router, view=view)
        keys = [source.column_of(field.name) for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
        rows = reader.open(source, required=[*keys, source.timestamp], between=(None, end))
        frame = filter_time_range(rows.frame, source, source.timestamp, None, end, rows.partitions)
        return engine_rows(source, frame, keys, [])

    def _transformed(self, view: FeatureView, frame: DataFrame, collect_rows: Callable[[], pa.Table]) -> DataFrame:
        """What the view's function makes of a frame; ``collect_rows`` gives its rows as a local engine has them."""
        what = f"the transformation of view {view.name!r}"
        function = get_transformation_function(view)
        assert function is not None
        by_spark, fault = _try(lambda: _on_spark(view, function, frame, what))
        if "spark" in self._engine.type.lower():
            if fault is not None:
                raise_from(_failure(what, "a Spark frame, as spark.engine gives it", fault), fault)
            assert by_spark is not None
            return by_spark
        backend = BackendFactory.from_name(getattr(self._engine, "backend", None) or "pandas")
        if by_spark is not None:
            # It may be written for either kind of frame, or for both.
            sample = _collect(frame.limit(1), what, self._router)
            if _try(lambda: _on_backend(function, backend, sample))[0] is None:
                return by_spark
        rows = collect_rows()
        table, fault = _try(lambda: _on_backend(function, backend, rows))
        if table is None:
            assert fault is not None
            raise_from(_failure(what, "a local frame, as the local engine gives it", fault), fault)
        return frame_of(frame.sparkSession, _in_declared_types(table, view))


def _only_source_view(view: FeatureView) -> FeatureView:
    """The view that a view is made of.

    Raises:
        NotSupportedError: there are several: Feast's engines give the function the latest rows of each only.
    """
    parents = view.source_views or []
    if len(parents) != 1:
        names = ", ".join(repr(parent.name) for parent in parents)
        raise NotSupportedError(
            f"view {view.name!r} is made of several views ({names}), whose histories have no common rows. Set "
            "offline=True and a sink_source with a path, and materialise it: history then reads the sink."
        )
    return parents[0]


def _original_source(view: FeatureView, router: Router) -> SourceSpec:
    while view.source_views:
        view = _only_source_view(view)
    return source_spec(view.batch_source, router, view=view)


def _feast_name(source: SourceSpec, column: str) -> str:
    return source.field_mapping.get(column, column)


def _try(call: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return call(), None
    except Exception as fault:  # whatever a user's function raises
        return None, fault


def _failure(what: str, given: str, fault: Exception) -> RetrievalError:
    return RetrievalError(f"{what} failed on {given}: {redacted_summary(fault)}")


def _on_spark(view: FeatureView, function: Callable[[Any], Any], frame: DataFrame, what: str) -> DataFrame:
    transformation: Any = getattr(view, "feature_transformation", None)
    # As Feast's Spark engine has it: functions that were pickled can crash Python on some versions of Spark.
    resolved = resolve_udf(
        udf_string=getattr(transformation, "udf_string", "") or "",
        fallback_udf=function,
        preferred_name=getattr(transformation, "name", None),
    )
    with translate_spark_errors(what, "while it was planned"):
        made = resolved(frame)
        if not hasattr(made, "sparkSession"):
            raise TypeError(f"it gave a {type(made).__name__}, not a Spark frame")
        result: DataFrame = analysed(made)
        return result


def _on_backend(function: Callable[[Any], Any], backend: Any, table: pa.Table) -> pa.Table:
    made = function(backend.from_arrow(table))
    if hasattr(made, "sparkSession") or not hasattr(made, "columns"):
        raise TypeError(f"it gave a {type(made).__name__}, not a local frame")
    result: pa.Table = backend.to_arrow(made)
    return result


def _collect(frame: DataFrame, what: str, router: Router) -> pa.Table:
    return collect(frame, timeout=None, what=what, sites=router.sites).combine_chunks()


def _collect_as_engine(rows: SourceRows, view: FeatureView, router: Router) -> pa.Table:
    table = rows.to_arrow(None, router.sites)
    mapping = view.batch_source.field_mapping if view.batch_source is not None else {}
    return table.rename_columns([mapping.get(name, name) for name in table.column_names])


def _in_declared_types(table: pa.Table, view: FeatureView) -> pa.Table:
    """Rows of a local frame in types that Spark has; features in those that the view declares, where values fit.

    Raises:
        SchemaError: a column has a type that Spark has not, or the declared one is none for its values.
    """
    declared = {field.name: field.dtype for field in view.features}
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            data_type = spark_form(column.type, naive_is_instant=True)
            meant_type = arrow_type_of_feast(declared[name], name) if name in declared else None
            data_type = resolve_type([data_type], meant_type)
            columns[name] = convert_for_reading(column, data_type)
        except (SchemaError, ConflictsWithDeclaredError) as fault:
            meant = f", declared {declared[name]}" if name in declared else ""
            raise SchemaError(
                f"view {view.name!r}: its transformation gives column {name!r} as {column.type}{meant}: {fault}."
            ) from None
    return pa.table(columns)
