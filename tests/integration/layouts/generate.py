"""Folders of Parquet files as people have them, at random: types that drift, columns that come and go, odd names."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.types import Array, Bool, Bytes, FeastType, Float64, Int32, Int64, String, UnixTimestamp
from feast.types import Decimal as FeastDecimal

START = datetime(2026, 1, 1, tzinfo=UTC)
_UTC = pa.timestamp("us", tz="UTC")


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
    Drift(Float64, ((pa.int64(), _WHOLE), (pa.float64(), (1.5, None, 0.1)))),
    Drift(Float64, ((pa.float32(), (0.5, 0.1, None)), (pa.float64(), (0.1, -1.0)))),
    Drift(Float64, ((pa.int32(), _WHOLE), (pa.float32(), (2.5,)))),
    Drift(FeastDecimal, ((pa.decimal128(5, 2), (Decimal("1.25"), None)), (pa.decimal128(12, 4), (Decimal("7.5"),)))),
    Drift(UnixTimestamp, ((pa.date32(), (date(2026, 1, 2), None)), (_UTC, _moments(1.5)))),
    Drift(UnixTimestamp, ((pa.timestamp("us"), (datetime(2026, 1, 3, 4), None)), (_UTC, _moments(2)))),
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
    Drift(Bool, ((pa.bool_(), (True, False, None)), None)),
    Drift(Bytes, ((pa.binary(), (b"\x00\xff", None)), (pa.binary(2), (b"ab",)))),
    Drift(Array(Int64), ((pa.list_(pa.int32()), ([1, 2], None, [])), (pa.list_(pa.int64()), ([2**40],)))),
    Drift(Array(Float64), ((pa.list_(pa.float32()), ([0.5],)), (pa.list_(pa.float64()), ([0.1, None], None)))),
)

#: What cannot be read: no type holds all of it, or none that is declared.
REFUSED = (
    Drift(Int64, ((pa.int64(), (1,)), (pa.string(), ("x", "1")))),
    Drift(Int64, ((pa.string(), ("1", "2")),)),
    Drift(Int64, ((pa.float64(), (1.5,)), (pa.int64(), (1,)))),
    Drift(Bool, ((pa.bool_(), (True,)), (pa.int64(), (1,)))),
    Drift(Float64, ((pa.int64(), (2**53 + 1,)), (pa.float64(), (1.5,)))),
    Drift(UnixTimestamp, ((pa.string(), ("2026-01-01",)), (_UTC, _moments(1)))),
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
    (_UTC,),
    (pa.timestamp("us"),),
    (pa.timestamp("ns"),),
    (pa.timestamp("ms", tz="UTC"), pa.timestamp("ns", tz="America/New_York")),
    (pa.timestamp("us"), _UTC),
    (pa.date32(),),
    (pa.date32(), _UTC),
)

#: Values of a folder, which are text whatever they look like.
FOLDERS = (("01234", "90210"), ("7", "007"), ("São", "a b"), ("1", "2"), ("x", None), ("2026-01-01", "2026-01-02"))


#: All keys that are text.
KEY_TEXTS = sorted({"a", "7", "8", *(text for texts in FOLDERS for text in texts if text is not None)})


@dataclass
class Layout:
    """One folder of files.

    Attributes:
        seed: makes it again.
        key: of the column ``k``.
        features: by name.
        in_folders: the columns that folders tell: ``k``, ``z`` or none; declared as text.
        files: path within the folder → bytes.
        refused: the feature for which it is to be refused.
    """

    seed: int
    key: Drift
    features: dict[str, Drift]
    in_folders: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    refused: str | None = None

    @property
    def declared(self) -> dict[str, FeastType]:
        """The features' types, as the view declares them."""
        more = {"z": String} if self.in_folders == "z" else {}
        return {name: drift.declared for name, drift in self.features.items()} | more


def layout(seed: int, key: FeastType) -> Layout:
    """A folder of one to four files, the same for the same seed; its key is declared so."""
    chance = random.Random(seed)
    keys = [drift for drift in KEYS if drift.declared == key]
    made = Layout(seed, chance.choice(keys), {name: chance.choice(FEATURES) for name in ("v", "w")})
    if chance.random() < 0.1:
        made.refused = "v"
        made.features["v"] = chance.choice(REFUSED)
    folders: Sequence[str | None] = ()
    if chance.random() < 0.4:
        made.in_folders = chance.choice(("k", "z") if key == String else ("z",))
        folders = chance.choice(FOLDERS)
        if made.in_folders == "k":
            made.key = Drift(String, ())
    times = chance.choice(TIMES)
    # Each type of a column that must not be alone has a file with rows.
    drifts = bool(made.refused) or len(made.key.in_files) > 1
    count = max(chance.randint(1, 4), 2 if drifts else 1)
    clock = iter(range(1, 1000))
    for n in range(count):
        columns: dict[str, pa.Array] = {}
        rows = chance.randint(1, 5)
        if n and not drifts and chance.random() < 0.1:
            rows = 0
        if made.in_folders != "k":
            columns["k"] = _array(chance, made.key.in_files[n % len(made.key.in_files)], rows, nulls=False)
        columns["ts"] = _times(times[n % len(times)], [next(clock) for _ in range(rows)])
        for name, drift in made.features.items():
            held = drift.in_files[n % len(drift.in_files)]
            if held is not None:
                columns[name] = _array(chance, held, rows, nulls=True)
        if chance.random() < 0.2:  # Spark has no such type
            columns["nobody_wants"] = pa.array([None] * rows, pa.time64("us"))
        names = list(columns)
        chance.shuffle(names)
        table = pa.table({name: columns[name] for name in names})
        made.files[_path(chance, made.in_folders, folders, n)] = _encoded(chance, table)
    if chance.random() < 0.1:
        made.files["part-empty.parquet" if made.in_folders is None else f"{made.in_folders}=1/empty.parquet"] = b""
    if chance.random() < 0.1:
        made.files["_SUCCESS"] = b""
        made.files["_temporary/0/part-9.parquet"] = b"half"
    return made


def _array(
    chance: random.Random, held: tuple[pa.DataType, tuple[Any, ...]] | None, rows: int, *, nulls: bool
) -> pa.Array:
    assert held is not None
    data_type, values = held
    usable = values if nulls else [value for value in values if value is not None]
    return pa.array([chance.choice(usable) for _ in range(rows)], data_type)


def _times(data_type: pa.DataType, hours: Sequence[int]) -> pa.Array:
    if pa.types.is_date(data_type):
        return pa.array([(START + timedelta(days=hour)).date() for hour in hours], data_type)
    return (
        pa.array([START + timedelta(hours=hour) for hour in hours], _UTC)
        .cast(pa.timestamp(data_type.unit, "UTC"))
        .cast(data_type)
    )


def _path(chance: random.Random, column: str | None, folders: Sequence[str | None], n: int) -> str:
    name = f"part-{n}.parquet"
    if column is None:
        return name
    text = folders[n % len(folders)]
    if text is None:
        return f"{column}=__HIVE_DEFAULT_PARTITION__/{name}"
    # pyarrow and polars encode all that is not plain; Spark and Hive what a path cannot have.
    return f"{column}={quote(text, safe='') if chance.random() < 0.5 else text}/{name}"


def _encoded(chance: random.Random, table: pa.Table) -> bytes:
    sink = io.BytesIO()
    plain = all(
        not pa.types.is_dictionary(kind) and not pa.types.is_null(kind) and not pa.types.is_fixed_size_binary(kind)
        for kind in table.schema.types
    )
    if plain and chance.random() < 0.3:
        frame = pl.from_arrow(table)
        assert isinstance(frame, pl.DataFrame)
        frame.write_parquet(sink)
    else:
        pq.write_table(
            table,
            sink,
            row_group_size=chance.choice((2, 1000)),
            use_deprecated_int96_timestamps=chance.random() < 0.1,
            store_schema=chance.random() < 0.8,
        )
    return sink.getvalue()
