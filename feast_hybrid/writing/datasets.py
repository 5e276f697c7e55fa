"""Saved datasets, the whole content of a path or table, put there or replaced; and results exported as files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql.types import (
    BooleanType,
    DateType,
    NumericType,
    StringType,
    TimestampNTZType,
    TimestampType,
)

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.lakes.replace import remove
from feast_hybrid.spark.columns import quoted
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.spark.lake_options import spark_path
from feast_hybrid.spark.reader_settings import require_utc_for
from feast_hybrid.writing.catalog_tables import replace_catalog_table
from feast_hybrid.writing.commits import committing_by_spark
from feast_hybrid.writing.readable import require_readable
from feast_hybrid.writing.stragglers import remove_with_stragglers
from feast_hybrid.writing.table_formats import has_log, replace_table
from feast_hybrid.writing.whole_path import DatasetExistsError, put_whole, recover_and_look

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Location, Router, Site
    from feast_hybrid.sources.spec import SourceSpec
    from feast_hybrid.spark.cancellation import Cancellation


#: Types by whose statistics readers pass over rows.
_ORDERED = (BooleanType, DateType, NumericType, StringType, TimestampNTZType, TimestampType)


def save(
    frame: DataFrame,
    target: SourceSpec,
    cancellation: Cancellation,
    *,
    overwrite: bool,
    sites: Sequence[Site] = (),
    order: Sequence[str] = (),
) -> None:
    """Write a frame as the whole content of a path or table.

    The rows are written beside their place and then put into it; a failed write leaves the old ones. What readers
    see in that moment is in docs/writing.md.

    Args:
        frame: the rows.
        target: the path or the table.
        cancellation: of the caller who waits: once cancelled, nothing is put in place.
        overwrite: whether what is there may be replaced.
        sites: those that are read and written, which an error may be of.
        order: columns by which each file's rows are sorted, where they have them: keys first, then times.

    Raises:
        WriteError: something is there and may not be replaced, the source's own options would hide the rows from
            its readers, or the write failed.
        ReplacementError: it failed, and the old rows could not be put back; it says where they are.
        WriteCancelledError: the caller has given up.
    """
    what = f"saving to {target.describe()}"
    require_readable(target, what=what)
    with translate_client_errors(WriteError, what, "failed; nothing was changed", sites=sites):
        if target.location is not None:
            laid_out = _laid_out(frame, target.file_format, order)
            _save_path(laid_out, target, target.location, what, cancellation, overwrite=overwrite)
        else:
            _save_table(frame, target.table or "", what, cancellation, overwrite=overwrite)


def _laid_out(frame: DataFrame, file_format: str | None, order: Sequence[str]) -> DataFrame:
    """The rows sorted within each file, where the format keeps statistics of parts of a file.

    No rows change places between tasks for it.
    """
    if not order or file_format not in (None, "parquet", "orc"):
        return frame
    names = [name.lower() for name in frame.columns]
    columns = [
        field.name
        for wanted in dict.fromkeys(order)
        for field in frame.schema.fields
        if field.name == wanted and names.count(wanted.lower()) == 1 and isinstance(field.dataType, _ORDERED)
    ]
    return frame.sortWithinPartitions(*map(quoted, columns)) if columns else frame


def _save_path(
    frame: DataFrame,
    target: SourceSpec,
    location: Location,
    what: str,
    cancellation: Cancellation,
    *,
    overwrite: bool,
) -> None:
    exists = recover_and_look(location, what, overwrite=overwrite)
    if target.file_format in TABLE_FORMATS:  # their logs name files by their places: they must not be moved
        with committing_by_spark(cancellation, what):
            try:
                replace_table(frame, target, location)
            except BaseException:
                # Files that no log names would stand in the way of the next try. A log is another writer's.
                if not exists and not has_log(location):
                    remove(location)
                raise
        return
    require_utc_for(frame, target.file_format, what)
    file_format = target.file_format or "parquet"

    def write(new: Location) -> None:
        path = spark_path(frame.sparkSession, new, file_format)
        frame.write.format(file_format).options(**path.options(target.options)).mode("error").save(path.uri)

    put_whole(
        write,
        location,
        what,
        overwrite=overwrite,
        placing=cancellation.committing,
        clean_up=remove_with_stragglers,
    )


def _save_table(frame: DataFrame, table: str, what: str, cancellation: Cancellation, *, overwrite: bool) -> None:
    spark = frame.sparkSession
    exists = spark.catalog.tableExists(table)
    if exists and not overwrite:
        raise DatasetExistsError(f"{what}: the table exists already; allow_overwrite=True replaces it.")
    if exists:
        replace_catalog_table(frame, table, what, cancellation)
        return
    with committing_by_spark(cancellation, what):
        frame.write.mode("error").saveAsTable(table)


def export(
    frame: DataFrame,
    staging_location: str,
    router: Router,
    cancellation: Cancellation,
    *,
    order: Sequence[str] = (),
) -> list[str]:
    """Write a frame as Parquet files into a new folder of the staging location.

    Args:
        frame: the rows.
        staging_location: the folder that gets the new one.
        router: finds its site.
        cancellation: of the caller who waits: once cancelled, no file stays.
        order: as that of :func:`save`.

    Returns:
        The URIs of the files.

    Raises:
        WriteError: they could not be written.
        WriteCancelledError: the caller has given up.
    """
    staging = router.locate(staging_location, what="offline_store.staging_location", configured=True)
    folder = staging.child(f"export-{uuid.uuid4().hex}")
    with translate_client_errors(WriteError, f"exporting to {folder}", "failed", sites=[*router.sites, folder.site]):
        staging.exists()  # a lake that does not answer is found sooner from here than by Spark's writer
        path = spark_path(frame.sparkSession, folder, "parquet")
        try:
            laid_out = _laid_out(frame, None, order)
            laid_out.write.options(**path.settings).mode("error").parquet(path.uri)
            with cancellation.committing():
                entries = folder.fs.ls(folder.path, detail=False)
        except BaseException:
            remove_with_stragglers(folder)
            raise
    names = sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
    return [str(folder.child(name)) for name in names if name.endswith(".parquet")]
