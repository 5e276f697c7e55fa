"""The columns of a Parquet folder, read by pyarrow and fsspec: no JVM, one footer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

_PARTITION = re.compile(r"^([^=/]+)=(.*)$")
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_BRACES = re.compile(r"\{([^{}]*)\}")

#: What Java's parseDouble takes, and so Spark: ``1d`` and ``2f`` too.
_DOUBLE = re.compile(r"\s*[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?)\s*")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,9})?")


def parquet_columns(
    filesystem: Any, path: str, columns_of_file: Callable[[Any, str], list[tuple[str, str]]] | None = None
) -> list[tuple[str, str]] | None:
    """Names and Spark type names of a Parquet file's or folder's columns, partition columns last.

    As Spark does, takes the schema of the first file by path, and the types of partition columns from the names of
    folders; other than Spark, of the folders on the way to that file and those beside them, not of all.

    Args:
        filesystem: an fsspec file system.
        path: a file, a folder or a glob, as the file system wants it.
        columns_of_file: reads the columns of one file, where these are of another format than Parquet.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: Spark has no type for a column.
    """
    for place in _places(filesystem, path):
        partitions: dict[str, str] = {}
        first = _first_file(filesystem, place, partitions)
        if first is not None:
            return _with_partitions((columns_of_file or _footer_columns)(filesystem, first), partitions)
    return None


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


def parquet_layout(filesystem: Any, path: str) -> Layout | None:
    """How the files of a folder are laid out; None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
    """
    import pyarrow as pa

    partitions: dict[str, str] = {}
    first = _first_file(filesystem, path, partitions)
    if first is None:
        return None
    schema, int96 = _footer(filesystem, first)
    instant = pa.timestamp("us", tz="UTC")
    fields = [
        field.with_type(instant) if field.name in int96 and pa.types.is_timestamp(field.type) else field
        for field in (field.with_nullable(True).remove_metadata() for field in schema)
    ]
    return Layout(first, pa.schema(fields), bool(int96), tuple(partitions))


def partition_columns(filesystem: Any, path: str) -> tuple[str, ...]:
    """The columns that the folders on the way to the first file tell, whatever its format; the outermost first."""
    partitions: dict[str, str] = {}
    _first_file(filesystem, path, partitions)
    return tuple(partitions)


def _places(filesystem: Any, path: str) -> list[str]:
    if not any(sign in path for sign in "*?[{"):
        return [path]
    places = sorted({place for pattern in _without_braces(path) for place in filesystem.glob(pattern)})
    if not places:
        raise FileNotFoundError(path)
    return places


def _without_braces(pattern: str) -> Iterator[str]:
    """The patterns that Hadoop's ``{a,b}`` stands for, which fsspec does not know."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    for alternative in match[1].split(","):
        yield from _without_braces(pattern[: match.start()] + alternative + pattern[match.end() :])


def _first_file(filesystem: Any, path: str, partitions: dict[str, str], *, top: bool = True) -> str | None:
    """The first file that Spark would read: in the folder itself, or anywhere below a partition's folder."""
    entries = filesystem.ls(path, detail=True)
    if len(entries) == 1 and entries[0]["type"] == "file" and _name(entries[0]["name"]) == _name(path):
        # A hidden file is not read even where it is asked for; a hidden folder that is asked for is.
        return None if _is_hidden(_name(path)) else str(entries[0]["name"])
    found: dict[str, list[str]] = {}
    for entry in entries:
        if entry["type"] != "file" and (match := _PARTITION.match(_name(entry["name"]))):
            found.setdefault(unquote(match[1]), []).append(unquote(match[2]))
    for column, values in found.items():
        partitions.setdefault(column, _partition_type(values))
    for entry in sorted(entries, key=_order):
        name = str(entry["name"]).rstrip("/")
        if _is_hidden(_name(name)):
            continue
        if entry["type"] == "file":
            if entry["size"] and (top or partitions):  # Azure lists a folder's marker as an empty file.
                return name
        else:
            below = _first_file(filesystem, name, partitions, top=False)
            if below is not None:
                return below
    return None


def _with_partitions(columns: list[tuple[str, str]], partitions: dict[str, str]) -> list[tuple[str, str]]:
    """A partition column that the files hold as well keeps its place in them and has the partition's type."""
    overlapping = {name.lower(): (name, kind) for name, kind in partitions.items()}
    merged = [overlapping.pop(name.lower(), (name, kind)) for name, kind in columns]
    return merged + list(overlapping.values())


def _name(path: str) -> str:
    return str(path).rstrip("/").rpartition("/")[2]


def _order(entry: dict[str, Any]) -> str:
    """The order of the paths of files: a folder counts with the slash that follows it."""
    name = str(entry["name"]).rstrip("/")
    return name if entry["type"] == "file" else name + "/"


def _is_hidden(name: str) -> bool:
    """Spark's rule for names that hold no rows."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name) or name.endswith("._COPYING_")


def _partition_type(values: list[str]) -> str:
    """The type that Spark infers for the values of a partition column: the one that holds all of theirs."""
    kinds = {_value_type(value) for value in values if value != NULL_PARTITION}
    if not kinds:
        return "void"
    if len(kinds) == 1:
        return kinds.pop()
    if kinds == {"int", "bigint"}:
        return "bigint"
    if kinds == {"int", "double"}:
        return "double"
    if kinds == {"date", "timestamp"}:
        return "timestamp"
    if all(kind in ("int", "bigint") or kind.startswith("decimal") for kind in kinds):
        digits = {"int": 10, "bigint": 20}
        widest = max(digits.get(kind) or int(kind[len("decimal(") :].partition(",")[0]) for kind in kinds)
        return f"decimal({widest},0)"
    return "string"


def _value_type(value: str) -> str:
    if re.fullmatch(r"[+-]?\d+", value):
        number = int(value)
        if -(2**31) <= number < 2**31:
            return "int"
        if -(2**63) <= number < 2**63:
            return "bigint"
    if _DECIMAL.fullmatch(value):
        _, digits, exponent = Decimal(value).as_tuple()
        if isinstance(exponent, int) and exponent >= 0 and len(digits) + exponent <= 38:
            return f"decimal({len(digits) + exponent},0)"
    if _DOUBLE.fullmatch(value):
        return "double"
    for pattern, kind in ((_DATE, "date"), (_TIMESTAMP, "timestamp")):
        if pattern.fullmatch(value) and _exists(value):
            return kind
    return "string"


def _exists(time: str) -> bool:
    """Whether there is such a day and hour."""
    try:
        datetime.fromisoformat(time[:19])
    except ValueError:
        return False
    return True


def _footer(filesystem: Any, path: str) -> tuple[pa.Schema, set[str]]:
    """A file's schema, and the columns of INT96, which has no zone in Arrow but is an instant to Spark."""
    import pyarrow.parquet as pq

    with filesystem.open(path, "rb") as file:
        footer = pq.ParquetFile(file)
        leaves = [footer.schema.column(position) for position in range(len(footer.schema))]
        int96 = {leaf.path for leaf in leaves if leaf.physical_type == "INT96"}
        schema = footer.schema_arrow
    names = [name for name in schema.names if any(leaf == name or leaf.startswith(f"{name}.") for leaf in int96)]
    return schema, set(names)


def _footer_columns(filesystem: Any, path: str) -> list[tuple[str, str]]:
    schema, int96 = _footer(filesystem, path)
    columns = []
    for field in schema:
        try:
            columns.append((field.name, spark_type_of_arrow(field.type, naive_is_instant=field.name in int96)))
        except SchemaError as error:
            raise SchemaError(f"column {field.name!r}: {error}") from None
    return columns
