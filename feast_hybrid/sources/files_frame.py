"""Frames of files whose schema is resolved: by Spark's reader where it reads them alike, else by our own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql.pandas.types import from_arrow_schema

from feast_hybrid.arrow.utc import to_epoch_micros
from feast_hybrid.asof import Ineligible, Scan
from feast_hybrid.asof.columnar.executor_check import check_executors
from feast_hybrid.asof.columnar.rows_frame import rows_frame
from feast_hybrid.asof.columnar.spec import SourceColumn
from feast_hybrid.errors import SourceError
from feast_hybrid.sources.file_schema import note_left_out, reader_options
from feast_hybrid.sources.scan import scan_of
from feast_hybrid.spark.errors import translate_spark_errors
from feast_hybrid.spark.formats import FILE_OPTIONS
from feast_hybrid.spark.frames import analysed
from feast_hybrid.spark.lake_options import location_options

if TYPE_CHECKING:
    from datetime import datetime

    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.lakes import Site
    from feast_hybrid.sources.reader_options import ReaderOptions
    from feast_hybrid.sources.spec import SourceSpec

#: What a session could say otherwise besides: times are in one calendar.
_CALENDAR = {"parquet": {"datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED"}}


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A source's rows, and its files.

    Attributes:
        frame: the rows, lazy.
        scan: its files; or why they are not known.
        notes: what a reader of the plan should know, such as files that were left out.
    """

    frame: DataFrame
    scan: Scan | Ineligible
    notes: tuple[str, ...] = ()


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
    partition_types = {field.name: field.dataType for field in schema if field.name in resolved.partition_columns}
    options = reader_options(source)
    scan = scan_of(source, resolved, partition_types, session, *between)
    if options.for_spark:
        scan = Ineligible(f"reader options, which are Spark's to follow: {', '.join(options.for_spark)}")
    unreadable = {name.lower() for name in resolved.unreadable}
    wanted = resolved.unreadable if columns is None else [name for name in columns if name.lower() in unreadable]
    resolved.require(wanted, what=f"{source.label} ({source.describe()})")
    notes = note_left_out(source, resolved.empty_files, resolved.damaged_files)
    with translate_spark_errors(source.label, source.describe(), sites):
        if resolved.only_ours is None:
            return SourceFrame(_by_spark(session, source, schema, options), scan, notes)
        rows = _by_us(session, source, resolved, schema, scan, columns, required, between)
        return SourceFrame(rows, scan, (*notes, f"read without Spark's reader: {resolved.only_ours}"))


def _by_spark(session: SparkSession, source: SourceSpec, schema: StructType, options: ReaderOptions) -> DataFrame:
    location = source.location
    assert location is not None
    file_format = source.file_format or "parquet"
    reader = session.read.format(file_format).schema(schema)
    given = {name.lower() for name in options.to_spark}
    defaults = {**FILE_OPTIONS, **_CALENDAR.get(file_format, {})}
    reader = reader.options(**{name: value for name, value in defaults.items() if name.lower() not in given})
    reader = reader.options(**options.to_spark)
    return analysed(reader.options(**location_options(session, location)).load(str(location)))


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
        raise SourceError(f"{refusal}{usable.reason}.")
    names = None if columns is None else {name.lower() for name in columns}
    available = [
        (field, SourceColumn(column.name, column.data_type))
        for field, column in zip(schema.fields, resolved.columns, strict=True)
    ]
    chosen = [pair for pair in available if names is None or pair[1].name.lower() in names]
    start, end = between
    return rows_frame(
        session,
        usable,
        chosen or available,
        required=required,
        timestamp=source.timestamp if source.timestamp_field else None,
        low=None if start is None else to_epoch_micros(start),
        high=None if end is None else to_epoch_micros(end),
        what=f"{source.label} ({source.describe()})",
    )
