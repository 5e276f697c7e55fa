"""What a source's files hold together: their footers, their folders, and what is declared."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from feast_hybrid.arrow.utc import INSTANT
from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files import footers
from feast_hybrid.files.footers import FooterCache, read_footers
from feast_hybrid.files.listing import list_files
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router

if TYPE_CHECKING:
    from feast_hybrid.files.resolved import ResolvedSchema

Rows = Mapping[str, Any]


def write(folder: Path, files: Mapping[str, pa.Table | Rows | bytes], **options: Any) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
            continue
        table = content if isinstance(content, pa.Table) else pa.table(content)
        if path.suffix == ".orc":
            pyarrow.orc.write_table(table, path)
        else:
            pq.write_table(table, path, **options)


def resolve(folder: Path, file_format: str = "parquet", **options: Any) -> ResolvedSchema:
    found = resolve_schema(Router(()).locate(f"file://{folder}"), file_format, **options)
    assert found is not None
    return found


def types(schema: ResolvedSchema) -> dict[str, pa.DataType]:
    return {column.name: column.data_type for column in schema.columns}


class TestDrift:
    @pytest.mark.parametrize("suffix", ["parquet", "orc"])
    @pytest.mark.parametrize("order", [1, -1])
    def test_a_column_has_the_type_that_holds_all(self, tmp_path: Path, suffix: str, order: int) -> None:
        days = [
            {
                "whole": pa.array([1]),
                "n": pa.array([1], pa.int32()),
                "x": pa.array([1.0], pa.float32()),
                "price": pa.array([None], pa.decimal128(5, 2)),
                "day": pa.array([date(2026, 1, 10)]),
                "list": pa.array([[1]], pa.list_(pa.int32())),
            },
            {
                "whole": pa.array([1.5]),
                "n": pa.array([2**40]),
                "x": pa.array([1.0]),
                "price": pa.array([None], pa.decimal128(9, 4)),
                "day": pa.array([datetime(2026, 1, 10, 7)], pa.timestamp("ms")),
                "list": pa.array([[2**40]]),
            },
        ]
        write(tmp_path, {f"{n}.{suffix}": rows for n, rows in enumerate(days[::order])})
        schema = resolve(tmp_path, "orc" if suffix == "orc" else "parquet")
        assert types(schema) == {
            "whole": pa.float64(),
            "n": pa.int64(),
            "x": pa.float64(),
            "price": pa.decimal128(9, 4),
            "day": INSTANT,
            "list": pa.list_(pa.int64()),
        }
        assert schema.only_ours is not None

    def test_pandas_with_a_gap_is_as_declared(self, tmp_path: Path) -> None:
        for day, values in enumerate([[1, 2], [1, None]]):
            pd.DataFrame({"n": values}).to_parquet(tmp_path / f"{day}.parquet")
        assert types(resolve(tmp_path)) == {"n": pa.float64()}
        assert types(resolve(tmp_path, declared={"n": pa.int64()})) == {"n": pa.int64()}

    def test_pandas_times_are_microseconds_read_by_us(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"t": pd.to_datetime(["2026-01-10"]).astype("datetime64[ns]")})
        frame.to_parquet(tmp_path / "x.parquet")
        schema = resolve(tmp_path)
        assert types(schema) == {"t": pa.timestamp("us")}
        assert schema.only_ours == f"column 't' has nanoseconds in {tmp_path}/x.parquet"

    def test_nothing_but_nulls_is_as_in_other_files_or_as_declared(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"x": pa.nulls(1), "y": pa.nulls(1), "z": pa.nulls(1)}})
        write(tmp_path, {"b.parquet": {"x": ["text"], "y": pa.nulls(1), "z": pa.nulls(1)}})
        schema = resolve(tmp_path, declared={"y": pa.float32()})
        assert types(schema) == {"x": pa.string(), "y": pa.float32(), "z": pa.int32()}
        assert schema.only_ours == f"column 'x' has null as its type in {tmp_path}/a.parquet"

    def test_durations_are_the_numbers_of_their_unit(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            five, data_type = timedelta(seconds=5), pa.duration("ms")
            columns = {"d": pa.array([five], data_type), "all": pa.array([[five]], pa.list_(data_type))}
            write(tmp_path, {f"{name}.parquet": columns})
        schema = resolve(tmp_path)
        assert types(schema) == {"d": pa.int64(), "all": pa.list_(pa.int64())}
        assert schema.only_ours is None
        assert schema.file_schema.field("d").type == pa.duration("ms")

    @pytest.mark.parametrize("other", [pa.duration("us"), pa.int64()], ids=str)
    def test_durations_of_two_units_have_no_common_type(self, tmp_path: Path, other: pa.DataType) -> None:
        write(
            tmp_path,
            {
                "a.parquet": {"d": pa.array([5_000]).cast(pa.duration("ms"))},
                "b.parquet": {"d": pa.array([5_000_000]).cast(other)},
            },
        )
        for declared in (None, pa.int64()):
            with pytest.raises(SchemaError) as refused:
                resolve(tmp_path, declared={} if declared is None else {"d": declared}, required=["d"])
            assert "column 'd' is duration[ms] in " in str(refused.value)
            assert f"a.parquet and {other} in " in str(refused.value)

    def test_files_without_rows_do_not_count_where_others_have_some(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"k": [1]}, "b.parquet": pa.table({"k": pa.array([], pa.string())})})
        pd.DataFrame().to_parquet(tmp_path / "c.parquet")
        schema = resolve(tmp_path, required=["k"])
        assert types(schema) == {"k": pa.int64()}
        assert [Path(file.path).name for file in schema.files] == ["a.parquet"]
        assert schema.only_ours is not None
        (tmp_path / "a.parquet").unlink()
        schema = resolve(tmp_path)
        assert types(schema) == {"k": pa.string()}
        assert not schema.files
        assert schema.first_file == f"{tmp_path}/b.parquet"

    def test_what_spark_reads_alike_is_left_to_it(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"n": pa.array([1], pa.int32()), "x": pa.array([1.0], pa.float32())}})
        write(tmp_path, {"b.parquet": {"n": [1], "x": [1.0], "new": ["a"], "day": pa.array([1], pa.uint8())}})
        schema = resolve(tmp_path)
        assert types(schema) == {"n": pa.int64(), "x": pa.float64(), "new": pa.string(), "day": pa.int16()}
        assert schema.only_ours is None

    def test_int96_is_an_instant(self, tmp_path: Path) -> None:
        times = pa.array([datetime(2026, 1, 10)], pa.timestamp("us"))
        write(tmp_path, {"a.parquet": {"t": times}}, use_deprecated_int96_timestamps=True)
        write(tmp_path, {"b.parquet": {"t": times.cast(INSTANT)}})
        schema = resolve(tmp_path)
        assert types(schema) == {"t": INSTANT}
        assert schema.int96
        assert schema.only_ours is None


class TestRefusals:
    def test_types_that_do_not_go_together_matter_to_who_wants_them(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"k": [1], "x": [1]}, "b.parquet": {"k": [1], "x": ["one"]}})
        schema = resolve(tmp_path, required=["k"])
        assert types(schema) == {"k": pa.int64()}
        text = (
            f"column 'x' is int64 in {tmp_path}/a.parquet and string in {tmp_path}/b.parquet, and no type holds "
            "both. Declare it as String, or write one of the files anew."
        )
        for name in ("x", "X"):
            with pytest.raises(SchemaError) as error:
                schema.require(["k", name], what="view 'v'")
            assert str(error.value) == f"view 'v': {text.replace(chr(39) + 'x', chr(39) + name)}"
        with pytest.raises(SchemaError) as error:
            resolve(tmp_path, required=["x"])
        assert str(error.value) == text
        assert types(resolve(tmp_path, declared={"x": pa.string()})) == {"k": pa.int64(), "x": pa.string()}

    def test_a_declared_type_that_cannot_be_meant(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"x": pa.nulls(1)}, "b.parquet": {"x": pa.array([["a"]])}})
        schema = resolve(tmp_path, declared={"x": pa.list_(pa.int64())})
        with pytest.raises(SchemaError) as error:
            schema.require(["x"], what="view 'v'")
        assert str(error.value) == (
            f"view 'v': column 'x' is declared int64, but is string in {tmp_path}/b.parquet (in []). Declare the "
            "type that the files hold, or write the files anew."
        )

    def test_a_file_without_a_required_column(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"k": [1], "t": [1]}, "b.parquet": {"t": [1], "w": [1]}})
        schema = resolve(tmp_path)
        assert list(types(schema)) == ["k", "t", "w"]
        assert schema.missing_in == {"k": f"{tmp_path}/b.parquet", "w": f"{tmp_path}/a.parquet"}
        with pytest.raises(
            SchemaError, match=r"b.parquet has no column 'k', without which its rows would be lost\. Write"
        ):
            resolve(tmp_path, required=["k", "t"])
        with pytest.raises(SchemaError, match=r"^there is no column 'z'\. The columns are k, t, w\.$"):
            resolve(tmp_path, required=["z"])

    def test_a_required_column_may_be_a_folders(self, tmp_path: Path) -> None:
        write(tmp_path, {"k=1/a.parquet": {"x": [1]}, "b.parquet": {"k": [2], "x": [1]}})
        assert types(resolve(tmp_path, required=["k"])) == {"k": pa.int64(), "x": pa.int64()}
        write(tmp_path, {"c.parquet": {"x": [1]}})
        with pytest.raises(SchemaError, match=r"c.parquet has no column 'k'"):
            resolve(tmp_path, required=["k"])

    def test_a_column_that_nobody_can_read_is_named_with_its_file(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"x": [1], "t": pa.array([1], pa.time64("us"))}})
        schema = resolve(tmp_path)
        assert types(schema) == {"x": pa.int64()}
        assert schema.only_ours is None
        assert schema.unreadable == {
            "t": f"cannot be read from {tmp_path}/a.parquet: Spark has no type for Arrow's time64[us]"
        }

    @pytest.mark.parametrize(("file_format", "name"), [("parquet", "Parquet"), ("orc", "ORC")])
    @pytest.mark.parametrize("damage", ["truncated", "text", "one byte"])
    def test_a_damaged_file_is_named(self, tmp_path: Path, file_format: str, name: str, damage: str) -> None:
        write(tmp_path, {f"a.{file_format}": {"x": [1]}, f"b.{file_format}": {"x": [1]}})
        file = tmp_path / f"b.{file_format}"
        content = file.read_bytes()
        file.write_bytes({"truncated": content[:-9], "text": b"id,x\n1,2\n" * 99, "one byte": b"P"}[damage])
        with pytest.raises(SourceError, match=rf"b.{file_format} is no {name} file, or a damaged one \("):
            resolve(tmp_path, file_format)

    def test_nothing_there_and_nothing_in_it(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            resolve(tmp_path / "nothing")
        write(tmp_path, {"a.parquet": b"", "_SUCCESS": b""})
        assert resolve_schema(Router(()).locate(f"file://{tmp_path}"), "parquet") is None

    def test_a_file_of_no_bytes_is_left_out(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": b"", "b.parquet": {"x": [1]}})
        schema = resolve(tmp_path)
        assert schema.empty_files == (f"{tmp_path}/a.parquet",)
        assert [file.path for file in schema.files] == [f"{tmp_path}/b.parquet"]
        assert schema.only_ours is None


class TestNames:
    def test_they_may_differ_by_case_between_files(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"Id": pa.array([1], pa.int8())}, "b.parquet": {"iD": [1]}})
        schema = resolve(tmp_path, required=["ID"])
        assert types(schema) == {"Id": pa.int64()}
        assert schema.only_ours == "columns whose names differ by case between files"

    def test_two_of_one_file_are_told_by_their_exact_names(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"id": [1], "ID": ["x"]}})
        schema = resolve(tmp_path)
        assert types(schema) == {"id": pa.int64(), "ID": pa.string()}
        assert schema.only_ours == "columns that differ by case alone"
        with pytest.raises(SchemaError, match="column 'Id' may be 'id' or 'ID'"):
            schema.require(["Id"], what="view 'v'")

    def test_which_of_two_is_meant_by_another_file_is_not_guessed(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"id": [1], "ID": ["x"]}, "b.parquet": {"Id": [1]}})
        schema = resolve(tmp_path)
        assert not types(schema)
        assert set(schema.unreadable) == {"id", "ID", "Id"}
        with pytest.raises(SchemaError, match=r"column 'Id' may be .* of .*/[ab].parquet or not"):
            schema.require(["Id"], what="view 'v'")


class TestFolders:
    def test_declared_text_stays_text(self, tmp_path: Path) -> None:
        write(tmp_path, {f"zip={text}/a.parquet": {"x": [1]} for text in ("12345", "98765")})
        assert types(resolve(tmp_path))["zip"] == pa.int32()
        schema = resolve(tmp_path, declared={"zip": pa.string()})
        assert types(schema)["zip"] == pa.string()
        assert [file.partitions for file in schema.files] == [{"zip": "12345"}, {"zip": "98765"}]

    def test_undeclared_text_that_would_change_stays_text(self, tmp_path: Path) -> None:
        write(tmp_path, {f"zip={text}/a.parquet": {"x": [1]} for text in ("01234", "98765")})
        schema = resolve(tmp_path)
        assert [file.partitions for file in schema.files] == [{"zip": "01234"}, {"zip": "98765"}]

    @pytest.mark.parametrize(
        ("texts", "declared", "data_type", "values"),
        [
            (["007", "+8"], pa.int64(), pa.int64(), [8, 7]),
            (["7", str(2**40)], pa.int32(), pa.int64(), [2**40, 7]),
            (["1.5", "2"], pa.float64(), pa.float64(), [1.5, 2.0]),
            (["true", "False"], pa.bool_(), pa.bool_(), [False, True]),
            (["2026-01-10"], INSTANT, pa.date32(), [date(2026, 1, 10)]),
            (["2026-01-10 07:00:00", "2026-01-11T00:00+01:00"], INSTANT, INSTANT, None),
            (["a"], pa.map_(pa.string(), pa.string()), pa.string(), ["a"]),
            ([None, "7"], pa.string(), pa.string(), ["7", None]),
            ([None], pa.float64(), pa.float64(), [None]),
            (["S%C3%A3o", "a%20b"], None, pa.string(), ["São", "a b"]),
            (["a%2Fb%3D"], None, pa.string(), ["a/b="]),
        ],
        ids=str,
    )
    def test_values_have_the_declared_type(
        self,
        tmp_path: Path,
        texts: list[str | None],
        declared: pa.DataType | None,
        data_type: pa.DataType,
        values: list[Any] | None,
    ) -> None:
        write(tmp_path, {f"p={text or '__HIVE_DEFAULT_PARTITION__'}/a.parquet": {"x": [1]} for text in texts})
        schema = resolve(tmp_path, declared={"p": declared} if declared else {})
        assert types(schema)["p"] == data_type
        assert schema.partition_columns == ("p",)
        found = [file.partitions["p"] for file in schema.files]
        expected = values or [datetime.fromisoformat(f"2026-01-10T{hour}:00:00Z") for hour in ("07", "23")]
        assert sorted(found, key=str) == sorted(expected, key=str)

    @pytest.mark.parametrize(
        ("text", "declared"),
        [
            ("abc", pa.int64()),
            ("", pa.int64()),
            ("1.5", pa.int64()),
            (str(2**63), pa.int64()),
            ("1_0", pa.float64()),
            ("nan", pa.float64()),
            ("yes", pa.bool_()),
            ("1", pa.bool_()),
            ("2026-01-10", pa.bool_()),
            ("20260110", INSTANT),
            ("20260110", pa.date32()),
            ("01/10/2026", INSTANT),
            ("2026-02-30", INSTANT),
            ("a", pa.list_(pa.string())),
        ],
        ids=str,
    )
    def test_a_value_that_is_none_of_the_declared_type(
        self, tmp_path: Path, text: str, declared: pa.DataType
    ) -> None:
        folder = f"p={text.replace('/', '%2F')}"
        write(tmp_path, {f"{folder}/a.parquet": {"x": [1]}})
        with pytest.raises(SchemaError) as error:
            resolve(tmp_path, declared={"p": declared}, required=["p"])
        assert f"column 'p' is declared {declared}, but there is a folder '{folder}'" in str(error.value)

    def test_rows_beside_folders_have_their_own_value_or_null(self, tmp_path: Path) -> None:
        write(tmp_path, {"a=1/b=2/x.parquet": {"x": [1]}, "a=3/x.parquet": {"b": [4.0]}, "y.parquet": {"x": [1]}})
        schema = resolve(tmp_path)
        assert types(schema) == {"x": pa.int64(), "b": pa.float64(), "a": pa.int32()}
        assert [file.partitions for file in schema.files] == [{"a": 1, "b": 2}, {"a": 3}, {}]
        assert schema.partition_columns == ("a", "b")
        assert schema.only_ours == "files lie below folders of different partition columns, or beside them"

    def test_text_beside_whole_numbers_in_folders_makes_them_text(self, tmp_path: Path) -> None:
        write(tmp_path, {"k=7/x.parquet": {"x": [1]}, "y.parquet": {"k": ["seven"], "x": [1]}})
        schema = resolve(tmp_path)
        assert types(schema) == {"k": pa.string(), "x": pa.int64()}
        assert [file.partitions for file in schema.files] == [{"k": "7"}, {}]

    def test_the_folders_value_wins_over_the_files(self, tmp_path: Path) -> None:
        write(tmp_path, {"k=7/x.parquet": {"K": [8], "x": [1]}, "k=8/x.parquet": {"K": ["a"], "x": [1]}})
        schema = resolve(tmp_path)
        assert types(schema) == {"k": pa.int32(), "x": pa.int64()}
        assert not schema.unreadable
        assert schema.only_ours is None
        assert [file.partitions for file in schema.files] == [{"k": 7}, {"k": 8}]

    def test_folders_of_pandas_and_pyarrow(self, tmp_path: Path) -> None:
        frame = pd.DataFrame({"town": ["São Paulo", "a/b", "100%"], "x": [1, 2, 3]})
        frame.to_parquet(tmp_path, partition_cols=["town"])
        schema = resolve(tmp_path)
        assert {file.partitions["town"] for file in schema.files} == set(frame["town"])

    def test_whole_numbers_in_folders_are_no_times_and_no_booleans(self, tmp_path: Path) -> None:
        write(tmp_path, {"day=20260110/a.parquet": {"x": [1]}, "day=20260111/a.parquet": {"x": [1]}})
        reason = r"declared timestamp.* 'day=20260110', which is int32\. Declare it as Int64"
        with pytest.raises(SchemaError, match=reason):
            resolve(tmp_path, declared={"day": INSTANT}, required=["day"])
        assert types(resolve(tmp_path))["day"] == pa.int32()

    @pytest.mark.parametrize(
        ("values", "declared", "is_decoded"),
        [
            ([1e20, 1e-7], pa.float64(), False),
            ([1e20, 1e-7], pa.string(), True),
            (["+7", "8"], pa.int64(), False),
            (["a/b", "100%"], None, True),
            (["2026-01-10 07:00:00"], INSTANT, True),
        ],
        ids=str,
    )
    def test_spark_decodes_the_folders_of_text_and_times_alone(
        self, tmp_path: Path, values: list[Any], declared: pa.DataType | None, *, is_decoded: bool
    ) -> None:
        pd.DataFrame({"z": values, "x": range(len(values))}).to_parquet(tmp_path, partition_cols=["z"])
        schema = resolve(tmp_path, declared={"z": declared} if declared else {})
        assert "z" in types(schema)
        assert (schema.only_ours is None) == is_decoded
        if not is_decoded:
            assert str(schema.only_ours).startswith("Spark does not decode %XX of the folder 'z=")
        if declared == pa.float64():
            assert sorted(file.partitions["z"] for file in schema.files) == sorted(values)


class TestTypesOfSparkAlone:
    @pytest.mark.parametrize(
        "spark_type",
        ["interval day to second", "interval year to month", "variant", {"type": "array", "elementType": "variant"}],
    )
    def test_they_are_refused_where_they_are_asked_for(self, tmp_path: Path, spark_type: Any) -> None:
        fields = [{"name": "x", "type": "long"}, {"name": "odd", "type": spark_type}]
        noted = json.dumps({"type": "struct", "fields": fields})
        table = pa.table({"x": [1], "odd": [1]})
        noting = table.replace_schema_metadata({"org.apache.spark.sql.parquet.row.metadata": noted})
        write(tmp_path, {"a.parquet": noting})
        schema = resolve(tmp_path)
        assert types(schema) == {"x": pa.int64()}
        with pytest.raises(SchemaError, match=r"column 'odd' cannot be read from .*a\.parquet: Spark wrote it as"):
            schema.require(["odd"])

    def test_a_column_of_such_a_name_is_read(self, tmp_path: Path) -> None:
        inner = {"type": "struct", "fields": [{"name": "variant", "type": "long"}]}
        noted = json.dumps({"type": "struct", "fields": [{"name": "interval", "type": inner}]})
        table = pa.table({"interval": [{"variant": 1}]})
        noting = table.replace_schema_metadata({"org.apache.spark.sql.parquet.row.metadata": noted})
        write(tmp_path, {"a.parquet": noting})
        assert types(resolve(tmp_path)) == {"interval": pa.struct([("variant", pa.int64())])}

    def test_times_of_int96_are_known(self, tmp_path: Path) -> None:
        times = pa.array([0], pa.timestamp("us"))
        write(tmp_path, {"a.parquet": {"t": times, "x": [1]}}, use_deprecated_int96_timestamps=True)
        assert resolve(tmp_path).times == {"t": "INT96"}


class TestFooters:
    def test_they_are_read_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path, {f"{n}.parquet": {"x": [n]} for n in range(5)})
        first = resolve(tmp_path)
        monkeypatch.setattr(footers, "_read_footer", lambda *_, **__: pytest.fail("read again"))
        assert types(resolve(tmp_path)) == types(first)

    def test_a_file_that_has_changed_is_read_again(self, tmp_path: Path) -> None:
        write(tmp_path, {"a.parquet": {"x": [1]}})
        resolve(tmp_path)
        size = (tmp_path / "a.parquet").stat().st_size
        write(tmp_path, {"a.parquet": {"y": [1]}})
        assert (tmp_path / "a.parquet").stat().st_size == size
        os.utime(tmp_path / "a.parquet", (1, 1))
        assert types(resolve(tmp_path)) == {"y": pa.int64()}

    def test_the_cache_is_bounded_and_lets_go_what_is_used_least(self, tmp_path: Path) -> None:
        write(tmp_path, {f"{n}.parquet": {"x": [n]} for n in range(4)})
        location = Router(()).locate(f"file://{tmp_path}")
        files = list_files(location).files
        cache = FooterCache(3)
        for number in (0, 1, 2, 0, 3):
            read_footers(location, "parquet", [files[number]], cache=cache)
        assert len(cache) == 3
        for file in files:
            Path(file.path).unlink()
        assert len(read_footers(location, "parquet", [files[0], files[2], files[3]], cache=cache)) == 3
        with pytest.raises(FileNotFoundError):
            read_footers(location, "parquet", files[1:2], cache=cache)

    def test_all_are_read_however_long_it_takes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        write(tmp_path, {f"{n:02}.parquet": {"x": [n]} for n in range(40)})
        write(tmp_path, {"23.parquet": {"x": ["text"], "only here": [1]}})
        read = footers._read_footer

        def slowly(*arguments: Any, **options: Any) -> Any:
            time.sleep(0.02)
            return read(*arguments, **options)

        monkeypatch.setattr(footers, "_CONCURRENT_READS", 2)
        monkeypatch.setattr(footers, "_SECONDS_BETWEEN_NOTES", 0.1)
        monkeypatch.setattr(footers, "_read_footer", slowly)
        schema = resolve(tmp_path)
        assert types(schema) == {"only here": pa.int64()}
        assert "23.parquet" in schema.unreadable["x"]
        assert f"{tmp_path}: " in caplog.messages[0]
        assert "of 40 footers are read" in caplog.messages[0]

    def test_after_one_that_cannot_be_read_no_other_is_begun(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, {"00.parquet": b"no Parquet", **{f"{n:02}.parquet": {"x": [n]} for n in range(1, 200)}})
        begun: list[str] = []
        read = footers._read_footer

        def noting(filesystem: Any, file_format: str, file: Any, **options: Any) -> Any:
            begun.append(file.path)
            time.sleep(0.005)
            return read(filesystem, file_format, file, **options)

        monkeypatch.setattr(footers, "_CONCURRENT_READS", 2)
        monkeypatch.setattr(footers, "_read_footer", noting)
        with pytest.raises(SourceError, match=r"00\.parquet is no Parquet file"):
            resolve(tmp_path)
        assert len(begun) < 50

    def test_files_that_are_replaced_while_they_are_listed_are_listed_anew(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path, {"a.parquet": {"x": [1]}})
        read = footers._read_footer

        def replaced(filesystem: Any, file_format: str, file: Any, **_: Any) -> Any:
            monkeypatch.setattr(footers, "_read_footer", read)
            write(tmp_path, {"a.parquet": {"y": ["much longer"] * 1000}})
            return read(filesystem, file_format, file, is_local=False)

        monkeypatch.setattr(footers, "_read_footer", replaced)
        schema = resolve(tmp_path)
        assert types(schema) == {"y": pa.string()}
        assert [file.version.size for file in schema.files] == [(tmp_path / "a.parquet").stat().st_size]

    @pytest.mark.parametrize("columns", [1, 3000])
    @pytest.mark.parametrize("suffix", ["parquet", "orc"])
    def test_only_the_end_of_a_file_on_a_lake_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, columns: int
    ) -> None:
        rows = {f"column number {n}": pa.array(range(500)) for n in range(columns)}
        write(tmp_path, {f"x.{suffix}": {**rows, "text": [os.urandom(400).hex() for _ in range(500)]}})
        location = Router(()).locate(f"file://{tmp_path}")
        ranges: list[int] = []
        cat_file = location.fs.cat_file

        def counting(path: str, start: int, end: int) -> Any:
            ranges.append(end - start)
            return cat_file(path, start=start, end=end)

        monkeypatch.setattr(location.fs, "cat_file", counting)
        [file] = list_files(location).files
        found = footers._read_footer(location.fs, suffix, file, is_local=False)
        assert [column.name for column in found.columns] == [*rows, "text"]
        assert ranges[0] == 64 << 10
        assert sum(ranges) < file.size / 2
        assert len(ranges) <= (1 if columns == 1 else 4)

    def test_wide_and_many_is_fast_the_second_time(self, tmp_path: Path) -> None:
        table = pa.table({f"c{n}": pa.array([], pa.int64()) for n in range(300)})
        write(tmp_path, {f"{n}.parquet": table for n in range(300)})
        resolve(tmp_path)
        began = time.process_time()
        resolve(tmp_path)
        assert time.process_time() - began < 1
