"""What killed writers leave is found by name and age, and removed on request; on this machine's disk."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from feast_hybrid.lakes import Location, Router
from feast_hybrid.lakes.leftovers import find_leftovers, remove_leftovers

TOKEN = "0123456789ab"
OLD = 1.7e9


def lay(folder: Path, *files: str, time: float = OLD) -> Location:
    """A folder with these files, of three bytes each, written long ago."""
    for name in files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"row")
    for root, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            os.utime(Path(root, name), (time, time))
    os.utime(folder, (time, time))
    return Router().locate(f"file://{folder}")


def names(folder: Location, **more: timedelta) -> dict[str, str]:
    """The places below the folder's parent, and what they are."""
    found = find_leftovers(folder, **more)
    return {str(each.location).removeprefix(f"{folder.parent()}/"): each.what for each in found}


def test_what_belongs_to_rows_is_no_leftover(tmp_path: Path) -> None:
    folder = lay(tmp_path / "set", "part-0.parquet", "_SUCCESS", "day=1/.hidden", ".mine.txt", "_delta_log/0.json")
    lay(tmp_path, ".other.writing", f".set.{TOKEN}.moved", "settle/_SUCCESS")
    assert names(folder) == {}


@pytest.mark.parametrize("at_site", [False, True], ids=["the-dataset", "the-folder-above"])
def test_what_is_beside_a_dataset_and_in_it_is_found_and_removed(tmp_path: Path, at_site: bool) -> None:
    folder = lay(
        tmp_path / "lake",
        "set/part-0.parquet",
        "set/_temporary/0/_temporary/attempt/part-0.parquet",
        f"set/day=1/.batch-1.parquet.{TOKEN}.writing",
        f".set.{TOKEN}.writing/_temporary/0/part-0.parquet",
        f".set.{TOKEN}.writing/part-0.parquet",
        f".set.20261126T090000.000000Z-{TOKEN}.replaced/part-0.parquet",
        f"other/.set.{TOKEN}.txt",
    )
    looked_at = folder if at_site else folder.child("set")
    found = find_leftovers(looked_at)
    assert {str(each.location).removeprefix(f"{folder}/"): (each.what, each.size) for each in found} == {
        f".set.{TOKEN}.writing": ("rows that a writer had not put in their place", 6),
        f".set.20261126T090000.000000Z-{TOKEN}.replaced": ("old rows that were replaced", 3),
        "set/_temporary": ("what a job of Spark's had not committed", 3),
        f"set/day=1/.batch-1.parquet.{TOKEN}.writing": ("rows that a writer had not put in their place", 3),
    }
    assert str(found[0]).endswith("6 bytes, of 2023-11-14 22:13 UTC")
    assert remove_leftovers(found) == []
    assert find_leftovers(looked_at) == []
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == [f"lake/other/.set.{TOKEN}.txt", "lake/set/part-0.parquet"]


def test_what_is_younger_than_a_stated_age_is_left_alone(tmp_path: Path) -> None:
    folder = lay(tmp_path / "set", "part-0.parquet")
    lay(tmp_path / f".set.{TOKEN}.writing", "old.parquet", "young.parquet")
    os.utime(tmp_path / f".set.{TOKEN}.writing/young.parquet")
    assert names(folder) == {}
    assert list(names(folder, older_than=timedelta(0))) == [f".set.{TOKEN}.writing"]


def test_what_is_written_to_after_it_was_found_stays(tmp_path: Path) -> None:
    folder = lay(tmp_path / "set", "part-0.parquet", "_temporary/0/a", "_temporary/0/b")
    found = find_leftovers(folder)
    os.utime(tmp_path / "set/_temporary/0/b")
    ((leftover, reason),) = remove_leftovers(found)
    assert leftover == found[0]
    assert "has been written to since it was found" in reason
    assert (tmp_path / "set/_temporary/0/a").exists()


def test_what_may_be_the_only_copy_of_rows_is_found_and_never_removed(tmp_path: Path) -> None:
    folder = lay(
        tmp_path,
        f".set.20261126T090000.000000Z-{TOKEN}.replaced/part-0.parquet",
        f".set.{TOKEN}.writing/part-0.parquet",
        "other/part-0.parquet",
        f".other.20261126T090000.000000Z-{TOKEN}.added/batch.parquet",
    )
    found = find_leftovers(folder)
    assert [each.can_be_removed for each in found] == [False, False, False]
    assert any("none are in their place: save there again" in each.what for each in found)
    assert any("could not be moved back: move its files there" in each.what for each in found)
    assert remove_leftovers(found) == []
    assert find_leftovers(folder) == found


def test_an_export_that_was_not_finished_is_removed_as_a_whole(tmp_path: Path) -> None:
    killed, done, plain = f"export-{'0' * 32}", f"export-{'1' * 32}", f"export-{'2' * 32}"
    folder = lay(
        tmp_path / "staging",
        f"{killed}/part-0.parquet",
        f"{killed}/_temporary/0/part-1.parquet",
        f"{done}/part-0.parquet",
        f"{done}/_SUCCESS",
        f"{plain}/part-0.parquet",
    )
    found = find_leftovers(folder)
    assert [(each.location, each.what) for each in found] == [
        (folder.child(killed), "an export that was not finished")
    ]
    assert remove_leftovers(found) == []
    assert sorted(path.name for path in (tmp_path / "staging").iterdir()) == [done, plain]


def test_a_place_that_is_not_there_has_no_leftovers(tmp_path: Path) -> None:
    assert find_leftovers(Router().locate(f"file://{tmp_path}/none/set")) == []
