"""The columns of a Parquet folder, read by pyarrow and fsspec: no JVM, one footer."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

_HIDDEN = ("_", ".")
_PARTITION = re.compile(r"^([^=/]+)=(.*)$")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def parquet_columns(filesystem: Any, path: str) -> list[tuple[str, str]] | None:
    """Names and Spark type names of a Parquet file's or folder's columns, partition columns last.

    As Spark does, takes the schema of the first file by name, and the types of partition columns from the names of
    the folders at each level.

    Args:
        filesystem: an fsspec file system.
        path: a file, a folder or a glob, as the file system wants it.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
    """
    partitions: dict[str, str] = {}
    first = _first_file(filesystem, path, partitions)
    if first is None:
        return None
    columns = _footer_columns(filesystem, first)
    names = {name.lower() for name, _ in columns}
    return columns + [(name, kind) for name, kind in partitions.items() if name.lower() not in names]


def _first_file(filesystem: Any, path: str, partitions: dict[str, str]) -> str | None:
    if any(sign in path for sign in "*?["):
        matches = sorted(filesystem.glob(path))
        if not matches:
            raise FileNotFoundError(path)
        for match in matches:
            if (found := _first_file(filesystem, match, partitions)) is not None:
                return found
        return None
    entries = filesystem.ls(path, detail=True)
    here = path.rstrip("/").rpartition("/")[2]
    files, folders = [], []
    for entry in entries:
        full = entry["name"].rstrip("/")
        name = full.rpartition("/")[2]
        is_the_file = len(entries) == 1 and name == here and entry["type"] == "file"
        if is_the_file:
            return full
        if name.startswith(_HIDDEN) and "=" not in name:
            continue
        (files if entry["type"] == "file" else folders).append(full)
    if files:
        # Azure lists a folder's marker as an empty file.
        with_rows = [entry["name"] for entry in entries if entry["name"].rstrip("/") in files and entry["size"]]
        if with_rows:
            return min(with_rows)
    values: dict[str, list[str]] = {}
    for folder in folders:
        if match := _PARTITION.match(folder.rpartition("/")[2]):
            values.setdefault(unquote(match[1]), []).append(unquote(match[2]))
    for column, found_values in values.items():
        partitions.setdefault(column, _partition_type(found_values))
    for folder in sorted(folders):
        if (found := _first_file(filesystem, folder, partitions)) is not None:
            return found
    return None


def _partition_type(values: list[str]) -> str:
    """The type that Spark infers for the values of a partition column."""
    known = [value for value in values if value != _NULL_PARTITION]
    if not known:
        return "string"
    if all(re.fullmatch(r"-?\d+", value) for value in known):
        numbers = [int(value) for value in known]
        if all(-(2**31) <= number < 2**31 for number in numbers):
            return "int"
        return "bigint" if all(-(2**63) <= number < 2**63 for number in numbers) else "decimal(38,0)"
    if all(re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", value) for value in known):
        return "double"
    if all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) for value in known):
        return "date"
    if all(re.fullmatch(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d+)?", value) for value in known):
        return "timestamp"
    return "string"


def _footer_columns(filesystem: Any, path: str) -> list[tuple[str, str]]:
    import pyarrow.parquet as pq

    from feast_hybrid.types import spark_type_of_arrow

    with filesystem.open(path, "rb") as file:
        footer = pq.ParquetFile(file)
        schema = footer.schema_arrow
        physical = {
            footer.schema.column(i).path: footer.schema.column(i).physical_type for i in range(len(footer.schema))
        }
    # INT96 has no zone in Arrow, but is an instant to Spark.
    return [
        (field.name, "timestamp" if physical.get(field.name) == "INT96" else spark_type_of_arrow(field.type))
        for field in schema
    ]
