"""Which files Spark would read at a location, and how much is listed to find that out."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from feast_hybrid.errors import SchemaError
from feast_hybrid.files.listing import data_files, first_file, partition_columns
from feast_hybrid.files.partitions import typed_value
from feast_hybrid.lakes import Location, Router


def lay(folder: Path, *files: str) -> Location:
    """A folder with these files, of a byte each."""
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return Router(()).locate(f"file://{folder}")


def names(folder: Path, location: Location) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in data_files(location)]


def test_files_come_by_path_with_what_their_folders_say(tmp_path: Path) -> None:
    location = lay(tmp_path, "day=2/x", "day=1/y", "day=1/_SUCCESS", "day=__HIVE_DEFAULT_PARTITION__/z", "_SUCCESS")
    assert [(Path(file.path).name, file.size, file.partitions) for file in data_files(location)] == [
        ("y", 1, {"day": "1"}),
        ("x", 1, {"day": "2"}),
        ("z", 1, {"day": None}),
    ]


def test_a_folder_that_is_not_wanted_is_not_listed(tmp_path: Path) -> None:
    location = lay(tmp_path, "day=1/hour=1/x", "day=2/no partition/x")
    found = data_files(location, wanted=lambda partitions: partitions["day"] == "1")
    assert [file.partitions for file in found] == [{"day": "1", "hour": "1"}]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["x", "day=1/x"], "files beside folders of partitions"),
        (["day=1/x", "day=1/hour=1/x"], "partitions of several names"),
        (["day=1/x", "hour=1/x"], "partitions of several names"),
        (["folder/x"], "a folder 'folder' that is no partition"),
    ],
)
def test_folders_that_spark_does_not_write_are_refused(tmp_path: Path, files: list[str], reason: str) -> None:
    location = lay(tmp_path, *files)
    with pytest.raises(SchemaError, match=reason):
        data_files(location)


def test_a_glob_names_files_and_folders(tmp_path: Path) -> None:
    lay(tmp_path, "a/x", "b/y", "c/z")
    assert names(tmp_path, Router(()).locate(f"file://{tmp_path}/{{a,c}}")) == ["a/x", "c/z"]


def test_the_first_file_is_found_along_one_branch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = lay(tmp_path, *(f"day=2026-01-0{day}/hour={hour}/x" for day in range(1, 6) for hour in range(3)))
    listed: list[str] = []
    ls = location.fs.ls

    def counting(path: str, **options: Any) -> Any:
        listed.append(path)
        return ls(path, **options)

    monkeypatch.setattr(location.fs, "ls", counting)
    first = first_file(location)
    assert first is not None
    assert Path(first.path).relative_to(tmp_path) == Path("day=2026-01-01/hour=0/x")
    assert first.partitions == {"day": "date", "hour": "int"}
    assert [Path(path).relative_to(tmp_path).parts for path in listed] == [
        (),
        ("day=2026-01-01",),
        ("day=2026-01-01", "hour=0"),
    ]
    assert partition_columns(location) == ("day", "hour")


@pytest.mark.parametrize(
    ("text", "spark_type", "value"),
    [
        (None, "int", None),
        ("007", "int", 7),
        ("007", "string", "007"),
        ("x", "string collate UTF8_LCASE", "x"),
        ("2026-01-10", "date", date(2026, 1, 10)),
        ("12", "decimal(20,0)", Decimal(12)),
        ("2.5", "double", 2.5),
    ],
)
def test_a_partitions_value_has_its_columns_type(text: str | None, spark_type: str, value: Any) -> None:
    assert typed_value("p", text, spark_type) == value


@pytest.mark.parametrize(
    ("text", "spark_type"), [("x", "int"), ("2026-01-10 10:00:00", "timestamp"), ("1d", "double")]
)
def test_a_value_that_only_spark_can_read_is_refused(text: str, spark_type: str) -> None:
    with pytest.raises(SchemaError, match=f"partition column 'p' is {spark_type}: its values are Spark's to read"):
        typed_value("p", text, spark_type)
