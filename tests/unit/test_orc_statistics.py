"""What Arrow's reader would read otherwise than Spark's is seen in an ORC file's footer."""

from __future__ import annotations

import io
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.orc
import pytest

from feast_hybrid.arrow.lz4_blocks import decompress_block
from feast_hybrid.arrow.orc_footer import OrcFooter
from feast_hybrid.arrow.orc_statistics import memory_bytes, number_range, only_sparks

FAR, NEAR = datetime(9999, 12, 31), datetime(2026, 1, 1)
TIME = pa.timestamp("us")


def _file(columns: dict[str, Any], **options: Any) -> io.BytesIO:
    written = io.BytesIO()
    pyarrow.orc.write_table(pa.table(columns), written, **options)
    return io.BytesIO(written.getvalue())


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
@pytest.mark.parametrize(
    "far",
    [
        pa.array([NEAR, FAR], TIME),
        pa.array([datetime(1, 1, 1), None], TIME),
        pa.array([datetime(1677, 9, 20), NEAR], TIME),
        pa.array([datetime(2262, 4, 12), NEAR], TIME),
        pa.array([[NEAR], [NEAR, FAR]], pa.list_(TIME)),
        pa.array([{"a": 1, "b": FAR}, None], pa.struct([("a", pa.int8()), ("b", TIME)])),
        pa.array([[("k", FAR)], []], pa.map_(pa.string(), TIME)),
    ],
    ids=str,
)
def test_a_column_with_such_times_is_named(far: pa.Array, compression: str) -> None:
    file = _file({"key": pa.array([1, 2]), "near": pa.array([NEAR, None], TIME), "far": far}, compression=compression)
    reason = "holds times before 1677-09-21 or after 2262-04-11"
    assert only_sparks(OrcFooter(file), ["key", "near", "far"]) == {"far": reason}
    assert only_sparks(OrcFooter(file), ["key", "near"]) == {}


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
def test_what_arrow_can_hold_is_none(compression: str) -> None:
    columns = {
        "edges": pa.array([datetime(1677, 9, 22), datetime(2262, 4, 11)], TIME),
        "nulls": pa.array([None, None], TIME),
        "empty": pa.array([[], None], pa.list_(TIME)),
        "text": pa.array(["9999-12-31", ""]),
    }
    assert only_sparks(OrcFooter(_file(columns, compression=compression)), list(columns)) == {}


def test_a_file_without_rows_has_none() -> None:
    assert only_sparks(OrcFooter(_file({"t": pa.array([], TIME)})), ["t"]) == {}


def test_the_file_can_be_read_afterwards() -> None:
    file = _file({"t": pa.array([NEAR], TIME)})
    assert only_sparks(OrcFooter(file), ["t"]) == {}
    assert pyarrow.orc.ORCFile(file).read()["t"].to_pylist() == [NEAR]


def test_dates_before_the_gregorian_calendar_are_sparks() -> None:
    file = _file({"old": pa.array([date(1582, 10, 14), None]), "new": pa.array([date(1582, 10, 15), None])})
    assert only_sparks(OrcFooter(file), ["old", "new"]) == {"old": "holds dates before 1582-10-15"}


def test_a_name_that_may_be_that_of_a_part_of_another_column_is_sparks() -> None:
    # Arrow reads "a.b" as the part of "a" here.
    footer = OrcFooter(_file({"a.b": pa.array([1]), "a": pa.array([{"b": 2}]), "c.d": pa.array([3])}))
    assert list(only_sparks(footer, ["a.b", "a", "c.d"])) == ["a.b"]


@pytest.mark.parametrize("compression", ["uncompressed", "zlib", "snappy", "zstd", "lz4"])
def test_the_footer_says_what_pyarrow_says(compression: str) -> None:
    numbers = np.arange(100_000)
    texts = [f"text {n * 7919 % 100_003}" for n in range(100_000)]
    columns = {"n": numbers, "x": np.random.default_rng(0).random(100_000), "s": texts}
    file = _file(columns, compression=compression, stripe_size=65536)
    footer, of_arrow = OrcFooter(file), pyarrow.orc.ORCFile(file)
    assert [stripe.rows for stripe in footer.stripes] == [
        of_arrow.read_stripe(n).num_rows for n in range(of_arrow.nstripes)
    ]
    assert len(footer.stripes) > 1
    assert len(footer.stripe_statistics) == len(footer.stripes)
    assert {footer.zone(stripe) for stripe in footer.stripes} == {"GMT"}
    first, last = footer.stripes[0], footer.stripes[-1]
    number = footer.numbers("n")[0]
    assert number_range(footer.stripe_statistics[0][number]) == (0, first.rows - 1)
    assert number_range(footer.stripe_statistics[-1][number]) == (100_000 - last.rows, 99_999)
    assert memory_bytes(footer, ["n", "s"]) == 100_000 * (8 + 4) + sum(map(len, texts))


def test_lz4_blocks_that_copy_what_they_write() -> None:
    plain = b"a" * 1000 + bytes(range(256)) * 3 + b"end"
    assert decompress_block(pa.Codec("lz4_raw").compress(plain, asbytes=True)) == plain
    with pytest.raises(ValueError, match="LZ4"):
        decompress_block(b"\x00\x01\x00")


def test_times_of_a_writer_in_another_zone_are_sparks() -> None:
    columns = {"naive": pa.array([NEAR], TIME), "instant": pa.array([NEAR], pa.timestamp("us", "UTC"))}
    content = _file(columns, compression="uncompressed").getvalue()
    assert content.count(b"GMT") == 1
    elsewhere = OrcFooter(io.BytesIO(content.replace(b"GMT", b"CET")))
    assert only_sparks(elsewhere, list(columns)) == {
        "naive": "holds times of a writer in the zone CET, and not in UTC"
    }
