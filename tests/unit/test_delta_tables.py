"""What a Delta table's log says of its columns and files, and what readers of Parquet files make of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.asof.columnar.file_batches import read_columns
from feast_hybrid.asof.columnar.spec import FileSplit, SourceColumn, ViewSpec
from feast_hybrid.errors import SchemaError, SourceError, SourceNotFoundError
from feast_hybrid.files.delta_log import BrokenLogError
from feast_hybrid.files.delta_table import DeltaFeatureError, DeltaTable, read_table
from feast_hybrid.lakes import Router
from feast_hybrid.sources.delta import delta_table
from feast_hybrid.sources.inference import source_columns, validate_source
from feast_hybrid.sources.spec import SourceSpec
from feast_hybrid.spark.config import SparkConfig
from tests.integration.format_limits import Limit, format_limit

Field = dict[str, Any]
SPARK = SparkConfig()


def field(name: str, data_type: Any, **metadata: Any) -> Field:
    return {"name": name, "type": data_type, "nullable": True, "metadata": metadata}


def put(
    folder: Path,
    fields: list[Field],
    *files: tuple[str, pa.Table, dict[str, str | None]],
    features: list[str] | None = None,
    properties: dict[str, str] | None = None,
    **more: Any,
) -> Path:
    """A table of one commit.

    Args:
        folder: of the table.
        fields: of its schema.
        files: each its path, as the log has it; its rows; its partition values.
        features: of the reader; None for the protocol's first version.
        properties: of the table.
        more: of each ``add``.
    """
    partitions = list(files[0][2]) if files else []
    protocol: dict[str, Any] = {"minReaderVersion": 1, "minWriterVersion": 2}
    if features is not None:
        protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features}
    metadata = {
        "format": {"provider": "parquet", "options": {}},
        "schemaString": json.dumps({"type": "struct", "fields": fields}),
        "partitionColumns": partitions,
        "configuration": properties or {},
    }
    actions: list[dict[str, Any]] = [{"protocol": protocol}, {"metaData": metadata}]
    for path, rows, values in files:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / path)
        size = (folder / path).stat().st_size
        actions.append({"add": {"path": path, "size": size, "partitionValues": values, **more}})
    log = folder / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("".join(f"{json.dumps(action)}\n" for action in actions))
    return folder


def table(folder: Path) -> DeltaTable:
    return read_table(Router([]).locate(f"file://{folder}"))


def rows(of: DeltaTable, declared: dict[str, pa.DataType] | None = None, **required: Any) -> list[dict[str, Any]]:
    """The rows of a table as tasks read them."""
    resolved = of.resolve(declared, **required)
    columns = tuple(SourceColumn(column.name, column.data_type) for column in resolved.columns)
    view = ViewSpec(
        view_id=0,
        what="the table",
        keys=(),
        timestamp=columns[0],
        created=None,
        by_created=False,
        ttl=None,
        values=columns,
        ranked=(),
        outputs=(),
    )
    found = []
    for file in resolved.files:
        split = FileSplit(
            0,
            file.path,
            0,
            file.version.size,
            file.partitions,
            os.fspath,
            stored=resolved.stored,
            deleted=file.deleted,
        )
        for of_file, batch, count in read_columns(split, view, columns, {columns[0].name}):
            arrays = [of_file.get(column, batch, count) for column in columns]
            found += pa.RecordBatch.from_arrays(arrays, schema=resolved.to_arrow()).to_pylist()
    return found


def spec(folder: Path, **more: Any) -> SourceSpec:
    location = Router([]).locate(f"file://{folder}")
    return SourceSpec(name="rows", location=location, file_format="delta", **more)


def test_each_type_of_the_log_is_one_of_sparks(tmp_path: Path) -> None:
    struct = {"type": "struct", "fields": [field("a", "short"), field("b", "string")]}
    types: dict[str, tuple[Any, pa.DataType]] = {
        "t": ("string", pa.string()),
        "l": ("long", pa.int64()),
        "i": ("integer", pa.int32()),
        "s": ("short", pa.int16()),
        "y": ("byte", pa.int8()),
        "f": ("float", pa.float32()),
        "d": ("double", pa.float64()),
        "o": ("boolean", pa.bool_()),
        "x": ("binary", pa.binary()),
        "day": ("date", pa.date32()),
        "ts": ("timestamp", INSTANT),
        "ntz": ("timestamp_ntz", pa.timestamp("us")),
        "n": ("decimal(12,2)", pa.decimal128(12, 2)),
        "st": (struct, pa.struct([("a", pa.int16()), ("b", pa.string())])),
    }
    put(tmp_path, [field(name, of) for name, (of, _) in types.items()], features=["timestampNtz"])
    found = {column.name: column.data_type for column in table(tmp_path).resolve().columns}
    assert found == {name: data_type for name, (_, data_type) in types.items()}


def test_nested_types_are_those_that_files_have(tmp_path: Path) -> None:
    of_list = {"type": "array", "elementType": "integer", "containsNull": True}
    of_map = {"type": "map", "keyType": "string", "valueType": of_list, "valueContainsNull": True}
    held = pa.table({"m": pa.array([[("k", [1, None])], None], pa.map_(pa.string(), pa.list_(pa.int32())))})
    put(tmp_path, [field("m", of_map)], ("a", held, {}))
    assert [row["m"] for row in rows(table(tmp_path))] == [[("k", [1, None])], None]


def test_columns_that_came_later_are_null_in_earlier_files_keys_too(tmp_path: Path) -> None:
    fields = [field("k", "long"), field("n", "long")]
    put(tmp_path, fields, ("a", pa.table({"n": [1]}), {}), ("b", pa.table({"n": [2], "k": [7], "dropped": [0]}), {}))
    assert rows(table(tmp_path), required=["k"]) == [{"k": None, "n": 1}, {"k": 7, "n": 2}]
    with pytest.raises(SchemaError, match="no column 'other'"):
        table(tmp_path).resolve(required=["other"])


def test_a_declared_type_widens_and_never_narrows(tmp_path: Path) -> None:
    put(
        tmp_path, [field("n", "integer"), field("t", "string")], ("a", pa.table({"n": pa.array([1], pa.int32())}), {})
    )
    found = table(tmp_path).resolve({"n": pa.int64(), "t": pa.int64()})
    assert [(column.name, column.data_type) for column in found.columns] == [("n", pa.int64())]
    assert found.unreadable["t"].startswith("is declared int64, but is string in the table")


VALUES: dict[str, tuple[Any, str, Any]] = {
    "text": ("string", "a/b %C3", "a/b %C3"),
    "long": ("long", "-7", -7),
    "double": ("double", "1.5E10", 1.5e10),
    "decimal": ("decimal(6,3)", "1.250", Decimal("1.250")),
    "boolean": ("boolean", "true", True),
    "date": ("date", "0999-12-31", date(999, 12, 31)),
    "instant": ("timestamp", "2026-01-10 01:02:03.000004", datetime(2026, 1, 10, 1, 2, 3, 4, UTC)),
    "instant_in_iso": ("timestamp", "2026-01-10T01:02:03.000004Z", datetime(2026, 1, 10, 1, 2, 3, 4, UTC)),
    "naive": ("timestamp_ntz", "2026-01-10 01:02:03", datetime(2026, 1, 10, 1, 2, 3)),
}


@pytest.mark.parametrize("name", VALUES)
def test_partition_values_are_what_the_log_says_whatever_folders_are_called(tmp_path: Path, name: str) -> None:
    data_type, text, value = VALUES[name]
    held = pa.table({"n": [1]})
    files = [(f"p={n}/a", held, {"p": of}) for n, of in enumerate((text, None, ""))]
    put(tmp_path, [field("n", "long"), field("p", data_type)], *files, features=["timestampNtz"])
    of = table(tmp_path)
    assert [row["p"] for row in rows(of)] == [value, None, None]
    assert of.resolve().partition_columns == ("p",)


@format_limit(
    "Delta", "a value of a partition that is none of its type", "refused", "for the partition column 'p', which is no"
)
@pytest.mark.parametrize(("data_type", "text"), [("long", "x"), ("date", "10.1.2026"), ("decimal(3,2)", "1000")])
def test_a_partition_value_that_is_none_of_its_type_is_refused(
    tmp_path: Path, data_type: str, text: str, limit: Limit
) -> None:
    put(tmp_path, [field("n", "long"), field("p", data_type)], ("a", pa.table({"n": [1]}), {"p": text}))
    with pytest.raises(BrokenLogError, match=f"gives the file a '{text}' {limit()}"):
        table(tmp_path).resolve()


def test_a_partition_value_is_one_of_its_own_type_before_it_is_one_of_the_declared(tmp_path: Path) -> None:
    fields = [field("n", "long"), field("p", "double"), field("b", "binary")]
    put(tmp_path, fields, ("a", pa.table({"n": [1]}), {"p": "2.0", "b": "x"}))
    (row,) = rows(table(tmp_path), {"p": pa.int64(), "b": pa.string()})
    assert row == {"n": 1, "p": 2}
    why = "cannot be read: it is a partition column of the type binary"
    assert table(tmp_path).resolve({"b": pa.string()}).unreadable["b"] == why


def test_files_may_have_other_names_for_columns_and_their_parts(tmp_path: Path) -> None:
    def mapped(name: str, data_type: Any, in_files: str) -> Field:
        return field(name, data_type, **{"delta.columnMapping.physicalName": in_files, "delta.columnMapping.id": 1})

    part = {"type": "struct", "fields": [mapped("x", "long", "c-3"), mapped("y", "long", "c-4")]}
    fields = [
        mapped("a", "long", "b"),
        mapped("b", "long", "a"),
        mapped("parts", {"type": "array", "elementType": part, "containsNull": True}, "c-2"),
        mapped("p", "long", "c-5"),
    ]
    # The fields of the file's struct are in another order, and one more.
    parts = pa.array([[{"c-4": 4, "other": 0, "c-3": 3}]])
    held = pa.table({"a": [1], "b": [2], "c-2": parts})
    properties = {"delta.columnMapping.mode": "name"}
    put(tmp_path, fields, ("a", held, {"c-5": "9"}), features=["columnMapping"], properties=properties)
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    log.write_text(log.read_text().replace('"partitionColumns": ["c-5"]', '"partitionColumns": ["p"]'))
    assert rows(table(tmp_path)) == [{"a": 2, "b": 1, "parts": [{"x": 3, "y": 4}], "p": 9}]


@format_limit(
    "Delta", "a column that was widened from dates to times", "refused", "was date and is timestamp_ntz now"
)
def test_types_that_were_widened_are_read_where_each_value_is_the_same(tmp_path: Path, limit: Limit) -> None:
    def widened(name: str, before: str, after: str) -> Field:
        return field(name, after, **{"delta.typeChanges": [{"fromType": before, "toType": after}]})

    fields = [widened("n", "integer", "long"), widened("d", "float", "double"), widened("t", "date", "timestamp_ntz")]
    held = pa.table({"n": pa.array([1], pa.int32()), "d": pa.array([0.5], pa.float32())})
    put(tmp_path, fields, ("a", held, {}), features=["typeWidening", "timestampNtz"])
    assert rows(table(tmp_path)) == [{"n": 1, "d": 0.5}]
    assert limit() in table(tmp_path).resolve().unreadable["t"]


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(
            field("v", "variant"),
            marks=format_limit("Delta", "a column of `variant`, asked for", "refused", "is of the type variant"),
            id="variant",
        ),
        pytest.param(
            field("v", "string", __COLLATIONS={"v": "icu.UNICODE_CI"}),
            marks=format_limit("Delta", "a column with a collation, asked for", "refused", "has a collation"),
            id="collation",
        ),
        pytest.param(
            field("v", "long", EXISTS_DEFAULT="5"),
            marks=format_limit(
                "Delta",
                "a column with a default for earlier rows, asked for",
                "refused",
                "has a default value for rows that were there before it",
            ),
            id="default",
        ),
        pytest.param(
            field("v", {"type": "interval"}),
            marks=format_limit("Delta", "a column of `interval`, asked for", "refused", "is of the type interval"),
            id="interval",
        ),
    ],
)
def test_a_column_that_is_not_read_matters_to_who_asks_for_it(tmp_path: Path, column: Field, limit: Limit) -> None:
    put(tmp_path, [field("n", "long"), column], ("a", pa.table({"n": [1]}), {}), features=["variantType"])
    resolved = table(tmp_path).resolve()
    assert [each.name for each in resolved.columns] == ["n"]
    with pytest.raises(SchemaError, match=limit()):
        resolved.require(["v"])


def in_place_of(before: str, after: str) -> Callable[[Path], None]:
    def change(log: Path) -> None:
        log.write_text(log.read_text().replace(before, after))

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            in_place_of('"readerFeatures": []', '"readerFeatures": ["futureThing"]'),
            marks=format_limit(
                "Delta",
                "a reader feature that is not known here",
                "left to Spark's package, else refused",
                "needs the reader feature",
            ),
            id="feature",
        ),
        pytest.param(
            in_place_of('"minReaderVersion": 3', '"minReaderVersion": 4'),
            marks=format_limit(
                "Delta",
                "a version of the protocol beyond 3",
                "left to Spark's package, else refused",
                "of the protocol for readers",
            ),
            id="version",
        ),
        pytest.param(
            in_place_of('"configuration": {}', '"configuration": {"delta.columnMapping.mode": "id"}'),
            marks=format_limit(
                "Delta", "column mapping by id", "left to Spark's package, else refused", "column mapping by id"
            ),
            id="ids",
        ),
        pytest.param(
            in_place_of('"provider": "parquet"', '"provider": "orc"'),
            marks=format_limit(
                "Delta", "data files that are no Parquet", "left to Spark's package, else refused", "files of orc"
            ),
            id="orc",
        ),
        pytest.param(
            in_place_of('"path": "a"', '"path": "s3://bucket/a"'),
            marks=format_limit(
                "Delta",
                "files outside of the table's folder, as a shallow clone has",
                "left to Spark's package, else refused",
                "a file that is not in the table's folder",
            ),
            id="uri",
        ),
        pytest.param(
            in_place_of('"path": "a"', '"path": "/elsewhere/a"'),
            marks=format_limit(
                "Delta",
                "files that the log names by a path from the root",
                "left to Spark's package, else refused",
                "(/elsewhere/a)",
            ),
            id="path",
        ),
        pytest.param(
            in_place_of('"path": "a"', '"path": "a", "deletionVector": {"storageType": "p", "pathOrInlineDv": "/x"}'),
            marks=format_limit(
                "Delta",
                "deletion vectors outside of the table's folder",
                "left to Spark's package, else refused",
                "a deletion vector that is not in the table's folder",
            ),
            id="vector",
        ),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, change: Callable[[Path], None], limit: Limit) -> None:
    put(tmp_path, [field("n", "long")], ("a", pa.table({"n": [1]}), {}), features=[])
    assert rows(table(tmp_path)) == [{"n": 1}]
    change(tmp_path / "_delta_log" / f"{0:020}.json")
    with pytest.raises(DeltaFeatureError, match=f"{re.escape(limit())}.*, which feast-hybrid does not read"):
        table(tmp_path)


def test_a_whole_uri_of_a_file_in_the_table_is_that_file(tmp_path: Path) -> None:
    put(tmp_path, [field("n", "long")], ("a", pa.table({"n": [1]}), {}))
    in_place_of('"path": "a"', f'"path": "file://{tmp_path}/a"')(tmp_path / "_delta_log" / f"{0:020}.json")
    assert rows(table(tmp_path)) == [{"n": 1}]


def test_deleted_rows_are_left_out_in_each_row_group(tmp_path: Path) -> None:
    # The protocol's own example: rows 3, 4, 7, 11, 18 and 29.
    vector = {
        "storageType": "i",
        "pathOrInlineDv": "wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
        "sizeInBytes": 40,
        "cardinality": 6,
    }
    held = pa.table({"n": list(range(32))})
    put(tmp_path, [field("n", "long")], ("a", held, {}), features=["deletionVectors"], deletionVector=vector)
    pq.write_table(held, tmp_path / "a", row_group_size=5)
    log = tmp_path / "_delta_log" / f"{0:020}.json"
    content = json.loads(log.read_text().splitlines()[2])
    content["add"]["size"] = (tmp_path / "a").stat().st_size
    log.write_text("\n".join([*log.read_text().splitlines()[:2], json.dumps(content)]))
    kept = [n for n in range(32) if n not in (3, 4, 7, 11, 18, 29)]
    assert [row["n"] for row in rows(table(tmp_path))] == kept


def test_a_table_is_inferred_without_a_jvm(tmp_path: Path) -> None:
    put(tmp_path, [field("ts", "timestamp"), field("n", "integer"), field("v", "variant")], features=["variantType"])
    of = spec(tmp_path, timestamp_field="ts")
    assert source_columns(of, SPARK, Router([])) == [("ts", "timestamp"), ("n", "int")]
    validate_source(of, SPARK, Router([]))
    with pytest.raises(SchemaError, match=r"'rows'.*timestamp_field is 'time', but the columns are ts, n"):
        validate_source(spec(tmp_path, timestamp_field="time"), SPARK, Router([]))
    with pytest.raises(SchemaError, match="the event time 'n' is int32; it has to be a timestamp or a date"):
        validate_source(spec(tmp_path, timestamp_field="n"), SPARK, Router([]))


def refused(folder: Path, **options: str) -> pytest.ExceptionInfo[SourceError]:
    with pytest.raises(SourceError) as error:
        delta_table(spec(folder, options=options), Router([]))
    return error


def test_what_is_no_table_or_no_version_is_an_error_that_names_the_source(tmp_path: Path) -> None:
    folder = put(tmp_path / "table", [field("n", "long")])
    assert refused(tmp_path / "nothing").type is SourceNotFoundError
    assert refused(tmp_path).match(r"source 'rows' .*: no Delta table is there: it has no commit in its _delta_log")
    assert refused(folder, versionAsOf="3").match(r"source 'rows' .*there is no version 3.*has the versions 0 to 0")
    assert refused(folder, versionasof="one").match("option versionAsOf is 'one'; it has to be a number")
    assert refused(folder, timestampAsOf="yesterday").match(
        "option timestampAsOf is 'yesterday'; it has to be a time"
    )
    assert refused(folder, versionAsOf="0", timestampAsOf="2026-01-01").match("both versionAsOf and timestampAsOf")
    assert refused(folder, readChangeFeed="true").type is DeltaFeatureError
    (folder / "_delta_log" / f"{1:020}.json").write_text("")
    assert refused(folder).match(r"source 'rows' .*01\.json of the log is empty")
    assert delta_table(spec(folder, options={"versionAsOf": "0", "mergeSchema": "true"}), Router([])).version == 0


def test_a_pattern_names_one_table(tmp_path: Path) -> None:
    put(tmp_path / "one", [field("n", "long")])
    assert delta_table(spec(tmp_path / "on[e]"), Router([])).location.path == f"{tmp_path}/one"
    put(tmp_path / "other", [field("n", "long")])
    assert refused(tmp_path / "o*").match("a pattern that expands to 2 folders: name one Delta table")
