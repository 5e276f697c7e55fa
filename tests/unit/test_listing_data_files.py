"""Which files Spark would read at a location, and how much is listed to find that out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feast_hybrid.errors import SchemaError, SourceError
from feast_hybrid.files.listing import list_files, partition_columns
from feast_hybrid.lakes import Location, Router


def lay(folder: Path, *files: str) -> Location:
    """A folder with these files, of a byte each."""
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    return Router(()).locate(f"file://{folder}")


def names(folder: Path, location: Location) -> list[str]:
    return [str(Path(file.path).relative_to(folder)) for file in list_files(location).files]


def test_files_come_by_path_with_what_their_folders_say(tmp_path: Path) -> None:
    location = lay(tmp_path, "day=2/x", "day=1/y", "day=1/_SUCCESS", "day=__HIVE_DEFAULT_PARTITION__/z", "_SUCCESS")
    assert [(Path(file.path).name, file.size, file.partitions) for file in list_files(location).files] == [
        ("y", 1, {"day": "1"}),
        ("x", 1, {"day": "2"}),
        ("z", 1, {"day": None}),
    ]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (["x", "day=1/x"], "files lie below folders of different partition columns, or beside them"),
        (["day=1/x", "day=1/hour=1/x"], "files lie below folders of different"),
        (["day=1/x", "hour=1/x"], "files lie below folders of different"),
        (["day=1/part1/x", "day=2/x"], "there is a folder 'part1' within a partition that is none itself"),
        (["town=S%C3%A3o/x"], "Spark takes each %XX of the folder 'town=S%C3%A3o' for one character"),
        (["town=/x"], "the folder 'town=' has no value"),
        (["town=S%20a/x", "town=São/x"], None),
    ],
)
def test_what_spark_would_read_otherwise_is_known(tmp_path: Path, files: list[str], reason: str | None) -> None:
    found = list_files(lay(tmp_path, *files))
    assert len(found.files) == len(files)
    assert (found.only_ours or "").startswith(reason or "nothing") if reason else found.only_ours is None


@pytest.mark.parametrize(
    ("folder", "is_known"), [("day=1", True), ("day=1/hour=1", False), (".", False), ("day=1/hour=2/minute=3", True)]
)
def test_an_empty_file_is_one_to_spark_where_it_looks_for_partitions(
    tmp_path: Path, folder: str, *, is_known: bool
) -> None:
    location = lay(tmp_path, "day=1/hour=1/x")
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "empty").touch()
    assert (list_files(location).only_ours is not None) == is_known


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("folder/x", "folder/x lies in a folder 'folder' that is no partition, where Spark does not look"),
        ("folder/day=1/x", "the folder .*/folder/day=1 of a partition lies in a folder 'folder' that is none"),
        ("day=1/folder/hour=1/x", "hour=1 of a partition lies in a folder 'folder' that is none"),
        ("day=1/Day=1/x", "day=1/Day=1 gives the partition column 'Day' twice"),
        ("town=S%E3o/x", "the name of the folder 'town=S%E3o' is no UTF-8"),
    ],
)
def test_rows_that_would_vanish_or_that_nobody_can_tell_are_refused(tmp_path: Path, file: str, reason: str) -> None:
    location = lay(tmp_path, "day=3/x", file)
    with pytest.raises(SchemaError, match=reason):
        list_files(location)


def test_files_of_no_bytes_are_known_by_name(tmp_path: Path) -> None:
    location = lay(tmp_path, "day=1/x")
    (tmp_path / "day=1/y.parquet").touch()
    (tmp_path / "day=1/_SUCCESS").touch()
    assert list_files(location).empty_files == [f"{tmp_path}/day=1/y.parquet"]


def test_another_file_of_the_same_name_and_size_has_another_version(tmp_path: Path) -> None:
    location = lay(tmp_path, "x")
    [first] = list_files(location).files
    (tmp_path / "y").write_bytes(b"y")
    (tmp_path / "y").rename(tmp_path / "x")
    [second] = list_files(location).files
    assert first[:3] == second[:3]
    assert first.version
    assert first.version != second.version


def test_a_glob_names_files_and_folders(tmp_path: Path) -> None:
    lay(tmp_path, "a/x", "b/y", "c/z")
    assert names(tmp_path, Router(()).locate(f"file://{tmp_path}/{{a,c}}")) == ["a/x", "c/z"]


@pytest.mark.parametrize("name", ["a*b", "a?b", "[a]", "{a,b}", "a\\b", "p=[1]*"])
def test_glob_signs_in_names_that_are_found_are_plain_characters(tmp_path: Path, name: str) -> None:
    folder = name if "=" in name else f"p={name}"
    location = lay(tmp_path, f"{folder}/{name}.parquet", "p=axb/a.parquet")
    found = {Path(file.path).name: file.partitions for file in list_files(location).files}
    assert found == {f"{name}.parquet": {"p": folder[2:]}, "a.parquet": {"p": "axb"}}
    assert names(tmp_path, Router(()).locate(f"file://{tmp_path}/p=*")) == sorted(
        [f"{folder}/{name}.parquet", "p=axb/a.parquet"]
    )


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a?", ["a1", "a2"]),
        ("**", ["a1", "a2", "b.c", "b^", "bc", "{x}"]),
        ("[^a]*", ["b.c", "b^", "bc", "{x}"]),
        ("[!a-b]*", ["{x}"]),
        ("b[.^]*", ["b.c", "b^"]),
        ("{a1,b{c,^}}", ["a1", "b^", "bc"]),
        ("\\{x\\}", ["{x}"]),
        ("[ab]*/x", ["a1", "a2", "b.c", "b^", "bc"]),
        ("{a1/x,a2}", ["a1", "a2"]),
    ],
)
def test_a_pattern_is_hadoops(tmp_path: Path, pattern: str, matching: list[str]) -> None:
    lay(tmp_path, *(f"{name}/x" for name in ["a1", "a2", "bc", "b.c", "b^", "{x}"]))
    found = names(tmp_path, Router(()).locate(f"file://{tmp_path}/{pattern}"))
    assert found == [f"{name}/x" for name in matching]


@pytest.mark.parametrize("pattern", ["[a", "a[]", "x\\"])
def test_what_is_no_pattern_is_said(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(SourceError, match="is no pattern"):
        list_files(Router(()).locate(f"file://{tmp_path}/{pattern}"))


def test_the_partition_columns_are_known_whatever_the_format(tmp_path: Path) -> None:
    assert partition_columns(lay(tmp_path, "day=1/hour=2/x.csv", "day=2/hour=1/x.csv")) == ("day", "hour")


def test_a_folder_that_is_listed_twice_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = lay(tmp_path, "day=1/x.parquet", "day=2/y.parquet")
    filesystem = location.fs
    listed = filesystem.ls

    def twice(path: str, detail: bool = True) -> list[Any]:
        entries = list(listed(path, detail=detail))
        return [*entries, *(entry | {"name": f"{entry['name']}/"} for entry in entries if entry["type"] != "file")]

    monkeypatch.setattr(type(filesystem), "ls", lambda _, path, detail=True: twice(path, detail))
    assert [file.path.rpartition("/")[2] for file in list_files(location).files] == ["x.parquet", "y.parquet"]
