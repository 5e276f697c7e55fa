"""Frames of files whose schema is resolved: by Spark's reader where it reads them alike, else by our own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyspark.sql.pandas.types import from_arrow_schema

from feast_hybrid.arrow.names import names_for
from feast_hybrid.arrow.utc import to_epoch_micros
from feast_hybrid.asof import Ineligible, Scan
from feast_hybrid.asof.columnar.executor_check import check_executors
from feast_hybrid.asof.columnar.rows_frame import rows_frame
from feast_hybrid.asof.columnar.spec import SourceColumn
from feast_hybrid.errors import SourceError
from feast_hybrid.sources.file_schema import left_out_notes, reader_options
from feast_hybrid.sources.resolved_columns import columns_meant, not_to_be_had, only_sparks
from feast_hybrid.sources.scan import renamed_scan, scan_of
from feast_hybrid.sources.spark_listing import require_listed
from feast_hybrid.spark.columns import named
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.formats import CALENDAR_OPTIONS, FILE_OPTIONS
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.reader_settings import deviating_setting, require_utc_for_orc
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.lakes import Site
    from feast_hybrid.sources.reader_options import ReaderOptions
    from feast_hybrid.sources.spec import SourceSpec


class NoReaderError(SourceError):
    """Spark's reader would read files otherwise, and tasks cannot read them by ours."""


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A source's rows, and its files.

    Attributes:
        frame: the rows, lazy.
        scan: its files; or why they are not known.
        notes: what a reader of the plan should know, such as files that were left out.
        partitions: the columns that partition the files; None where only Spark knows them.
    """

    frame: DataFrame
    scan: Scan | Ineligible
    notes: tuple[str, ...] = ()
    partitions: frozenset[str] | None = None

    def named(self, wanted: Collection[str], *, what: str, others: bool) -> SourceFrame:
        """The same with the names that are asked for: see :func:`feast_hybrid.arrow.names.names_for`."""
        columns = self.frame.columns
        names = names_for(wanted, columns, what=what, others=others)
        if names == columns:
            return self
        renamed = dict(zip(columns, names, strict=True))
        scan, partitions = self.scan, self.partitions
        if isinstance(scan, Scan):
            scan = renamed_scan(scan, renamed)
        if partitions is not None:
            # Those that nobody asked for are in the names of folders alone.
            partitions = frozenset(renamed.get(name) or name for name in partitions)
        return replace(self, frame=named(self.frame, names), scan=scan, partitions=partitions)


def files_frame(
    session: SparkSession,
    source: SourceSpec,
    resolved: ResolvedSchema,
    columns: Collection[str] | None,
    required: Collection[str],
    between: tuple[datetime | None, datetime | None],
    sites: Sequence[Site],
) -> SourceFrame:
    """The rows of files; see :meth:`feast_hybrid.sources.reader.Reader.open`. Errors may be of one of the sites."""
    schema = from_arrow_schema(resolved.to_arrow(), prefer_timestamp_ntz=True)
    options = reader_options(source)
    scan = scan_of(source, resolved, *between, tasks_run_here=tasks_run_here(session))
    if options.for_spark:
        scan = Ineligible(f"reader options, which are Spark's to follow: {', '.join(options.for_spark)}")
    elif reason := only_sparks(resolved, columns, required):
        scan = Ineligible(reason)
    what = f"{source.label} ({source.describe()})"
    resolved.require(not_to_be_had(resolved, columns, required), what=what)
    notes = left_out_notes(resolved.empty_files, resolved.damaged_files)
    partitions = frozenset(resolved.partition_columns)
    with translate_spark_errors(source.label, source.describe(), sites):
        times = _times(resolved, columns, required)
        if of_orc := [name for name, kept in times.items() if kept == "ORC"]:
            require_utc_for_orc(session, of_orc[0], what)
        only_ours = resolved.only_ours
        if only_ours is None:
            only_ours = deviating_setting(session, source.file_format or "parquet", times.values())
        if only_ours is None:
            rows = _by_spark(session, source, schema, options)
            assert source.location is not None
            require_listed(rows, source.location, resolved.files, what=what)
            return SourceFrame(rows, scan, notes, partitions)
        resolved = replace(resolved, only_ours=only_ours)
        rows = _by_us(session, source, resolved, schema, scan, columns, required, between)
        return SourceFrame(rows, scan, (*notes, f"read without Spark's reader: {only_ours}"), partitions)


def _times(resolved: ResolvedSchema, columns: Collection[str] | None, required: Collection[str]) -> dict[str, str]:
    """How times are kept in wanted columns, where Spark reads them by what a session or a JVM says."""
    wanted = resolved.times if columns is None else columns_meant(resolved, [*columns, *required])
    return {name: resolved.times[name] for name in wanted if name in resolved.times}


def _by_spark(session: SparkSession, source: SourceSpec, schema: StructType, options: ReaderOptions) -> DataFrame:
    location = source.location
    assert location is not None
    file_format = source.file_format or "parquet"
    reader = session.read.format(file_format).schema(schema)
    given = {name.lower() for name in options.to_spark}
    defaults = {**FILE_OPTIONS, **CALENDAR_OPTIONS.get(file_format, {})}
    reader = reader.options(**{name: value for name, value in defaults.items() if name.lower() not in given})
    path = spark_path(session, location, file_format)
    return analysed(reader.options(**path.options(options.to_spark)).load(path.uri))


def _by_us(
    session: SparkSession,
    source: SourceSpec,
    resolved: ResolvedSchema,
    schema: StructType,
    scan: Scan | Ineligible,
    columns: Collection[str] | None,
    required: Collection[str],
    between: tuple[datetime | None, datetime | None],
) -> DataFrame:
    refusal = (
        f"{source.label} ({source.describe()}): {resolved.only_ours}, which Spark's own reader does not read right, "
        "and feast-hybrid's reader cannot be used: "
    )
    (usable,) = [scan] if isinstance(scan, Ineligible) else check_executors(session, [scan])
    if isinstance(usable, Ineligible):
        raise NoReaderError(f"{refusal}{usable.reason}.")
    names = None if columns is None else columns_meant(resolved, columns)
    available = [
        (field, SourceColumn(column.name, column.data_type))
        for field, column in zip(schema.fields, resolved.columns, strict=True)
    ]
    chosen = [pair for pair in available if names is None or pair[1].name in names]
    start, end = between
    return rows_frame(
        session,
        usable,
        chosen or available,
        required=columns_meant(resolved, required),
        timestamp=next(iter(columns_meant(resolved, [source.timestamp])), None) if source.timestamp_field else None,
        low=None if start is None else to_epoch_micros(start),
        high=None if end is None else to_epoch_micros(end),
        what=f"{source.label} ({source.describe()})",
    )
