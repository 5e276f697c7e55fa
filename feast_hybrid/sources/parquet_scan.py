"""A source's files, for joins that read Parquet without Spark's reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import from_epoch_micros
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.listing import data_files
from feast_hybrid.files.partitions import typed_value
from feast_hybrid.lakes import Lake
from feast_hybrid.sources.time_range import partition_bounds
from feast_hybrid.spark.kind import tasks_run_here

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
    kinds = {field.name: field.dataType for field in frame.schema.fields}
    low, high = partition_bounds(source, kinds, start, end)
    part = source.date_partition_column or ""

    def wanted(values: Mapping[str, str | None]) -> bool:
        if part not in values or (low is None and high is None):
            return True
        return _in_range(_typed(part, values[part], kinds), low, high)

    try:
        files = _files(location, wanted, kinds)
    except SchemaError as error:
        return Ineligible(str(error))
    except Exception as error:
        # Spark's reader will say what is wrong, in its own time; this text may hold what the file system was given.
        return Ineligible(f"site {site.name!r} cannot be listed: {type(error).__name__}")
    from feast_hybrid.lakes.opener import CanOpen, SiteOpener

    # Tasks that run here need no site for what is on this disk. For all else they are asked: a secret may be
    # missing in workers on this machine too, which have the environment that Spark was started in.
    here = location.lake is Lake.LOCAL and tasks_run_here(frame.sparkSession)
    opener = os.fspath if here else SiteOpener(location)
    check = None if here or not files else CanOpen(opener, files[0].path)

    def within(first: int | None, last: int | None) -> tuple[ScanFile, ...]:
        least, most = partition_bounds(source, kinds, _time(first), _time(last))

        return tuple(file for file in files if _in_range(file.partitions.get(part), least, most))

    return Scan(
        files=files,
        open=opener,
        where=f"site {site.name!r}",
        check=check,
        within=within if part in kinds else None,
    )


def _in_range(value: Any, low: Any, high: Any) -> bool:
    """A null says nothing of the rows' times, so they may be any."""
    return value is None or ((low is None or value >= low) and (high is None or value <= high))


def _time(micros: int | None) -> datetime | None:
    """None too where a datetime cannot hold it."""
    try:
        return None if micros is None else from_epoch_micros(micros)
    except OverflowError:
        return None


def _files(location: Location, wanted: Any, kinds: Mapping[str, DataType]) -> tuple[ScanFile, ...]:
    found = data_files(location, wanted=wanted)
    return tuple(
        ScanFile(
            file.path,
            file.size,
            {_own(name, kinds): _typed(name, text, kinds) for name, text in file.partitions.items()},
        )
        for file in found
    )


def _own(name: str, kinds: Mapping[str, DataType]) -> str:
    """The frame's name for a partition column."""
    if name in kinds:
        return name
    for column in kinds:
        if column.lower() == name.lower():
            return column
    raise SchemaError(f"the frame has no column {name!r}, by which the files are partitioned")


def _typed(name: str, text: str | None, kinds: Mapping[str, DataType]) -> Any:
    """A partition's value in the type that the frame's column has."""
    return typed_value(name, text, kinds[_own(name, kinds)].simpleString())
