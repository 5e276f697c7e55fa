"""A source's files, for joins that read Parquet without Spark's reader."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import from_epoch_micros
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.listing import list_files
from feast_hybrid.files.partitions import typed_value
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.time_range import partition_bounds
from feast_hybrid.spark.runtime import tasks_run_here

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import DataType

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec


def scan_of(source: SourceSpec, frame: DataFrame, start: datetime | None, end: datetime | None) -> Scan | Ineligible:
    """The files that a source's frame reads, or why they are not known.

    Lists folders, through fsspec; of partitions by date only those that can hold rows within the times.

    Args:
        source: where the rows are.
        frame: the source's frame, whose schema says the partition columns' types.
        start: no earlier rows are wanted.
        end: nor later ones.
    """
    location = source.location
    if location is None:
        return Ineligible("a table or query: its files are Spark's to know")
    if source.file_format != "parquet":
        return Ineligible(f"its files are {source.file_format}")
    if source.options:
        return Ineligible("reader options, which are Spark's to follow")
    site = location.site
    if not site.credential.safe_to_pickle:
        return Ineligible(f"site {site.name!r} has its secret as text, which is not sent to executors")
    types = {field.name: field.dataType for field in frame.schema.fields}
    day = source.date_partition_column or ""
    low, high = partition_bounds(source, types, start, end)

    def can_hold_rows(folder_values: Mapping[str, str | None]) -> bool:
        if day not in folder_values or (low is None and high is None):
            return True
        return _in_range(_typed(day, folder_values[day], types), low, high)

    try:
        files = _files(location, can_hold_rows, types)
    except SchemaError as error:
        return Ineligible(str(error))
    except Exception as error:
        # Spark's reader will say what is wrong, in its own time; this text may hold what the file system was given.
        return Ineligible(f"site {site.name!r} cannot be listed: {type(error).__name__}")
    # Tasks that run here need no site for what is on this disk. They are asked all the same: their Python may lack
    # this package, and a secret may be missing in the environment that Spark was started in.
    on_this_disk = location.lake is LakeType.LOCAL and tasks_run_here(frame.sparkSession)
    opener = os.fspath if on_this_disk else SiteOpener(location)
    check = CanOpen(opener, files[0].path) if files else None

    def files_within(first_micros: int | None, last_micros: int | None) -> tuple[ScanFile, ...]:
        first, last = partition_bounds(source, types, _as_datetime(first_micros), _as_datetime(last_micros))
        return tuple(file for file in files if _in_range(file.partitions.get(day), first, last))

    return Scan(
        files=files,
        open=opener,
        where=f"site {site.name!r}",
        check=check,
        within=files_within if day in types else None,
    )


def _in_range(value: Any, low: Any, high: Any) -> bool:
    """A null says nothing of the rows' times, so they may be any."""
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


def _as_datetime(micros: int | None) -> datetime | None:
    """The instant; None for None, and where a datetime cannot hold it."""
    try:
        return None if micros is None else from_epoch_micros(micros)
    except OverflowError:
        return None


def _files(
    location: Location, can_hold_rows: Callable[[Mapping[str, str | None]], bool], types: Mapping[str, DataType]
) -> tuple[ScanFile, ...]:
    listing = list_files(location, wanted=can_hold_rows)
    if listing.only_ours is not None:
        raise SchemaError(listing.only_ours)
    return tuple(
        ScanFile(
            file.path,
            file.size,
            {_column(name, types): _typed(name, text, types) for name, text in file.partitions.items()},
        )
        for file in listing.files
    )


def _column(name: str, types: Mapping[str, DataType]) -> str:
    """The frame's name for a partition column."""
    if name in types:
        return name
    for column in types:
        if column.lower() == name.lower():
            return column
    raise SchemaError(f"the frame has no column {name!r}, by which the files are partitioned")


def _typed(name: str, text: str | None, types: Mapping[str, DataType]) -> Any:
    """A partition's value in the type that the frame's column has."""
    return typed_value(name, text, types[_column(name, types)].simpleString())
