"""Saved datasets, the whole content of a path or table, put there or replaced; and results exported as files."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.lakes.errors import redacted_summary
from feast_hybrid.lakes.replace import aside, put_in_place, recover, remove
from feast_hybrid.sources.reader import where_is
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.writing.catalog_tables import replace_catalog_table
from feast_hybrid.writing.table_formats import has_log, replace_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.data_source import HybridSparkSource

#: Seconds after which the tasks of a failed job have ended.
_LAST_TASKS = 2.0


class DatasetExistsError(WriteError, SavedDatasetLocationAlreadyExists):
    """Something is where a saved dataset should go, and may not be replaced."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


def save(frame: DataFrame, target: HybridSparkSource, router: Router, *, overwrite: bool) -> None:
    """Write a frame as the whole content of a path or table.

    The rows are written beside their place and then put into it; a failed write leaves the old ones. What readers
    see in that moment is in docs/writing.md.

    Raises:
        WriteError: something is there and may not be replaced, or the write failed.
    """
    what = f"saving to {where_is(target, router)}"
    try:
        if target.table is not None:
            _save_table(frame, target.table, what, overwrite=overwrite)
        else:
            _save_path(frame, target, router, what, overwrite=overwrite)
    except HybridError:
        raise
    except Exception as error:
        raise WriteError(f"{what} failed, nothing was changed: {redacted_summary(str(error))}") from error


def _save_path(frame: DataFrame, target: HybridSparkSource, router: Router, what: str, *, overwrite: bool) -> None:
    assert target.path is not None
    location = router.locate(target.path)
    recover(location)
    exists = location.exists()
    taken = DatasetExistsError(f"{what}: something is there already; allow_overwrite=True replaces it.")
    if exists and not overwrite:
        raise taken
    if target.file_format in TABLE_FORMATS:  # their logs name files by their places: they must not be moved
        try:
            replace_table(frame, target, location)
        except BaseException:
            # Files that no log names would stand in the way of the next try. A log is another writer's.
            if not exists and not has_log(location):
                remove(location)
            raise
        return
    writer = frame.write.format(target.file_format or "parquet").options(**target.options)
    writer = writer.options(**location.hadoop_options)
    new = aside(location)
    try:
        writer.mode("error").save(str(new))
        put_in_place(new, location, overwrite=overwrite)
    except BaseException as error:
        remove(new)
        if isinstance(error, FileExistsError) and not overwrite:
            raise taken from error
        # Tasks that were running when one failed, or when the job was cancelled, may write a moment longer.
        time.sleep(_LAST_TASKS)
        remove(new)
        raise
    remove(new)


def _save_table(frame: DataFrame, table: str, what: str, *, overwrite: bool) -> None:
    spark = frame.sparkSession
    exists = spark.catalog.tableExists(table)
    if exists and not overwrite:
        raise DatasetExistsError(f"{what}: the table exists already; allow_overwrite=True replaces it.")
    if not exists:
        frame.write.mode("error").saveAsTable(table)
    else:
        replace_catalog_table(frame, table, what)


def export(frame: DataFrame, staging_location: str, router: Router) -> list[str]:
    """Write a frame as Parquet files into a new folder of the staging location.

    Returns:
        The URIs of the files.

    Raises:
        WriteError: they could not be written.
    """
    staging = router.locate(staging_location, what="offline_store.staging_location")
    folder = staging.child(f"export-{uuid.uuid4().hex}")
    try:
        frame.write.options(**folder.hadoop_options).mode("error").parquet(str(folder))
        entries = folder.fs.ls(folder.path, detail=False)
    except Exception as error:
        remove(folder)
        raise WriteError(f"exporting to {folder} failed: {redacted_summary(str(error))}") from error
    names = sorted(str(entry).rstrip("/").rpartition("/")[2] for entry in entries)
    return [str(folder.child(name)) for name in names if name.endswith(".parquet")]
