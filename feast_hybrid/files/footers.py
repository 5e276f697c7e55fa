"""The schema of a folder of Parquet or ORC files, from one footer: no JVM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.listing import first_file

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location

Columns = list[tuple[str, str]]


@dataclass(frozen=True)
class Layout:
    """How the Parquet files of a folder are laid out, as its first file shows it.

    Attributes:
        file: the path of that file.
        schema: of the file, without the metadata of its writer; INT96 is an instant.
        int96: whether its times are INT96.
        partitions: the columns that folders tell, the outermost first.
    """

    file: str
    schema: pa.Schema
    int96: bool
    partitions: tuple[str, ...]


def columns_of_files(
    location: Location, columns_of_file: Callable[[Any, str], Columns] | None = None
) -> Columns | None:
    """Names and Spark type names of the columns of a file, a folder or a glob, partition columns last.

    As Spark does, takes the schema of the first file by path, and the types of partition columns from the names of
    folders; other than Spark, of the folders on the way to that file and those beside them, not of all.

    Args:
        location: where the files are.
        columns_of_file: reads the columns of one file by its file system and path; of a Parquet file if not given.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: Spark has no type for a column.
    """
    first = first_file(location)
    if first is None:
        return None
    columns = (columns_of_file or parquet_columns_of_file)(location.fs, first.path)
    # A partition column that the files hold as well keeps its place in them and has the partition's type.
    partitions = {name.lower(): (name, spark_type) for name, spark_type in first.partitions.items()}
    merged = [partitions.pop(name.lower(), (name, spark_type)) for name, spark_type in columns]
    return merged + list(partitions.values())


def parquet_layout(location: Location) -> Layout | None:
    """How the files of a folder are laid out; None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
    """
    first = first_file(location)
    if first is None:
        return None
    schema, int96 = _footer(location.fs, first.path)
    fields = [
        field.with_type(INSTANT) if field.name in int96 and pa.types.is_timestamp(field.type) else field
        for field in (field.with_nullable(True).remove_metadata() for field in schema)
    ]
    return Layout(first.path, pa.schema(fields), bool(int96), tuple(first.partitions))


def parquet_columns_of_file(filesystem: Any, path: str) -> Columns:
    """Names and Spark type names of a Parquet file's columns.

    Raises:
        SchemaError: Spark has no type for a column.
    """
    schema, int96 = _footer(filesystem, path)
    return spark_columns(schema, is_instant=lambda name: name in int96)


def spark_columns(schema: pa.Schema, *, is_instant: Callable[[str], bool]) -> Columns:
    """Names and Spark type names of a schema's columns.

    Args:
        schema: of a file.
        is_instant: whether the times of a column are instants although they have no zone in Arrow.

    Raises:
        SchemaError: Spark has no type for a column, which it names.
    """
    columns = []
    for field in schema:
        try:
            columns.append((field.name, spark_type_of_arrow(field.type, naive_is_instant=is_instant(field.name))))
        except SchemaError as error:
            raise SchemaError(f"column {field.name!r}: {error}") from None
    return columns


def _footer(filesystem: Any, path: str) -> tuple[pa.Schema, set[str]]:
    """A file's schema, and the columns of INT96, which has no zone in Arrow but is an instant to Spark."""
    with filesystem.open(path, "rb") as file:
        footer = pq.ParquetFile(file)
        leaves = [footer.schema.column(position) for position in range(len(footer.schema))]
        int96 = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
        schema = footer.schema_arrow
    names = [name for name in schema.names if any(leaf == name or leaf.startswith(f"{name}.") for leaf in int96)]
    return schema, set(names)
