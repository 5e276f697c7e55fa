"""Rows that an Iceberg table has deleted by their values, as the format's specification has it."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    FixedType,
    LongType,
    NestedField,
    StringType,
    StructType,
    TimestampNanoType,
    TimeType,
    UUIDType,
)

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError, SourceError, SourceNotFoundError
from feast_hybrid.files.iceberg_table import IcebergTable, SnapshotChoice, read_table
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes import Router
from tests.iceberg_tables import catalog_table, deletes, equality_deletes, rows_of, with_deletes, without_catalog
from tests.integration.format_limits import Limit, format_limit

NAMED = Schema(NestedField(1, "k", LongType()), NestedField(2, "s", StringType()))


def at(folder: Path) -> IcebergTable:
    return read_table(Router([]).locate(f"file://{folder}"), SnapshotChoice())


def of(folder: Path, values: pa.Table, columns: dict[str, int], name: str = "e", **more: Any) -> Any:
    return equality_deletes(folder / "table" / f"{name}.parquet", values, columns, **more)


def longs(*values: int | None) -> pa.Array:
    return pa.array(values, pa.int64())


def test_a_null_equals_a_null_and_all_columns_have_to_be_equal(tmp_path: Path) -> None:
    held = pa.table({"k": longs(1, 1, None, None, 2), "s": ["a", "b", "a", None, None]})
    table = catalog_table(tmp_path, NAMED)
    table.append(held)
    both = of(tmp_path, pa.table({"s": ["b", None], "k": longs(1, None)}), {"k": 1, "s": 2})
    found = rows_of(at(with_deletes(table, tmp_path, [both])))
    assert found == [{"k": 1, "s": "a"}, {"k": 2, "s": None}, {"k": None, "s": "a"}]
    only = of(tmp_path, pa.table({"k": longs(None), "s": ["what else is in the file"]}), {"k": 1})
    found = rows_of(at(with_deletes(table, tmp_path, [only])))
    assert found == [{"k": 1, "s": "a"}, {"k": 1, "s": "b"}, {"k": 2, "s": None}]


def test_deletes_count_for_rows_of_earlier_commits_alone(tmp_path: Path) -> None:
    table = catalog_table(tmp_path, NAMED)
    for name in ("first", "second"):
        table.append(pa.table({"k": longs(1, 2), "s": [name, name]}))
    file = of(tmp_path, pa.table({"k": longs(1)}), {"k": 1})
    for sequence, left in ((1, ["first", "second"]), (2, ["second"]), (3, [])):
        found = rows_of(at(with_deletes(table, tmp_path, [file], sequence=sequence)))
        assert [row["s"] for row in found if row["k"] == 1] == left
        assert len(found) == 2 + len(left)


def test_deletes_are_those_of_their_partition_or_of_all_where_they_have_none(tmp_path: Path) -> None:
    by_town = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "s"))
    table = catalog_table(tmp_path, NAMED, partition_spec=by_town)
    table.append(pa.table({"k": longs(1, 1, 1, 2), "s": ["a", "b", None, "b"]}))
    with table.update_spec() as change:
        change.remove_field("s")
    values = pa.table({"k": longs(1)})
    for partition, left in (("a", ["b", None]), (None, ["a", "b"])):
        file = of(tmp_path, values, {"k": 1}, partition=Record(partition))
        found = rows_of(at(with_deletes(table, tmp_path, [file], spec=by_town)))
        assert [row["s"] for row in found if row["k"] == 1] == left
    everywhere = of(tmp_path, values, {"k": 1})
    assert rows_of(at(with_deletes(table, tmp_path, [everywhere], spec=table.spec()))) == [{"k": 2, "s": "b"}]


def test_deletes_of_one_partitioning_are_none_of_another(tmp_path: Path) -> None:
    by_key = PartitionSpec(PartitionField(1, 1000, IdentityTransform(), "k"))
    table = catalog_table(tmp_path, NAMED, partition_spec=by_key)
    table.append(pa.table({"k": longs(1, 2), "s": ["by key", "by key"]}))
    with table.update_spec() as change:
        change.add_identity("s")
    table.append(pa.table({"k": longs(1), "s": ["by both"]}))
    file = of(tmp_path, pa.table({"k": longs(1, 2)}), {"k": 1}, partition=Record(1))
    found = rows_of(at(with_deletes(table, tmp_path, [file], spec=by_key)))
    assert found == [{"k": 1, "s": "by both"}, {"k": 2, "s": "by key"}]


def test_what_the_partition_says_of_a_column_is_compared(tmp_path: Path) -> None:
    by_town = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "s"))
    table = catalog_table(tmp_path, NAMED, partition_spec=by_town)
    table.append(pa.table({"k": longs(1, 2, 3), "s": ["a", "b", None]}))
    with table.update_spec() as change:
        change.remove_field("s")
    (file,) = [file for file in at(without_catalog(table, tmp_path)).resolve().files if file.partitions["s"] == "a"]
    pq.write_table(pq.read_table(file.path, partitioning=None).drop_columns(["s"]), file.path)
    gone = of(tmp_path, pa.table({"s": ["a", None]}), {"s": 2})
    assert rows_of(at(with_deletes(table, tmp_path, [gone], spec=table.spec()))) == [{"k": 2, "s": "b"}]


def test_columns_that_were_renamed_widened_dropped_or_came_later_are_compared(tmp_path: Path) -> None:
    held = pa.table({"n": pa.array([1, 2, 3], pa.int32()), "gone": ["x", "y", "z"], "v": longs(10, 20, 30)})
    table = catalog_table(tmp_path, held.schema)
    table.append(held)
    with table.update_schema() as change:
        change.rename_column("n", "m")
        change.update_column("n", LongType())
        change.delete_column("gone")
    with table.update_schema() as change:
        change.add_column("gone", StringType())  # another column, of another number
    small = of(tmp_path, pa.table({"n": pa.array([1], pa.int32())}), {"n": 1}, "small")
    wide = of(tmp_path, pa.table({"m": longs(2**40, 3)}), {"m": 1}, "wide")
    dropped = of(tmp_path, pa.table({"gone": ["y"]}), {"gone": 2}, "dropped")
    late = of(tmp_path, pa.table({"gone": pa.array([None], pa.string()), "m": longs(9)}), {"m": 1, "gone": 4}, "late")
    for files, left in (([small], [2, 3]), ([wide], [1, 2]), ([dropped], [1, 3]), ([late], [1, 2, 3])):
        assert [row["m"] for row in rows_of(at(with_deletes(table, tmp_path, files)))] == left
    nulls = of(tmp_path, pa.table({"gone": pa.array([None], pa.string())}), {"gone": 4}, "nulls")
    assert rows_of(at(with_deletes(table, tmp_path, [nulls]))) == []


def test_columns_that_nobody_asks_for_are_compared(tmp_path: Path) -> None:
    table = catalog_table(tmp_path, NAMED)
    table.append(pa.table({"k": longs(1, 2), "s": ["a", "b"]}))
    found = at(with_deletes(table, tmp_path, [of(tmp_path, pa.table({"k": longs(1)}), {"k": 1})]))
    assert rows_of(found, names=["s"]) == [{"s": "b"}]


def test_deletes_by_positions_and_by_several_columns_go_together(tmp_path: Path) -> None:
    table = catalog_table(tmp_path, NAMED)
    table.append(pa.table({"k": longs(1, 2, 3, 4), "s": ["a", "b", "c", "d"]}))
    (task,) = table.scan().plan_files()
    files = [
        deletes(tmp_path / "table" / "p.parquet", [(task.file.file_path, 3)]),
        of(tmp_path, pa.table({"k": longs(1)}), {"k": 1}, "k"),
        of(tmp_path, pa.table({"s": ["c", "c"]}), {"s": 2}, "s"),
        of(tmp_path, pa.table({"s": pa.array([], pa.string())}), {"s": 2}, "none"),
    ]
    found = at(with_deletes(table, tmp_path, files))
    assert rows_of(found) == [{"k": 2, "s": "b"}]
    (tmp_path / "table" / "s.parquet").unlink()
    with pytest.raises(SourceNotFoundError, match=r"s\.parquet was there when the plan was made, and is gone"):
        rows_of(found)
    for file in found.resolve().files:
        Path(file.path).unlink()
    with pytest.raises(SourceNotFoundError, match=r"the table: .*was there when the plan was made, and is gone"):
        rows_of(found)


TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["a", "", "ä", "a "]),
    "bytes": (pa.binary(), [b"", b"\x00", b"\x00\x00", b"\xff"]),
    "whole numbers": (pa.int64(), [2**63 - 1, -(2**63), 0, 2**53 + 1]),
    "small numbers": (pa.int32(), [0, -1, 2**31 - 1, 7]),
    "booleans": (pa.bool_(), [True, False]),
    "days": (pa.date32(), [date(1, 1, 1), date(1970, 1, 1), date(2026, 1, 10)]),
    "instants": (INSTANT, [datetime(2026, 1, 10, 0, 0, 0, n, UTC) for n in range(3)]),
    "times": (pa.timestamp("us"), [datetime(2026, 1, 10, 0, 0, 0, n) for n in range(3)]),
    "decimals": (pa.decimal128(5, 2), [Decimal("1.50"), Decimal("-1.50"), Decimal("0.00")]),
    "long decimals": (pa.decimal128(38, 2), [Decimal(10**34) + n for n in range(3)]),
}


@pytest.mark.parametrize("name", TYPES)
def test_values_of_each_type_are_compared_exactly(tmp_path: Path, name: str) -> None:
    data_type, values = TYPES[name]
    values = [*values, None]
    held = pa.table({"n": range(len(values)), "v": pa.array(values, data_type)})
    table = catalog_table(tmp_path, held.schema)
    table.append(held)
    for gone in (values[::2], values[1::2], [None]):
        file = of(tmp_path, pa.table({"v": pa.array(gone, data_type)}), {"v": 2})
        found = rows_of(at(with_deletes(table, tmp_path, [file])))
        assert [row["v"] for row in found] == [value for value in values if value not in gone]


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_is_what_a_comparison_row_by_row_leaves(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feast_hybrid.files.iceberg_equality._BATCH_ROWS", 700)
    chance = random.Random(seed)

    def some(count: int) -> pa.Table:
        return pa.table(
            {
                "k": longs(*[chance.choice([None, *range(40)]) for _ in range(count)]),
                "s": pa.array([chance.choice([None, *"abcdefgh"]) for _ in range(count)], pa.string()),
                "d": pa.array(
                    [
                        chance.choice([None, date(2026, 1, n) if (n := chance.randint(1, 9)) else None])
                        for _ in range(count)
                    ],
                    pa.date32(),
                ),
            }
        )

    table = catalog_table(tmp_path, some(1).schema, properties={"write.parquet.row-group-limit": "1000"})
    held = some(5000)
    table.append(held)
    left = held.to_pylist()
    files = []
    for n, columns in enumerate(
        [{"k": 1, "s": 2, "d": 3}, {"s": 2, "k": 1}, {"d": 3, "k": 1}, {"k": 1, "s": 2, "d": 3}]
    ):
        values = some(chance.choice([1, 60, 1500]) if len(columns) == 3 else 5)
        files.append(of(tmp_path, values.select(list(columns)), columns, str(n)))
        gone = {tuple(row[name] for name in columns) for row in values.to_pylist()}
        left = [row for row in left if tuple(row[name] for name in columns) not in gone]
    assert 0 < len(left) < 5000
    assert rows_of(at(with_deletes(table, tmp_path, files))) == sorted(left, key=repr)


def test_many_deleted_values_of_a_large_file(tmp_path: Path) -> None:
    held = pa.table(
        {"k": range(600_000), "s": [None] * 600_000}, schema=pa.schema([("k", pa.int64()), ("s", pa.string())])
    )
    table = catalog_table(tmp_path, NAMED)
    table.append(held)
    gone = [n * 3 for n in range(400_000)]
    files = [of(tmp_path, pa.table({"k": gone[:200_000]}), {"k": 1}, "a")]
    files.append(
        of(
            tmp_path,
            pa.table({"k": gone[200_000:], "s": [None] * 200_000}, schema=held.schema),
            {"k": 1, "s": 2},
            "b",
        )
    )
    found = at(with_deletes(table, tmp_path, files)).resolve().files
    assert sum(len(file.deleted.rows(str)) for file in found if file.deleted) == 200_000


def test_columns_of_bytes_of_a_given_length(tmp_path: Path) -> None:
    table = catalog_table(tmp_path, Schema(NestedField(1, "k", LongType()), NestedField(2, "v", FixedType(2))))
    fixed = pa.array([b"ab", b"cd", None], pa.binary(2))
    table.append(pa.table({"k": longs(1, 2, 3), "v": fixed}))
    file = of(tmp_path, pa.table({"v": fixed[1:]}), {"v": 2})
    assert [row["k"] for row in rows_of(at(with_deletes(table, tmp_path, [file])))] == [1]


def with_type(data_type: Any, **more: Any) -> NestedField:
    return NestedField(2, "v", data_type, **more)


@pytest.mark.parametrize(
    ("column", "number"),
    [
        pytest.param(
            with_type("double"),
            2,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of floats: whether -0.0 is 0.0 there, engines do not agree",
                "left to Spark's package, else refused",
                "needs deletes by equality of 'v', which is double",
            ),
            id="floats",
        ),
        pytest.param(
            with_type(TimestampNanoType()),
            2,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of nanoseconds",
                "left to Spark's package, else refused",
                "needs deletes by equality of 'v', which is timestamp[ns]",
            ),
            id="nanoseconds",
        ),
        pytest.param(
            with_type(TimeType()),
            2,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of `time`",
                "left to Spark's package, else refused",
                "needs deletes by equality of 'v', which Spark has no type",
            ),
            id="time",
        ),
        pytest.param(
            with_type(UUIDType()),
            2,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of `uuid`",
                "left to Spark's package, else refused",
                "needs deletes by equality of 'v', which is of the type uuid",
            ),
            id="uuid",
        ),
        pytest.param(
            with_type(LongType(), initial_default=7),
            2,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of a column with a default for earlier rows",
                "left to Spark's package, else refused",
                "needs deletes by equality of 'v', which 'v' has a default",
            ),
            id="default",
        ),
        pytest.param(
            with_type(StructType(NestedField(3, "part", LongType()))),
            3,
            marks=format_limit(
                "Iceberg",
                "deletes by equality of a part of a column",
                "left to Spark's package, else refused",
                "needs deletes by equality of a part of a column",
            ),
            id="part",
        ),
    ],
)
def test_what_is_not_compared_is_left_to_sparks_package(
    tmp_path: Path, column: NestedField, number: int, limit: Limit
) -> None:
    table = catalog_table(tmp_path, NAMED)
    table.append(pa.table({"k": longs(1), "s": ["a"]}))
    file = of(tmp_path, pa.table({"v": longs(1)}), {"v": number})
    folder = with_deletes(table, tmp_path, [file])
    metadata = folder / "metadata" / "v1.metadata.json"
    raw = json.loads(metadata.read_text()) | {"format-version": 3, "next-row-id": 0}
    raw["schemas"][0]["fields"][1] = json.loads(column.model_dump_json(by_alias=True))
    metadata.write_text(json.dumps(raw))
    with pytest.raises(TableFeatureError, match=rf"{re.escape(limit())}.*e\.parquet"):
        at(folder)


@format_limit(
    "Iceberg", "a file of deletes that lacks a column by which it deletes", "refused", "the file has no such column"
)
@format_limit(
    "Iceberg", "deletes by equality that say no columns", "refused", "the table does not say by which columns"
)
@format_limit(
    "Iceberg",
    "values by which rows are deleted, in a type that is not the column's",
    "refused",
    "e.parquet: ",
)
def test_deletes_that_cannot_be_applied_are_refused(tmp_path: Path, limit: Limit) -> None:
    table = catalog_table(tmp_path, NAMED)
    table.append(pa.table({"k": longs(1), "s": ["a"]}))
    file = of(tmp_path, pa.table({"k": longs(1)}), {"k": 1}, equality_ids=[2])
    with pytest.raises(
        SourceError, match=f"column 's' of the file of deletes .*{limit('the file has no such column')}"
    ):
        rows_of(at(with_deletes(table, tmp_path, [file])))
    file = of(tmp_path, pa.table({"k": longs(1)}), {"k": 1}, equality_ids=[])
    with pytest.raises(SourceError, match=limit("the table does not say by which columns")):
        at(with_deletes(table, tmp_path, [file]))
    file = of(tmp_path, pa.table({"k": ["1"]}), {"k": 1})
    with pytest.raises(SchemaError, match=f"column 'k' of the file of deletes .*{limit('e.parquet: ')}"):
        rows_of(at(with_deletes(table, tmp_path, [file])))
    path = tmp_path / "table" / "e.parquet"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(SourceError, match=r"the file of deletes .*e\.parquet cannot be read"):
        rows_of(at(with_deletes(table, tmp_path, [file])))


@pytest.mark.parametrize("name", ["of data", "of deletes"])
def test_a_calendar_of_an_old_spark_is_not_compared(tmp_path: Path, name: str) -> None:
    held = pa.table({"day": pa.array([date(1850, 1, 1)]), "n": longs(1)})
    table = catalog_table(tmp_path, held.schema)
    table.append(held)
    (file,) = at(without_catalog(table, tmp_path)).resolve().files
    gone = of(tmp_path, held.select(["day"]), {"day": 1})
    path = file.path if name == "of data" else f"{tmp_path}/table/e.parquet"
    rows = pq.read_table(path, partitioning=None)
    pq.write_table(rows.replace_schema_metadata({"org.apache.spark.version": "2.4.8"}), path)
    with pytest.raises(
        SourceError, match=r"column 'day' of .* holds times before 1900 in the calendar of an old Spark"
    ):
        rows_of(at(with_deletes(table, tmp_path, [gone])))


@pytest.mark.parametrize("kind", ["positions", "values"])
def test_a_damaged_page_of_a_file_of_deletes_is_told_of_that_file(tmp_path: Path, kind: str) -> None:
    table = catalog_table(tmp_path, NAMED)
    table.append(pa.table({"k": longs(1, 2), "s": ["a", "b"]}))
    (task,) = table.scan().plan_files()
    file = (
        deletes(tmp_path / "table" / "e.parquet", [(task.file.file_path, 0)])
        if kind == "positions"
        else of(tmp_path, pa.table({"k": longs(1)}), {"k": 1})
    )
    found = at(with_deletes(table, tmp_path, [file]))
    path = tmp_path / "table" / "e.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(byte ^ 0xFF for byte in content[4:12]) + content[12:])
    with pytest.raises(SourceError, match=r"^the file of deletes .*e\.parquet cannot be read: ") as raised:
        rows_of(found)
    assert task.file.file_path.removeprefix("file://") not in str(raised.value)
