"""A folder is listed while its files are replaced, or after the writer died: the old rows or the new ones, no mix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from feast_hybrid.errors import SourceError
from feast_hybrid.files.listing import Listing, list_files
from feast_hybrid.files.selection import FileSelection
from feast_hybrid.lakes import Router
from feast_hybrid.lakes.markers import CLAIM, ReplacementRecord

OLD, NEW = ("a.parquet", "day=1/old.parquet"), ("b.parquet", "day=1/new.parquet", "day=2/new.parquet")
RECORD = ReplacementRecord("writer", "aside/", NEW, OLD)


def lay(folder: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def listed(folder: Path, **more: Any) -> Listing:
    return list_files(Router().locate(f"file://{folder}"), **more)


def names(folder: Path, **more: Any) -> list[str]:
    found = listed(folder, read_by_us=True, **more)
    return [str(Path(file.path).relative_to(folder)) for file in found.files]


@pytest.mark.parametrize(
    ("there", "read"),
    [
        (OLD, OLD),
        ((*OLD, *NEW[1:]), OLD),
        ((*OLD, *NEW), OLD),
        ((OLD[0], *NEW), NEW),
        (NEW, NEW),
        ((*NEW, "batch.parquet"), (NEW[0], "batch.parquet", *NEW[1:])),
    ],
)
def test_what_is_read_is_whole(tmp_path: Path, there: tuple[str, ...], read: tuple[str, ...]) -> None:
    lay(tmp_path, *there)
    lay(tmp_path, CLAIM, content=RECORD.to_bytes())
    assert names(tmp_path) == list(read)


def test_spark_is_not_to_read_them(tmp_path: Path) -> None:
    lay(tmp_path, "old.parquet", "new.parquet")
    lay(tmp_path, CLAIM, content=ReplacementRecord("w", "aside/", ("new.parquet",), ("old.parquet",)).to_bytes())
    assert listed(tmp_path, read_by_us=True).only_ours == "a writer is replacing the rows, or died while it did so"


@pytest.mark.parametrize("selection", [FileSelection(), FileSelection(name_pattern="*.parquet")])
def test_what_spark_would_find_is_refused_whatever_its_options_pass_over(
    tmp_path: Path, selection: FileSelection
) -> None:
    lay(tmp_path, *OLD, *NEW)
    lay(tmp_path, CLAIM, content=RECORD.to_bytes())
    with pytest.raises(SourceError, match=rf"/{CLAIM}: its rows are being replaced at this moment"):
        listed(tmp_path, selection=selection)
    assert names(tmp_path, selection=selection) == list(OLD)


@pytest.mark.parametrize("content", [b"", b"PAR1", ReplacementRecord("w", "aside/", NEW).to_bytes()])
def test_where_the_writer_does_not_say_what_it_replaces_nothing_is_read(tmp_path: Path, content: bytes) -> None:
    lay(tmp_path, *OLD, *NEW)
    lay(tmp_path, CLAIM, content=content)
    with pytest.raises(SourceError, match="its rows are being replaced at this moment"):
        names(tmp_path)


def test_what_is_neither_the_old_rows_nor_the_new_ones_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, OLD[0], NEW[0])
    lay(tmp_path, CLAIM, content=RECORD.to_bytes())
    with pytest.raises(SourceError, match="its rows are being replaced at this moment"):
        names(tmp_path)


On = Callable[[str, int, Callable[[], None]], None]


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> On:
    """Have something happen after the nth call of a verb of the disk."""

    def install(verb: str, nth: int, do: Callable[[], None]) -> None:
        true, calls = getattr(LocalFileSystem, verb), []

        def then(self: Any, *arguments: Any, **more: Any) -> Any:
            answer = true(self, *arguments, **more)
            calls.append(arguments)
            if len(calls) == nth:
                do()
            return answer

        monkeypatch.setattr(LocalFileSystem, verb, then)

    return install


def test_a_writer_that_ends_while_its_files_are_listed_is_noticed(tmp_path: Path, on: On) -> None:
    lay(tmp_path, *OLD, *NEW)
    lay(tmp_path, CLAIM, content=RECORD.to_bytes())

    def end() -> None:
        for name in (*OLD, CLAIM):
            (tmp_path / name).unlink()

    on("cat_file", 1, end)
    assert names(tmp_path) == list(NEW)


def test_old_files_that_go_while_they_are_listed_are_not_taken_for_the_rows(tmp_path: Path, on: On) -> None:
    lay(tmp_path, *OLD, *NEW)
    lay(tmp_path, CLAIM, content=RECORD.to_bytes())
    on("cat_file", 1, (tmp_path / OLD[0]).unlink)
    assert names(tmp_path) == list(NEW)


@pytest.mark.parametrize("read_by_us", [True, False])
def test_a_folder_that_is_replaced_between_its_top_and_what_is_below_is_listed_again(
    tmp_path: Path, on: On, read_by_us: bool
) -> None:
    lay(tmp_path, "day=1/old.parquet", "_SUCCESS")

    def replace() -> None:
        (tmp_path / "_SUCCESS").unlink()
        lay(tmp_path, "day=1/new.parquet", "day=2/new.parquet", "_SUCCESS", content=b"new")

    on("ls", 1, replace)
    found = [file.path for file in listed(tmp_path, read_by_us=read_by_us).files]
    assert f"{tmp_path}/day=2/new.parquet" in found, "not the partitions of before alone"
