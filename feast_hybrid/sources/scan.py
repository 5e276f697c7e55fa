"""A source's files, for readers that read them without Spark's: which files, and how tasks open them."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import as_utc, from_epoch_micros, to_epoch_micros
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.files.delta_statistics import time_bounds
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.time_range import partition_bounds
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

    from feast_hybrid.files.resolved import ResolvedFile, ResolvedSchema
    from feast_hybrid.lakes import Location
    from feast_hybrid.lakes.versions import FileVersion
    from feast_hybrid.sources.spec import SourceSpec


def scan_of(
    source: SourceSpec,
    resolved: ResolvedSchema,
    partition_types: dict[str, DataType],
    session: SparkSession,
    start: datetime | None,
    end: datetime | None,
) -> Scan | Ineligible:
    """The files of a source, or why tasks cannot read them.

    Args:
        source: where the rows are: a path.
        resolved: its files.
        partition_types: of its partition columns, as the frame has them.
        session: whose tasks will read.
        start: no earlier rows are wanted: partitions by date that hold none are left out.
        end: nor later ones.
    """
    location = source.location
    assert location is not None
    site = location.site
    if not site.credential.safe_to_pickle:
        return Ineligible(f"site {site.name!r} has its secret as text, which is not sent to executors")
    day = source.date_partition_column or ""
    timed = _timed_column(source, resolved)

    def within(low: datetime | None, high: datetime | None) -> tuple[ScanFile, ...]:
        first, last = partition_bounds(source, partition_types, low, high)
        return tuple(
            ScanFile(
                file.path,
                file.version.size,
                file.partitions,
                _listed_version(file, location, resolved),
                resolved.stored,
                file.deleted,
            )
            for file in resolved.files
            if _in_range(file.partitions.get(day), first, last) and _may_hold(file, timed, low, high)
        )

    def within_micros(low: int | None, high: int | None) -> tuple[ScanFile, ...]:
        paths = {file.path for file in within(_as_datetime(low), _as_datetime(high))}
        return tuple(file for file in files if file.path in paths)

    # Tasks that run here need no site for what is on this disk. They are asked all the same: their Python may lack
    # this package, and a secret may be missing in the environment that Spark was started in.
    files = within(start, end)
    on_this_disk = location.lake is LakeType.LOCAL and tasks_run_here(session)
    site_opener = SiteOpener.of(location)
    opener = os.fspath if on_this_disk else site_opener
    return Scan(
        files=files,
        open=opener,
        version=site_opener.version if resolved.stored is None else site_opener.size,
        file_format=source.file_format or "parquet",
        where=f"site {site.name!r}",
        check=CanOpen(opener, files[0].path) if files else None,
        within=within_micros if day in partition_types or timed is not None else None,
    )


def _listed_version(file: ResolvedFile, location: Location, resolved: ResolvedSchema) -> FileVersion:
    """The version of a file that was listed, or what a table's log knows of it."""
    if resolved.stored is not None:
        return file.version
    return file.version.without_inode() if location.lake is LakeType.LOCAL else file.version


def _in_range(value: Any, low: Any, high: Any) -> bool:
    """A null says nothing of the rows' times, so they may be any."""
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


def _timed_column(source: SourceSpec, resolved: ResolvedSchema) -> str | None:
    """How the files of a table call the event time, whose log says when their rows are of; None for other files."""
    if resolved.stored is None or not source.timestamp_field:
        return None
    column = resolved.find(source.timestamp)
    return None if column is None else resolved.stored[column.name].name


def _may_hold(file: ResolvedFile, timed: str | None, low: datetime | None, high: datetime | None) -> bool:
    """Whether a file can hold rows between two times, by the statistics of its table's log."""
    if timed is None or (low is None and high is None):
        return True
    bounds = time_bounds(file.statistics, timed)
    if bounds is None:
        return True
    first, last = bounds
    return (low is None or last >= to_epoch_micros(as_utc(low))) and (
        high is None or first <= to_epoch_micros(as_utc(high))
    )


def _as_datetime(micros: int | None) -> datetime | None:
    """The instant; None for None, and where a datetime cannot hold it."""
    try:
        return None if micros is None else from_epoch_micros(micros)
    except OverflowError:
        return None
