"""The columns of ORC files, without a JVM."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.spark_notes import with_naive_times
from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router

COLUMNS: list[tuple[str, pa.DataType, str]] = [
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


def noted_by_spark(name: str, data_type: pa.DataType, spark_type: str) -> pa.Field:
    return pa.field(name, data_type, metadata={"spark.sql.catalyst.type": spark_type})


def test_types_that_only_spark_notes_in_orc_are_what_spark_means() -> None:
    schema = pa.schema(
        [
            noted_by_spark("naive", pa.int64(), "timestamp_ntz"),
            pa.field("list", pa.list_(noted_by_spark("item", pa.int64(), "timestamp_ntz"))),
            pa.field("n", pa.int64()),
        ]
    )
    batch = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([[2, None]]), pa.array([3])], names=schema.names)
    found = with_naive_times(batch, schema)
    assert [str(data_type) for data_type in found.schema.types] == [
        "timestamp[us]",
        "list<item: timestamp[us]>",
        "int64",
    ]
    assert found.column(1).flatten().cast(pa.int64()).to_pylist() == [2, None]


def test_the_columns_of_a_file_and_of_its_partition(tmp_path: Path) -> None:
    folder = tmp_path / "dt=2026-01-10"
    folder.mkdir()
    empty = pa.table({name: pa.array([None], data_type) for name, data_type, _ in COLUMNS})
    pyarrow.orc.write_table(empty, folder / "part-0.orc")
    found = resolve_schema(Router(()).locate(f"file://{tmp_path}"), "orc")
    assert found is not None
    assert [(column.name, spark_type_of_arrow(column.data_type)) for column in found.columns] == [
        *((name, spark) for name, _, spark in COLUMNS),
        ("dt", "date"),
    ]
    assert found.only_ours is None
    assert found.times == {"naive": "ORC", "instant": "ORC", "list": "ORC"}
