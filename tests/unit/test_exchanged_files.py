"""Files of a folder put in the place of others on this machine's disk, which has HDFS's way of doing it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.files.listing import list_files
from feast_hybrid.lakes import Location, Router, exchange_hdfs, replace
from feast_hybrid.lakes.leftovers import find_leftovers, remove_leftovers
from feast_hybrid.lakes.markers import CLAIM, ReplacementRecord
from feast_hybrid.lakes.replace import Exchange
from feast_hybrid.lakes.versions import FilesChangedError, FileVersion

OLD = {"a", "b", "c"}
NEW = {"x", "y"}


class Killed(BaseException):
    """The process ends."""


@pytest.fixture
def folder(tmp_path: Path) -> Location:
    (tmp_path / "set").mkdir()
    for name in OLD:
        (tmp_path / "set" / name).write_bytes(b"old")
    return Router().locate(f"file://{tmp_path}/set")


def read(folder: Location) -> set[str]:
    """The files whose rows a reader of ours takes."""
    return {file.path.rpartition("/")[2] for file in list_files(folder, read_by_us=True).files}


def versions(folder: Location) -> dict[str, FileVersion]:
    return {file.path.rpartition("/")[2]: file.version for file in list_files(folder, read_by_us=True).files}


def exchange(folder: Location) -> None:
    old = {name: version for name, version in versions(folder).items() if name in OLD}
    exchanging = Exchange(folder)
    try:
        for name in NEW:
            Path(exchanging.place(name).path).write_bytes(b"new")
        exchanging.put_in_place(sorted(NEW), old)
    except Exception:
        exchanging.discard()
        raise


def names(folder: Location) -> set[str]:
    return set(os.listdir(folder.path))


@pytest.fixture
def on_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], None]], None]:
    """Have a function called before each rename and deletion, with its number; one after another."""

    def install(function: Callable[[int], None]) -> None:
        count = 0

        def before(step: Any) -> Any:
            def counted(self: Any, *arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                function(count)
                return step(self, *arguments, **options)

            return counted

        monkeypatch.setattr(exchange_hdfs, "_AT_ONCE", 1)
        for name in ("mv", "rm"):
            monkeypatch.setattr(LocalFileSystem, name, before(getattr(LocalFileSystem, name)))

    return install


def test_new_files_are_there_and_no_others(folder: Location) -> None:
    exchange(folder)
    assert names(folder) == NEW


def test_a_reader_sees_old_files_or_new_ones_at_each_step(folder: Location, on_step: Any) -> None:
    seen: list[set[str]] = []
    on_step(lambda _: seen.append(read(folder)))
    exchange(folder)
    assert seen[0] == OLD
    assert seen[-1] == NEW
    assert all(each in (OLD, NEW) for each in seen)


@pytest.mark.parametrize("step", range(2, 9))
def test_what_a_killed_writer_has_left_is_ended_by_the_next_one(
    folder: Location, on_step: Any, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(number: int) -> None:
        if number >= step:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(exchange_hdfs.FileReplacement, "_take_back", lambda *_: None)
        on_step(kill)
        with pytest.raises(Killed):
            exchange(folder)
    monkeypatch.undo()
    assert read(folder) in (OLD, NEW)
    if CLAIM in names(folder):
        with pytest.raises(WriteError, match="is being written by another writer"):
            replace.recover(folder)
    monkeypatch.setattr(exchange_hdfs, "DEAD_AFTER", timedelta(0))
    replace.recover(folder)
    assert names(folder) in (OLD, NEW)


@pytest.mark.parametrize("step", [2, 3])
def test_a_failed_step_before_the_first_deletion_changes_nothing(folder: Location, on_step: Any, step: int) -> None:
    def fail(number: int) -> None:
        if number == step:
            raise PermissionError("denied")

    on_step(fail)
    with pytest.raises(PermissionError):
        exchange(folder)
    assert names(folder) == OLD


@pytest.mark.parametrize(("step", "left"), [(4, OLD), (7, {*NEW, "c"})])
def test_what_somebody_writes_after_a_writer_was_killed_stays(
    folder: Location, on_step: Any, monkeypatch: pytest.MonkeyPatch, step: int, left: set[str]
) -> None:
    """Before the first old file was deleted, and when one is left."""

    def kill(number: int) -> None:
        if number >= step:
            raise Killed

    on_step(kill)
    with pytest.raises(Killed):
        exchange(folder)
    monkeypatch.undo()
    Path(folder.child("c").path).write_bytes(b"written since")
    assert read(folder) == left
    monkeypatch.setattr(exchange_hdfs, "DEAD_AFTER", timedelta(0))
    replace.recover(folder)
    assert names(folder) == left
    assert Path(folder.child("c").path).read_bytes() == b"written since"


@pytest.mark.parametrize("look", [1, 2])
def test_who_was_taken_for_dead_takes_nothing_back_that_another_has_ended(
    folder: Location, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    """It sleeps before it looks at the old files, for longer than a claim lasts."""
    require, looks = exchange_hdfs.FileReplacement._require_unchanged, 0

    def sleep(self: Any, old: Any) -> None:
        nonlocal looks
        looks += 1
        if looks == look:
            with monkeypatch.context() as patched:
                patched.setattr(exchange_hdfs, "DEAD_AFTER", timedelta(0))
                replace.recover(folder)
        require(self, old)

    monkeypatch.setattr(exchange_hdfs.FileReplacement, "_require_unchanged", sleep)
    with pytest.raises((WriteError, FileNotFoundError)):
        exchange(folder)
    assert names(folder) == (OLD, NEW)[look - 1]


def test_who_was_taken_for_dead_leaves_the_claim_of_another(folder: Location, on_step: Any) -> None:
    other = ReplacementRecord("other", "", ("z",), ("x",)).to_bytes()

    def take(number: int) -> None:
        if number == 6:  # the second deletion of an old file
            Path(folder.child(CLAIM).path).write_bytes(other)

    on_step(take)
    exchange(folder)
    assert Path(folder.child(CLAIM).path).read_bytes() == other


def test_who_may_not_delete_changes_nothing(folder: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    delete = LocalFileSystem.rm

    def rm(self: Any, path: str, **options: Any) -> None:
        if Path(path).name in OLD:
            raise PermissionError(path)
        delete(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "rm", rm)
    with pytest.raises(PermissionError):
        exchange(folder)
    assert names(folder) == OLD


def test_deletions_that_fail_later_leave_the_new_rows_to_our_readers_and_say_so(
    folder: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = LocalFileSystem.rm

    def rm(self: Any, path: str, **options: Any) -> None:
        if Path(path).name == "c":
            raise OSError("no answer")
        delete(self, path, **options)

    monkeypatch.setattr(LocalFileSystem, "rm", rm)
    with pytest.raises(ReplacementError, match="half replaced"):
        exchange(folder)
    assert read(folder) == NEW
    monkeypatch.undo()
    monkeypatch.setattr(exchange_hdfs, "DEAD_AFTER", timedelta(0))
    replace.recover(folder)
    assert names(folder) == NEW


def test_files_that_are_added_meanwhile_stay(folder: Location, on_step: Any) -> None:
    on_step(lambda number: Path(folder.child(f"added{number}").path).write_bytes(b"more"))
    exchange(folder)
    added = {name for name in names(folder) if name.startswith("added")}
    assert len(added) > len(OLD)
    assert names(folder) == NEW | added


@pytest.mark.parametrize("change", ["written", "deleted"])
def test_an_old_file_that_changes_meanwhile_is_noticed(folder: Location, change: str, on_step: Any) -> None:
    def write(number: int) -> None:
        file = Path(folder.child("b").path)
        if number == 2:
            file.unlink()
            if change == "written":
                file.write_bytes(b"other")

    on_step(write)
    with pytest.raises(FilesChangedError, match="set/b was written or deleted meanwhile"):
        exchange(folder)
    assert names(folder) == (OLD if change == "written" else OLD - {"b"})


def test_a_folder_that_is_replaced_meanwhile_keeps_its_new_files(folder: Location, on_step: Any) -> None:
    def write(number: int) -> None:
        if number == 2:
            Path(folder.path).rename(f"{folder.path}.away")
            Path(folder.path).mkdir()
            Path(folder.child("theirs").path).write_bytes(b"theirs")

    on_step(write)
    with pytest.raises((FileNotFoundError, WriteError)):
        exchange(folder)
    assert names(folder) == {"theirs"}


def test_of_two_writers_one_is_refused(folder: Location, on_step: Any) -> None:
    def another(number: int) -> None:
        if number == 2:
            with pytest.raises(WriteError, match="by another writer at this moment"):
                exchange(folder)

    on_step(another)
    exchange(folder)
    assert names(folder) == NEW


def test_what_a_writer_has_left_before_the_exchange_is_found_and_removed(folder: Location) -> None:
    Path(Exchange(folder).place("x").path).write_bytes(b"new")
    found = find_leftovers(folder, older_than=timedelta(0))
    assert remove_leftovers(found) == []
    assert len(found) == 1
    assert names(folder) == OLD
