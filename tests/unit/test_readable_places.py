"""Rows are written only where the source itself finds them again, whoever writes the files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkOfflineStoreConfig, HybridSparkSource
from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.file_schema import file_schema
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.spark.cancellation import Cancellation
from feast_hybrid.writing import by_spark
from feast_hybrid.writing.by_spark import append_by_spark
from feast_hybrid.writing.datasets import save
from feast_hybrid.writing.parquet_files import append_parquet

if TYPE_CHECKING:
    from feast_hybrid.sources.spec import SourceSpec

ROWS = pa.table({"ts": [1]})
IN_THE_FUTURE = "2999-01-01T00:00:00"


def spec(path: str, file_format: str, options: dict[str, str]) -> SourceSpec:
    of = HybridSparkSource(name="rows", path=path, file_format=file_format, timestamp_field="ts", options=options)
    return source_spec(of, Router())


def by_pyarrow(source: SourceSpec) -> None:
    append_parquet(ROWS, source, lambda: ROWS.schema, what="rows")


def batch(source: SourceSpec) -> None:
    append_by_spark(ROWS, source, HybridSparkOfflineStoreConfig(), lambda: ROWS.schema, what="rows")


def dataset(source: SourceSpec) -> None:
    frame: Any = None
    save(frame, source, Cancellation(), overwrite=True)


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: Any) -> None:
        raise WriteError("Spark is asked to write")

    monkeypatch.setattr(by_spark, "reader_for", reached)


WRITERS = pytest.mark.parametrize(
    ("write", "file_format"), [(by_pyarrow, "parquet"), (batch, "csv"), (batch, "orc"), (dataset, "parquet")]
)


@WRITERS
@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("pathGlobFilter", "*.pq"),
        ("modifiedBefore", "2030-01-01T00:00:00"),
        ("modifiedAfter", IN_THE_FUTURE),
        ("basePath", "file:///"),
    ],
)
def test_rows_that_the_source_would_not_read_back_are_not_written(
    tmp_path: Path, write: Callable[[SourceSpec], None], file_format: str, option: str, value: str
) -> None:
    with pytest.raises(WriteError, match=f"would not be read back: its option {option}"):
        write(spec(f"file://{tmp_path}/rows", file_format, {option: value}))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("write", "file_format"), [(batch, "csv"), (batch, "text"), (dataset, "json")])
@pytest.mark.parametrize("pattern", ["*.csv", "*.json", "part-*", "*"])
def test_of_files_that_spark_names_nobody_knows_whether_a_pattern_finds_them(
    tmp_path: Path, write: Callable[[SourceSpec], None], file_format: str, pattern: str
) -> None:
    source = spec(f"file://{tmp_path}", file_format, {"pathGlobFilter": pattern, "compression": "gzip"})
    with pytest.raises(WriteError, match=r"pathGlobFilter, .*, may leave out files that Spark names"):
        write(source)


@WRITERS
@pytest.mark.parametrize("path", ["*", "rows/day=?", "{a,b}"])
def test_a_pattern_is_no_place_to_write_to(
    tmp_path: Path, write: Callable[[SourceSpec], None], file_format: str, path: str
) -> None:
    with pytest.raises(WriteError, match="is a pattern; rows are written to one folder"):
        write(spec(f"file://{tmp_path}/{path}", file_format, {}))


def test_what_is_read_back_is_written(tmp_path: Path) -> None:
    options = {"pathGlobFilter": "batch-*.parquet", "modifiedAfter": "2026-01-10T00:00:00", "compression": "gzip"}
    source = spec(f"file://{tmp_path}", "parquet", options)
    by_pyarrow(source)
    assert len(file_schema(source, Router()).files) == 1


@pytest.mark.parametrize(("write", "file_format"), [(batch, "csv"), (batch, "delta")])
def test_options_that_choose_no_files_are_followed(
    tmp_path: Path, write: Callable[[SourceSpec], None], file_format: str
) -> None:
    with pytest.raises(WriteError, match="Spark is asked to write"):
        write(spec(f"file://{tmp_path}", file_format, {"modifiedAfter": "2026-01-10T00:00:00", "sep": ";"}))
