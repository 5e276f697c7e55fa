"""A source's files, for readers that read them without Spark's: which files, and how tasks open them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import datetime_of
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.time_range import partition_bounds
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

    from feast_hybrid.files.resolved import ResolvedFile, ResolvedSchema
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec


def scan_of(
    source: SourceSpec,
    resolved: ResolvedSchema,
    partition_types: Mapping[str, DataType],
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
    assert source.location is not None
    file_format = source.file_format or "parquet"
    return scan_of_files(source, source.location, resolved.files, file_format, partition_types, session, (start, end))


def scan_of_files(
    source: SourceSpec,
    location: Location,
    found: Sequence[ResolvedFile],
    file_format: str,
    partition_types: Mapping[str, DataType],
    session: SparkSession,
    between: tuple[datetime | None, datetime | None],
) -> Scan | Ineligible:
    """A scan of files, wherever their list comes from, or why tasks cannot read them.

    Args:
        source: says which column partitions the rows by date, if one does.
        location: any on the files' site.
        found: the files, each with the values of its partition columns in the frame's types.
        file_format: ``parquet`` or ``orc``.
        partition_types: of the partition columns, as the frame has them.
        session: whose tasks will read.
        between: no earlier and no later rows are wanted: partitions by date that hold none are left out.
    """
    site = location.site
    if not site.credential.safe_to_pickle:
        return Ineligible(f"site {site.name!r} has its secret as text, which is not sent to executors")
    day = source.date_partition_column or ""

    def within(low: datetime | None, high: datetime | None) -> tuple[ScanFile, ...]:
        first, last = partition_bounds(source, partition_types, low, high)
        return tuple(
            ScanFile(
                file.path,
                file.version.size,
                file.partitions,
                file.version.without_inode() if location.lake is LakeType.LOCAL else file.version,
            )
            for file in found
            if in_range(file.partitions.get(day), first, last)
        )

    def within_micros(low: int | None, high: int | None) -> tuple[ScanFile, ...]:
        paths = {file.path for file in within(datetime_of(low), datetime_of(high))}
        return tuple(file for file in files if file.path in paths)

    # Tasks that run here need no site for what is on this disk. They are asked all the same: their Python may lack
    # this package, and a secret may be missing in the environment that Spark was started in.
    files = within(*between)
    on_this_disk = location.lake is LakeType.LOCAL and tasks_run_here(session)
    site_opener = SiteOpener.of(location)
    opener = os.fspath if on_this_disk else site_opener
    return Scan(
        files=files,
        open=opener,
        version=site_opener.version,
        file_format=file_format,
        where=f"site {site.name!r}",
        check=CanOpen(opener, files[0].path) if files else None,
        within=within_micros if day in partition_types else None,
    )


def in_range(value: Any, low: Any, high: Any) -> bool:
    """Whether a date partition's value is within bounds; a null says nothing of the rows' times, so it may be."""
    return value is None or ((low is None or value >= low) and (high is None or value <= high))
