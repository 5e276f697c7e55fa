"""A source's files, for readers that read them without Spark's: which files, and how tasks open them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from feast_hybrid.arrow.names import find_name
from feast_hybrid.arrow.utc import as_utc, datetime_of, to_epoch_micros
from feast_hybrid.asof import Ineligible, Scan, ScanFile
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.opener import CanOpen, SiteOpener
from feast_hybrid.sources.time_range import may_be_within, partition_bounds

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.files.resolved import ResolvedFile, ResolvedSchema, StoredColumn
    from feast_hybrid.lakes import Location
    from feast_hybrid.lakes.versions import FileVersion
    from feast_hybrid.sources.spec import SourceSpec


def scan_of(
    source: SourceSpec,
    resolved: ResolvedSchema,
    start: datetime | None,
    end: datetime | None,
    *,
    tasks_run_here: bool | None,
) -> Scan | Ineligible:
    """The files of a source, or why tasks cannot read them.

    Args:
        source: where the rows are: a path.
        resolved: its files.
        start: no earlier rows are wanted: partitions by date that hold none are left out.
        end: nor later ones.
        tasks_run_here: whether tasks find the files of this process; None where this process itself reads, so that
            nothing is sent elsewhere.
    """
    assert source.location is not None
    file_format = source.file_format or "parquet"
    partitioned = set(resolved.partition_columns)
    partition_types = {column.name: column.data_type for column in resolved.columns if column.name in partitioned}
    return scan_of_files(
        source,
        source.location,
        resolved.files,
        file_format,
        partition_types,
        (start, end),
        tasks_run_here=tasks_run_here,
        log=None if resolved.stored is None else LogKnowledge(resolved.stored, _timed_column(source, resolved)),
    )


class LogKnowledge(NamedTuple):
    """What a table's log says of its files.

    Attributes:
        stored: how they call the table's columns.
        timed: how they call the event time, where the log may say between which times their rows are.
    """

    stored: Mapping[str, StoredColumn]
    timed: str | None


def scan_of_files(
    source: SourceSpec,
    location: Location,
    found: Sequence[ResolvedFile],
    file_format: str,
    partition_types: Mapping[str, pa.DataType | None],
    between: tuple[datetime | None, datetime | None],
    *,
    tasks_run_here: bool | None,
    log: LogKnowledge | None = None,
) -> Scan | Ineligible:
    """A scan of files, wherever their list comes from, or why tasks cannot read them.

    Args:
        source: says which column partitions the rows by date, if one does.
        location: any on the files' site.
        found: the files, each with the values of its partition columns in the frame's types.
        file_format: ``parquet`` or ``orc``.
        partition_types: of the partition columns, as the frame has them, in Arrow.
        between: no earlier and no later rows are wanted: partitions by date that hold none are left out.
        tasks_run_here: whether tasks find the files of this process; None where this process itself reads, so that
            nothing is sent elsewhere.
        log: what a table's log says of the files; None for files that none names.
    """
    site = location.site
    if tasks_run_here is not None and not site.credential.safe_to_pickle:
        return Ineligible(f"site {site.name!r} has its secret as text, which is not sent to executors")
    day = find_name(source.date_partition_column or "", list(partition_types)) or ""
    source = replace(source, date_partition_column=day)
    stored, timed = (None, None) if log is None else (log.stored, log.timed)

    def within(low: datetime | None, high: datetime | None) -> tuple[ScanFile, ...]:
        first, last = partition_bounds(source, partition_types, low, high)
        return tuple(
            ScanFile(
                file.path,
                file.version.size,
                file.partitions,
                _listed_version(file, location, is_logged=stored is not None),
                stored,
                file.deleted,
            )
            for file in found
            if may_be_within(file.partitions.get(day), first, last, source.date_partition_format)
            and _may_hold(file, timed, low, high)
        )

    def within_micros(low: int | None, high: int | None) -> tuple[ScanFile, ...]:
        paths = {file.path for file in within(datetime_of(low), datetime_of(high))}
        return tuple(file for file in files if file.path in paths)

    # Tasks that run here need no site for what is on this disk. They are asked all the same: their Python may lack
    # this package, and a secret may be missing in the environment that Spark was started in.
    files = within(*between)
    on_this_disk = location.lake is LakeType.LOCAL and tasks_run_here is not False
    site_opener = SiteOpener.of(location)
    opener = os.fspath if on_this_disk else site_opener
    return Scan(
        files=files,
        open=opener,
        version=site_opener.version if stored is None else site_opener.size,
        file_format=file_format,
        where=f"site {site.name!r}",
        check=CanOpen(opener, files[0].path) if files else None,
        is_far=location.lake is not LakeType.LOCAL,
        within=within_micros if day in partition_types or timed is not None else None,
    )


def _listed_version(file: ResolvedFile, location: Location, *, is_logged: bool) -> FileVersion:
    """The version of a file that was listed, or what a table's log knows of it."""
    if is_logged:
        return file.version
    return file.version.without_inode() if location.lake is LakeType.LOCAL else file.version


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
    bounds = None if file.times is None else file.times.between(timed)
    if bounds is None:
        return True
    first, last = bounds
    return (low is None or last >= to_epoch_micros(as_utc(low))) and (
        high is None or first <= to_epoch_micros(as_utc(high))
    )


def renamed_scan(scan: Scan, names: Mapping[str, str | None]) -> Scan:
    """A scan whose partition columns have the frame's new names; files' own columns are looked for by the rule."""
    files = {
        file.path: replace(file, partitions={names.get(key) or key: value for key, value in file.partitions.items()})
        for file in scan.files
    }
    within = scan.within

    def renamed_within(low: int | None, high: int | None) -> tuple[ScanFile, ...]:
        assert within is not None
        return tuple(files[file.path] for file in within(low, high))

    return replace(scan, files=tuple(files.values()), within=None if within is None else renamed_within)
