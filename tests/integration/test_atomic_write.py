"""What the steps of writing leave on real lakes when one of them fails or meets another writer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from feast_hybrid.lakes import Location, Router, Site, replace
from feast_hybrid.lakes.atomic_write import publish, steps_for
from feast_hybrid.lakes.replace_adls import BlobReplacement
from tests.integration.reliability import reliability

if TYPE_CHECKING:
    from tests.integration.places import Place, Places


@pytest.fixture(params=["onprem", "cloud"])
def place(request: pytest.FixtureRequest, lakes_to_test: Places) -> Place:
    found: Place = getattr(lakes_to_test, request.param)
    return found


def located(place: Place, uri: str) -> Location:
    return Router([Site.model_validate(place.site())]).locate(uri)


@pytest.fixture
def target(place: Place, folder: str) -> Location:
    return located(place, f"{place.uri}{folder}")


def content(place: Place, file: Location) -> bytes:
    found: bytes = place.lake.filesystem().cat_file(place.inside(str(file)))
    return found


@reliability("Executors and drivers", "two attempts of a task write the same file at once", "one whole file")
def test_two_attempts_of_a_task_leave_one_whole_file(place: Place, target: Location) -> None:
    one, other = steps_for(target), steps_for(target)
    file = target.child("part-0.parquet")
    shows = [one.send(file, memoryview(b"first")), other.send(file, memoryview(b"second, longer"))]
    assert not place.exists(str(file))
    for show, seen in zip(shows, (b"first", b"second, longer"), strict=True):
        show()
        assert content(place, file) == seen
    assert place.names(str(target)) == ["part-0.parquet"]


@reliability("Writers", "one of a batch's files cannot be shown", "none of them is there")
def test_when_one_of_several_files_cannot_be_shown_none_is_there(
    place: Place, target: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_class: Any = type(steps_for(target))
    send = steps_class.send

    def refusing(self: Any, file: Location, data: memoryview) -> Any:
        show = send(self, file, data)

        def refused() -> None:
            raise PermissionError(file.name)

        return refused if file.name == "c" else show

    monkeypatch.setattr(steps_class, "send", refusing)
    with pytest.raises(PermissionError):
        publish({target.child(f"day={name}").child(name): b"x" for name in "abc"})
    assert list(place.lake.filesystem().find(place.inside(str(target)))) == []


def test_on_adls_a_copy_that_fails_leaves_what_was_there(
    lakes_to_test: Places, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lakes_to_test.cloud
    target, new = located(place, f"{place.uri}{folder}/set"), located(place, f"{place.uri}{folder}/.new")
    place.put(str(target.child("old")), b"old")
    for name in ("a", "b", "c"):
        place.put(str(new.child(name)), b"new")
    copy = BlobReplacement._copy

    async def refusing(self: Any, container: Any, claim: Any, one: str, other: str) -> None:
        if other.endswith("/b"):
            raise OSError("no room")
        await copy(self, container, claim, one, other)

    monkeypatch.setattr(BlobReplacement, "_copy", refusing)
    with pytest.raises(OSError, match="no room"):
        replace.put_in_place(new, target)
    assert place.names(str(target)) == ["old"]
    assert not place.exists(str(new)), "a copy that comes late finds nothing to copy"
    monkeypatch.undo()
    for name in ("a", "b", "c"):
        place.put(str(new.child(name)), b"new")
    replace.put_in_place(new, target)
    assert place.names(str(target)) == ["a", "b", "c"]
