"""Opening a site's files in a task: the site's configuration travels, its secrets are resolved there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import AccessDeniedError, AuthenticationError, CredentialError
from feast_hybrid.lakes.errors import raise_from, storage_error
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
        secret_digest: of the secrets that the site signs in with where this is made; empty where it has none.
    """

    location: Location
    secret_digest: str = ""

    @classmethod
    def of(cls, location: Location) -> SiteOpener:
        """An opener that knows which secrets this process has.

        Raises:
            CredentialError: a secret is not there.
        """
        site = location.site
        return cls(location, site.credential.secret_digest(site.name))

    def __repr__(self) -> str:
        uri = self.location.uri
        # One disk may be mounted from everywhere and another not.
        place = uri if uri.lake is LakeType.LOCAL else f"{uri.scheme}://{uri.authority}"
        return f"SiteOpener({self.location.site!r}, {place}, {self.secret_digest!r})"

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

    def size(self, path: str) -> FileVersion:
        """What of a file's version a table's log knows: its size.

        Raises:
            FileNotFoundError: it is gone.
        """
        return FileVersion(self.version(path).size)

    def require_same_secrets(self) -> None:
        """Refuse secrets of another value than where this was made: those of another user, or from before a change.

        Raises:
            CredentialError: they are others, or not there.
        """
        site = self.location.site
        if self.secret_digest and site.credential.secret_digest(site.name) != self.secret_digest:
            raise CredentialError(
                f"the secret of site {site.name!r} is another one there ({site.credential.describe()}): a process "
                "has its environment from its start"
            )

    def read_as_configured(self, path: str) -> None:
        """Read a few bytes of a file, signed in as the process that made this.

        Raises:
            CredentialError: the secrets are others here, or not there.
            AuthenticationError: the lake does not accept them.
            AccessDeniedError: nor does it let them.
        """
        self.require_same_secrets()
        try:
            _read_a_bit(self, path)
        except Exception as error:
            if isinstance(error, FileNotFoundError) and self.location.lake is not LakeType.LOCAL:
                return  # the lake has answered; who reads the file says that it is gone
            if not self.secret_digest:
                # Python's way to sign in by the platform, or by a ticket, may be none, where Spark's own is one.
                if isinstance(error, AuthenticationError):
                    raise_from(CredentialError(str(error)), error)
                raise
            site = self.location.site
            refused = storage_error(error, what="a task of Spark's", where=f"site {site.name!r}", sites=[site])
            if isinstance(refused, (AuthenticationError, AccessDeniedError)):
                raise_from(refused, error)
            raise


@dataclass(frozen=True, eq=False)
class CanOpen:
    """Raises where a file cannot be opened and read."""

    opener: Callable[[str], Any]
    path: str

    def __call__(self) -> None:
        """Read a few bytes."""
        if isinstance(self.opener, SiteOpener):
            self.opener.read_as_configured(self.path)
        else:
            _read_a_bit(self.opener, self.path)


def _read_a_bit(opener: Callable[[str], Any], path: str) -> None:
    source = opener(path)
    with Path(source).open("rb") if isinstance(source, str) else source as file:
        file.read(4)
