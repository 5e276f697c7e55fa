"""What files of one folder hold in a column, as people have it: types that drift, columns that come and go."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
from feast.types import Array, Bool, Bytes, FeastType, Float64, Int32, Int64, String, UnixTimestamp
from feast.types import Decimal as FeastDecimal

#: The first and the last time of what is pulled, materialised, or asked for without entity rows.
START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=1200)
INSTANT = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Drift:
    """What a view declares of a column, and what files hold in it: pairs of a type and values, None for no column."""

    declared: FeastType
    in_files: tuple[tuple[pa.DataType, tuple[Any, ...]] | None, ...]


def _moments(*hours: float) -> tuple[datetime, ...]:
    return tuple(START + timedelta(hours=hour) for hour in hours)


_TEXT = ("a", "São", "", "007", None)
_WHOLE = (1, -5, 100, None)

#: What can be read.
FEATURES = (
    Drift(Int64, ((pa.int64(), (*_WHOLE, 2**40)),)),
    Drift(Int64, ((pa.int32(), _WHOLE), (pa.int64(), (2**40, 3)))),
    Drift(Int32, ((pa.int8(), _WHOLE), (pa.int16(), (300, None)), (pa.uint16(), (65_535,)))),
    Drift(Int64, ((pa.int64(), _WHOLE), (pa.float64(), (3.0, None, -2.0)))),
    Drift(Int64, ((pa.float64(), (3.0, None, -2.0)),)),
    Drift(Int64, ((pa.decimal128(5, 2), (Decimal("3.00"), None, Decimal("-2.00"))),)),
    Drift(Float64, ((pa.int64(), _WHOLE), (pa.float64(), (1.5, None, 0.1)))),
    Drift(Float64, ((pa.float32(), (0.5, 0.1, None)), (pa.float64(), (0.1, -1.0)))),
    Drift(Float64, ((pa.float64(), (0.0, -0.0, float("nan"), float("inf"), None)),)),
    Drift(Float64, ((pa.int32(), _WHOLE), (pa.float32(), (2.5,)))),
    Drift(FeastDecimal, ((pa.decimal128(5, 2), (Decimal("1.25"), None)), (pa.decimal128(12, 4), (Decimal("7.5"),)))),
    Drift(FeastDecimal, ((pa.int32(), _WHOLE), (pa.decimal128(6, 2), (Decimal("7.50"), None)))),
    Drift(UnixTimestamp, ((pa.date32(), (date(2026, 1, 2), None)), (INSTANT, _moments(1.5)))),
    Drift(UnixTimestamp, ((pa.date32(), (date(2026, 1, 2), date(1969, 12, 31), None)),)),
    Drift(UnixTimestamp, ((pa.timestamp("us"), (datetime(2026, 1, 3, 4), None)), (INSTANT, _moments(2)))),
    Drift(
        UnixTimestamp,
        ((pa.timestamp("ns"), (datetime(2026, 1, 3, 4),)), (pa.timestamp("ms"), (datetime(2026, 1, 3),))),
    ),
    Drift(String, ((pa.string(), _TEXT),)),
    Drift(String, ((pa.null(), (None,)), (pa.string(), _TEXT))),
    Drift(Int64, ((pa.null(), (None,)), (pa.int64(), _WHOLE))),
    Drift(Float64, ((pa.null(), (None,)),)),
    Drift(
        String, ((pa.string(), _TEXT), (pa.large_string(), _TEXT), (pa.dictionary(pa.int32(), pa.string()), _TEXT))
    ),
    Drift(Int64, (None, (pa.int64(), _WHOLE))),
    Drift(String, ((pa.string(), _TEXT), None)),
    Drift(String, ((pa.int64(), (7, 12_345)), (pa.string(), ("007", "x")))),
    Drift(String, ((pa.int64(), (7, 12_345, None)),)),
    Drift(String, ((pa.binary(), ("São".encode(), b"", None)), (pa.binary(2), (b"ab",)))),
    Drift(Bool, ((pa.bool_(), (True, False, None)), None)),
    Drift(Bytes, ((pa.binary(), (b"\x00\xff", None)), (pa.binary(2), (b"ab",)))),
    Drift(Array(Int64), ((pa.list_(pa.int32()), ([1, 2], None, [])), (pa.list_(pa.int64()), ([2**40],)))),
    Drift(Array(Float64), ((pa.list_(pa.float32()), ([0.5],)), (pa.list_(pa.float64()), ([0.1, None], None)))),
    Drift(Array(String), ((pa.list_(pa.string()), (["São", ""], [], None)), None)),
)

#: What cannot be read: no type holds all of it, or none that is declared.
REFUSED = (
    Drift(Int64, ((pa.int64(), (1,)), (pa.string(), ("x", "1")))),
    Drift(Int64, ((pa.string(), ("1", "2")),)),
    Drift(Int64, ((pa.float64(), (1.5,)), (pa.int64(), (1,)))),
    Drift(Int64, ((pa.float64(), (1.5,)),)),
    Drift(Int64, ((pa.decimal128(5, 2), (Decimal("1.10"),)),)),
    Drift(Bool, ((pa.bool_(), (True,)), (pa.int64(), (1,)))),
    Drift(Bool, ((pa.int64(), (1, 0)),)),
    Drift(Int64, ((pa.bool_(), (True, None)),)),
    Drift(String, ((pa.binary(), (b"\xff",)),)),
    Drift(Float64, ((pa.int64(), (2**53 + 1,)), (pa.float64(), (1.5,)))),
    Drift(UnixTimestamp, ((pa.string(), ("2026-01-01",)), (INSTANT, _moments(1)))),
    Drift(Array(Int64), ((pa.list_(pa.int64()), ([1],)), (pa.int64(), (1,)))),
    Drift(String, ((pa.string(), ("x",)), (pa.list_(pa.string()), (["x"],)))),
)

KEYS = (
    Drift(Int64, ((pa.int64(), (1, 2, 3)),)),
    Drift(Int64, ((pa.int32(), (1, 2)), (pa.int64(), (2, 3)))),
    Drift(Int64, ((pa.int64(), (1, 2)), (pa.float64(), (2.0, 3.0)))),
    Drift(String, ((pa.string(), ("a", "São")), (pa.large_string(), ("a", "007")))),
    Drift(String, ((pa.int64(), (7, 8)), (pa.string(), ("7", "007")))),
)

#: Event times: of hours, but for dates.
TIMES = (
    (INSTANT,),
    (pa.timestamp("ms", tz="UTC"), pa.timestamp("ns", tz="America/New_York")),
    (pa.timestamp("us"), INSTANT),
    (pa.date32(),),
    (pa.date32(), INSTANT),
)
CREATED = ((INSTANT,), (pa.timestamp("us"), pa.timestamp("ns", tz="UTC")))

_MICROSECOND = timedelta(microseconds=1)
#: Where calendars, epochs, nanoseconds and ranges end.
EDGES = (
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1582, 10, 10, tzinfo=UTC),
    datetime(1900, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    START - _MICROSECOND,
    START,
    END,
    END + _MICROSECOND,
    datetime(2262, 4, 12, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
)

#: What partition folders say, and what is declared of them: text is text whatever it looks like.
FOLDERS: tuple[tuple[FeastType, tuple[str | None, ...]], ...] = (
    (String, ("01234", "90210")),
    (String, ("7", "007")),
    (String, ("São", "a b")),
    (String, ("1", "2")),
    (String, ("x", None)),
    (String, ("2026-01-01", "2026-01-02")),
    (String, ("a/b", "100%")),
    (String, ("a*", "[b]", "{c,d}")),
    (String, ("a=b", "%41")),
    (Int64, ("1", "2")),
    (Int64, ("7", "007", None)),
    (Int64, ("-3", "5000000000")),
    (Float64, ("1.5", "2")),
    (Float64, ("1e+20", "1e-07")),
    (Bool, ("true", "False")),
    (UnixTimestamp, ("2026-01-01", "2026-01-02")),
    (UnixTimestamp, ("2026-01-01 10:00:00", "2026-01-02")),
)

#: All keys that are numbers, and those that are text.
KEY_NUMBERS = sorted(
    {1, 2, 3, *(int(text) for t, texts in FOLDERS if t == Int64 for text in texts if text is not None)}
)
KEY_TEXTS = sorted({"a", "7", "8", *(text for _, texts in FOLDERS for text in texts if text is not None)})
