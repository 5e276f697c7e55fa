"""Files appear whole, several of them all or none; on this machine's disk, which has HDFS's way of doing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid.errors import CommitUnknownError
from feast_hybrid.lakes import Router
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


@pytest.mark.parametrize("replaces", [False, True])
def test_a_rename_whose_answer_is_lost_counts_as_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: bool
) -> None:
    put(tmp_path, {"b": b"before"} if replaces else {})
    true = LocalFileSystem.mv

    def lose(self: Any, source: str, destination: str, **options: Any) -> None:
        true(self, source, destination, **options)
        if destination.endswith("/b"):
            raise ConnectionResetError(source)

    monkeypatch.setattr(LocalFileSystem, "mv", lose)
    put(tmp_path, {"a": b"one", "b": b"two", "c": b"three"}, replace=replaces)
    assert found(tmp_path) == {"a": b"one", "b": b"two", "c": b"three"}


def test_what_cannot_be_taken_back_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, "mv", "c")

    def refuse(_self: Any, path: str, **_: Any) -> None:
        raise ConnectionResetError("sig=c4nary" if path.endswith("/b") else path)

    true = LocalFileSystem.rm
    monkeypatch.setattr(
        LocalFileSystem,
        "rm",
        lambda self, path, **more: (refuse if path.endswith("/b") else true)(self, path, **more),
    )
    with pytest.raises(CommitUnknownError, match=r"/b and 1 more files may be there or not: .*PermissionError") as it:
        put(tmp_path, {"a": b"one", "b": b"two", "c": b"three"})
    assert "c4nary" not in str(it.value)
    assert found(tmp_path) == {"b": b"two"}


def test_a_task_that_fails_leaves_what_its_other_attempt_may_have_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"a": b"one", "b": b"two"}, replace=True)
    failing(monkeypatch, "mv", "b")
    with pytest.raises(PermissionError):
        put(tmp_path, {"a": b"one", "b": b"two"}, replace=True)
    assert found(tmp_path) == {"a": b"one", "b": b"two"}
