"""What Arrow's reader would read otherwise than Spark's is seen in an ORC file's footer."""

from __future__ import annotations

import dataclasses
import io
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.orc
import pytest

from feast_hybrid.arrow.lz4_blocks import decompress_block
from feast_hybrid.arrow.orc_footer import OrcFooter
from feast_hybrid.arrow.orc_statistics import CHAR, memory_bytes, number_range, only_sparks
from tests.integration.format_limits import Limit, format_limit

FAR, NEAR = datetime(9999, 12, 31), datetime(2026, 1, 1)
TIME = pa.timestamp("us")


def _file(columns: dict[str, Any], **options: Any) -> io.BytesIO:
    written = io.BytesIO()
    pyarrow.orc.write_table(pa.table(columns), written, **options)
    return io.BytesIO(written.getvalue())


@format_limit(
    "ORC",
    "times before 1677-09-21 or after 2262-04-11, which Arrow wraps around: it counts nanoseconds in 64 bits",
    "left to Spark",
    "holds times before 1677-09-21 or after 2262-04-11",
)
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
def test_a_column_with_such_times_is_named(far: pa.Array, compression: str, limit: Limit) -> None:
    file = _file({"key": pa.array([1, 2]), "near": pa.array([NEAR, None], TIME), "far": far}, compression=compression)
    reason = limit()
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


@format_limit(
    "ORC",
    "dates before 1582-10-15: Arrow knows one calendar",
    "left to Spark",
    "holds dates before 1582-10-15",
)
def test_dates_before_the_gregorian_calendar_are_sparks(limit: Limit) -> None:
    file = _file({"old": pa.array([date(1582, 10, 14), None]), "new": pa.array([date(1582, 10, 15), None])})
    assert only_sparks(OrcFooter(file), ["old", "new"]) == {"old": limit()}


@format_limit(
    "ORC",
    "a column `a.b` beside a struct `a` with a field `b`, which Arrow reads for it",
    "left to Spark",
    "has a name that may be that of a part of another column",
)
def test_a_name_that_may_be_that_of_a_part_of_another_column_is_sparks(limit: Limit) -> None:
    # Arrow reads "a.b" as the part of "a" here.
    footer = OrcFooter(_file({"a.b": pa.array([1]), "a": pa.array([{"b": 2}]), "c.d": pa.array([3])}))
    assert only_sparks(footer, ["a.b", "a", "c.d"]) == {"a.b": limit()}


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


@format_limit(
    "ORC",
    "times without a zone, of a writer in another zone than UTC, such as Hive 2: Arrow knows other rules than Java",
    "left to Spark",
    "holds times of a writer in the zone",
)
def test_times_of_a_writer_in_another_zone_are_sparks(limit: Limit) -> None:
    columns = {"naive": pa.array([NEAR], TIME), "instant": pa.array([NEAR], pa.timestamp("us", "UTC"))}
    content = _file(columns, compression="uncompressed").getvalue()
    assert content.count(b"GMT") == 1
    elsewhere = OrcFooter(io.BytesIO(content.replace(b"GMT", b"CET")))
    assert only_sparks(elsewhere, list(columns)) == {"naive": f"{limit()} CET, and not in UTC"}


@dataclasses.dataclass
class Edited:
    """A footer of which something else is said than there is in the file."""

    footer: OrcFooter
    changes: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.changes[name] if name in self.changes else getattr(self.footer, name)


def one_column(column: pa.Array) -> OrcFooter:
    return OrcFooter(_file({"c": column}))


@format_limit("ORC", "`char(n)`: Spark cuts blanks that Arrow keeps", "left to Spark", "is char, of whose blanks")
@format_limit("ORC", "decimals without a precision, as Hive 0.12 wrote them", "left to Spark", "is a decimal without")
@format_limit("ORC", "times without statistics of them", "left to Spark", "has no statistics of its times")
@format_limit("ORC", "dates without statistics of them", "left to Spark", "has no statistics of its dates")
@format_limit("ORC", "a file with encrypted columns", "left to Spark", "is in a file with encrypted columns")
def test_what_a_footer_does_not_tell_is_sparks(limit: Limit) -> None:
    text, decimal = one_column(pa.array(["a"])), one_column(pa.array([Decimal("1.5")]))
    time, day = one_column(pa.array([NEAR], TIME)), one_column(pa.array([date(2026, 1, 1)]))
    text.types[1].kind = CHAR
    decimal.types[1].ClearField("precision")
    edited: dict[str, Any] = {
        "is char, of whose blanks": text,
        "is a decimal without": decimal,
        "has no statistics of its times": Edited(time, {"statistics": ()}),
        "has no statistics of its dates": Edited(day, {"statistics": ()}),
        "is in a file with encrypted columns": Edited(one_column(pa.array([1])), {"is_encrypted": True}),
    }
    for reason, footer in edited.items():
        assert only_sparks(footer, ["c"])["c"].startswith(limit(reason))
