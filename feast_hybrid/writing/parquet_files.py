"""Arrow rows appended to a Parquet folder by pyarrow and fsspec: no JVM, so it works in an executor too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.convert import convert_for_writing, require_columns
from feast_hybrid.arrow.names import value_of
from feast_hybrid.arrow.utc import in_microseconds
from feast_hybrid.errors import SchemaError, SourceError, WriteError
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes.atomic_write import publish
from feast_hybrid.lakes.errors import translate_client_errors
from feast_hybrid.sources.file_schema import reader_options
from feast_hybrid.writing.naming import batch_name
from feast_hybrid.writing.parquet_layout import SORTED_BYTES, encoded, sort_columns, sorted_rows
from feast_hybrid.writing.partitions import require_fitting, require_kept, split, with_date_partition
from feast_hybrid.writing.readable import require_readable

if TYPE_CHECKING:
    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.files.selection import FileSelection
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec


def append_parquet(
    table: pa.Table,
    source: SourceSpec,
    first_schema: Callable[[], pa.Schema],
    *,
    what: str,
    columns_may_differ: bool = False,
    order: Sequence[str] = (),
) -> None:
    """Add rows to the folder of a source, seen whole or not at all.

    Args:
        table: the rows, in the source's names.
        source: a path of Parquet files, or where there will be some.
        first_schema: the columns where there is no file yet, in the source's names.
        what: how an error names the rows and the place.
        columns_may_differ: whether the rows may have other columns than the files.
        order: columns by which the rows are sorted, where they have them.

    Raises:
        SchemaError: the rows do not fit what is there.
        WriteError: the lake refused them; nothing of them is there.
    """
    assert source.location is not None
    location = source.location
    name = batch_name(str(location))
    require_readable(source, what=what, file_name=f"{name.text}.parquet")
    selection = reader_options(source).selection
    with translate_client_errors(WriteError, what, "failed; nothing was written", sites=[location.site]):
        existing = _existing(location, selection, source.declared, what)
        if existing is None:
            schema = in_microseconds(first_schema())
            partitions = tuple(filter(None, [source.date_partition_column]))
        else:
            existing.require([name for name in table.column_names if name in existing.unreadable], what=what)
            schema = existing.file_schema
            if columns_may_differ:
                schema = _merged(schema, in_microseconds(first_schema()))
            partitions = existing.partition_columns
        there = {} if existing is None else {column.name: column.data_type for column in existing.columns}
        partitioned = _partitioned(table, source, schema, partitions, there, what=what)
        files = {
            location.child(f"{folder}/{name.text}.parquet" if folder else f"{name.text}.parquet"): _encoded(
                rows, source.options, order, int96=existing is not None and existing.int96
            )
            for folder, rows in partitioned.items()
        }
        publish(files, replace=name.replaces)


def _existing(
    location: Location, selection: FileSelection, declared: Mapping[str, pa.DataType], what: str
) -> ResolvedSchema | None:
    path = location.path
    try:
        existing = resolve_schema(location, "parquet", declared=declared, selection=selection)
    except FileNotFoundError:
        return None
    except (SchemaError, SourceError) as error:
        raise type(error)(f"{what}: {error}") from None
    if existing is not None and existing.first_file.rstrip("/").lstrip("/") == path.lstrip("/"):
        raise WriteError(f"{what}: {location} is one file; rows are added to a folder of files. Move it into one.")
    return existing


def _merged(existing: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The wanted columns, in the types that they have in the files already."""
    return pa.schema([existing.field(field.name) if field.name in existing.names else field for field in wanted])


def _partitioned(
    table: pa.Table,
    source: SourceSpec,
    schema: pa.Schema,
    partitions: tuple[str, ...],
    there: Mapping[str, pa.DataType],
    *,
    what: str,
) -> dict[str, pa.Table]:
    """The rows of each folder, in the columns of the files there; the types are those of all columns there."""
    only_in_folders = [name for name in partitions if name not in schema.names]
    date_column = source.date_partition_column
    if date_column and (date_column in partitions or date_column in schema.names):
        # A column of the files, by which nothing is divided, has a type of its own.
        in_files = date_column in schema.names and date_column not in partitions
        table = with_date_partition(table, source, schema.field(date_column).type if in_files else None, what=what)
    require_columns(table.column_names, [*schema.names, *only_in_folders], what=what)
    require_kept(table, partitions, what=what, suffix_is_encoded=True)
    rows = convert_for_writing(table.select(schema.names), schema, what=what)
    for name in only_in_folders:
        # Days are what their format says: after month=12 comes month=01.
        type_there = None if name == date_column else there.get(name)
        require_fitting(table, name, value_of(name, source.declared), type_there, what=what)
        rows = rows.append_column(name, table.column(name))
    assert isinstance(rows, pa.Table)
    return split(rows, partitions, schema.names)


def _encoded(table: pa.Table, options: Mapping[str, str], order: Sequence[str], *, int96: bool) -> Any:
    columns = sort_columns(table.schema, order) if table.nbytes <= SORTED_BYTES else ()
    return encoded(sorted_rows(table, columns), columns, options, int96=int96)
