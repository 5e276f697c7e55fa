"""What the steps of writing leave on real lakes when one of them fails or meets another writer."""

from __future__ import annotations

from typing import Any

import pytest

from feast_hybrid.lakes import LakeUri, Site, parse_uri, replace
from feast_hybrid.lakes.atomic_write import _Blobs, _Renames, publish
from tests.integration.places import Place, Places


@pytest.fixture(params=["onprem", "cloud"])
def place(request: pytest.FixtureRequest, lakes_to_test: Places) -> Place:
    found: Place = getattr(lakes_to_test, request.param)
    return found


@pytest.fixture
def site(place: Place) -> Site:
    return Site.model_validate(place.site())


@pytest.fixture
def at(place: Place, folder: str) -> LakeUri:
    return parse_uri(f"{place.uri}{folder}")


def content(place: Place, at: LakeUri) -> bytes:
    found: bytes = place.lake.filesystem().cat_file(place.inside(str(at)))
    return found


def steps(site: Site) -> Any:
    return _Blobs(site) if site.lake == "adls" else _Renames(site)


def test_two_attempts_of_a_task_leave_one_whole_file(site: Site, place: Place, at: LakeUri) -> None:
    one, other = steps(site), steps(site)
    file = at.child("part-0.parquet")
    shows = [one.send(file, memoryview(b"first")), other.send(file, memoryview(b"second, longer"))]
    assert not place.exists(str(file))
    for show, seen in zip(shows, (b"first", b"second, longer"), strict=True):
        show()
        assert content(place, file) == seen
    assert place.names(str(at)) == ["part-0.parquet"]


def test_when_one_of_several_files_cannot_be_shown_none_is_there(
    site: Site, place: Place, at: LakeUri, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = type(steps(site))
    send = kind.send

    def refusing(self: Any, file: LakeUri, data: memoryview) -> Any:
        show = send(self, file, data)

        def refused() -> None:
            raise PermissionError(file.name)

        return refused if file.name == "c" else show

    monkeypatch.setattr(kind, "send", refusing)
    with pytest.raises(PermissionError):
        publish(site, {at.child(f"day={name}").child(name): b"x" for name in "abc"})
    assert list(place.lake.filesystem().find(place.inside(str(at)))) == []


def test_on_adls_a_copy_that_fails_leaves_what_was_there(
    lakes_to_test: Places, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lakes_to_test.cloud
    site = Site.model_validate(place.site())
    at, new = parse_uri(f"{place.uri}{folder}/set"), parse_uri(f"{place.uri}{folder}/.new")
    place.put(str(at.child("old")), b"old")
    for name in ("a", "b", "c"):
        place.put(str(new.child(name)), b"new")
    copy = replace._Blobs._copy

    async def refusing(self: Any, container: Any, one: str, other: str) -> None:
        if other.endswith("/b"):
            raise OSError("no room")
        await copy(self, container, one, other)

    monkeypatch.setattr(replace._Blobs, "_copy", refusing)
    with pytest.raises(OSError, match="no room"):
        replace.put_in_place(site, new, at)
    assert place.names(str(at)) == ["old"]
    monkeypatch.undo()
    replace.put_in_place(site, new, at)
    assert place.names(str(at)) == ["a", "b", "c"]
