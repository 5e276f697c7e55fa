"""Folders that are tables are not read file by file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid import HybridSparkSource
from feast_hybrid.errors import SourceError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.file_schema import file_schema
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.formats import package


def read(folder: Path) -> list[str]:
    of = HybridSparkSource(name="rows", path=f"file://{folder}", timestamp_field="ts")
    return [column.name for column in file_schema(source_spec(of, Router())).columns]


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


def test_the_package_for_this_spark_is_named(tmp_path: Path) -> None:
    known = package("delta", "4.1.0")
    assert known is not None
    folder = lay(tmp_path, "_delta_log/0.json")
    with pytest.raises(
        SourceError, match=r"io\.delta:delta-spark_|No package of that format is known for PySpark 4\."
    ):
        read(folder)


@pytest.mark.parametrize("name", ["_delta_log", "metadata/readme.txt"])
def test_a_file_or_folder_of_another_meaning_is_no_log(tmp_path: Path, name: str) -> None:
    folder = lay(tmp_path, "_delta_log") if name == "_delta_log" else lay(tmp_path, rows="part-0.parquet")
    assert read(folder) == ["ts"]
