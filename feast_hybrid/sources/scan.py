"""A source's files, for readers that read them without Spark's: which files, and how tasks open them."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

from feast_hybrid.arrow.utc import from_epoch_micros
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.time_range import may_be_within, partition_bounds
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import DataType

    from feast_hybrid.files.resolved import ResolvedSchema
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

    def within(low: datetime | None, high: datetime | None) -> tuple[ScanFile, ...]:
        first, last = partition_bounds(source, partition_types, low, high)
        return tuple(
            ScanFile(
                file.path,
                file.version.size,
                file.partitions,
                file.version.without_inode() if location.lake is LakeType.LOCAL else file.version,
            )
            for file in resolved.files
            if may_be_within(file.partitions.get(day), first, last, source.date_partition_format)
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
        version=site_opener.version,
        file_format=source.file_format or "parquet",
        where=f"site {site.name!r}",
        check=CanOpen(opener, files[0].path) if files else None,
        within=within_micros if day in partition_types else None,
    )


def _as_datetime(micros: int | None) -> datetime | None:
    """The instant; None for None, and where a datetime cannot hold it."""
    try:
        return None if micros is None else from_epoch_micros(micros)
    except OverflowError:
        return None
