"""Opening a site's files in a task: the site's configuration travels, its secrets are resolved there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.lakes.uri import LakeType
from feast_hybrid.lakes.versions import FileVersion, file_version

if TYPE_CHECKING:
    from feast_hybrid.lakes.location import Location


@dataclass(frozen=True, eq=False, repr=False)
class SiteOpener:
    """Opens files of a location's site by their paths, as its fsspec file system has them.

    It is pickled with references to secrets; a site whose credential holds one itself must not get here. Its text is
    the same for all locations that are opened alike.

    Args:
        location: any of the site.
    """

    location: Location

    def __repr__(self) -> str:
        uri = self.location.uri
        # One disk may be mounted from everywhere and another not.
        place = uri if uri.lake is LakeType.LOCAL else f"{uri.scheme}://{uri.authority}"
        return f"SiteOpener({self.location.site!r}, {place})"

    def __call__(self, path: str) -> Any:
        """The file, for reading. On a machine's own disk its path, which Arrow opens faster itself."""
        if self.location.lake is LakeType.LOCAL:
            return path
        # Arrow asks for the ranges that it needs, and for no more.
        return self.location.fs.open(path, "rb", cache_type="none")

    def version(self, path: str) -> FileVersion:
        """The version of the file that is there.

        Raises:
            FileNotFoundError: it is gone.
        """
        found = file_version(self.location.fs.info(path))
        # Machines that share a disk may number its files each in its own way.
        return found.without_inode() if self.location.lake is LakeType.LOCAL else found


@dataclass(frozen=True, eq=False)
class CanOpen:
    """Raises where a file cannot be opened and read."""

    opener: Callable[[str], Any]
    path: str

    def __call__(self) -> None:
        """Read a few bytes."""
        source = self.opener(self.path)
        with Path(source).open("rb") if isinstance(source, str) else source as file:
            file.read(4)
