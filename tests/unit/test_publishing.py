"""Files appear whole, several of them all or none; on this machine's disk, which has HDFS's way of doing it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid.errors import WriteError
from feast_hybrid.lakes import Location, Router, replace
from feast_hybrid.lakes.atomic_write import publish


def put(folder: Path, files: dict[str, bytes], **options: Any) -> None:
    place = Router().locate(f"file://{folder}")
    publish({place.child(name): content for name, content in files.items()}, **options)


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_put_with_the_folders_they_need(tmp_path: Path) -> None:
    put(tmp_path / "new", {"day=1/a": b"one", "day=2/a": b"two"})
    assert found(tmp_path / "new") == {"day=1/a": b"one", "day=2/a": b"two"}


def test_a_file_of_the_same_name_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"one"})
    put(tmp_path, {"a": b"two"}, replace=True)
    assert found(tmp_path) == {"a": b"two"}


def failing(monkeypatch: pytest.MonkeyPatch, verb: str, name: str) -> None:
    """Have the disk refuse a file of this name."""
    true = getattr(LocalFileSystem, verb)

    def refuse(self: Any, *paths: str, **options: Any) -> Any:
        if f"/{name}" in str(paths[-1 if verb == "mv" else 0]).replace("/.", "/"):
            raise PermissionError(name)
        return true(self, *paths, **options)

    monkeypatch.setattr(LocalFileSystem, verb, refuse)


@pytest.mark.parametrize("verb", ["open", "mv"])
def test_when_one_file_is_refused_none_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    failing(monkeypatch, verb, "b")
    with pytest.raises(PermissionError):
        put(tmp_path, {"a": b"one", "b": b"two", "c": b"three"})
    assert found(tmp_path) == {}


def test_a_task_that_fails_leaves_what_its_other_attempt_may_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"a": b"one", "b": b"two"}, replace=True)
    failing(monkeypatch, "mv", "b")
    with pytest.raises(PermissionError):
        put(tmp_path, {"a": b"one", "b": b"two"}, replace=True)
    assert found(tmp_path) == {"a": b"one", "b": b"two"}


class TestReplacing:
    @pytest.fixture
    def target(self, tmp_path: Path) -> Location:
        put(tmp_path / "set", {"a": b"old", "b": b"old"})
        put(tmp_path / ".new", {"a": b"new"})
        return Router().locate(f"file://{tmp_path}/set")

    def replace(self, target: Location) -> None:
        replace.put_in_place(target.parent().child(".new"), target)

    def test_the_new_files_are_the_whole_content(self, target: Location, tmp_path: Path) -> None:
        self.replace(target)
        assert found(tmp_path) == {"set/a": b"new"}

    def test_a_place_that_is_empty_is_filled(self, target: Location, tmp_path: Path) -> None:
        replace.remove(target)
        self.replace(target)
        assert found(tmp_path) == {"set/a": b"new"}

    def test_when_the_new_files_cannot_be_moved_in_the_old_ones_are_put_back(
        self, target: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        true = LocalFileSystem.mv

        def refuse(self: Any, one: str, other: str, **options: Any) -> Any:
            if one.endswith("/.new"):
                raise PermissionError(one)
            return true(self, one, other, **options)

        monkeypatch.setattr(LocalFileSystem, "mv", refuse)
        with pytest.raises(PermissionError):
            self.replace(target)
        assert found(tmp_path) == {"set/a": b"old", "set/b": b"old", ".new/a": b"new"}

    @pytest.fixture
    def meet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], None]:
        """Have somebody else put files there while there is nothing, between the two renames."""
        true = LocalFileSystem.mv

        def meet(theirs: dict[str, bytes]) -> None:
            def mv(self: Any, one: str, other: str, **options: Any) -> Any:
                true(self, one, other, **options)
                if other.endswith(".replaced"):
                    put(tmp_path / "set", theirs)

            monkeypatch.setattr(LocalFileSystem, "mv", mv)

        return meet

    def test_a_writer_that_was_slower_fails_and_mixes_nothing(
        self, target: Location, tmp_path: Path, meet: Callable[[dict[str, bytes]], None]
    ) -> None:
        meet({"c": b"theirs", "_SUCCESS": b""})
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            self.replace(target)
        assert found(tmp_path) == {"set/c": b"theirs", "set/_SUCCESS": b"", ".new/a": b"new"}

    def test_a_batch_that_is_added_meanwhile_costs_neither_itself_nor_the_old_rows(
        self, target: Location, tmp_path: Path, meet: Callable[[dict[str, bytes]], None]
    ) -> None:
        put(tmp_path / "set", {"day=1/a": b"old"})
        meet({"batch": b"theirs", "day=1/batch": b"theirs", "day=2/batch": b"theirs"})
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            self.replace(target)
        theirs = {"set/batch": b"theirs", "set/day=1/batch": b"theirs", "set/day=2/batch": b"theirs"}
        old = {"set/a": b"old", "set/b": b"old", "set/day=1/a": b"old"}
        assert found(tmp_path) == {**old, **theirs, ".new/a": b"new"}

    def test_old_rows_that_another_writer_has_put_back_stay(
        self, target: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        true = LocalFileSystem.mv

        def mv(self: Any, one: str, other: str, **options: Any) -> Any:
            true(self, one, other, **options)
            if other.endswith(".replaced"):
                true(self, other, one)

        monkeypatch.setattr(LocalFileSystem, "mv", mv)
        with pytest.raises(WriteError, match="was written by somebody else at the same time"):
            self.replace(target)
        assert found(tmp_path) == {"set/a": b"old", "set/b": b"old", ".new/a": b"new"}

    def test_what_a_dead_writer_moved_away_is_found_and_put_back(self, target: Location, tmp_path: Path) -> None:
        assert replace.left_over(target) is None
        (tmp_path / "set").rename(tmp_path / ".set.0123.replaced")
        assert replace.left_over(target) == target.parent().child(".set.0123.replaced")
        replace.recover(target)
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}
        replace.recover(target)
        assert found(tmp_path / "set") == {"a": b"old", "b": b"old"}
