"""Arrow rows appended to a Parquet folder by pyarrow and fsspec: no JVM, so it works in an executor too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.arrow.write_conversion import conformed, require_columns
from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.footers import Layout, parquet_layout
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.writing.naming import batch_name
from feast_hybrid.writing.partitions import dates_of, split, with_dates

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

_GLOB = frozenset("*?[{")


def append_parquet(
    table: pa.Table,
    source: SourceSpec,
    first_schema: Callable[[], pa.Schema],
    *,
    what: str,
    evolves: bool = False,
) -> None:
    """Add rows to the folder of a source, seen whole or not at all.

    Args:
        table: the rows, in the source's names.
        source: a path of Parquet files, or where there will be some.
        first_schema: the columns where there is no file yet, in the source's names.
        what: how an error names the rows and the place.
        evolves: whether the rows may have other columns than the first file.

    Raises:
        SchemaError: the rows do not fit what is there.
        WriteError: the lake refused them; nothing of them is there.
    """
    assert source.location is not None
    location = source.location
    if _GLOB & set(location.uri.path):
        raise WriteError(f"{what}: {location} is a pattern; rows are written to one folder.")
    name = batch_name(str(location))
    with translate_client_errors(WriteError, what, "failed; nothing was written", site=location.site):
        layout = _layout(location, what)
        if layout is None:
            schema = first_schema()
            partitions = tuple(filter(None, [source.date_partition_column]))
        else:
            schema = _merged(layout.schema, first_schema()) if evolves else layout.schema
            partitions = layout.partitions
        schema = in_microseconds(schema)
        partitioned = _partitioned(table, source, schema, partitions, what=what)
        files = {
            location.child(f"{folder}/{name.text}.parquet" if folder else f"{name.text}.parquet"): _encoded(
                rows, source.options, int96=layout is not None and layout.int96
            )
            for folder, rows in partitioned.items()
        }
        publish(files, replace=name.replaces)


def _layout(location: Location, what: str) -> Layout | None:
    path = location.path
    try:
        layout = parquet_layout(location.fs, path)
    except FileNotFoundError:
        return None
    if layout is not None and layout.file.rstrip("/").lstrip("/") == path.lstrip("/"):
        raise WriteError(f"{what}: {location} is one file; rows are added to a folder of files. Move it into one.")
    return layout


def _merged(there: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The wanted columns, in the types that they have there already."""
    import pyarrow as pa

    return pa.schema([there.field(field.name) if field.name in there.names else field for field in wanted])


def _partitioned(
    table: pa.Table, source: SourceSpec, schema: pa.Schema, partitions: tuple[str, ...], *, what: str
) -> dict[str, pa.Table]:
    """The rows of each folder, in the columns of the files there."""
    import pyarrow as pa

    told = [name for name in partitions if name not in schema.names]
    day = source.date_partition_column
    if day and (day in partitions or day in schema.names):
        time = source.timestamp
        if time not in table.column_names:
            raise SchemaError(f"{what}: columns missing {time}, the event time that {day} is derived from.")
        dates = dates_of(table.column(time), source.date_partition_format)
        table = with_dates(table, day, dates, what=what)
        if day in schema.names and day not in partitions:  # a column of the files, by which nothing is divided
            table = table.set_column(table.column_names.index(day), day, dates.cast(schema.field(day).type))
    require_columns(table.column_names, [*schema.names, *told], what=what)
    rows = conformed(table.select(schema.names), schema, what=what)
    for name in told:
        rows = rows.append_column(name, table.column(name))
    assert isinstance(rows, pa.Table)
    return split(rows, partitions, schema.names)


def _encoded(table: pa.Table, options: Mapping[str, str], *, int96: bool) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    compression = options.get("compression", "snappy").lower()
    pq.write_table(
        table,
        sink,
        compression="none" if compression == "uncompressed" else compression,
        use_deprecated_int96_timestamps=int96,
    )
    return sink.getvalue()
