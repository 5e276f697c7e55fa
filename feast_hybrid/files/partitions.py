"""Folders of partitions, ``day=2026-01-10``: their names, read and written, and the types and values that they give.

Names are those of Hive, as Spark, pyarrow and polars read and write them. A column's type is the declared one; where
none is declared it is an integer or a date only if no text would be lost by it, and text otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from feast_hybrid.arrow.types import is_any_list
from feast_hybrid.arrow.utc import as_utc
from feast_hybrid.errors import SchemaError

#: Stands in a folder's name for a null, and for an empty text.
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

#: Names that end so are files that a client of HDFS still copies: readers leave them out.
HIDDEN_SUFFIX = "._COPYING_"

_FOLDER = re.compile(r"^([^=/]+)=(.*)$")

#: What Spark writes as ``%XX`` in the name of a folder.
_ESCAPED = re.compile(r"[\x00-\x1f\x7f\"#%'*/:=?\\{\[\]^]")

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: To the second, as Spark names a folder, or with a fraction that does not end in a zero.
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{0,5}[1-9])?")

_INTEGER = re.compile(r"[+-]?[0-9]+")
_CANONICAL_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ISO_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_INTEGERS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


class Partition(NamedTuple):
    """What the name of a folder says: a column, and its value as text; None for null."""

    column: str
    text: str | None


def parse_folder(name: str) -> Partition | None:
    """What the name of a folder says; None where it is no partition's.

    Raises:
        SchemaError: the name is no UTF-8, be it percent-encoded or not.
    """
    match = _FOLDER.match(name)
    if match is None:
        return None
    try:
        column, text = (unquote(part, errors="strict") for part in match.groups())
        (column + text).encode()
    except UnicodeError:
        raise SchemaError(
            f"the name of the folder {name!a} is no UTF-8, so its value is not known: rename the folder."
        ) from None
    return Partition(column, None if text == NULL_PARTITION else text)


def partition_type(column: str, texts: Collection[str | None], declared: pa.DataType | None) -> pa.DataType:
    """The type of a partition column.

    Undeclared, it is a 32- or 64-bit integer where each text is the one that is written for an integer (``7``, not
    ``007`` or ``+7``), a date where each is an ISO date, a time in UTC where each is one as Spark writes it
    (``2026-01-10 09:30:00``), and text otherwise. Declared text stays text. A declared
    type that folders do not spell, such as a decimal, leaves what would be there undeclared.

    Args:
        column: for messages.
        texts: all values of it, as :func:`parse_folder` gives them.
        declared: None where nothing is declared.

    Raises:
        SchemaError: a text is none of the declared type.
    """
    known = sorted({text for text in texts if text is not None})
    is_ = pa.types
    fits: Callable[[str], bool]
    undeclared = _canonical_type(known)
    if declared is None or is_.is_null(declared):
        return undeclared
    if not known:
        return declared
    if is_.is_string(declared) or is_.is_large_string(declared) or is_.is_binary(declared):
        return pa.string()
    if is_.is_timestamp(declared) or is_.is_date(declared):
        is_naive = is_.is_timestamp(declared) and declared.tz is None
        fits, data_type = _is_time, pa.timestamp("us", tz=None if is_naive else "UTC")
        if is_.is_timestamp(undeclared) or is_.is_date(undeclared):
            return undeclared
    elif is_.is_integer(declared):
        fits, data_type = _is_integer, _integer_type(known, declared.bit_width)
    elif is_.is_floating(declared):
        fits, data_type = _is_number, declared
    elif is_.is_boolean(declared):
        fits, data_type = _is_boolean, declared
    elif is_any_list(declared):
        fits, data_type = _is_nothing, declared
    else:
        return undeclared
    wrong = next((text for text in known if not fits(text)), None)
    if wrong is not None:
        name = folder_name(column, wrong) if wrong else f"{_escape(column)}="
        meaning, advice = "", "String"
        if is_.is_integer(undeclared):  # which stand for no time and for no boolean: 20260110 is no second of 1970
            meaning, advice = f", which is {undeclared}", "Int64 or String"
        raise SchemaError(
            f"partition column {column!r} is declared {declared}, but there is a folder {name!r}{meaning}. "
            f"Declare it as {advice}, or rename the folder."
        )
    return data_type


def partition_value(text: str | None, data_type: pa.DataType) -> Any:
    """A partition's value in the type that :func:`partition_type` gives; None for null."""
    if text is None:
        return None
    is_ = pa.types
    if is_.is_integer(data_type):
        return int(text)
    if is_.is_floating(data_type):
        return float(text)
    if is_.is_decimal(data_type):
        return Decimal(text)
    if is_.is_boolean(data_type):
        return text.lower() == "true"
    if is_.is_date(data_type):
        return date.fromisoformat(text)
    if is_.is_timestamp(data_type):
        time = _as_datetime(text)
        assert time is not None
        return time if data_type.tz else time.replace(tzinfo=None)
    return text


def _canonical_type(texts: Collection[str]) -> pa.DataType:
    """An integer, a date or a time in UTC where a text can be had back from each value, else text."""
    if texts and all(_CANONICAL_INTEGER.fullmatch(text) and _is_integer(text) for text in texts):
        return _integer_type(texts, 32)
    if texts and all(_DATE.fullmatch(text) and _is_in_calendar(text) for text in texts):
        return pa.date32()
    if texts and all(_TIMESTAMP.fullmatch(text) and _is_in_calendar(text) for text in texts):
        return pa.timestamp("us", tz="UTC")
    return pa.string()


def _integer_type(texts: Collection[str], bits: int) -> pa.DataType:
    """The narrowest integer, of so many bits or more, that holds all."""
    sizes = [max(int(text), -int(text) - 1).bit_length() + 1 for text in texts if _is_integer(text)]
    return next(_INTEGERS[width] for width in _INTEGERS if width >= max([bits, *sizes]))


def _is_integer(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_boolean(text: str) -> bool:
    return text.lower() in ("true", "false")


def _is_time(text: str) -> bool:
    return _as_datetime(text) is not None


def _is_nothing(_: str) -> bool:
    return False


def _as_datetime(text: str) -> datetime | None:
    """The instant of an ISO time or date, naive ones in UTC, floored to microseconds; None where it is none."""
    if not _ISO_TIME.fullmatch(text):
        return None
    try:
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return None


def folder_name(column: str, text: str | None) -> str:
    """The name of the folder for a value; a null and an empty text have the same."""
    name = f"{_escape(column)}={_escape(text) if text else NULL_PARTITION}"
    return f"{name.removesuffix('_')}%5F" if name.endswith(HIDDEN_SUFFIX) else name


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda match: f"%{ord(match[0]):02X}", text)


def _is_in_calendar(time: str) -> bool:
    """Whether there is such a day and hour."""
    try:
        datetime.fromisoformat(time[:19])
    except ValueError:
        return False
    return True
