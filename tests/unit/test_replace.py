"""A folder put in the place of another on this machine's disk, which has HDFS's way of doing it: who fails, when."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid.errors import ReplacementError, WriteError
from feast_hybrid.lakes import Location, Router, replace

#: Called with a rename's places and what does it; raises, or does more.
Rename = Callable[[str, str, Callable[[], None]], None]

OLD = {"set/a": b"old", "set/b": b"old"}
NEW = {"set/a": b"new", "set/_SUCCESS": b""}
ASIDE = {".new/a": b"new", ".new/_SUCCESS": b""}
BATCHES = {"set/batch": b"theirs", "set/day=1/batch": b"theirs", "set/day=2/batch": b"theirs"}


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "root", ["abfss://lake@acct.dfs.core.windows.net", "abfss://lake@acct.dfs.core.windows.net/", "hdfs://lake/"]
)
def test_a_root_is_refused(root: str) -> None:
    with pytest.raises(WriteError, match=r"is the root of a container or file system.* Give a folder in it\."):
        replace.aside(Router(()).locate(root))


@pytest.fixture
def target(tmp_path: Path) -> Location:
    put(tmp_path, OLD | ASIDE)
    return Router().locate(f"file://{tmp_path}/set")


@pytest.fixture
def on_rename(monkeypatch: pytest.MonkeyPatch) -> Callable[[Rename], None]:
    """Have a function called in place of each rename."""
    rename = LocalFileSystem.mv

    def install(function: Rename) -> None:
        def mv(self: Any, source: str, destination: str, **options: Any) -> None:
            function(source, destination, lambda: rename(self, source, destination, **options))

        monkeypatch.setattr(LocalFileSystem, "mv", mv)

    return install


def put_in_place(target: Location, *, overwrite: bool = True) -> None:
    replace.put_in_place(target.parent().child(".new"), target, overwrite=overwrite)


def test_the_new_files_are_the_whole_content(target: Location, tmp_path: Path) -> None:
    put_in_place(target)
    assert found(tmp_path) == NEW


def test_a_place_that_is_empty_is_filled(target: Location, tmp_path: Path) -> None:
    replace.remove(target)
    put_in_place(target)
    assert found(tmp_path) == NEW


def test_without_leave_to_overwrite_nothing_is_touched(target: Location, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        put_in_place(target, overwrite=False)
    assert found(tmp_path) == OLD | ASIDE


class TestFailures:
    @pytest.mark.parametrize("step", ["/set", "/.new"])
    def test_a_rename_that_is_refused_leaves_the_old_rows_in_their_place(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None], step: str
    ) -> None:
        def refuse(source: str, destination: str, rename: Callable[[], None]) -> None:
            if source.endswith(step):
                raise PermissionError(source)
            rename()

        on_rename(refuse)
        with pytest.raises(PermissionError):
            put_in_place(target)
        assert found(tmp_path) == OLD | ASIDE

    def test_when_the_answer_to_the_first_rename_is_lost_the_new_rows_are_put_in_place_all_the_same(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        def lose(source: str, destination: str, rename: Callable[[], None]) -> None:
            rename()
            if destination.endswith(".replaced"):
                raise FileNotFoundError(source)  # a client that asks again is told so

        on_rename(lose)
        put_in_place(target)
        assert found(tmp_path) == NEW

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_when_the_answer_to_the_last_rename_is_lost_the_new_rows_are_there_all_the_same(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None], overwrite: bool
    ) -> None:
        if not overwrite:
            replace.remove(target)

        def lose(source: str, destination: str, rename: Callable[[], None]) -> None:
            rename()
            if source.endswith("/.new"):
                raise TimeoutError(source)

        on_rename(lose)
        put_in_place(target, overwrite=overwrite)
        assert found(tmp_path) == NEW

    @pytest.mark.parametrize("lost", [True, False], ids=["answer-lost", "refused"])
    def test_when_they_cannot_be_put_back_the_error_says_where_they_are(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None], lost: bool
    ) -> None:
        def refuse(source: str, destination: str, rename: Callable[[], None]) -> None:
            if not destination.endswith(".replaced"):
                raise PermissionError("sig=c4nary")
            rename()
            if lost:
                raise TimeoutError(source)

        on_rename(refuse)
        with pytest.raises(ReplacementError, match=r"could not be replaced .* could not be put back") as caught:
            put_in_place(target)
        (folder,) = [path for path in tmp_path.iterdir() if path.name.endswith(".replaced")]
        assert caught.value.old_rows == f"file://{folder}"
        assert caught.value.old_rows in str(caught.value)
        assert "c4nary" not in str(caught.value)
        assert found(folder) == {"a": b"old", "b": b"old"}
        assert str(replace.left_over(target)) == caught.value.old_rows


class TestOtherWriters:
    def meet(self, on_rename: Callable[[Rename], None], do: Callable[[str, str], object]) -> None:
        """Have somebody else do something while there is nothing, between the two renames."""

        def then(source: str, destination: str, rename: Callable[[], None]) -> None:
            rename()
            if destination.endswith(".replaced"):
                do(source, destination)

        on_rename(then)

    def test_a_writer_that_was_slower_fails_and_mixes_nothing(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        self.meet(on_rename, lambda *_: put(tmp_path, {"set/c": b"theirs", "set/_SUCCESS": b""}))
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            put_in_place(target)
        assert found(tmp_path) == {"set/c": b"theirs", "set/_SUCCESS": b""} | ASIDE

    def test_a_batch_that_is_added_meanwhile_costs_neither_itself_nor_the_old_rows(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        put(tmp_path, {"set/day=1/a": b"old"})
        self.meet(on_rename, lambda *_: put(tmp_path, BATCHES))
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            put_in_place(target)
        assert found(tmp_path) == OLD | {"set/day=1/a": b"old"} | BATCHES | ASIDE

    def test_a_batch_that_cannot_be_moved_back_is_named(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        def then(source: str, destination: str, rename: Callable[[], None]) -> None:
            if ".added/" in source:
                raise PermissionError(source)
            rename()
            if destination.endswith(".replaced"):
                put(tmp_path, BATCHES)

        on_rename(then)
        with pytest.raises(
            ReplacementError, match=r"has its old rows; rows that were added .* are at file://"
        ) as refused:
            put_in_place(target)
        assert refused.value.old_rows == str(target)
        (folder,) = [path for path in tmp_path.iterdir() if path.name.endswith(".added")]
        assert f"file://{folder}" in str(refused.value)
        assert {f"set/{name}": content for name, content in found(folder).items()} == BATCHES
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}

    def test_a_folder_that_another_writer_has_just_moved_away_is_no_error_of_the_lakes(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        def moved(source: str, _destination: str, rename: Callable[[], None]) -> None:
            if source.endswith("/set"):
                Path(source).rename(tmp_path / ".theirs")
                raise FileNotFoundError(source)
            rename()

        on_rename(moved)
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            put_in_place(target)

    def test_what_a_third_writer_has_moved_away_is_not_replaced_by_older_rows(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        def meet(source: str, _destination: str, rename: Callable[[], None]) -> None:
            if source.endswith("/.new"):  # another came between the renames, and a third is moving its rows away
                put(tmp_path, {".theirs/a": b"theirs"})
                raise FileExistsError(source)
            rename()

        on_rename(meet)
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            put_in_place(target)
        assert not (tmp_path / "set").exists()

    def test_rows_that_come_while_batches_are_looked_for_are_no_batches(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        def meet(source: str, destination: str, rename: Callable[[], None]) -> None:
            if destination.endswith(".added"):
                put(tmp_path, {"set/c": b"theirs", "set/_SUCCESS": b""})
                (tmp_path / "set" / "batch").unlink()
            rename()
            if destination.endswith(".replaced"):
                put(tmp_path, {"set/batch": b"a batch"})

        on_rename(meet)
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            put_in_place(target)
        assert found(tmp_path) == {"set/c": b"theirs", "set/_SUCCESS": b""} | ASIDE

    def test_a_folder_that_is_away_for_a_moment_is_not_a_dead_writers(self, target: Location, tmp_path: Path) -> None:
        away = tmp_path / ".set.20261126T090000.000000Z-0a.replaced"
        (tmp_path / "set").rename(away)
        coming = threading.Timer(0.5, lambda: (tmp_path / ".new").rename(tmp_path / "set"))
        coming.start()
        replace.recover(target)
        coming.join()
        assert found(tmp_path / "set") == {"a": b"new", "_SUCCESS": b""}
        assert away.exists()

    def test_old_rows_that_another_writer_has_put_back_stay(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        self.meet(on_rename, lambda source, destination: Path(destination).rename(source))
        with pytest.raises(WriteError, match="was written by somebody else at the same time") as caught:
            put_in_place(target)
        assert not isinstance(caught.value, ReplacementError)
        assert found(tmp_path) == OLD | ASIDE


class TestDeadWriters:
    def test_what_one_moved_away_is_found_and_put_back(
        self, target: Location, tmp_path: Path, on_rename: Callable[[Rename], None]
    ) -> None:
        assert replace.left_over(target) is None

        def die(source: str, destination: str, rename: Callable[[], None]) -> None:
            if not destination.endswith(".replaced"):
                raise PermissionError(source)
            rename()

        with pytest.MonkeyPatch.context():
            on_rename(die)
            with pytest.raises(ReplacementError):
                put_in_place(target)
        on_rename(lambda _source, _destination, rename: rename())
        assert replace.left_over(target) is not None
        replace.recover(target)
        assert found(tmp_path) == OLD | ASIDE
        replace.recover(target)
        assert found(tmp_path) == OLD | ASIDE

    @pytest.mark.parametrize(
        ("latest", "older"),
        [
            (
                "20261126T090000.000001Z-0123456789ab",
                ["20261126T090000.000000Z-ffffffffffff", "20251231T235959.999999Z-f0"],
            ),
            ("20261126T090000.000000Z-000000000000", ["ffffffffffff"]),
        ],
        ids=["by-time", "a-name-of-before-says-no-time"],
    )
    def test_of_several_the_latest_is_put_back_and_the_others_are_named(
        self, target: Location, tmp_path: Path, latest: str, older: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "set").rename(tmp_path / f".set.{latest}.replaced")
        for name in older:
            put(tmp_path, {f".set.{name}.replaced/a": b"older"})
            os.utime(tmp_path / f".set.{name}.replaced", (1.7e9, 1.7e9))
        put(tmp_path, {".set.other.txt.replaced/a": b"not ours", ".settle.00.replaced/a": b"not ours"})
        assert str(replace.left_over(target)) == f"file://{tmp_path}/.set.{latest}.replaced"
        with caplog.at_level(logging.WARNING):
            replace.recover(target)
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}
        for name in older:
            assert f"file://{tmp_path}/.set.{name}.replaced" in caplog.text
            assert found(tmp_path / f".set.{name}.replaced") == {"a": b"older"}, "nothing is removed"

    @pytest.mark.parametrize(
        "time", ["20261326T090000.000000Z", "20260230T090000.000000Z", "20261126T250000.000000Z"]
    )
    def test_a_name_with_a_time_that_cannot_be_is_somebody_elses(
        self, target: Location, tmp_path: Path, time: str
    ) -> None:
        (tmp_path / "set").rename(tmp_path / ".set.20251126T090000.000000Z-0a.replaced")
        put(tmp_path, {f".set.{time}-0b.replaced/a": b"not ours"})
        replace.recover(target)
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}
        assert found(tmp_path / f".set.{time}-0b.replaced") == {"a": b"not ours"}

    def test_of_two_names_of_before_the_folder_that_was_changed_last_is_put_back(
        self, target: Location, tmp_path: Path
    ) -> None:
        (tmp_path / "set").rename(tmp_path / ".set.0123456789ab.replaced")
        put(tmp_path, {".set.ffffffffffff.replaced/a": b"older"})
        os.utime(tmp_path / ".set.ffffffffffff.replaced", (1.7e9, 1.7e9))
        replace.recover(target)
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}
