"""Before Spark adds rows to a path, it is seen whether something is there; what reading refuses is no empty place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feast_hybrid import HybridSparkOfflineStoreConfig, HybridSparkSource
from feast_hybrid.errors import HybridError, SchemaError, SourceError
from feast_hybrid.lakes import Router
from feast_hybrid.sources.resolve import source_spec
from feast_hybrid.writing import by_spark

ROWS = pa.table({"driver_id": [1]})


class Reader:
    """Stands for one whose session has a setting by which it would read otherwise."""

    spark = None

    def read(self, source: Any) -> Any:
        raise SourceError(f"{source.label}: the session has spark.sql.legacy.timeParserPolicy=LEGACY")


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_spark, "reader_for", lambda *_: Reader())


def first_schema() -> pa.Schema:
    raise SchemaError("the place was taken for an empty one")


def put(folder: Path, *names: str, text: str = "driver_id\n7\n") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def append(folder: Path, file_format: str) -> None:
    of = HybridSparkSource(name="rows", path=f"file://{folder}", file_format=file_format)
    store = HybridSparkOfflineStoreConfig()
    by_spark.append_by_spark(ROWS, source_spec(of, Router()), store, first_schema, what="writing rows")


@pytest.mark.parametrize("file_format", ["csv", "orc"])
@pytest.mark.parametrize("made", [False, True], ids=["there is no folder", "the folder holds no rows"])
def test_where_no_file_with_rows_is_the_view_says_what_the_columns_are(
    tmp_path: Path, file_format: str, made: bool
) -> None:
    if made:
        put(tmp_path / "new", "_SUCCESS")
        put(tmp_path / "new", "part-0", text="")
    with pytest.raises(SchemaError, match="was taken for an empty one"):
        append(tmp_path / "new", file_format)


@pytest.mark.parametrize(
    ("file_format", "names", "error", "message"),
    [
        ("csv", ["part-0.csv"], SourceError, "source 'rows': the session has .*timeParserPolicy"),
        ("csv", ["day=1/part-0.csv"], SourceError, "source 'rows': the session has .*timeParserPolicy"),
        ("csv", ["a/part-0.csv"], SchemaError, "source 'rows' .*in a folder 'a' that is no partition"),
        ("csv", ["_delta_log/0.json", "part-0.csv"], SourceError, "source 'rows' .*is a table of Delta"),
        ("orc", ["metadata/v1.metadata.json", "data/a.orc"], SourceError, "source 'rows' .*is a table of Iceberg"),
        ("delta", ["_delta_log/0.json"], SourceError, "source 'rows': the session has .*timeParserPolicy"),
    ],
)
def test_what_reading_refuses_is_an_error_of_the_write_too(
    tmp_path: Path, file_format: str, names: list[str], error: type[HybridError], message: str
) -> None:
    put(tmp_path, *names)
    with pytest.raises(error, match=message):
        append(tmp_path, file_format)
