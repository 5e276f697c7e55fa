"""Folders that are tables are not read file by file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SourceError, UnavailableError
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import Router, Site
from feast_hybrid.sources.file_schema import file_schema
from feast_hybrid.sources.resolve import source_spec


def read(folder: Path) -> list[str]:
    of = HybridSparkSource(name="rows", path=f"file://{folder}", timestamp_field="ts")
    return [column.name for column in file_schema(source_spec(of, Router()), Router()).columns]


def lay(folder: Path, *others: str, rows: str = "part-0.parquet") -> Path:
    for name in (rows, *others):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    pq.write_table(pa.table({"ts": [1]}), folder / rows)
    return folder


@pytest.mark.parametrize(
    ("log", "rows", "file_format"),
    [
        ("_delta_log/00000000000000000000.json", "part-0.parquet", "delta"),
        ("_delta_log/00000000000000000000.json", "day=1/part-0.parquet", "delta"),
        (".hoodie/hoodie.properties", "part-0.parquet", "hudi"),
        ("metadata/v1.metadata.json", "data/part-0.parquet", "iceberg"),
        ("metadata/version-hint.text", "data/day=1/part-0.parquet", "iceberg"),
    ],
)
def test_a_table_is_refused_with_the_format_to_write(tmp_path: Path, log: str, rows: str, file_format: str) -> None:
    folder = lay(tmp_path, log, rows=rows)
    with pytest.raises(
        SourceError, match=rf"source 'rows' .*{folder} is a table of .* set file_format='{file_format}'"
    ):
        read(folder)


def test_a_partition_of_a_table_is_part_of_it(tmp_path: Path) -> None:
    folder = lay(tmp_path, "_delta_log/0.json", rows="day=1/hour=2/part-0.parquet")
    with pytest.raises(SourceError, match=rf"{folder} is a table of Delta"):
        read(folder / "day=1" / "hour=2")


def test_of_a_format_that_nobody_reads_it_is_said_that_no_package_is_known(tmp_path: Path) -> None:
    folder = lay(tmp_path, ".hoodie/hoodie.properties", rows="part-0.parquet")
    with pytest.raises(SourceError, match=r"file_format='hudi' .*No package of that format is known for PySpark 4\."):
        read(folder)


@pytest.mark.parametrize("name", ["_delta_log", "metadata/readme.txt"])
def test_a_file_or_folder_of_another_meaning_is_no_log(tmp_path: Path, name: str) -> None:
    folder = lay(tmp_path, "_delta_log") if name == "_delta_log" else lay(tmp_path, rows="part-0.parquet")
    assert read(folder) == ["ts"]


def lay_rows(folder: Path, *rows: str) -> None:
    for name in rows:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"ts": [1]}), folder / name)


@pytest.mark.parametrize(
    ("log", "rows", "path"),
    [
        ("t/_delta_log/0.json", "t/part-0.parquet", "t/*.parquet"),
        ("t/_delta_log/0.json", "t/part-0.parquet", "t/part-0.parquet"),
        ("t/_delta_log/0.json", "t/part-0.parquet", "*/"),
        ("t/_delta_log/0.json", "t/day=1/part-0.parquet", "t/day=1"),
        ("t/_delta_log/0.json", "t/day=1/part-0.parquet", "t/day=*"),
        ("t/_delta_log/0.json", "t/day=1/hour=2/part-0.parquet", "t/day=1/hour=2/*.parquet"),
        ("t/_delta_log/0.json", "t/x7/part-0.parquet", "t/x7"),
        ("t/_delta_log/0.json", "t/x7/part-0.parquet", "t/x7/part-0.parquet"),
        ("day=1/_delta_log/0.json", "day=1/part-0.parquet", ""),
        ("day=1/hour=2/.hoodie/hoodie.properties", "day=1/hour=2/part-0.parquet", ""),
        ("t/.hoodie/hoodie.properties", "t/2024/part-0.parquet", "t/2024"),
        ("t/2024/01/.hoodie_partition_metadata", "t/2024/01/part-0.parquet", "t/2024/01"),
        ("t/metadata/v1.metadata.json", "t/data/part-0.parquet", "t/data"),
        ("t/metadata/v1.metadata.json", "t/data/day=1/part-0.parquet", "t/data/day=1"),
        ("t/metadata/v1.metadata.json", "t/data/day=1/part-0.parquet", "t/data/day=1/*.parquet"),
        ("day=1/metadata/v1.metadata.json", "day=1/data/part-0.parquet", ""),
    ],
)
def test_what_lies_in_a_table_is_refused_however_it_is_named(tmp_path: Path, log: str, rows: str, path: str) -> None:
    lay_rows(tmp_path, rows)
    assert read(tmp_path / rows) == ["ts"]
    (tmp_path / log).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / log).write_text("{}")
    with pytest.raises(SourceError, match=r"source 'rows' .* is a table of (Delta|Hudi|Iceberg)"):
        read(tmp_path / path)


def test_a_table_beside_or_below_does_not_matter(tmp_path: Path) -> None:
    lay_rows(tmp_path, "lake/rows/a.parquet", "lake/metadata/readme.parquet")
    lay(tmp_path / "lake" / "table", "_delta_log/0.json")
    lay(tmp_path, "_delta_log_of_old/0.json")
    assert read(tmp_path / "lake" / "rows") == ["ts"]
    assert read(tmp_path / "lake" / "rows" / "*.parquet") == ["ts"]


def test_each_folder_above_is_looked_at_once_and_none_outside_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_rows(tmp_path, *(f"site/day={day}/{n}.parquet" for day in range(3) for n in range(20)))
    (tmp_path / "_delta_log").mkdir()
    site = Site(name="here", uri=f"file://{tmp_path}/site")
    filesystem = type(site.filesystem())
    looks: list[str] = []
    is_dir = filesystem.isdir

    def noting(self: object, path: str) -> bool:
        looks.append(path)
        return bool(is_dir(self, path))

    monkeypatch.setattr(filesystem, "isdir", noting)
    list_files(Router([site]).locate(f"file://{tmp_path}/site/day=*/*.parquet"))
    assert sorted(look for look in looks if look.endswith("/_delta_log")) == [
        f"{tmp_path}/site/_delta_log",
        *(f"{tmp_path}/site/day={day}/_delta_log" for day in range(3)),
    ]


def test_a_folder_above_that_may_not_be_looked_at_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_rows(tmp_path, "rows/a.parquet")

    def denied(*_: object) -> bool:
        raise PermissionError("not yours")

    monkeypatch.setattr(type(Router().locate(f"file://{tmp_path}").fs), "isdir", denied)
    assert read(tmp_path / "rows") == ["ts"]


def test_a_folder_above_that_cannot_be_looked_at_now_is_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(tmp_path, "_delta_log/0.json", rows="day=1/part-0.parquet")

    def away(*_: object) -> bool:
        raise ConnectionResetError("gone for a moment")

    monkeypatch.setattr(type(Router().locate(f"file://{tmp_path}").fs), "isdir", away)
    with pytest.raises(UnavailableError, match="gone for a moment"):
        read(tmp_path / "day=1")
