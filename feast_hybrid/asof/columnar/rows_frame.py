"""A frame of files' rows that this package's own reader reads in Spark's tasks."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from pyspark.sql.types import StructField, StructType

from feast_hybrid.asof.columnar.read_rows import ReadRows
from feast_hybrid.asof.columnar.spec import rows_spec
from feast_hybrid.asof.columnar.splits import MAX_SPLIT_BYTES, pack_tasks, split_file

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof.columnar.spec import FileSplit, SourceColumn
    from feast_hybrid.asof.scan import Scan


def rows_frame(
    session: SparkSession,
    scan: Scan,
    columns: Sequence[tuple[StructField, SourceColumn]],
    *,
    required: Collection[str],
    timestamp: str | None,
    low: int | None = None,
    high: int | None = None,
    what: str,
) -> DataFrame:
    """The rows of a scan's files, lazily.

    Args:
        session: Reads them.
        scan: The files.
        columns: Of the frame, as Spark and as Arrow have them; one or more.
        required: Those that each file has to have.
        timestamp: The column by which row groups are left out.
        low: No earlier microsecond is wanted; row groups that hold later ones too are read whole.
        high: Nor a later one.
        what: Names the source and its place, for errors.
    """
    by_name = {column.name: column for _, column in columns}
    view = rows_spec(tuple(by_name.values()), by_name.get(timestamp or ""), low, high, what=what)
    tasks = pack_tasks(_splits(scan), MAX_SPLIT_BYTES)
    read = ReadRows(tasks, view, frozenset(required))
    schema = StructType([field for field, _ in columns])
    return session.range(0, len(tasks), 1, max(1, len(tasks))).mapInArrow(read, schema)


def _splits(scan: Scan) -> Iterator[tuple[FileSplit, float]]:
    """Each file in ranges, and of how many bytes each is."""
    for file in scan.files:
        count = max(1, math.ceil(file.size / MAX_SPLIT_BYTES))
        for split in split_file(file, scan, count, view_id=0):
            yield split, split.end - split.start
