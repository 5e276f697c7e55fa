"""How the Parquet files that we write are laid out, so that readers can pass over what they do not need."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feast_hybrid.arrow.names import positions_of

#: Rows of a row group: what is passed over at once, by the statistics of its keys and times.
ROW_GROUP_ROWS = 128 * 1024
#: So many bytes of rows can be sorted: Arrow may put a column of text into one array for it, with offsets of 32 bits.
SORTED_BYTES = 2**31 - 1

_COMPRESSION = "zstd"
#: An option of Parquet's writer, and how it names the version whose encodings all readers know.
_WRITER_VERSION, _FIRST_VERSION = "parquet.writer.version", ("v1", "parquet_1_0")
#: The options of a source that say how its files are written.
WRITER_OPTIONS = frozenset({"compression", _WRITER_VERSION})
#: Times of which each value stands so often, or more often, are written by a dictionary: it is smaller then.
_REPEATS = 8


def sort_columns(schema: pa.Schema, wanted: Iterable[str | None]) -> tuple[str, ...]:
    """Those of some columns by which rows can be sorted, in their order: keys first, then times.

    Args:
        schema: of the rows.
        wanted: names; one that the rows have not, as it is in the names of folders, is left out.
    """
    found = [name for name in dict.fromkeys(filter(None, wanted)) if len(positions_of(name, schema.names)) == 1]
    names = [schema.names[positions_of(name, schema.names)[0]] for name in found]
    return tuple(dict.fromkeys(name for name in names if _has_order(schema.field(name).type)))


def _has_order(data_type: pa.DataType) -> bool:
    is_ = pa.types
    return bool(
        is_.is_integer(data_type)
        or is_.is_floating(data_type)
        or is_.is_decimal(data_type)
        or is_.is_temporal(data_type)
        or is_.is_string(data_type)
        or is_.is_large_string(data_type)
        or is_.is_binary(data_type)
        or is_.is_boolean(data_type)
    ) and not (is_.is_interval(data_type) or is_.is_duration(data_type) or is_.is_float16(data_type))


def sorted_rows(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """The rows in the order of some columns, nulls last."""
    if not columns or table.num_rows < 2:
        return table
    # By numbers: Arrow takes a name such as ".a" for a path.
    keys = pa.table({str(number): table.column(name) for number, name in enumerate(columns)})
    return table.take(pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names]))


def encoded(
    table: pa.Table,
    sorted_by: Sequence[str] = (),
    options: Mapping[str, str] = MappingProxyType({}),
    *,
    int96: bool = False,
    store_schema: bool = True,
) -> pa.Buffer:
    """A Parquet file of rows: statistics and a page index, in row groups that are small enough to pass over.

    Times are written as differences (``DELTA_BINARY_PACKED``): of a view sorted by keys that takes 60 % of the space
    of its keys and times, and of the time to read them, 40 % (docs/adr/0012).

    Args:
        table: the rows.
        sorted_by: what they are sorted by, as :func:`sorted_rows` does; the file says so.
        options: of the source that the file is for, of which :data:`WRITER_OPTIONS` count, in upper or lower case:
            a compression, as Spark's option names it, ours where there is none; and a first version of Parquet,
            whose readers do not know times that are differences.
        int96: whether times are written as INT96.
        store_schema: whether Arrow notes its own schema in the file.
    """
    given = {name.lower(): value.lower() for name, value in options.items()}
    codec = given.get("compression") or _COMPRESSION
    sink = pa.BufferOutputStream()
    in_parquet = _in_parquet(table.schema)
    paths = _paths(in_parquet)
    packed = _packed_times(table, paths) if not int96 and given.get(_WRITER_VERSION) not in _FIRST_VERSION else []
    pq.write_table(
        table,
        sink,
        use_dictionary=[path for path in paths if path not in packed] if packed else True,
        column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED") or None,
        compression="none" if codec == "uncompressed" else codec,
        row_group_size=ROW_GROUP_ROWS,
        write_page_index=True,
        sorting_columns=_sorting_columns(in_parquet, sorted_by) or None,
        use_deprecated_int96_timestamps=int96,
        store_schema=store_schema,
    )
    return sink.getvalue()


def _packed_times(table: pa.Table, paths: Sequence[str]) -> list[str]:
    """The columns of times that are smaller as differences than by a dictionary; ``paths`` are all in Parquet."""
    return [
        field.name
        for field, column in zip(table.schema, table.columns, strict=True)
        if pa.types.is_timestamp(field.type) and paths.count(field.name) == 1 and not _repeats(column)
    ]


def _repeats(column: pa.ChunkedArray) -> bool:
    sample = column.slice(0, ROW_GROUP_ROWS)
    return bool(pc.count_distinct(sample, mode="all").as_py() * _REPEATS <= len(sample))


def is_sorted_by(metadata: pq.FileMetaData, columns: Sequence[str]) -> bool:
    """Whether a file says of all its rows that they are sorted so."""
    places = _leaves(metadata.schema)
    if not all(name in places for name in columns):
        return False
    wanted = tuple(pq.SortingColumn(places[name]) for name in columns)
    return all(
        tuple(metadata.row_group(number).sorting_columns) == wanted for number in range(metadata.num_row_groups)
    )


def _sorting_columns(schema: pq.ParquetSchema, columns: Sequence[str]) -> list[pq.SortingColumn]:
    places = _leaves(schema)
    # The rows are sorted by the columns up to one whose place is not known, too.
    known = next((number for number, name in enumerate(columns) if name not in places), len(columns))
    return [pq.SortingColumn(places[name]) for name in columns[:known]]


def _in_parquet(schema: pa.Schema) -> pq.ParquetSchema:
    return pq.read_metadata(io.BytesIO(empty_file(schema))).schema


def _paths(schema: pq.ParquetSchema) -> list[str]:
    """The path of each column."""
    return [schema.column(place).path for place in range(len(schema))]


def empty_file(schema: pa.Schema, **options: Any) -> bytes:
    """A Parquet file without rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink, **options)
    return bytes(sink.getvalue().to_pybytes())


def _leaves(schema: pq.ParquetSchema) -> Mapping[str, int]:
    """The place of each column that is no other's part, and whose name is no other's path."""
    columns = [schema.column(place) for place in range(len(schema))]
    paths = [column.path for column in columns]
    return {
        column.path: place
        for place, column in enumerate(columns)
        if paths.count(column.path) == 1 and column.max_repetition_level == 0
    }
