"""The columns of a Parquet folder, read from its footers, by Spark's names for their types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.schema import resolve_schema
from feast_hybrid.lakes import Router

A = pa.table({"a": pa.array([1], pa.int64())})
B = pa.table({"b": pa.array([1], pa.int64())})
NOT_PARQUET = b"not parquet"


def lay(folder: Path, files: Mapping[str, pa.Table | bytes]) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            pq.write_table(content, file)
    return folder


def columns(path: Path | str) -> list[tuple[str, str]] | None:
    found = resolve_schema(Router(()).locate(f"file://{path}"), "parquet")
    return None if found is None else [(c.name, spark_type_of_arrow(c.data_type)) for c in found.columns]


class TestFiles:
    def test_a_single_file(self, tmp_path: Path) -> None:
        lay(tmp_path, {"x.parquet": A})
        assert columns(tmp_path / "x.parquet") == [("a", "bigint")]

    def test_a_hidden_file_is_not_read_even_where_it_is_asked_for(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"_x.parquet": A}) / "_x.parquet") is None

    def test_a_folder(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"x.parquet": A})) == [("a", "bigint")]

    def test_a_file_named_as_its_folder(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path / "x.parquet", {"x.parquet": A})) == [("a", "bigint")]

    def test_the_columns_of_all_files_by_path(self, tmp_path: Path) -> None:
        files = {"part-1.parquet": B, "part-0.parquet": A}
        assert columns(lay(tmp_path, files)) == [("a", "bigint"), ("b", "bigint")]

    @pytest.mark.parametrize(
        "hidden",
        ["_SUCCESS", "_metadata.bak", "_temporary/0/x.parquet", ".x.parquet.crc", ".hidden/x.parquet", "a._COPYING_"],
    )
    def test_what_spark_hides_is_not_read(self, tmp_path: Path, hidden: str) -> None:
        assert columns(lay(tmp_path, {hidden: NOT_PARQUET, "part-0.parquet": A})) == [("a", "bigint")]

    def test_a_folders_marker_of_no_bytes_is_not_read(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"a": b"", "part-0.parquet": A})) == [("a", "bigint")]

    @pytest.mark.parametrize("files", [{}, {"_SUCCESS": b""}, {"marker": b""}, {"day=1/_SUCCESS": b""}])
    def test_a_folder_without_rows_has_no_columns(self, tmp_path: Path, files: Mapping[str, bytes]) -> None:
        assert columns(lay(tmp_path, files)) is None

    def test_a_folder_within_the_folder_is_refused_if_it_has_files(self, tmp_path: Path) -> None:
        lay(tmp_path, {"x.parquet": A, "deeper/_SUCCESS": b""})
        assert columns(tmp_path) == [("a", "bigint")]
        with pytest.raises(
            SchemaError, match=r"deeper/still/y.parquet lies in a folder 'still' that is no partition"
        ):
            columns(lay(tmp_path, {"deeper/still/y.parquet": A}))

    @pytest.mark.parametrize("path", ["nothing", "nothing/*.parquet", "no*", "{a,b}"])
    def test_where_nothing_is_that_is_said(self, tmp_path: Path, path: str) -> None:
        with pytest.raises(FileNotFoundError):
            columns(tmp_path / path)

    def test_a_file_of_another_format_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"x.csv is no Parquet file, or a damaged one \("):
            columns(lay(tmp_path, {"x.csv": NOT_PARQUET}))


class TestPartitions:
    def test_they_come_last_level_by_level(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"year=2024/color=x/f.parquet": A})) == [
            ("a", "bigint"),
            ("year", "int"),
            ("color", "string"),
        ]

    @pytest.mark.parametrize(
        ("values", "spark_type"),
        [
            (["1", "2"], "int"),
            (["007"], "string"),
            (["+7"], "string"),
            (["-0"], "string"),
            (["0", "-3"], "int"),
            (["20240101"], "int"),
            (["3000000000", "1"], "bigint"),
            (["99999999999999999999"], "string"),
            (["1e5"], "string"),
            (["1", "2.5"], "string"),
            (["NaN"], "string"),
            (["2024-01-01"], "date"),
            (["2024-02-30"], "string"),
            (["2024-1-1"], "string"),
            (["2024-01-01 10:00:00"], "timestamp"),
            (["2024-01-01", "1"], "string"),
            (["true"], "string"),
            (["1_000"], "string"),
            (["\u0661"], "string"),
            (["a b", "ü"], "string"),
            (["__HIVE_DEFAULT_PARTITION__"], "string"),
            (["__HIVE_DEFAULT_PARTITION__", "3"], "int"),
            (["__HIVE_DEFAULT_PARTITION__", "2024-01-01"], "date"),
        ],
        ids=str,
    )
    def test_they_are_integers_dates_and_times_only_where_each_text_can_be_had_back(
        self, tmp_path: Path, values: list[str], spark_type: str
    ) -> None:
        files = {f"p={quote(value, safe=' +:-.')}/x.parquet": A for value in values}
        assert columns(lay(tmp_path, files)) == [("a", "bigint"), ("p", spark_type)]

    def test_a_name_is_decoded(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"a%20b=1/x.parquet": A})) == [("a", "bigint"), ("a b", "int")]

    def test_a_name_may_begin_with_an_underscore(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"_p=1/x.parquet": A})) == [("a", "bigint"), ("_p", "int")]

    def test_a_column_that_the_files_hold_too_keeps_its_place_and_the_files_type(self, tmp_path: Path) -> None:
        rows = pa.table({"A": ["x"], "c": pa.array([1], pa.int64())})
        assert columns(lay(tmp_path, {"a=1/x.parquet": rows})) == [("a", "string"), ("c", "bigint")]

    def test_the_folder_of_one_partition_has_no_column_of_it(self, tmp_path: Path) -> None:
        lay(tmp_path, {"p=1/q=x/f.parquet": A})
        assert columns(tmp_path / "p=1") == [("a", "bigint"), ("q", "string")]

    def test_files_are_found_below_a_partitions_folder_however_deep(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"p=1/deeper/x.parquet": A})) == [("a", "bigint"), ("p", "int")]

    def test_an_empty_partition_is_passed_over(self, tmp_path: Path) -> None:
        files = {"p=1/_SUCCESS": b"", "p=2/x.parquet": A}
        assert columns(lay(tmp_path, files)) == [("a", "bigint"), ("p", "int")]

    def test_paths_are_in_the_order_of_their_whole_text(self, tmp_path: Path) -> None:
        assert columns(lay(tmp_path, {"p=1/x.parquet": A, "p=1-x/x.parquet": B})) == [
            ("b", "bigint"),
            ("a", "bigint"),
            ("p", "string"),
        ]


class TestGlobs:
    @pytest.fixture(autouse=True)
    def _folders(self, tmp_path: Path) -> None:
        lay(
            tmp_path,
            {
                "day=1/x.parquet": A,
                "day=2/x.parquet": A,
                "other/x.parquet": B,
            },
        )

    @pytest.mark.parametrize(
        "pattern",
        [
            "day=*",
            "day=*/*.parquet",
            "day=[12]",
            "day=[!3]",
            "day=?",
            "{day=2,day=1}",
            "day={1,2}/x.parquet",
            "d{ay,ai}=*",
        ],
    )
    def test_what_matches_has_no_partitions_of_its_own(self, tmp_path: Path, pattern: str) -> None:
        assert columns(tmp_path / pattern) == [("a", "bigint")]
        assert columns(tmp_path / "*") == [("a", "bigint"), ("b", "bigint")]

    def test_hidden_files_that_match_are_not_read(self, tmp_path: Path) -> None:
        lay(tmp_path, {"day=1/_SUCCESS": NOT_PARQUET})
        assert columns(tmp_path / "day=1/*") == [("a", "bigint")]

    def test_a_hidden_folder_that_matches_is_read(self, tmp_path: Path) -> None:
        lay(tmp_path, {"_old/x.parquet": B})
        assert columns(tmp_path / "_*") == [("b", "bigint")]

    def test_braces_choose(self, tmp_path: Path) -> None:
        assert columns(tmp_path / "{other,another}") == [("b", "bigint")]


class TestSchemas:
    def footer_columns(self, folder: Path, data_type: pa.DataType, **write: Any) -> list[tuple[str, str]] | None:
        pq.write_table(pa.table({"c": pa.array([], data_type)}), folder / "x.parquet", **write)
        return columns(folder)

    @pytest.mark.parametrize(
        ("data_type", "name"),
        [
            (pa.timestamp("us"), "timestamp"),
            (pa.list_(pa.timestamp("us")), "array<timestamp>"),
            (pa.struct([("t", pa.timestamp("us"))]), "struct<t:timestamp>"),
            (pa.map_(pa.string(), pa.timestamp("us")), "map<string,timestamp>"),
        ],
    )
    def test_int96_is_an_instant_wherever_it_stands(self, tmp_path: Path, data_type: pa.DataType, name: str) -> None:
        assert self.footer_columns(tmp_path, data_type, use_deprecated_int96_timestamps=True) == [("c", name)]

    @pytest.mark.parametrize(
        ("data_type", "name"),
        [
            (pa.timestamp("us"), "timestamp_ntz"),
            (pa.timestamp("us", tz="Europe/Zurich"), "timestamp"),
            (pa.list_(pa.struct([("x", pa.int32()), ("Y z", pa.string())])), "array<struct<x:int,Y z:string>>"),
            (pa.map_(pa.string(), pa.list_(pa.float64())), "map<string,array<double>>"),
            (pa.dictionary(pa.int32(), pa.string()), "string"),
            (pa.uint32(), "bigint"),
        ],
        ids=str,
    )
    def test_types_as_they_come_back_from_a_footer(self, tmp_path: Path, data_type: pa.DataType, name: str) -> None:
        assert self.footer_columns(tmp_path, data_type) == [("c", name)]

    def test_names_are_data(self, tmp_path: Path) -> None:
        rows = pa.table({name: pa.array([1], pa.int64()) for name in ("a.b", "a;b", "`q`", "ü", "A", "a")})
        pq.write_table(rows, tmp_path / "x.parquet")
        assert columns(tmp_path) == [(name, "bigint") for name in ("a.b", "a;b", "`q`", "ü", "A", "a")]

    def test_nanoseconds_are_microseconds_and_for_our_own_reader(self, tmp_path: Path) -> None:
        assert self.footer_columns(tmp_path, pa.timestamp("ns")) == [("c", "timestamp_ntz")]
        found = resolve_schema(Router(()).locate(f"file://{tmp_path}"), "parquet")
        assert found is not None
        assert found.only_ours == f"column 'c' has nanoseconds in {tmp_path}/x.parquet"

    def test_a_column_that_spark_cannot_read_is_left_out_and_named_where_it_is_wanted(self, tmp_path: Path) -> None:
        assert self.footer_columns(tmp_path, pa.time64("us")) == []
        found = resolve_schema(Router(()).locate(f"file://{tmp_path}"), "parquet")
        assert found is not None
        reason = (
            r"^view 'v': column 'c' cannot be read from .*/x.parquet: Spark has no type for Arrow's time64\[us\]\.$"
        )
        with pytest.raises(SchemaError, match=reason):
            found.require(["c"], what="view 'v'")


def test_a_path_with_signs_of_a_url_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a #b%20c;d=1&e"
    assert columns(lay(folder, {"x.parquet": A})) == [("a", "bigint")]
