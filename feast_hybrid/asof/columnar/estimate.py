"""How much there is to read of a view, and what the entity rows leave of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.arrow.orc_footer import OrcFooter, open_for_footer
from feast_hybrid.arrow.orc_statistics import memory_bytes, stripe_bytes
from feast_hybrid.asof.columnar.file_columns import FileNames

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.spec import KeyFilter, ViewSpec
    from feast_hybrid.asof.scan import Scan, ScanFile

#: Bytes of a value whose type has no fixed width, at the least.
_VARIABLE_WIDTH = 16

#: Bytes in memory of a part that is read at once, at the most: a task may hold several times as many.
MAX_PART_BYTES = 768 << 20


@dataclass(frozen=True)
class ScanEstimate:
    """What is to be read of a view, estimated from the sizes of its files and one footer.

    Args:
        rows: How many rows there are.
        read_bytes: Bytes of the needed columns in the files.
        memory_bytes: Bytes of the needed columns in memory.
        column_share: Which share of the files' bytes the needed columns are, from 0 to 1.
        part_bytes: Bytes in memory of the largest part that is read at once, where parts may be of any size.
        rows_are_guessed: Whether no footer was read, and the rows are guessed from the size of the files.
    """

    rows: int
    read_bytes: int
    memory_bytes: int
    column_share: float
    part_bytes: int = 0
    rows_are_guessed: bool = False

    def scaled(self, factor: float) -> ScanEstimate:
        """Of a share of the files."""
        return ScanEstimate(
            int(self.rows * factor),
            int(self.read_bytes * factor),
            int(self.memory_bytes * factor),
            self.column_share,
            self.part_bytes,
            self.rows_are_guessed,
        )


def estimate_scan(scan: Scan, view: ViewSpec) -> ScanEstimate:
    """Estimate what is to be read; opens the largest file.

    Raises:
        Exception: Whatever the file system or pyarrow raises where the file cannot be read.
    """
    if not scan.files:
        return ScanEstimate(0, 0, 0, 1.0)
    largest = max(scan.files, key=lambda file: file.size)

    def wanted(names: Sequence[str] | pa.Schema) -> set[str]:
        """The file's columns that are read."""
        in_file = FileNames(names, largest.stored)
        columns = [column.name for column in view.columns if column.name not in largest.partitions]
        return {found for name in columns for found in in_file.of(name)}

    source = scan.open(largest.path)
    try:
        found = _of_orc(source, wanted) if scan.file_format == "orc" else _of_parquet(source, wanted)
    finally:
        if hasattr(source, "close"):
            source.close()
    scale = scan.size / max(largest.size, 1)
    row_width = sum(value_width(field.type) for field in view.block_schema())
    # Text and lists may be shorter in the file than in memory, where it holds each distinct value once.
    memory = max(row_width * found.rows, found.memory_bytes)
    share = min(1.0, found.read_bytes / max(largest.size, 1))
    return ScanEstimate(
        int(found.rows * scale), int(found.read_bytes * scale), int(memory * scale), share, found.part_bytes
    )


class _OfFile(NamedTuple):
    """Of one file: its rows, and of the wanted columns the bytes in it, and in memory, and of a part read at once."""

    rows: int
    read_bytes: int
    memory_bytes: int
    part_bytes: int = 0


def _of_parquet(source: Any, wanted: Callable[[Sequence[str] | pa.Schema], set[str]]) -> _OfFile:
    with pq.ParquetFile(source) as file:
        footer = file.metadata
        names = wanted(file.schema_arrow)
        firsts = {name.split(".")[0] for name in names}  # a name may have dots, as a leaf's path has
        leaves = [n for n in range(len(file.schema)) if file.schema.column(n).path.split(".")[0] in firsts]
    compressed = uncompressed = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for n in leaves:
            column = group.column(n)
            compressed += column.total_compressed_size
            uncompressed += column.total_uncompressed_size
    return _OfFile(footer.num_rows, compressed, uncompressed)


def _of_orc(source: Any, wanted: Callable[[Sequence[str] | pa.Schema], set[str]]) -> _OfFile:
    with open_for_footer(source) as file:
        footer = OrcFooter(file)
        if not footer.stripes:
            return _OfFile(0, 0, 0)
        found = wanted(list(footer.types[0].fieldNames))
        columns = [name for name in footer.types[0].fieldNames if name in found]
        largest = max(footer.stripes, key=lambda stripe: stripe.rows)
        needed, total = stripe_bytes(footer, columns, largest)
    data = sum(stripe.data_bytes for stripe in footer.stripes)
    memory = memory_bytes(footer, columns)
    part = memory * largest.rows // max(footer.rows, 1)
    return _OfFile(footer.rows, int(data * needed / max(total, 1)), memory, part)


def value_width(data_type: pa.DataType) -> int:
    """About how many bytes a value takes in memory."""
    try:
        return max(1, int(data_type.bit_width) // 8)
    except ValueError:
        return _VARIABLE_WIDTH


def pushed_down(
    spec: ViewSpec,
    scan: Scan,
    *,
    low: int | None,
    high: int | None,
    key_filter: KeyFilter | None,
    entity_keys: EntityKeys | None,
) -> tuple[ViewSpec, tuple[ScanFile, ...]]:
    """What is left to read of a view, once the entity rows have ruled out what they can.

    Args:
        spec: The view's.
        scan: All its files.
        low: The first time of the entity rows in microseconds, where it is known.
        high: Their last time.
        key_filter: Their keys.
        entity_keys: Their keys and times.
    """
    oldest = oldest_wanted(low, spec.ttl)
    spec = replace(spec, low=oldest, high=high, key_filter=key_filter, entity_keys=entity_keys)
    bounded = scan.within is not None and (oldest is not None or high is not None)
    return spec, scan.within(oldest, high) if bounded and scan.within is not None else scan.files


def oldest_wanted(low: int | None, ttl: int | None) -> int | None:
    """The time of the oldest row that can be a match; None for any: so it is without a ttl.

    Args:
        low: The first time of the entity rows in microseconds, where it is known.
        ttl: Microseconds, or None.
    """
    return None if low is None or ttl is None else max(low - ttl, -(2**63))
