"""A place on a lake that can be read and written: a site and a URI of it, brought together once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_hybrid.lakes.site import Site
    from feast_hybrid.lakes.uri import LakeType, LakeUri


@dataclass(frozen=True)
class Location:
    """A URI and the site that it belongs to; made by :meth:`~feast_hybrid.lakes.Router.locate`.

    Two locations are equal where their URIs are.

    Attributes:
        site: signs in.
        uri: a URI of the site.
    """

    site: Site = field(compare=False)
    uri: LakeUri

    def __str__(self) -> str:
        return str(self.uri)

    @property
    def lake(self) -> LakeType:
        """The kind of storage."""
        return self.uri.lake

    @property
    def name(self) -> str:
        """The last segment of the path, empty for the root."""
        return self.uri.name

    @property
    def path(self) -> str:
        """The path as :attr:`fs` takes it: ADLS counts the container as a folder."""
        return self.site.fsspec_path(self.uri)

    @property
    def fs(self) -> Any:
        """An fsspec file system, signed in as the site says; needs no JVM. See :meth:`Site.filesystem`.

        Raises:
            CredentialError: a secret is not there.
        """
        return self.site.filesystem(self.uri)

    @property
    def hadoop_options(self) -> dict[str, str]:
        """The Hadoop settings that reach this place, secrets resolved: for readers and writers only."""
        return self.site.hadoop_options()

    def describe(self) -> str:
        """The site and the URI, for messages."""
        return f"site {self.site.name!r}, {self.uri}"

    def child(self, name: str) -> Location:
        """The location of an entry below this one; ``name`` may have several segments."""
        return Location(self.site, self.uri.child(name))

    def parent(self) -> Location:
        """The location of the folder that holds this one; the root is its own parent."""
        return Location(self.site, self.uri.parent())

    def exists(self) -> bool:
        """Whether a file or a folder is there."""
        return bool(self.fs.exists(self.path))
