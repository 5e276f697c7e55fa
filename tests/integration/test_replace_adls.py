"""A folder of ADLS put in the place of another, when requests fail: what is there, and what the error says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from feast_hybrid.errors import ReplacementError
from feast_hybrid.lakes import Location, Router, Site, replace, replace_adls
from feast_hybrid.lakes.blob_claim import Claim
from feast_hybrid.lakes.markers import BEING_REPLACED
from feast_hybrid.lakes.replace_adls import BlobReplacement
from tests.integration.places import Place, Places, abfs_speaks_to_azurite
from tests.integration.reliability import Row, reliability

pytestmark = pytest.mark.skipif(not abfs_speaks_to_azurite(), reason="there is no ADLS with this PySpark")


@pytest.fixture
def place(lakes_to_test: Places) -> Place:
    return lakes_to_test.cloud


@pytest.fixture
def target(place: Place, folder: str) -> Location:
    """A folder with old files; beside it one with new ones, of which one is called like an old one."""
    found = Router([Site.model_validate(place.site())]).locate(f"{place.uri}{folder}/set")
    for name in ("a.parquet", "old.parquet", "day=1/old.parquet", "_SUCCESS"):
        place.put(str(found.child(name)), b"old")
    for name in ("a.parquet", "b.parquet", "_SUCCESS"):
        place.put(str(aside(found).child(name)), b"new")
    return found


def aside(target: Location) -> Location:
    return target.parent().child(".new")


def contents(place: Place, target: Location) -> list[bytes]:
    """What is in the files with rows, in order of their names."""
    filesystem = place.lake.filesystem()
    files = sorted(filesystem.find(place.inside(str(target))))
    return [filesystem.cat_file(file) for file in files if not file.endswith("_SUCCESS")]


def put_in_place(target: Location) -> None:
    replace.put_in_place(aside(target), target)


Fail = Callable[[str, str], None]


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Have a step fail at a file whose name ends so."""

    def install(step: str, name: str) -> None:
        true = getattr(BlobReplacement, step)

        async def refuse(self: Any, container: Any, claim: Any, *arguments: Any) -> None:
            names = [blob.name for blob in arguments[0]] if step == "_delete" else [arguments[-1]]
            if any(each.endswith(name) for each in names):
                raise OSError("refused?sig=c4nary")
            await true(self, container, claim, *arguments)

        monkeypatch.setattr(BlobReplacement, step, refuse)

    return install


def test_the_new_files_are_the_whole_content_whatever_their_names(place: Place, target: Location) -> None:
    put_in_place(target)
    assert contents(place, target) == [b"new", b"new"]
    assert place.names(str(target))[0] == "_SUCCESS"


@reliability("Writers", "ADLS: a copy fails while a folder is replaced", "the old rows are there, whole")
def test_a_copy_that_fails_leaves_old_files_that_new_ones_are_called_like(
    place: Place, target: Location, fail: Fail
) -> None:
    fail("_copy", "b.parquet")
    with pytest.raises(OSError, match="refused"):
        put_in_place(target)
    assert place.names(str(target)) == ["_SUCCESS", "a.parquet", "day=1", "old.parquet"]
    assert contents(place, target) == [b"old", b"old", b"old"]


@reliability(
    "Writers",
    "ADLS: a deletion of old files goes on failing",
    "an error says so, and the next writer finishes it",
    "half replaced",
)
def test_a_deletion_that_fails_says_that_the_folder_is_half_replaced_and_is_finished_by_the_next(
    place: Place, target: Location, fail: Fail, monkeypatch: pytest.MonkeyPatch, promise: Row
) -> None:
    fail("_delete", "day=1/old.parquet")
    true = BlobReplacement._delete

    async def in_part(self: Any, container: Any, claim: Any, blobs: list[Any]) -> None:
        await true(self, container, claim, [blob for blob in blobs if blob.name.endswith("set/old.parquet")])
        await true(self, container, claim, blobs)

    monkeypatch.setattr(BlobReplacement, "_delete", in_part)
    with pytest.raises(ReplacementError, match=rf"{promise.reads} .*refused.*its new files are all there") as caught:
        put_in_place(target)
    assert caught.value.old_rows == str(target)
    assert "c4nary" not in str(caught.value)
    assert any(name.startswith(BEING_REPLACED) for name in place.names(str(target)))
    monkeypatch.undo()
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    replace.recover(target)
    assert contents(place, target) == [b"new", b"new"]


def test_what_cannot_be_taken_back_says_so_and_is_taken_back_by_the_next(
    place: Place, target: Location, fail: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail("_copy", "b.parquet")

    async def refuse_release(_self: Any) -> None:
        raise OSError("refused")

    monkeypatch.setattr(Claim, "release", refuse_release)
    with pytest.raises(ReplacementError, match=r"half replaced .*could not be taken back"):
        put_in_place(target)
    monkeypatch.undo()
    monkeypatch.setattr(replace_adls, "DEAD_AFTER", timedelta(0))
    replace.recover(target)
    assert contents(place, target) == [b"old", b"old", b"old"]


def test_new_files_that_cannot_be_removed_from_aside_are_no_failure(
    place: Place, target: Location, fail: Fail, caplog: pytest.LogCaptureFixture
) -> None:
    fail("_delete", ".new/b.parquet")
    put_in_place(target)
    assert contents(place, target) == [b"new", b"new"]
    assert "is hidden from readers, and could not be removed" in caplog.text
