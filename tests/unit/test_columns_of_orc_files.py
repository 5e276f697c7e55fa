"""The columns of ORC files, without a JVM."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.files.footers import columns_of_files
from feast_hybrid.files.orc import orc_columns_of_file
from feast_hybrid.lakes import Router

TYPES: list[tuple[str, pa.DataType, str]] = [
    ("flag", pa.bool_(), "boolean"),
    ("tiny", pa.int8(), "tinyint"),
    ("n", pa.int64(), "bigint"),
    ("x", pa.float32(), "float"),
    ("text", pa.string(), "string"),
    ("raw", pa.binary(), "binary"),
    ("day", pa.date32(), "date"),
    ("naive", pa.timestamp("us"), "timestamp"),
    ("instant", pa.timestamp("us", tz="UTC"), "timestamp"),
    ("price", pa.decimal128(10, 2), "decimal(10,2)"),
    ("list", pa.list_(pa.timestamp("us")), "array<timestamp>"),
    ("map", pa.map_(pa.string(), pa.float64()), "map<string,double>"),
    ("struct", pa.struct([("a b", pa.int32())]), "struct<a b:int>"),
]


def test_the_columns_of_a_file_and_of_its_partition(tmp_path: Path) -> None:
    folder = tmp_path / "dt=2026-01-10"
    folder.mkdir()
    empty = pa.table({name: pa.array([None], data_type) for name, data_type, _ in TYPES})
    pyarrow.orc.write_table(empty, folder / "part-0.orc")
    found = columns_of_files(Router(()).locate(f"file://{tmp_path}"), orc_columns_of_file)
    assert found == [*((name, spark) for name, _, spark in TYPES), ("dt", "date")]
