"""Each Avro file has to have the keys and the event time: Spark takes nulls for what one lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SchemaError
from feast_hybrid.files.avro import parse_header, require_in_each_file
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import Router
from feast_hybrid.sources.reader import Reader
from feast_hybrid.sources.resolve import source_spec

MARKER = b"0123456789abcdef"
ROW = b"\x02\x02\x0e" + MARKER


def number(value: int) -> bytes:
    encoded, parts = (value << 1) ^ (value >> 63), []
    while encoded > 0x7F:
        parts.append(encoded & 0x7F | 0x80)
        encoded >>= 7
    return bytes([*parts, encoded])


def text(value: bytes) -> bytes:
    return number(len(value)) + value


def header(*columns: str, sized: bool = False, **more: bytes) -> bytes:
    fields = [{"name": name, "type": ["null", "long"]} for name in columns]
    schema = json.dumps({"type": "record", "name": "row", "fields": fields}).encode()
    pairs = {b"avro.codec": b"null", **{key.encode(): value for key, value in more.items()}, b"avro.schema": schema}
    content = b"".join(text(key) + text(value) for key, value in pairs.items())
    count = number(-len(pairs)) + number(len(content)) if sized else number(len(pairs))
    return b"Obj\x01" + count + content + number(0) + MARKER


def put(folder: Path, **files: bytes) -> None:
    for name, content in files.items():
        (folder / f"{name}.avro").write_bytes(content)


def require(folder: Path, *names: str, given: tuple[str, ...] = ()) -> None:
    location = Router().locate(f"file://{folder}")
    require_in_each_file(location, list_files(location).files, names, given)


@pytest.mark.parametrize("sized", [False, True])
def test_a_header_says_the_columns_and_where_it_ends(sized: bool) -> None:
    made = header("driver_id", "größe", sized=sized, note=b"x" * 300)
    assert parse_header(made + ROW) == (("driver_id", "größe"), len(made))
    for end in range(4, len(made)):
        with pytest.raises(EOFError):
            parse_header(made[:end])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"Obj\x01" + number(0) + MARKER])
def test_what_has_no_columns_is_left_to_spark(tmp_path: Path, content: bytes) -> None:
    assert parse_header(content) is None
    put(tmp_path, a=header("k") + ROW, b=content)
    require(tmp_path, "k")


def test_a_file_with_rows_that_lacks_a_column_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a=header("k", "ts") + ROW, b=header("K", "ts") + ROW, c=header("other"))  # the last has no rows
    require(tmp_path, "k", "ts")
    put(tmp_path, d=header("id", "ts") + ROW)
    with pytest.raises(SchemaError, match=r"d\.avro has no column 'k', .* Its columns are id, ts\."):
        require(tmp_path, "k", "ts")
    require(tmp_path, "k", "ts", given=("k",))


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    put(tmp_path, a=header("k", note=b"x" * 3_000_000) + ROW)
    require(tmp_path, "k")
    with pytest.raises(SchemaError, match="has no column 'ts'"):
        require(tmp_path, "ts")


def test_whoever_reads_a_source_is_told_its_name_and_the_file(tmp_path: Path) -> None:
    put(tmp_path, a=header("k", "ts") + ROW, b=header("id", "ts") + ROW)
    of = HybridSparkSource(name="rows", path=f"file://{tmp_path}", file_format="avro", timestamp_field="ts")
    session: Any = None
    with pytest.raises(SchemaError, match=r"source 'rows' \(.*\): .*b\.avro has no column 'k'"):
        Reader(session, Router()).open(source_spec(of, Router()), required=["k", "ts"])
