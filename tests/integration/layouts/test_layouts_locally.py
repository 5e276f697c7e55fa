"""Random layouts on local disk, read by the local engine: no lake and no Spark is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from fsspec.implementations.local import LocalFileSystem

from tests.integration.layouts.cases import COUNT, TOGETHER, Stored
from tests.integration.layouts.checks import LocalAgreement
from tests.integration.places import Place

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Disk:
    """A folder in the place of a lake."""

    def __init__(self, folder: Path) -> None:
        self.uri = "file://"
        self.folder = folder

    def filesystem(self) -> AbstractFileSystem:
        """The disk."""
        return LocalFileSystem()

    def site(self, name: str) -> dict[str, Any]:
        """Its configuration."""
        return {"name": name, "uri": f"file://{self.folder}"}


@pytest.mark.parametrize("first", range(0, COUNT, TOGETHER))
def test_the_local_engine_agrees_with_the_oracle(first: int, tmp_path: Path) -> None:
    place = Place("disk", cast("Any", Disk(tmp_path)), str(tmp_path))
    (tmp_path / "store").mkdir()
    stored = Stored.put(first, place, [place.lake.site("disk")], tmp_path / "store", None, engine="local")
    LocalAgreement(stored).check()
