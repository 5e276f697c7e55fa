"""Folders of Parquet and ORC files as people have them, at random."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, Literal
from urllib.parse import quote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from feast.types import Bool, FeastType, Int64, String, UnixTimestamp
from pyarrow import orc

from tests.integration.layouts.drifts import (
    CREATED,
    EDGES,
    FEATURES,
    FOLDERS,
    INSTANT,
    KEYS,
    REFUSED,
    START,
    TIMES,
    Drift,
)

#: What a feature's column may be called in the files: also as Spark, pandas and people spell it.
_COLUMNS = ("{}", "{}", "{}", "raw {}", "r.{}", "größe_{}")

#: How the files of a partitioned folder lie.
Tree = Literal["even", "beside", "uneven", "also in files"]


@dataclass
class Layout:
    """One folder of files.

    Attributes:
        seed: makes it again.
        file_format: ``parquet`` or ``orc``.
        declared: the types that the view declares, by the columns' names: ``k`` is the key.
        columns: the features' columns, by the features' names.
        created: whether there is a created time, ``created``.
        files: path within the folder → bytes.
        folders: that hold nothing.
    """

    seed: int
    declared: dict[str, FeastType]
    file_format: str = "parquet"
    columns: dict[str, str] = field(default_factory=dict)
    created: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    folders: tuple[str, ...] = ()

    @property
    def features(self) -> dict[str, FeastType]:
        """Their types, by name."""
        return {name: self.declared[column] for name, column in self.columns.items()}


def layout(seed: int, key: FeastType) -> Layout:
    """A folder of one to four files, the same for the same seed; its key is declared so."""
    return _Maker(seed, key).make()


class _Maker:
    """The making of one layout."""

    def __init__(self, seed: int, key: FeastType) -> None:
        self.chance = random.Random(seed)
        self.made = Layout(seed, {"k": key}, "orc" if self.chance.random() < 0.1 else "parquet")
        self.key = self.chance.choice([drift for drift in KEYS if drift.declared == key and self._fits(drift)])
        self.features: dict[str, Drift] = {}
        for name in ("v", "w"):
            column = self.chance.choice(_COLUMNS).format(name)
            self.made.columns[name] = column
            self.features[column] = self._feature(FEATURES)
        self.spoil = self.chance.choice(SPOILS) if self._happens(0.12) else None
        if self.spoil is _by_drift:
            self.features[self.made.columns["v"]] = self._feature(REFUSED)
        self.times = self.chance.choice([types for types in TIMES if all(map(self._can_hold, types))])
        self.created = self.chance.choice([types for types in CREATED if all(map(self._can_hold, types))])
        self.made.created = self.chance.random() < 0.3
        # What is wrong with a value that nobody looks at is not found: the rows of what is to be refused are plain.
        plain = self.spoil is not None
        near = self.times[0] not in (INSTANT, pa.timestamp("us")) or not self._is_parquet
        self.edges = not plain and not near and self._happens(0.2)
        self.null_keys = not plain and self._happens(0.05)
        self.null_times = not plain and self._happens(0.1)
        self.partitions: dict[str, tuple[str | None, ...]] = {}
        self.tree: Tree = "even"
        if self.spoil in (None, _by_drift) and self._happens(0.45):
            self._partition(key)
        self.clock = 0

    @property
    def _is_parquet(self) -> bool:
        return self.made.file_format == "parquet"

    def _happens(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _can_hold(self, data_type: pa.DataType) -> bool:
        return self._is_parquet or _in_orc(data_type)

    def _fits(self, drift: Drift) -> bool:
        return all(held is None or self._can_hold(held[0]) for held in drift.in_files)

    def _feature(self, among: Sequence[Drift]) -> Drift:
        return self.chance.choice([drift for drift in among if self._fits(drift)])

    def _partition(self, key: FeastType) -> None:
        """Choose the columns that folders tell, the outermost first: a key, features, or both."""
        names = self.chance.choice((["k"], ["z"], ["z"], ["z", "y"], ["k", "z"]))
        for name in names:
            choices = [(t, texts) for t, texts in FOLDERS if name != "k" or t == key]
            self.made.declared[name], self.partitions[name] = self.chance.choice(choices)
            if name != "k":
                self.made.columns[name] = name
        trees: tuple[Tree, ...] = ("even", "even", "beside", "also in files")
        self.tree = self.chance.choice((*trees, "uneven") if len(names) > 1 else trees)

    def make(self) -> Layout:
        # Each type of a column that must not be alone has a file with rows.
        drifts = self.spoil is not None or len(self.key.in_files) > 1
        count = max(self.chance.randint(1, 4), 2 if drifts else 1)
        for n in range(count):
            rows = self.chance.randint(1, 5)
            if n and not drifts and self._happens(0.1):
                rows = 0
            folders = self._folders_of(n)
            table = self._table(n, rows, folders)
            self.made.files["/".join([*map(self._folder, folders.items()), self._file_name(n)])] = self.encoded(table)
        self.made.declared |= {column: drift.declared for column, drift in self.features.items()}
        if self.spoil is not None:
            self.spoil(self)
        self._litter()
        return self.made

    def _folders_of(self, n: int) -> dict[str, str | None]:
        """What the folders on the way to a file say."""
        folders = {name: texts[n % len(texts)] for name, texts in self.partitions.items()}
        if n and self.tree == "beside":
            return {}
        if n and self.tree == "uneven":
            folders.popitem()
        return folders

    def _table(self, n: int, rows: int, folders: dict[str, str | None]) -> pa.Table:
        columns: dict[str, pa.Array] = {}
        if "k" not in self.partitions:
            columns["k"] = self._array(self.key.in_files[n % len(self.key.in_files)], rows, nulls=self.null_keys)
        clock = [self._next_hour() for _ in range(rows)]
        columns["ts"] = self._times(self.times[n % len(self.times)], clock)
        if self.made.created:
            hours = [self.chance.choice((0, 1, 2, None)) for _ in range(rows)]
            columns["created"] = _instants(
                self.created[n % len(self.created)],
                [None if h is None else START + timedelta(hours=h) for h in hours],
            )
        for name, drift in self.features.items():
            held = drift.in_files[n % len(drift.in_files)]
            if held is not None:
                columns[name] = self._array(held, rows, nulls=True)
        for name in self.partitions:
            if name not in folders:  # the rows' own value, or null; a key they need
                if name == "k" or self._happens(0.6):
                    columns |= self._own(name, rows)
            elif self.tree == "also in files":  # where the folder wins
                columns[name] = self._array(self.chance.choice(_ALSO), rows, nulls=True)
        if self._is_parquet and self._happens(0.15):  # Spark has no such type
            columns["nobody_wants"] = pa.array([None] * rows, pa.time64("us"))
        names = list(columns)
        self.chance.shuffle(names)
        table = pa.table({self._spelt(name): columns[name] for name in names})
        if rows and self._happens(0.1):
            table = pa.concat_tables([table, table.slice(0, 1)])
        return table

    def _own(self, name: str, rows: int) -> dict[str, pa.Array]:
        """A column that other files' folders tell."""
        held: dict[FeastType, tuple[tuple[pa.DataType, tuple[Any, ...]], ...]] = {
            String: ((pa.string(), ("a", "007")), (pa.int64(), (7, 8))),
            Int64: ((pa.int64(), (7, 1)), (pa.int32(), (7, 1))),
        }
        choices = held.get(self.made.declared[name])
        return {name: self._array(self.chance.choice(choices), rows, nulls=False)} if choices else {}

    def _spelt(self, name: str) -> str:
        """Names differ by case between files, once in a while."""
        return name.upper() if self._happens(0.03) else name

    def _next_hour(self) -> int:
        """The next hour, or once more the last, so that rows tie."""
        if self.clock == 0 or not self._happens(0.2):
            self.clock += 1
        return self.clock

    def _times(self, data_type: pa.DataType, hours: Sequence[int]) -> pa.Array:
        if pa.types.is_date(data_type):
            return pa.array([(START + timedelta(days=hour)).date() for hour in hours], data_type)
        times: list[Any] = [START + timedelta(hours=hour) for hour in hours]
        if self.edges:
            times = [self.chance.choice(EDGES) if self._happens(0.4) else time for time in times]
        return _instants(data_type, [None if self.null_times and self._happens(0.2) else time for time in times])

    def _array(self, held: tuple[pa.DataType, tuple[Any, ...]] | None, rows: int, *, nulls: bool) -> pa.Array:
        assert held is not None
        data_type, values = held
        usable = {*range(len(values))} - {n for n, value in enumerate(values) if value is None and not nulls}
        chosen = [values[self.chance.choice(sorted(usable))] for _ in range(rows)]
        if nulls and self.spoil is None:
            chosen = [None if self._happens(0.05) else value for value in chosen]
        return pa.array(chosen, data_type)

    def _file_name(self, n: int) -> str:
        return (f"part-[{n}]*{{a}}" if self._happens(0.05) else f"part-{n}") + f".{self.made.file_format}"

    def _folder(self, folder: tuple[str, str | None]) -> str:
        """pyarrow and polars encode all that is not plain, Spark and Hive what a path cannot have."""
        column, text = folder
        if text is None:
            return f"{column}=__HIVE_DEFAULT_PARTITION__"
        must = any(sign in "/%:" for sign in text)
        return f"{self._spelt(column)}={quote(text, safe='') if must or self._happens(0.4) else text}"

    def encoded(self, table: pa.Table) -> bytes:
        """The rows as a file, by one of its writers."""
        sink = io.BytesIO()
        is_ = pa.types
        plain = not any(
            is_.is_dictionary(t) or is_.is_null(t) or is_.is_fixed_size_binary(t) for t in table.schema.types
        )
        if not self._is_parquet:
            orc.write_table(table, sink)
        elif plain and self._happens(0.3):
            frame = pl.from_arrow(table)
            assert isinstance(frame, pl.DataFrame)
            frame.write_parquet(sink)
        else:
            pq.write_table(
                table,
                sink,
                row_group_size=self.chance.choice((2, 1000)),
                use_deprecated_int96_timestamps=not self.edges and self._happens(0.1),
                store_schema=self._happens(0.8),
            )
        return sink.getvalue()

    def _litter(self) -> None:
        """What lies about besides: files of no bytes, what writers leave, folders that hold nothing."""
        outermost = next(iter(self.partitions), None)
        within = "" if outermost is None else f"{self._folder((outermost, self.partitions[outermost][0]))}/"
        if self._happens(0.1):
            self.made.files[f"{within}empty.{self.made.file_format}"] = b""
        if self._happens(0.1):
            self.made.files["_SUCCESS"] = b""
            self.made.files["_temporary/0/part-9.parquet"] = b"half"
        if self._happens(0.1):
            self.made.files[f"{within}.part-0.crc"] = b"crc"
            self.made.files[f"{within}part-8._COPYING_"] = b"half"
        if self._happens(0.1):
            self.made.folders = ("staging" if outermost is None else within,)


def _by_drift(maker: _Maker) -> None:
    """Types that do not go together; chosen before the files are made."""


def _by_folder(maker: _Maker) -> None:
    """A partition that is no number, or a number that is no time and no boolean."""
    first = next(iter(maker.made.files))
    declared, texts = maker.chance.choice(
        ((Int64, ("1", "one")), (UnixTimestamp, ("20260110", "20260111")), (Bool, ("0", "1")))
    )
    maker.made.declared["x"] = declared
    maker.made.columns["x"] = "x"
    maker.made.files |= {f"x={text}/{first.rpartition('/')[2]}": maker.made.files[first] for text in texts}
    maker.made.files = {path: content for path, content in maker.made.files.items() if path.startswith("x=")}


def _by_encoding(maker: _Maker) -> None:
    """A folder's name that is no UTF-8."""
    maker.made.files = {f"x=%FF/{path.rpartition('/')[2]}": content for path, content in maker.made.files.items()}


def _by_folder_within(maker: _Maker) -> None:
    """A folder that is no partition, above all others."""
    maker.made.files = {f"part1/{path.rpartition('/')[2]}": content for path, content in maker.made.files.items()}


def _by_missing(maker: _Maker) -> None:
    """A file without its key or its event time, whose rows would be lost."""
    name = maker.chance.choice(("k", "ts"))
    table = maker._table(0, 2, {})
    table = table.drop_columns([column for column in table.column_names if column.lower() == name])
    maker.made.files[f"part-7.{maker.made.file_format}"] = maker.encoded(table)


SPOILS = (_by_drift, _by_drift, _by_drift, _by_folder, _by_encoding, _by_folder_within, _by_missing)

_ALSO = ((pa.string(), ("own",)), (pa.int64(), (99,)))


def _instants(data_type: pa.DataType, times: Sequence[Any]) -> pa.Array:
    return pa.array(times, INSTANT).cast(pa.timestamp(data_type.unit, "UTC")).cast(data_type)


@cache
def _in_orc(data_type: pa.DataType) -> bool:
    """Whether pyarrow writes it into ORC."""
    try:
        orc.write_table(pa.table({"c": pa.array([], data_type)}), io.BytesIO())
    except pa.ArrowException:
        return False
    return True
