"""Folders of partitions, ``day=2026-01-10``: their names, read and written, and the types and values that they give.

Names are those of Hive, as Spark reads and writes them; types are those that Spark infers, by its names for them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote

from feast_hybrid.errors import SchemaError

#: Stands in a folder's name for a null, and for an empty text.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

_FOLDER = re.compile(r"^([^=/]+)=(.*)$")

#: What Spark writes as ``%XX`` in the name of a folder.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")

#: What Java's parseDouble takes, and so Spark: ``1d`` and ``2f`` too.
_DOUBLE = re.compile(r"\s*[+-]?(NaN|Infinity|(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?)\s*")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}(\.\d{1,9})?")

#: Decimal digits of integers, as Spark counts them where they meet a decimal.
_DIGITS = {"int": 10, "bigint": 20}


class Partition(NamedTuple):
    """What the name of a folder says: a column, and its value as text; None for null."""

    column: str
    text: str | None


def parse_folder(name: str) -> Partition | None:
    """What the name of a folder says; None where it is no partition's."""
    match = _FOLDER.match(name)
    if match is None:
        return None
    text = unquote(match[2])
    return Partition(unquote(match[1]), None if text == NULL_PARTITION else text)


def folder_name(column: str, text: str | None) -> str:
    """The name of the folder for a value; a null and an empty text have the same."""
    return f"{_escape(column)}={_escape(text) if text else NULL_PARTITION}"


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", text)


def infer_type(texts: Collection[str | None]) -> str:
    """The name of the type that Spark infers for a partition column: the one that holds all its values."""
    types = {_type_of(text) for text in texts if text is not None}
    if not types:
        return "void"
    if len(types) == 1:
        return types.pop()
    if types == {"int", "bigint"}:
        return "bigint"
    if types == {"int", "double"}:
        return "double"
    if types == {"date", "timestamp"}:
        return "timestamp"
    if all(name in _DIGITS or name.startswith("decimal") for name in types):
        digits = [_DIGITS.get(name) or int(name[len("decimal(") :].partition(",")[0]) for name in types]
        return f"decimal({max(digits)},0)"
    return "string"


def _type_of(text: str) -> str:
    if re.fullmatch(r"[+-]?\d+", text):
        number = int(text)
        if -(2**31) <= number < 2**31:
            return "int"
        if -(2**63) <= number < 2**63:
            return "bigint"
    if _DECIMAL.fullmatch(text):
        _, digits, exponent = Decimal(text).as_tuple()
        if isinstance(exponent, int) and exponent >= 0 and len(digits) + exponent <= 38:
            return f"decimal({len(digits) + exponent},0)"
    if _DOUBLE.fullmatch(text):
        return "double"
    for pattern, name in ((_DATE, "date"), (_TIMESTAMP, "timestamp")):
        if pattern.fullmatch(text) and _is_in_calendar(text):
            return name
    return "string"


def _is_in_calendar(time: str) -> bool:
    """Whether there is such a day and hour."""
    try:
        datetime.fromisoformat(time[:19])
    except ValueError:
        return False
    return True


def typed_value(column: str, text: str | None, spark_type: str) -> Any:
    """A partition's value as Spark types it; None for null.

    Args:
        column: the partition column, for messages.
        text: as :func:`parse_folder` gives it.
        spark_type: the name of the column's type in Spark.

    Raises:
        SchemaError: its type depends on the session, as a timestamp does, or the text is none of the type.
    """
    if text is None:
        return None
    try:
        if spark_type == "string" or spark_type.startswith("string "):  # a collation follows
            return text
        if spark_type in ("tinyint", "smallint", "int", "bigint"):
            return int(text)
        if spark_type == "date":
            return date.fromisoformat(text)
        if spark_type.startswith("decimal"):
            return Decimal(text)
        if spark_type == "double":
            return float(text)
    except (ValueError, ArithmeticError):
        pass
    raise SchemaError(f"partition column {column!r} is {spark_type}: its values are Spark's to read")
