"""The columns of ORC files, without a JVM."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.orc

from feast_hybrid.arrow.spark_notes import with_naive_times
from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router

if TYPE_CHECKING:
    from feast_hybrid.files.resolved import ResolvedSchema

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


def resolved(tmp_path: Path, **files: dict[str, pa.Array]) -> ResolvedSchema:
    for name, columns in files.items():
        pyarrow.orc.write_table(pa.table(columns), tmp_path / f"{name}.orc")
    found = resolve_schema(Router(()).locate(f"file://{tmp_path}"), "orc")
    assert found is not None
    return found


def test_what_only_spark_reads_right_is_known_by_column_and_file(tmp_path: Path) -> None:
    good = {"n": pa.array([1]), "day": pa.array([date(2026, 1, 10)])}
    found = resolved(tmp_path, a=good, b={**good, "day": pa.array([date(1066, 10, 14)])})
    assert found.only_ours is None
    assert found.only_sparks == {"day": f"of {tmp_path}/b.orc holds dates before 1582-10-15"}


def test_columns_without_names_are_read_by_their_names_where_spark_would_go_by_their_places(tmp_path: Path) -> None:
    one = {"_col0": pa.array([1]), "_col1": pa.array(["a"])}
    more = {**one, "_col2": pa.array([0.5])}
    assert resolved(tmp_path, a=one, b=more).only_ours is None
    turned = {"_col1": pa.array(["a"]), "_col0": pa.array([1])}
    found = resolved(tmp_path, a=one, b=more, c=turned)
    assert (
        found.only_ours == f"columns called _col0 and so on, which Spark takes by their places, in {tmp_path}/c.orc"
    )
