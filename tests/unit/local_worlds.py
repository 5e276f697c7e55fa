"""Random entity rows and histories for the join of this process, and by brute force what it has to answer.

Rows are plain Python: times are microseconds and dates are days, since Python's own end at the year 9999.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from feast_hybrid.arrow.utc import DAY_MICROS
from feast_hybrid.asof import Scan, ScanFile
from feast_hybrid.asof.local.view import LocalView
from tests.unit.columnar import UTC, plain

NAIVE = pa.timestamp("us")
NAN = float("nan")
Row = dict[str, Any]

#: Keys that go together: types of both sides, and values that each of them can hold a part of.
_KEYS: list[tuple[list[pa.DataType], list[Any]]] = [
    ([pa.int8(), pa.int32(), pa.int64()], [1, 2, -3, 0, None]),
    ([pa.int64()], [2**63 - 1, -(2**63), 2**53 + 1, 7, None]),
    ([pa.int32(), pa.float64(), pa.float32()], [1, 2, 1.5, -0.0, 0, NAN, None]),
    ([pa.float64(), pa.float32()], [0.5, -0.0, 0.0, NAN, math.inf, None]),
    ([pa.decimal128(5, 2), pa.decimal128(12, 4), pa.int64()], [Decimal(1), Decimal("2.5"), Decimal("-1.0625"), None]),
    ([pa.decimal128(30, 5), pa.decimal128(38, 10)], [Decimal(10**20), Decimal("0.1"), Decimal("-7.00001"), None]),
    ([pa.string()], ["a", "", "é", "a\x00", "A", None]),
    ([pa.binary()], [b"", b"\x00", b"\xff", b"a", None]),
    ([pa.bool_()], [True, False, None]),
    ([pa.date32()], [0, -1, 20000, None]),
    ([UTC, NAIVE], [0, -1, 10**15, None]),
]  # fmt: skip
_FEATURES: list[tuple[pa.DataType, list[Any]]] = [
    (pa.float64(), [1.5, -0.0, 0.0, NAN, -math.inf, None]),
    (pa.int32(), [5, -5, None]),
    (pa.string(), ["a", "", "é", "Z", None]),
    (pa.binary(), [b"", b"\xff", b"\x01", None]),
    (pa.bool_(), [True, False, None]),
    (pa.decimal128(20, 3), [Decimal("1.5"), Decimal(-2), None]),
    (pa.date32(), [0, -40000, None]),
    (UTC, [0, -1, None]),
    (pa.list_(pa.int64()), [[], [1], [1, None], [2, 0], None]),
    (pa.struct([("x", pa.float64()), ("y", pa.string())]), [{"x": 1.0, "y": "a"}, {"x": None, "y": "b"}, None]),
    (pa.list_(pa.struct([("x", pa.int64())])), [[{"x": 1}, {"x": None}], [None], [], None]),
]
#: Where time is: at its beginning, before 1970, now, at its end. ORC's times end earlier.
_BASES = (-(2**63) + 3, -(2**62), -(DAY_MICROS * 7), 0, 1_700_000_000_000_000, 2**63 - 9)
_BASES_OF_ORC = (-(DAY_MICROS * 7), 0, 1_700_000_000_000_000)


def fits(value: Any, data_type: pa.DataType) -> bool:
    """Whether a column of a type can hold a value as it is."""
    if value is None or not isinstance(value, (int, float, Decimal)) or isinstance(value, bool):
        return True
    if pa.types.is_integer(data_type):
        return not isinstance(value, float | Decimal) or (value == value and value == int(value))  # noqa: PLR0124
    if pa.types.is_decimal(data_type):
        exponent = int(Decimal(value).as_tuple().exponent)
        fits = -exponent <= data_type.scale and abs(Decimal(value)) < 10 ** (data_type.precision - data_type.scale)
        return bool(fits)
    return True


def column(values: Sequence[Any], data_type: pa.DataType) -> pa.Array:
    """A column of plain values."""
    if pa.types.is_timestamp(data_type):
        return pa.array(values, pa.int64()).view(data_type)
    if pa.types.is_date32(data_type):
        return pa.array(values, pa.int32()).view(data_type)
    if pa.types.is_integer(data_type):
        return pa.array([None if value is None else int(value) for value in values], data_type)
    return pa.array(values, data_type)


def plain_values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """What :func:`column` was made of."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.int64())
    elif pa.types.is_date32(array.type):
        array = array.cast(pa.int32())
    found: list[Any] = array.to_pylist()
    return found


def rank(value: Any) -> tuple[Any, ...]:
    """The order of values in ties: see docs/point-in-time.md."""
    if value is None:
        return (0,)
    if isinstance(value, float):
        return (2,) if math.isnan(value) else (1, value, math.copysign(1, value))
    if isinstance(value, str):
        return (1, value.encode())
    if isinstance(value, Mapping):
        return (1, tuple(rank(part) for part in value.values()))
    return (1, tuple(rank(part) for part in value)) if isinstance(value, list) else (1, value)


def equal(left: Any, right: Any) -> bool:
    """Whether two keys are: by value, a null never."""
    if left is None or right is None:
        return False
    return bool(left == right or (left != left and right != right))  # noqa: PLR0124


@dataclass(frozen=True)
class History:
    """A view's rows, in files.

    Args:
        view: Reads them.
        rows: In the order of the files; times in microseconds.
        by_name: The types of their columns.
    """

    view: LocalView
    rows: list[Row]
    by_name: dict[str, pa.DataType]

    def micros(self, row: Row, name: str | None) -> int | None:
        """A time of a row."""
        value = None if name is None else row[name]
        return value * DAY_MICROS if value is not None and pa.types.is_date32(self.by_name[str(name)]) else value

    def order(self, row: Row, ranked: Sequence[str]) -> tuple[Any, ...]:
        """By which a row is later than another."""
        created = self.micros(row, self.view.created)
        ranks = (rank(row[name]) for name in sorted(set(ranked)))
        return (self.micros(row, self.view.timestamp), -math.inf if created is None else created, *ranks)

    def answer(self, entity: Row, time: int | None, *, by_created: bool) -> list[Any]:
        """The features of an entity row."""
        view = self.view
        ttl = 0 if view.ttl is None else view.ttl // timedelta(microseconds=1)
        found = []
        for row in self.rows:
            ts, created = self.micros(row, view.timestamp), self.micros(row, view.created)
            if time is None or ts is None or ts > time or (ttl and ts < time - ttl):
                continue
            if by_created and view.created is not None and (created is None or created > time):
                continue
            if all(equal(entity[of_entity], row[name]) for of_entity, name in view.keys):
                found.append(row)
        names = [name for name, _ in view.features]
        best = max(found, key=lambda row: self.order(row, names), default=None)
        return [None if best is None else best[name] for name in names]

    def within(self, low: int | None, high: int | None) -> Iterator[Row]:
        """The rows of a time range."""
        for row in self.rows:
            ts = self.micros(row, self.view.timestamp)
            if ts is None and (low, high) != (None, None):
                continue
            if ts is None or ((low is None or ts >= low) and (high is None or ts <= high)):
                yield row

    def latest(self, keys: Sequence[str], values: Sequence[str], low: int | None, high: int | None) -> list[Row]:
        """Of the rows of a time range the latest of each key."""
        best: dict[tuple[Any, ...], Row] = {}
        ranked = set(values) - set(keys)
        for row in self.within(low, high):
            if self.micros(row, self.view.timestamp) is None or any(row[name] is None for name in keys):
                continue
            key = tuple("NaN" if row[name] != row[name] else row[name] for name in keys)
            if key not in best or self.order(row, [*ranked]) > self.order(best[key], [*ranked]):
                best[key] = row
        return list(best.values())


class Draw:
    """What a seed makes.

    Args:
        seed: Of it.
        folder: Where files go.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)
        self._folder = folder
        self.file_format = self.chance.choice(["parquet", "parquet", "orc"])
        self._base = self.chance.choice(_BASES_OF_ORC if self.file_format == "orc" else _BASES)
        self._keys = {f"e{n}": self.chance.choice(_KEYS) for n in range(self.chance.choice([1, 2, 3]))}
        self._same = self._some_keys()

    def time(self) -> int | None:
        """One of few, or none."""
        place = self.chance.choice([*range(-3, 8), None])
        return None if place is None else self._base + place

    def entities(self) -> tuple[dict[str, pa.Array], list[Row], list[int | None]]:
        """The entity rows' key columns, the same as rows, and their times."""
        count = self.chance.choice([0, 1, 40, 40, 40])
        times = [None if self.chance.random() < 0.05 else self.time() for _ in range(count)]
        if self.chance.random() < 0.05:
            times = [None] * count
        columns = {}
        for name, (types, values) in self._keys.items():
            data_type = self.chance.choice([*types, *types, pa.null()])
            drawn = [self.chance.choice([value for value in values if fits(value, data_type)]) for _ in range(count)]
            columns[name] = pa.nulls(count) if pa.types.is_null(data_type) else column(drawn, data_type)
        lists = {name: plain_values(array) for name, array in columns.items()}
        return columns, [{name: lists[name][n] for name in lists} for n in range(count)], times

    def history(self, number: int) -> History:
        """A view and its files."""
        chance = self.chance
        keys: list[tuple[str, str]] = []
        types: dict[str, pa.DataType] = {}
        draws: dict[str, Callable[[], Any]] = {}
        for name in self._same if chance.random() < 0.5 else self._some_keys():
            of_key, values = self._keys[name]
            for column_name in [f"k_{name}", f"K2_{name}"][: 1 + (chance.random() < 0.2)]:
                types[column_name] = data_type = chance.choice(of_key)
                fitting = [value for value in values if fits(value, data_type)]
                draws[column_name] = lambda fitting=fitting: chance.choice(fitting)  # type: ignore[misc]
                keys.append((name, column_name))
        types["ts"] = chance.choice([UTC, NAIVE])
        created = "written" if chance.random() < 0.7 else None
        if created:
            types[created] = chance.choice([UTC, NAIVE])
        draws |= dict.fromkeys({"ts", created or "ts"}, self.time)
        names = chance.sample(["v", "B", "a", "é", "x.y"], chance.choice([1, 2, 3]))
        for name in names:
            types[name], values = chance.choice(_FEATURES)
            draws[name] = lambda values=values: chance.choice(values)  # type: ignore[misc]
        wanted = [*names, *chance.choices([*types], k=chance.choice([0, 1, 2]))]
        rows = [{name: draws[name]() for name in types} for _ in range(chance.choice([0, 3, 60, 60]))]
        if chance.random() < 0.5:  # as a lake is that is appended to
            rows.sort(key=lambda row: -math.inf if row["ts"] is None else row["ts"])
        folder = self._folder / str(number)
        scan = self._write(folder, rows, types)
        lists = {name: plain_values(column([row[name] for row in rows], types[name])) for name in types}
        view = LocalView(
            name=f"view {number}",
            schema=pa.schema(types),
            keys=keys,
            timestamp="ts",
            created=created,
            ttl=chance.choice([None, None, timedelta(0), timedelta(microseconds=2), timedelta(microseconds=4)]),
            features=[(name, f"{number}: {n} {name}") for n, name in enumerate(wanted)],
            scan=scan,
        )
        return History(view, [{name: lists[name][n] for name in types} for n in range(len(rows))], types)

    def _some_keys(self) -> list[str]:
        return self.chance.sample([*self._keys], self.chance.randint(0, len(self._keys)))

    def _write(self, folder: Path, rows: Sequence[Row], types: Mapping[str, pa.DataType]) -> Scan:
        """Files of small row groups, in the order of their names."""
        folder.mkdir()
        table = pa.table({name: column([row[name] for row in rows], types[name]) for name in types})
        count = self.chance.choice([1, 2, 5])
        ends = [len(rows) * n // count for n in range(count + 1)]
        files = []
        for n in range(count):
            # Taken and not sliced: of structs in a slice pyarrow's ORC writer writes other rows.
            part = table.take(pa.array(range(ends[n], ends[n + 1]), pa.int64()))
            path = folder / f"{n}.{self.file_format}"
            if self.file_format == "orc":
                orc.write_table(part, path)
            else:
                pq.write_table(part, path, row_group_size=7)
            files.append(ScanFile(str(path), path.stat().st_size))
        return Scan(files=tuple(files), open=plain, file_format=self.file_format)
