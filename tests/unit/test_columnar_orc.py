"""What reading tasks read of ORC files: columns, stripes, and in how many requests."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.orc
import pytest

from feast_hybrid.arrow import orc_statistics
from feast_hybrid.arrow.orc_footer import OrcFooter
from feast_hybrid.asof.columnar.estimate import estimate_scan
from feast_hybrid.asof.columnar.held_ranges import HeldRanges
from feast_hybrid.asof.columnar.keys import hashed
from feast_hybrid.asof.columnar.orc_stripes import opened_stripes
from feast_hybrid.asof.columnar.read import read_split
from feast_hybrid.asof.columnar.spec import FileSplit, KeyFilter, ViewSpec
from feast_hybrid.asof.entity_stats.model import make_key_filter
from feast_hybrid.asof.scan import Scan, ScanFile
from feast_hybrid.errors import SchemaError, SourceError
from tests.unit.columnar import TEXT, UTC, plain, view_of

ROWS, KEYS = 100_000, 10


class Requests:
    """Opens files whose every read is counted, as on a lake."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, path: str) -> Any:
        sizes = self.sizes

        class Counting(io.FileIO):
            def read(self, size: int | None = -1) -> bytes:
                content = super().read(-1 if size is None else size)
                sizes.append(len(content))
                return content

        return Counting(path)


def written(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    file = tmp_path / "h.orc"
    pyarrow.orc.write_table(pa.table(columns), str(file), stripe_size=65536, **options)
    return file


@pytest.fixture
def by_key(tmp_path: Path) -> Path:
    """Rows of ten keys, one after another, in many stripes."""
    chance = np.random.default_rng(0)
    return written(tmp_path, {
        "k": np.repeat(np.arange(KEYS), ROWS // KEYS),
        "ts": pa.array(np.arange(ROWS) * 1_000_000).view(UTC),
        "v": chance.random(ROWS),
        "unwanted": chance.random(ROWS),
        "s": np.repeat([f"key {n}" for n in range(KEYS)], ROWS // KEYS),
    })  # fmt: skip


def rows_read(
    view: ViewSpec, file: Path, opened: Callable[[str], Any] | None = None, start: int = 0, end: int = 2**62
) -> tuple[pa.Table, list[int]]:
    requests = Requests()
    split = FileSplit(view.view_id, str(file), start, end, {}, opened or requests, "orc")
    return pa.Table.from_batches(list(read_split(split, view)), view.block_schema()), requests.sizes


def filter_of(column: Sequence[Any] | pa.Array) -> KeyFilter:
    keys = pa.array(column)
    found = make_key_filter(np.unique(hashed([keys])), [keys])
    assert found is not None
    return found


def test_only_wanted_columns_are_read(by_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feast_hybrid.asof.columnar.held_ranges._GAP_BYTES", 0)
    found, few = rows_read(view_of(created=False), by_key)
    _, many = rows_read(view_of(values=[("v", pa.float64()), ("unwanted", pa.float64())], created=False), by_key)
    assert found.num_rows == ROWS
    assert found["ts"].to_pylist() == [n * 1_000_000 for n in range(ROWS)]
    assert sum(many) - sum(few) > 8 * ROWS * 0.5


@pytest.mark.parametrize(
    "more",
    [
        {"key_filter": filter_of([3, 77])},
        {"low": 30_000 * 1_000_000, "high": 39_999 * 1_000_000},
        {"keys": [("s", TEXT, pa.string())], "key_filter": filter_of(["key 3", "none"])},
    ],
    ids=["whole numbers", "times", "text"],
)
@pytest.mark.parametrize("opened", [None, plain], ids=["lake", "disk"])
def test_stripes_that_hold_no_match_are_not_read(
    by_key: Path, more: dict[str, Any], opened: Callable[[str], Any] | None
) -> None:
    found, few = rows_read(view_of(created=False, **more), by_key, opened)
    assert found["ts"].to_pylist() == [n * 1_000_000 for n in range(30_000, 40_000)]
    if opened is None:
        _, everything = rows_read(view_of(created=False), by_key)
        assert sum(few) < sum(everything) / 3


def test_a_stripe_is_few_requests(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    columns = {"k": chance.integers(0, 2**40, ROWS), "ts": pa.array(np.arange(ROWS)).view(UTC)}
    file = written(
        tmp_path, {**columns, "v": chance.random(ROWS), **{f"u{n}": chance.random(ROWS) for n in range(4)}}
    )
    with file.open("rb") as opened:
        stripes = OrcFooter(opened).stripes
    _, sizes = rows_read(view_of(created=False), file)
    assert len(sizes) <= 3 * len(stripes) + 3
    big = written(tmp_path, columns | {"v": chance.random(ROWS)}, batch_size=ROWS)
    _, sizes = rows_read(view_of(created=False), big)
    assert len(sizes) <= 4
    assert max(sizes) > 10 * 65536


def test_a_file_read_in_pieces_gives_each_row_once(by_key: Path) -> None:
    found: list[int] = []
    pieces = 0
    for start in range(0, by_key.stat().st_size, 300_000):
        rows, _ = rows_read(view_of(created=False), by_key, start=start, end=start + 300_000)
        found += rows["ts"].to_pylist()
        pieces += bool(rows.num_rows)
    assert sorted(found) == [n * 1_000_000 for n in range(ROWS)]
    assert pieces > 2


def test_a_file_without_the_wanted_values_gives_nulls_and_one_without_the_key_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, {"K": pa.array([1, 2], pa.int16()), "ts": pa.array([1, 2]).view(UTC)})
    rows, _ = rows_read(view_of(created=True), file)
    assert rows.to_pydict() == {"k0": [1, 2], "ts": [1, 2], "created": [None, None], "v0": [None, None]}
    with pytest.raises(SchemaError, match=r"column 'other' of .*h\.orc: the file has no such column"):
        rows_read(view_of(keys=[("other", TEXT, pa.string())], created=False), file)


def test_what_only_spark_reads_is_refused_by_name(tmp_path: Path) -> None:
    times = pa.array([datetime(1, 1, 1), datetime(2026, 1, 1)], pa.timestamp("us"))
    file = written(tmp_path, {"k": [1, 2], "ts": times, "v": [0.5, 1.5]})
    with pytest.raises(SourceError, match=r"column 'ts' of .*h\.orc holds times before 1677-09-21"):
        rows_read(view_of(created=False), file)


def test_the_estimate_is_that_of_the_needed_columns(by_key: Path) -> None:
    size = by_key.stat().st_size
    scan = Scan(files=(ScanFile(str(by_key), size), ScanFile(str(by_key), size)), open=plain, file_format="orc")
    few = estimate_scan(scan, view_of(created=False))
    more = estimate_scan(scan, view_of(values=[("v", pa.float64()), ("unwanted", pa.float64())], created=False))
    assert few.rows == 2 * ROWS
    assert 2 * 8 * ROWS * 0.8 < more.read_bytes - few.read_bytes < 2 * 8 * ROWS * 1.2
    assert few.memory_bytes == 2 * ROWS * 24
    assert 0.2 < few.column_share < more.column_share < 1.0
    with by_key.open("rb") as opened:
        stripe = max(each.rows for each in OrcFooter(opened).stripes)
    assert few.part_bytes == stripe * 24


def test_held_ranges_are_read_once(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    file = tmp_path / "bytes"
    file.write_bytes(content)
    requests = Requests()
    with requests(str(file)) as opened:
        held = HeldRanges(opened, len(content))
        held.keep(len(content) - 100, content[-100:])
        held.hold([(10, 20), (500_000, 600_000), (5_000_000, 5_000_100), (len(content) - 50, len(content))])
        assert requests.sizes == [599_990, 100]
        for start, end in ((10, 20), (550_000, 550_007), (5_000_000, 5_000_100)):
            held.seek(start)
            assert held.read(end - start) == content[start:end]
        held.seek(-60, io.SEEK_END)
        assert held.read() == content[-60:]
        assert len(requests.sizes) == 2
        held.seek(599_990)
        assert held.read(20) == content[599_990:600_010]
        assert len(requests.sizes) == 3
        assert held.read(0) == b""


LONG_NAME = "n" * 70_000  # so that the footer is longer than what is read of a file's end at first


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
@pytest.mark.parametrize("name", ["v", LONG_NAME], ids=["short", "long"])
@pytest.mark.parametrize("by_path", [True, False])
def test_times_that_are_read_as_instants_are_the_same(
    compression: str, name: str, by_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(1)
    nanos = pa.array(chance.integers(-(2**61), 2**61, 20_000), mask=chance.random(20_000) < 0.1)
    naive = nanos.view(pa.timestamp("ns"))
    file = written(
        tmp_path,
        {
            "k": np.arange(20_000),
            "naive": naive,
            "instant": nanos.view(pa.timestamp("ns", "UTC")),
            "inner": pa.StructArray.from_arrays([naive], ["t"]),
            name: chance.random(20_000),
        },
        compression=compression,
    )
    names = ["naive", "instant", "inner", "k"]
    monkeypatch.setattr(orc_statistics, "_READERS_ZONE", "")  # Arrow's own files call it as its reader does
    with file.open("rb") as opened, opened_stripes(str(file) if by_path else opened) as stripes:
        assert stripes._instants == {"naive"}
        assert stripes.names == ["k", "naive", "instant", "inner", name]
        count = pyarrow.orc.ORCFile(str(file)).nstripes
        assert count > 1
        found = pa.Table.from_batches([stripes.read(n, names, "file") for n in reversed(range(count))])
    monkeypatch.undo()
    with opened_stripes(str(file)) as plainly:
        assert not plainly._instants
        wanted = pa.Table.from_batches([plainly.read(n, names, "file") for n in reversed(range(count))])
    assert found.schema == wanted.schema
    assert found.equals(wanted)


@pytest.mark.parametrize("zone", ["GMT", "UTC"])
def test_whatever_the_writer_calls_utc_the_rows_are_the_same(zone: str, tmp_path: Path) -> None:
    columns = {"k": ["a", "b"], "ts": pa.array([datetime(1969, 12, 31, 23, 59, 59, 999_999), None]), "v": [1.0, 2.0]}
    file = written(tmp_path, columns, compression="uncompressed")
    content = file.read_bytes()
    assert content.count(b"GMT") == 1
    file.write_bytes(content.replace(b"GMT", zone.encode()))
    with opened_stripes(str(file)) as stripes:
        assert stripes._instants == ({"ts"} if zone == "UTC" else set())
        assert stripes.read(0, ["ts"], "file").column(0).to_pylist() == columns["ts"].to_pylist()


def test_another_end_of_a_file_is_read_over_its_border() -> None:
    held = HeldRanges(io.BytesIO(b"0123456789"), 8, (6, b"xy"))
    assert held.read() == b"012345xy"
    held.seek(-4, io.SEEK_END)
    assert held.read(3) == b"45x"
    held.hold([(4, 8)])
    held.seek(5)
    assert held.read(9) == b"5xy"
    assert held.read(1) == b""
