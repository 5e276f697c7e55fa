"""Saved datasets: the whole content of a path or table, put there or replaced."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING

from feast.errors import SavedDatasetLocationAlreadyExists

from feast_hybrid.errors import HybridError, WriteError
from feast_hybrid.reading import where_is
from feast_hybrid.session import rename
from feast_hybrid.sites import parse_uri
from feast_hybrid.spark_errors import first_line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.sites import LakeUri, Router, Site
    from feast_hybrid.source import HybridSparkSource


class DatasetExistsError(WriteError, SavedDatasetLocationAlreadyExists):
    """Something is where a saved dataset should go, and may not be replaced."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


logger = logging.getLogger(__name__)

#: Seconds after which the tasks of a failed job have ended.
_LAST_TASKS = 2.0


def save(frame: DataFrame, target: HybridSparkSource, router: Router, *, overwrite: bool) -> None:
    """Write a frame as the whole content of a path or table.

    A path is written beside its place and then renamed into it, so that a reader sees the old rows or the new
    ones, never a part; a failed write leaves the old ones.

    Raises:
        WriteError: something is there and may not be replaced, or the write failed.
    """
    what = f"saving to {where_is(target, router)}"
    if target.table is not None:
        _save_table(frame, target.table, what, overwrite=overwrite)
        return
    assert target.path is not None
    at = parse_uri(target.path)
    site = router.route(at)
    filesystem = site.filesystem(at)
    exists = bool(filesystem.exists(site.fsspec_path(at)))
    if exists and not overwrite:
        raise DatasetExistsError(f"{what}: something is there already; allow_overwrite=True replaces it.")
    aside = at.parent().child(f".{at.name}.{uuid.uuid4().hex[:12]}.writing")
    try:
        writer = frame.write.format(target.file_format or "parquet").mode("errorifexists")
        writer.options(**target.options).options(**site.hadoop_options()).save(str(aside))
        _swap(frame, aside, at, site, exists=exists)
    except BaseException as error:
        _remove(site, aside)
        # Tasks that were running when one failed, or when the job was cancelled, may write a moment longer.
        time.sleep(_LAST_TASKS)
        _remove(site, aside)
        if isinstance(error, HybridError) or not isinstance(error, Exception):
            raise
        raise WriteError(f"{what} failed, nothing was changed: {first_line(str(error))}") from error


def _swap(frame: DataFrame, aside: LakeUri, at: LakeUri, site: Site, *, exists: bool) -> None:
    """Put the new folder in the place of the old one; put the old one back if that fails."""
    spark = frame.sparkSession
    if not exists:
        rename(spark, aside, at, site)
        return
    old = at.parent().child(f".{at.name}.{uuid.uuid4().hex[:12]}.replaced")
    rename(spark, at, old, site)
    try:
        rename(spark, aside, at, site)
    except BaseException:
        rename(spark, old, at, site)
        raise
    _remove(site, old)


def _remove(site: Site, at: LakeUri) -> None:
    filesystem = site.filesystem(at)
    path = site.fsspec_path(at)
    try:
        if filesystem.exists(path):
            filesystem.rm(path, recursive=True)
    except Exception as error:
        # The rows are in their place; what is left behind is hidden from readers and may be deleted by hand.
        logger.warning("%s could not be removed: %s", at, first_line(str(error)))


def _save_table(frame: DataFrame, table: str, what: str, *, overwrite: bool) -> None:
    spark = frame.sparkSession
    if spark.catalog.tableExists(table) and not overwrite:
        raise DatasetExistsError(f"{what}: the table exists already; allow_overwrite=True replaces it.")
    try:
        frame.write.mode("overwrite" if overwrite else "errorifexists").saveAsTable(table)
    except Exception as error:
        raise WriteError(f"{what} failed: {first_line(str(error))}") from error
