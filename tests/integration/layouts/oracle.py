"""What a folder of files means, by the plainest way: each file by itself in pyarrow, values in Python."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.types import Array, FeastType, Float64, Int32, Int64, String

Row = dict[str, Any]


class RefusedError(Exception):
    """No type holds all values of a column, or the declared one does not."""


@dataclass(frozen=True)
class History:
    """All rows of a folder: key, time in UTC, values."""

    rows: list[Row]

    def as_of(self, key: Any, time: datetime) -> Row | None:
        """The last row of a key up to a time."""
        found = [row for row in self.rows if row["k"] == key and key is not None and row["ts"] <= time]
        return max(found, key=lambda row: row["ts"], default=None)

    def latest(self) -> list[Row]:
        """The last row of each key."""
        keys = {row["k"] for row in self.rows if row["k"] is not None}
        return [max((row for row in self.rows if row["k"] == key), key=lambda row: row["ts"]) for key in keys]


def history(files: Mapping[str, bytes], declared: Mapping[str, FeastType], in_folders: str | None) -> History:
    """Read the files.

    Args:
        files: path within the folder → bytes.
        declared: of the columns, ``k`` among them.
        in_folders: the column that folders tell.

    Raises:
        RefusedError: see there.
    """
    tables = {
        path: pq.read_table(io.BytesIO(content), partitioning=None)
        for path, content in sorted(files.items())
        if content and not any(part.startswith(("_", ".")) and "=" not in part for part in path.split("/"))
    }
    # What has no rows has no values whose types could clash.
    tables = {path: table for path, table in tables.items() if table.num_rows} or tables
    meanings: dict[str, Callable[[Any], Any]] = {}
    for name, feast_type in declared.items():
        types = {
            str(t.schema.field(name).type): t.schema.field(name).type
            for t in tables.values()
            if name in t.column_names
        }
        if not types and name != in_folders:
            raise RefusedError  # no file has it
        meanings[name] = (lambda value: value) if name == in_folders else _meaning(feast_type, list(types.values()))
    rows = []
    for path, table in tables.items():
        folder = _folder_value(path) if in_folders else None
        for row in table.to_pylist():
            if in_folders:
                row[in_folders] = folder
            values = {name: _value(meanings[name], row.get(name)) for name in declared}
            rows.append(values | {"ts": instant(row["ts"])})
    return History(rows)


def _folder_value(path: str) -> str | None:
    text = unquote(path.split("/", maxsplit=1)[0].partition("=")[2])
    return None if text == "__HIVE_DEFAULT_PARTITION__" else text


def _value(meaning: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else meaning(value)


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


def _meaning(declared: FeastType, types: list[pa.DataType]) -> Callable[[Any], Any]:
    """What a value of such a column is, whatever file it stands in."""
    families = {_family(data_type) for data_type in types} - {"null"}
    numbers = declared in (Int32, Int64, Float64)
    if families == {"whole", "real"}:
        return _whole if declared in (Int32, Int64) else _real
    if families == {"whole", "text"} and declared == String:
        return str
    if families == {"whole"} and declared == Float64 and any(data_type.bit_width <= 32 for data_type in types):
        return float
    if families == {"date", "time"}:
        return instant
    if families == {"time"}:
        return instant
    if len(families) > 1 or (families == {"text"} and numbers):
        raise RefusedError
    if families == {"list"} and isinstance(declared, Array):
        return list
    return lambda value: value


def _whole(value: Any) -> int:
    if value != int(value):
        raise RefusedError
    return int(value)


def _real(value: Any) -> float:
    if isinstance(value, int) and int(float(value)) != value:
        raise RefusedError
    return float(value)


def instant(value: Any) -> datetime:
    """The instant of a time or date; naive ones are UTC, nanoseconds are floored."""
    if isinstance(value, pd.Timestamp):  # what Arrow makes of nanoseconds
        value = value.floor("us").to_pydatetime()
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    assert isinstance(value, date)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def comparable(value: Any) -> Any:
    """A value of either side, as it compares: NaN equals itself, times are instants, whole decimals are numbers."""
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, datetime):
        return instant(value)
    return tuple(map(comparable, value)) if isinstance(value, list) else value
