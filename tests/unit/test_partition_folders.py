"""Which folder a row goes to."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid.errors import SchemaError, WriteError
from feast_hybrid.files.partitions import folder_name, parse_folder
from feast_hybrid.writing.partitions import dates_of, split, with_dates

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


@pytest.mark.parametrize("text", [None, "x", "2026-01-10 10:00:00", "a/b=c:d%", "{[^]}\t", "100%25", "ü"])
def test_a_folder_that_is_written_is_read_as_the_same_value(text: str | None) -> None:
    assert parse_folder(folder_name("a=b c", text)) == ("a=b c", text)


@pytest.mark.parametrize("name", ["x", "=1", "part-0.parquet", "a/b=1"])
def test_another_folder_is_no_partition(name: str) -> None:
    assert parse_folder(name) is None
