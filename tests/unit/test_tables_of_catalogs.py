"""What a catalog says of a table and its partitions, and what lies in their folders."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql.types import (
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from feast_hybrid.asof import Ineligible, Scan
from feast_hybrid.errors import SourceError
from feast_hybrid.files.listing import list_files
from feast_hybrid.files.plain_folders import NotPlainError, files_in
from feast_hybrid.files.table_formats import TableFormatError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.sources.table_folders import refuse_transactions
from feast_hybrid.sources.table_scan import partition_value, table_scan
from feast_hybrid.spark.catalog import TableEntry, parse_partition
from tests.integration.format_limits import Limit, format_limit


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("day=2026-01-10/h=3", {"day": "2026-01-10", "h": "3"}),
        ("day=x%3Ay%2Fé %25/h=", {"day": "x:y/é %", "h": ""}),
        ("DAY=__HIVE_DEFAULT_PARTITION__/h=a=b", {"day": None, "h": "a=b"}),
        ("h=3/day=2026-01-10", None),
        ("day=2026-01-10", None),
        ("day", None),
    ],
)
def test_the_name_of_a_partition(name: str, wanted: dict[str, str | None] | None) -> None:
    assert parse_partition(name, ["day", "h"]) == wanted


@pytest.mark.parametrize(
    ("text", "data_type", "wanted"),
    [
        (None, IntegerType(), None),
        ("01", StringType(), "01"),
        ("", StringType(), ""),
        ("-7", ByteType(), -7),
        ("9223372036854775807", LongType(), 2**63 - 1),
        ("2026-01-10", DateType(), date(2026, 1, 10)),
        ("true", BooleanType(), True),
        ("2026-01-10 07:00:00.5", TimestampType(), datetime(2026, 1, 10, 7, 0, 0, 500_000, UTC)),
    ],
    ids=str,
)
def test_the_value_of_a_partition_has_the_table_s_type(text: str | None, data_type: DataType, wanted: Any) -> None:
    found = partition_value(text, data_type, is_utc=True)
    assert found == wanted
    assert type(found) is type(wanted)


@format_limit(
    "Tables",
    "a partition's value that is not written as Spark writes it: `01` for an integer",
    "left to Spark",
    "is no",
)
@pytest.mark.parametrize(
    ("text", "data_type", "is_utc"),
    [
        ("01", IntegerType(), True),
        (" 1", IntegerType(), True),
        ("128", ByteType(), True),
        ("9223372036854775808", LongType(), True),
        ("2026-1-10", DateType(), True),
        ("2026-02-30", DateType(), True),
        ("TRUE", BooleanType(), True),
        ("1.5", DecimalType(3, 1), True),
        ("2026-01-10 07:00:00", TimestampType(), False),
    ],
    ids=str,
)
def test_a_value_that_only_spark_s_cast_knows_is_none_of_ours(
    text: str, data_type: DataType, is_utc: bool, limit: Limit
) -> None:
    with pytest.raises(ValueError, match=limit()):
        partition_value(text, data_type, is_utc=is_utc)


def test_a_hive_acid_table_is_refused() -> None:
    refuse_transactions(None, "table t")
    refuse_transactions(TableEntry({"table_properties": {"transactional": "false"}}), "table t")
    with pytest.raises(SourceError, match="table t is a Hive ACID table"):
        refuse_transactions(TableEntry({"table_properties": {"transactional": "TRUE"}}), "table t")


def names_in(folder: Path) -> list[str]:
    (files,) = files_in([Router(()).locate(f"file://{folder}")])
    return [Path(file.path).name for file in files]


def test_only_files_with_bytes_that_are_not_hidden_are_of_a_plain_folder(tmp_path: Path) -> None:
    for name in ("b", "a.orc", "_SUCCESS", ".b.crc", "c.orc._COPYING_", "_x=1"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "empty").touch()
    (tmp_path / ".hive-staging_1").mkdir()
    (tmp_path / "_temporary").mkdir()
    assert names_in(tmp_path) == ["_x=1", "a.orc", "b"]


def test_what_is_no_plain_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        names_in(tmp_path / "gone")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(NotPlainError, match="file is a file"):
        names_in(tmp_path / "file")
    (tmp_path / "day=1").mkdir()
    with pytest.raises(NotPlainError, match=r"there is a folder .*day=1 in it"):
        names_in(tmp_path)
    (tmp_path / "day=1" / "_delta_log").mkdir()
    with pytest.raises(TableFormatError):
        names_in(tmp_path / "day=1")


@pytest.mark.parametrize(
    "name", ["delta_0000001_0000001_0000", "delete_delta_0000002_0000002", "base_0000005", "base_0000005_v0000012"]
)
def test_folders_of_a_hive_acid_table_are_refused_below_a_path_too(tmp_path: Path, name: str) -> None:
    (tmp_path / "day=1" / name).mkdir(parents=True)
    (tmp_path / "day=1" / name / "000000_0").write_bytes(b"rows")
    with pytest.raises(
        TableFormatError, match=r"day=1 holds inserts and deletes of a Hive ACID table.*have Hive write"
    ):
        list_files(Router(()).locate(f"file://{tmp_path}"))
    (tmp_path / "day=1" / name).rename(tmp_path / "day=1" / "base_line")
    assert [Path(file.path).name for file in list_files(Router(()).locate(f"file://{tmp_path}")).files] == [
        "000000_0"
    ]


_FORMATS = "io.delta.sql.DeltaSparkSessionExtension"


@format_limit(
    "Tables",
    "a table in a session with an extension of no table format, such as one that filters rows or masks columns",
    "left to Spark",
    "the session has the extension org.example.Masks, which may have rules for rows",
)
@pytest.mark.parametrize(
    "extensions", ["org.example.Masks", f"{_FORMATS}, org.example.Masks", "org.example.Masks,x.Y"]
)
def test_a_session_with_rules_of_its_own_reads_its_tables(extensions: str, limit: Limit) -> None:
    found = _scan({"spark.sql.extensions": extensions})
    assert isinstance(found, Ineligible)
    assert limit() in found.reason


@pytest.mark.parametrize("extensions", [None, "", _FORMATS, f" {_FORMATS} ,"])
def test_extensions_of_table_formats_are_no_rules(extensions: str | None) -> None:
    found = _scan({} if extensions is None else {"spark.sql.extensions": extensions})
    assert isinstance(found, Ineligible)
    assert "under none of the configured sites" in found.reason


def _scan(settings: dict[str, str]) -> Scan | Ineligible:
    """What is found of a table that is under no site, in a session with some settings."""
    session: Any = SimpleNamespace(conf=SimpleNamespace(get=settings.get))
    entry = TableEntry({"type": "EXTERNAL", "provider": "parquet", "location": "s3a://elsewhere/t"})
    source = SourceSpec(name="t", table="t")
    return table_scan(source, entry, StructType([]), session, Router([]), [], [], (None, None))
