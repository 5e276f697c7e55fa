"""Opening a site's files in a task: the site's configuration travels, its secrets are resolved there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from feast_hybrid.lakes.location import Location
from feast_hybrid.lakes.uri import Lake


@dataclass(frozen=True, eq=False)
class SiteOpener:
    """Opens files of a location's site by their paths, as its fsspec file system has them.

    It is pickled with references to secrets; a site whose credential holds one itself must not get here.

    Args:
        location: any of the site.
    """

    location: Location

    def __call__(self, path: str) -> Any:
        """The file, for reading. On a machine's own disk its path, which Arrow opens faster itself."""
        if self.location.lake is Lake.LOCAL:
            return path
        filesystem = self.__dict__.get("filesystem")
        if filesystem is None:
            # One for each task, so that a secret that has changed is read anew by the next.
            filesystem = self.location.fs
            self.__dict__["filesystem"] = filesystem
        # Arrow asks for the ranges that it needs, and for no more.
        return filesystem.open(path, "rb", cache_type="none")

    def __getstate__(self) -> dict[str, Any]:
        return {"location": Location(self.location.site, self.location.uri)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True, eq=False)
class CanOpen:
    """Raises where a file cannot be opened and read."""

    opener: Callable[[str], Any]
    path: str

    def __call__(self) -> None:
        """Read a few bytes."""
        source = self.opener(self.path)
        with open(source, "rb") if isinstance(source, str) else source as file:
            file.read(4)
