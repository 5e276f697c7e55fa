"""How much there is to read of a view, and what the entity rows leave of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.asof.columnar.eligibility import Eligible, key_names
from feast_hybrid.asof.columnar.file_columns import name_in_file

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.spec import KeyFilter, ViewSpec
    from feast_hybrid.asof.scan import Scan, ScanFile

#: Bytes of a value whose type has no fixed width, at the least.
_VARIABLE_WIDTH = 16


@dataclass(frozen=True)
class ScanEstimate:
    """What is to be read of a view, estimated from the sizes of its files and one footer.

    Args:
        rows: How many rows there are.
        read_bytes: Bytes of the needed columns in the files.
        memory_bytes: Bytes of the needed columns in memory.
        column_share: Which share of the files' bytes the needed columns are, from 0 to 1.
    """

    rows: int
    read_bytes: int
    memory_bytes: int
    column_share: float

    def scaled(self, factor: float) -> ScanEstimate:
        """Of a share of the files."""
        return ScanEstimate(
            int(self.rows * factor),
            int(self.read_bytes * factor),
            int(self.memory_bytes * factor),
            self.column_share,
        )


@dataclass(frozen=True, eq=False)
class ColumnarView:
    """A view that is joined by columns.

    Args:
        view: What is known of it.
        spec: What tasks get of it.
        files: Those of its files that are read.
        estimate: How much that is.
    """

    view: Eligible
    spec: ViewSpec
    files: tuple[ScanFile, ...]
    estimate: ScanEstimate

    @property
    def scan(self) -> Scan:
        """All its files, and how they are opened."""
        return self.view.scan

    @property
    def key_names(self) -> tuple[str, ...]:
        """The entity rows' key columns, in our order."""
        return key_names(self.view.history)


def estimate_view(view: Eligible) -> ColumnarView:
    """The whole view, with what is to be read of it; opens the largest file.

    Raises:
        Exception: Whatever the file system or pyarrow raises where the file cannot be read.
    """
    return ColumnarView(view, view.spec, view.scan.files, estimate_scan(view.scan, view.spec))


def estimate_scan(scan: Scan, view: ViewSpec) -> ScanEstimate:
    """Estimate what is to be read; opens the largest file.

    Raises:
        Exception: Whatever the file system or pyarrow raises where the file cannot be read.
    """
    if not scan.files:
        return ScanEstimate(0, 0, 0, 1.0)
    largest = max(scan.files, key=lambda file: file.size)
    source = scan.open(largest.path)
    try:
        with pq.ParquetFile(source) as file:
            footer = file.metadata
            names = [file.schema.column(n).path.split(".")[0].lower() for n in range(len(file.schema))]
    finally:
        if hasattr(source, "close"):
            source.close()
    wanted = {
        name_in_file(column.name, largest.stored).lower()
        for column in view.columns
        if column.name not in largest.partitions
    }
    leaves = [n for n, name in enumerate(names) if name in wanted]
    compressed = uncompressed = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for n in leaves:
            column = group.column(n)
            compressed += column.total_compressed_size
            uncompressed += column.total_uncompressed_size
    scale = scan.size / max(largest.size, 1)
    row_width = sum(value_width(field.type) for field in view.block_schema())
    # Text and lists may be shorter in the file than in memory, where it holds each distinct value once.
    memory = max(row_width * footer.num_rows, uncompressed)
    share = min(1.0, compressed / max(largest.size, 1))
    return ScanEstimate(int(footer.num_rows * scale), int(compressed * scale), int(memory * scale), share)


def value_width(data_type: pa.DataType) -> int:
    """About how many bytes a value takes in memory."""
    try:
        return max(1, int(data_type.bit_width) // 8)
    except ValueError:
        return _VARIABLE_WIDTH


def with_pushdown(
    view: ColumnarView,
    *,
    low: int | None,
    high: int | None,
    key_filter: KeyFilter | None,
    entity_keys: EntityKeys | None,
) -> ColumnarView:
    """The view without what the entity rows rule out: files, times, keys, rows that match none of them.

    Args:
        view: All of it.
        low: The first time of the entity rows in microseconds, where it is known.
        high: Their last time.
        key_filter: Their keys.
        entity_keys: Their keys and times.
    """
    # Without a ttl, a row of any age can be a match.
    oldest = None if low is None or view.spec.ttl is None else max(low - view.spec.ttl, -(2**63))
    spec = replace(view.spec, low=oldest, high=high, key_filter=key_filter, entity_keys=entity_keys)
    if view.scan.within is None or (oldest is None and high is None):
        return replace(view, spec=spec)
    files = view.scan.within(oldest, high)
    share = sum(file.size for file in files) / max(view.scan.size, 1)
    return replace(view, spec=spec, files=files, estimate=view.estimate.scaled(share))
