"""What a folder of files means, by the plainest way: each file by itself in pyarrow, values in Python."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.types import Array, Bool, FeastType, Float64, Int32, Int64, String, UnixTimestamp
from pyarrow import orc

if TYPE_CHECKING:
    from tests.integration.layouts.generate import Layout

Row = dict[str, Any]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_FIRST = datetime(1, 1, 1, tzinfo=UTC)


class RefusedError(Exception):
    """The folder cannot be read: a file, a folder, or a column's types.

    Attributes:
        named: what an error about it has to name one of.
    """

    def __init__(self, *named: str) -> None:
        super().__init__(*named)
        self.named = named


@dataclass(frozen=True)
class History:
    """All rows of a folder that have a time: the columns that the view has, times in UTC.

    Attributes:
        rows: in no order.
        columns: by which rows that tie are ranked, the features'.
    """

    rows: list[Row]
    columns: list[str]

    def as_of(self, key: Any, time: datetime) -> Row | None:
        """The last row of a key up to a time."""
        found = [row for row in self.rows if row["k"] == key and key is not None and row["ts"] <= time]
        return max(found, key=self._order, default=None)

    def between(self, start: datetime, end: datetime) -> History:
        """The rows of a time range, both ends included."""
        return History([row for row in self.rows if start <= row["ts"] <= end], self.columns)

    def latest(self) -> list[Row]:
        """The last row of each key."""
        keys = {row["k"] for row in self.rows if row["k"] is not None}
        return [max((row for row in self.rows if row["k"] == key), key=self._order) for key in keys]

    def has_ties(self) -> bool:
        """Whether rows have the same key and time, so that created times or values decide."""
        return len({(row["k"], row["ts"]) for row in self.rows}) < len(self.rows)

    def _order(self, row: Row) -> tuple[Any, ...]:
        created = row["created"] or _FIRST
        return (row["ts"], row["created"] is not None, created, *(_rank(row[name]) for name in self.columns))


def history(layout: Layout) -> History:
    """Read a layout's files.

    Raises:
        RefusedError: they are to be refused.
    """
    files = {path: _File.of(path) for path in [*layout.files, *(f"{folder}/" for folder in layout.folders)]}
    visible = {path: file for path, file in sorted(files.items()) if not file.hidden}
    tables = {path: _table(layout.file_format, layout.files[path]) for path in visible if layout.files.get(path)}
    for path in tables:
        visible[path].refuse_other_folders()
    # What has no rows has no values whose types could clash.
    tables = {path: table for path, table in tables.items() if table.num_rows} or tables
    created = {"created": UnixTimestamp} if layout.created else {}
    rows: list[Row] = [{} for table in tables.values() for _ in range(table.num_rows)]
    refused: list[str] = []
    for name, declared in {"ts": UnixTimestamp, **created, **layout.declared}.items():
        texts = {file.folders[name] for file in visible.values() if name in file.folders}
        try:
            values = _column(name, declared, {visible[path]: table for path, table in tables.items()}, texts)
        except RefusedError as error:
            refused += error.named
            continue
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    if refused:
        raise RefusedError(*refused)
    for row in rows:
        row.setdefault("created", None)
    return History([row for row in rows if row["ts"] is not None], sorted(layout.columns.values()))


@dataclass(frozen=True, eq=False)
class _File:
    """A path taken apart.

    Attributes:
        path: within the layout.
        folders: what the folders on the way say as text, None for null, by the columns' names in lower case.
        other: a folder on the way, above all partitions, that is none.
        hidden: whether Spark would not see it.
    """

    path: str
    folders: Mapping[str, str | None]
    other: str | None
    hidden: bool

    @classmethod
    def of(cls, path: str) -> _File:
        parts = path.split("/")
        folders: dict[str, str | None] = {}
        other = None
        for part in filter(None, parts[:-1]):
            column, sign, encoded = part.partition("=")
            if sign:
                try:
                    text = unquote_to_bytes(encoded).decode()
                except UnicodeDecodeError:
                    raise RefusedError(part) from None
                folders[column.lower()] = None if text == _NULL else text
            elif not folders:
                other = other or part
        hidden = any(
            part.startswith(".") or (part.startswith("_") and "=" not in part) or part.endswith("._COPYING_")
            for part in parts
        )
        return cls(path, folders, other, hidden)

    def refuse_other_folders(self) -> None:
        if self.other is not None:
            raise RefusedError(self.other)


def _table(file_format: str, content: bytes) -> pa.Table:
    if file_format == "orc":
        table = orc.read_table(io.BytesIO(content))
        for n, column in enumerate(table.schema):
            # Spark keeps times without a zone as numbers, and says so beside them.
            if (column.metadata or {}).get(b"spark.sql.catalyst.type") == b"timestamp_ntz":
                table = table.set_column(n, column.name, table[column.name].cast(pa.timestamp("us")))
        return table
    return pq.read_table(io.BytesIO(content), partitioning=None, coerce_int96_timestamp_unit="us")


def _column(
    name: str, declared: FeastType, tables: Mapping[_File, pa.Table], texts: Collection[str | None]
) -> list[Any]:
    """A column's values in all files' rows: the folder's where one tells it, else the file's own."""
    in_folders = {text: _folder_value(name, text, declared) for text in texts if text is not None}
    columns = {file: _own(table, name) for file, table in tables.items() if name not in file.folders}
    types = {str(column.type): column.type for column in columns.values() if column is not None}
    if texts:
        types["folders"] = _TYPE_IN_FOLDERS[declared]
    if not types:
        raise RefusedError(repr(name))
    if name in ("k", "ts") and any(column is None for column in columns.values()):
        raise RefusedError(repr(name))
    try:
        meaning = _meaning(declared, list(types.values()))
        values: list[Any] = []
        for file, table in tables.items():
            column = columns.get(file)
            if name in file.folders:
                text = file.folders[name]
                own = [None if text is None else in_folders[text]] * table.num_rows
            else:
                own = [None] * table.num_rows if column is None else column.to_pylist()
            values += [None if value is None else meaning(value) for value in own]
    except ValueError:
        raise RefusedError(repr(name)) from None
    return values


def _own(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    """A file's column of a name, or of that name but for case."""
    found = [column for column in table.column_names if column.lower() == name.lower()]
    exact = name if name in found else next(iter(found), None)
    return None if exact is None else table[exact]


_TYPE_IN_FOLDERS: dict[FeastType, pa.DataType] = {
    String: pa.string(),
    Int64: pa.int64(),
    Float64: pa.float64(),
    Bool: pa.bool_(),
    UnixTimestamp: pa.timestamp("us", tz="UTC"),
}


def _folder_value(name: str, text: str, declared: FeastType) -> Any:
    """A folder's text in the type that is declared."""
    readers: dict[FeastType, Callable[[str], Any]] = {
        Int64: int,
        Float64: float,
        Bool: lambda text: {"true": True, "false": False}[text.lower()],
        UnixTimestamp: lambda text: instant(datetime.fromisoformat(text)),
    }
    if text.isdigit() and declared == UnixTimestamp:  # no day, though ISO has such ones
        raise RefusedError(repr(name))
    try:
        return readers.get(declared, str)(text)
    except (ValueError, KeyError):
        raise RefusedError(repr(name)) from None


def _family(data_type: pa.DataType) -> str:
    is_ = pa.types
    if is_.is_dictionary(data_type):
        return _family(data_type.value_type)
    for family, test in (
        ("whole", is_.is_integer), ("real", is_.is_floating), ("decimal", is_.is_decimal), ("date", is_.is_date),
        ("time", is_.is_timestamp), ("truth", is_.is_boolean), ("null", is_.is_null),
    ):  # fmt: skip
        if test(data_type):
            return family
    name = str(data_type)
    return "list" if "list<" in name else "text" if "string" in name else "bytes"


def _meaning(declared: FeastType, types: Sequence[pa.DataType]) -> Callable[[Any], Any]:
    """What a value of such a column is, whatever file it stands in.

    Raises:
        ValueError: no type holds all, or the declared one does not.
    """
    families = {_family(data_type) for data_type in types} - {"null"}
    numbers = declared in (Int32, Int64, Float64)
    if declared == String and "bytes" in families and families <= {"bytes", "text"}:
        return lambda value: value.decode() if isinstance(value, bytes) else value
    if ("truth" in families and numbers) or ("whole" in families and declared == Bool):
        raise ValueError
    fractions = any(_family(t) == "real" or (_family(t) == "decimal" and t.scale > 0) for t in types)
    if declared in (Int32, Int64) and fractions and families <= {"whole", "real", "decimal"}:
        return _whole
    if families == {"whole", "real"}:
        return _real
    if families == {"whole", "decimal"}:
        return lambda value: value
    if families == {"whole", "text"} and declared == String:
        return str
    if families == {"whole"} and declared == Float64 and all(data_type.bit_width <= 32 for data_type in types):
        return float
    if families in ({"date", "time"}, {"time"}, {"date"}):
        return instant
    if len(families) > 1 or (families == {"text"} and (numbers or declared == UnixTimestamp)):
        raise ValueError
    if families == {"list"} and isinstance(declared, Array):
        return list
    return lambda value: value


def _whole(value: Any) -> int:
    if value != int(value):
        raise ValueError
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, int) and int(float(value)) != value:
        raise ValueError
    return float(value)


def _rank(value: Any) -> tuple[Any, ...]:
    """Where a value stands among those of its column: nulls first, NaN last, -0.0 before 0.0, text by its bytes."""
    if value is None:
        return (0,)
    if isinstance(value, float) and math.isnan(value):
        return (2,)
    if isinstance(value, float):
        return (1, value, math.copysign(1, value))
    if isinstance(value, list):
        return (1, tuple(map(_rank, value)))
    return (1, value.encode()) if isinstance(value, str) else (1, value)


def instant(value: Any) -> datetime:
    """The instant of a time or date; naive ones are UTC, nanoseconds are floored."""
    if isinstance(value, pd.Timestamp):  # what Arrow makes of nanoseconds
        value = value.floor("us").to_pydatetime()
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    assert isinstance(value, date)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def comparable(value: Any, *, signed_zeros: bool = True) -> Any:
    """A value of either side, as it compares: NaN equals itself, -0.0 is not 0.0, times and dates are instants."""
    if isinstance(value, float) and (math.isnan(value) or value == 0):
        return str(value if signed_zeros else abs(value))
    if isinstance(value, date):
        return instant(value)
    return tuple(comparable(part, signed_zeros=signed_zeros) for part in value) if isinstance(value, list) else value
