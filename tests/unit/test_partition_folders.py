"""Which folder a row goes to."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.listing import is_hidden
from feast_hybrid.files.partitions import folder_name, parse_folder
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.writing.parquet_files import append_parquet
from feast_hybrid.writing.partitions import dates_of, require_kept, split, with_dates

if TYPE_CHECKING:
    from feast_hybrid.sources.spec import SourceSpec

LATE = datetime(2026, 1, 10, 23, 30, tzinfo=UTC)


def folders(columns: dict[str, Any], *partitions: str) -> dict[str, Any]:
    table = pa.table(columns)
    kept = [name for name in table.column_names if name not in partitions]
    return {name: rows.to_pydict() for name, rows in split(table, partitions, kept).items()}


def test_rows_are_divided_by_each_column_in_turn_and_keep_their_order() -> None:
    columns = {"day": ["a", "b", "a", "a"], "hour": [1, 1, 2, 1], "n": [0, 1, 2, 3]}
    assert folders(columns, "day", "hour") == {
        "day=a/hour=1": {"n": [0, 3]},
        "day=b/hour=1": {"n": [1]},
        "day=a/hour=2": {"n": [2]},
    }


def test_without_partition_columns_all_rows_stay_together() -> None:
    assert folders({"n": [1, 2]}) == {"": {"n": [1, 2]}}


def test_a_column_that_the_files_hold_too_stays_in_them() -> None:
    assert split(pa.table({"p": ["a"], "n": [1]}), ["p"], ["p", "n"])["p=a"].to_pydict() == {"p": ["a"], "n": [1]}


def test_values_are_written_as_spark_writes_them() -> None:
    columns = {"p": ["a/b=c:d%", "", None, "ü x"], "n": [0, 1, 2, 3]}
    assert folders(columns, "p") == {
        "p=a%2Fb%3Dc%3Ad%25": {"n": [0]},
        "p=__HIVE_DEFAULT_PARTITION__": {"n": [1, 2]},
        "p=ü x": {"n": [3]},
    }
    assert folder_name("p", "{[^]}\t") == "p=%7B%5B%5E%5D}%09"
    assert list(folders({"p": [date(2026, 1, 2)], "q": [True], "n": [1]}, "p", "q")) == ["p=2026-01-02/q=true"]


def test_a_number_with_a_fraction_names_no_folder() -> None:
    with pytest.raises(SchemaError, match="partition column 'p' is double"):
        folders({"p": [1.5], "n": [1]}, "p")


def test_days_are_those_of_utc() -> None:
    tokyo = pa.array([LATE, None], pa.timestamp("ns", tz="Asia/Tokyo"))
    naive = pa.array([LATE.replace(tzinfo=None)], pa.timestamp("ms"))
    dates = pa.array([date(2026, 1, 11)])
    assert dates_of(pa.chunked_array([tokyo]), "%Y-%m-%d").to_pylist() == ["2026-01-10", None]
    assert dates_of(pa.chunked_array([naive, naive]), "%Y%m%d-%H%M").to_pylist() == ["20260110-2330"] * 2
    assert dates_of(pa.chunked_array([dates]), "%d.%m.%Y").to_pylist() == ["11.01.2026"]


def test_a_time_with_another_offset_belongs_to_the_day_of_utc() -> None:
    east = timezone(timedelta(hours=5))
    time = datetime(2026, 1, 11, 1, tzinfo=east)
    assert dates_of(pa.chunked_array([pa.array([time])]), "%Y-%m-%d").to_pylist() == ["2026-01-10"]


@pytest.mark.parametrize("given", [None, ["01", None], [1, None]])
def test_a_partition_column_is_filled_in_or_agrees(given: list[Any] | None) -> None:
    table = pa.table({"n": [1, 2]} if given is None else {"n": [1, 2], "month": given})
    filled = with_dates(table, "month", pa.array(["01", "02"]), what="rows")
    assert filled.to_pydict() == {"n": [1, 2], "month": ["01", "02"]}


def test_a_partition_column_that_disagrees_with_the_time_is_refused() -> None:
    table = pa.table({"n": [1, 2], "day": ["2026-01-10", "2026-01-11"]})
    with pytest.raises(WriteError, match=r"rows: row 1 has '2026-01-11' in the partition column 'day'"):
        with_dates(table, "day", pa.array(["2026-01-10", "2026-01-12"]), what="rows")


@pytest.mark.parametrize(
    "text", [None, "x", "2026-01-10 10:00:00", "a/b=c:d%", "{[^]}\t", "100%25", "ü", "half._COPYING_"]
)
def test_a_folder_that_is_written_is_read_as_the_same_value(text: str | None) -> None:
    assert parse_folder(folder_name("a=b c", text)) == ("a=b c", text)


def test_a_folder_that_is_written_is_hidden_from_nobody() -> None:
    assert not is_hidden(folder_name("p", "half._COPYING_"))
    assert not is_hidden(folder_name("p", "_x"))


def source_of_folders(folder: Path, *names: str, declared: dict[str, Any] | None = None) -> SourceSpec:
    """A Parquet source with a row in each of the folders."""
    for name in names:
        (folder / name).mkdir(parents=True)
        pq.write_table(pa.table({"x": [1]}), folder / name / "a.parquet")
    of = HybridSparkSource(name="rows", path=f"file://{folder}", timestamp_field="ts")
    return replace(source_spec(of, Router()), declared=declared or {})


def append(source: SourceSpec, **columns: list[Any]) -> None:
    rows = pa.table({"x": [1] * len(next(iter(columns.values()))), **columns})
    append_parquet(rows, source, lambda: rows.schema, what="rows")


def folders_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.mark.parametrize(
    ("there", "declared", "value", "wanted"),
    [
        ("z=1", pa.int64(), "abc", "int64"),
        ("z=1", None, "abc", "int32"),
        ("z=1", None, "007", "int32"),
        ("z=1", None, "2026-01-10", "int32"),
        ("z=2026-01-10", None, "soon", "date32[day]"),
        ("z=2026-01-10", INSTANT, "soon", "timestamp[us, tz=UTC]"),
        ("z=2026-01-10", INSTANT, 20260110, "timestamp[us, tz=UTC]"),
        ("z=true", pa.bool_(), 1, "bool"),
    ],
)
def test_a_value_that_is_none_of_the_columns_type_makes_no_folder(
    tmp_path: Path, there: str, declared: Any, value: Any, wanted: str
) -> None:
    source = source_of_folders(tmp_path, there, declared={"z": declared} if declared else None)
    message = f"rows: row 1 has {str(value)!r} in the partition column 'z', which is {wanted}. Nothing was written"
    with pytest.raises(SchemaError, match=re.escape(message)):
        append(source, z=[None, value])
    assert folders_in(tmp_path) == [there]


@pytest.mark.parametrize(
    ("there", "declared", "value", "folder"),
    [
        ("z=1", pa.int64(), "2", "z=2"),
        ("z=1", None, 2**40, f"z={2**40}"),
        ("z=NL", None, 2, "z=2"),
        ("z=1.5", pa.float64(), "2.5", "z=2.5"),
        ("z=__HIVE_DEFAULT_PARTITION__", None, "x", "z=x"),
        ("z=1", pa.string(), "x._COPYING_", "z=x._COPYING%5F"),
        ("z=2026-01-10", INSTANT, date(2026, 1, 11), "z=2026-01-11"),
    ],
)
def test_a_value_of_the_columns_type_is_read_back(
    tmp_path: Path, there: str, declared: Any, value: Any, folder: str
) -> None:
    source = source_of_folders(tmp_path, there, declared={"z": declared} if declared else None)
    append(source, z=[value])
    assert folders_in(tmp_path) == sorted([there, folder])
    assert source.location is not None
    schema = resolve_schema(source.location, "parquet", declared=source.declared)
    assert schema is not None
    assert len(schema.files) == 2
    schema.require(["z"])


def test_days_are_written_as_their_format_says_whatever_the_folders_have_been_so_far(tmp_path: Path) -> None:
    source = source_of_folders(tmp_path, "month=12")
    source = replace(source, timestamp_field="x", date_partition_column="month", date_partition_format="%m")
    rows = pa.table({"x": pa.array([LATE], pa.timestamp("us", tz="UTC"))})
    pq.write_table(rows, tmp_path / "month=12" / "a.parquet")
    append_parquet(rows, source, lambda: rows.schema, what="rows")
    assert folders_in(tmp_path) == ["month=01", "month=12"]


@pytest.mark.parametrize("text", ["", "__HIVE_DEFAULT_PARTITION__"])
def test_text_that_a_folder_would_make_null_is_refused(tmp_path: Path, text: str) -> None:
    source = source_of_folders(tmp_path, "z=a")
    with pytest.raises(WriteError, match=f"rows: row 1 has '{text}' in the partition column 'z', .* is read as null"):
        append(source, z=["a", text])
    assert folders_in(tmp_path) == ["z=a"]


def test_who_does_not_encode_a_hidden_name_refuses_it() -> None:
    rows = pa.table({"z": pa.array(["a", "b._COPYING_"]).dictionary_encode()})
    require_kept(rows, ["z"], what="rows", suffix_is_encoded=True)
    with pytest.raises(WriteError, match=r"row 1 has 'b\._COPYING_' in the partition column 'z', .* read by nobody"):
        require_kept(rows, ["z"], what="rows")


@pytest.mark.parametrize("name", ["x", "=1", "part-0.parquet", "a/b=1"])
def test_another_folder_is_no_partition(name: str) -> None:
    assert parse_folder(name) is None
