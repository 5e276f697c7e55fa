"""URIs of the lakes: which scheme means which lake, and what a well-formed URI of each looks like."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from feast_hybrid.errors import RoutingError


class LakeType(StrEnum):
    """The kinds of storage that a URI can point to."""

    HDFS = "hdfs"
    ADLS = "adls"
    LOCAL = "local"


#: The whole routing table. ``file`` is there for trying things out.
SCHEMES: dict[str, LakeType] = {
    "hdfs": LakeType.HDFS,
    "viewfs": LakeType.HDFS,
    "abfs": LakeType.ADLS,
    "abfss": LakeType.ADLS,
    "file": LakeType.LOCAL,
}

_URI = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/*)(?P<rest>.*)$", re.DOTALL)
_EXAMPLES = {
    LakeType.HDFS: "<nameservice>/<folder>",
    LakeType.ADLS: "<container>@<account>.dfs.core.windows.net/<folder>",
    LakeType.LOCAL: "/<folder>",
}

#: Azure's rules for names of containers and accounts; Hadoop builds its settings' names from them.
_CONTAINER = re.compile(r"^([a-z0-9](-?[a-z0-9]){2,62}|\$[a-z]+)$")
_ACCOUNT_HOST = re.compile(r"^[a-z0-9]{3,24}(\.[a-z0-9-]+)+$")
_BLOB_URL = re.compile(
    r"^(?P<account>[a-z0-9]{3,24})\.(?:blob|dfs)\.(?P<domain>[A-Za-z0-9.-]+)/(?P<container>[^/]+)(?P<path>.*)$"
)
_AZURE_HOST = re.compile(r"\.(?:(?:dfs|blob)\.core\.|dfs\.fabric\.)[a-z0-9.-]+$")
#: Java takes a host with any other character for no host at all, an underscore included.
_HDFS_AUTHORITY = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: What only a connection string or a shared access signature holds.
_SECRET = re.compile(r"(accountkey|sharedaccesssignature|sig|secret|password)=", re.IGNORECASE)
#: A user with a password, which may itself hold any sign.
_USER_INFO = re.compile(r"//[^/@]*:.*@", re.DOTALL)


@dataclass(frozen=True)
class LakeUri:
    """A URI taken apart.

    Attributes:
        lake: the kind of storage.
        scheme: in lower case.
        authority: what stands between ``//`` and the path: a nameservice, ``host:port``, or ``container@host``;
            as it was written, since Hadoop finds a nameservice's settings by its name in the same case.
        path: absolute, ``/`` at least; as Hadoop sees it, never percent-decoded.
    """

    lake: LakeType
    scheme: str
    authority: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def place(self) -> tuple[str, str, str]:
        """Scheme, authority and path as Hadoop compares them: the authority without regard to case."""
        return (self.scheme, self.authority.lower(), self.path)

    @property
    def container(self) -> str:
        """The ADLS container (file system)."""
        return self.authority.partition("@")[0]

    @property
    def account_host(self) -> str:
        """The ADLS account with its domain: ``acct.dfs.core.windows.net``."""
        return self.authority.partition("@")[2]

    @property
    def account(self) -> str:
        """The ADLS account's name alone."""
        return self.account_host.partition(".")[0]

    def is_under(self, prefix: LakeUri) -> bool:
        """Whether this URI is the prefix or lies below it, by whole path segments."""
        if self.place[:2] != prefix.place[:2]:
            return False
        base = prefix.path.rstrip("/")
        return self.path == base or self.path.startswith(base + "/") or not base

    def child(self, name: str) -> LakeUri:
        """The URI of an entry below this one."""
        return LakeUri(self.lake, self.scheme, self.authority, f"{self.path.rstrip('/')}/{name}")

    def parent(self) -> LakeUri:
        """The URI of the folder that holds this one; the root is its own parent."""
        return LakeUri(self.lake, self.scheme, self.authority, self.path.rstrip("/").rpartition("/")[0] or "/")

    @property
    def name(self) -> str:
        """The last segment of the path, empty for the root."""
        return self.path.rstrip("/").rpartition("/")[2]


def parse_uri(uri: object, *, what: str = "the path") -> LakeUri:
    """Take a URI apart, or say what is wrong with it.

    A path is data: what stands in it is never decoded, nor is a glob's sign told from a letter.

    Args:
        uri: such as ``hdfs://lake/flights`` or ``abfss://features@acct.dfs.core.windows.net/weather``.
        what: how the message names the thing, e.g. ``path of source 'weather'``.

    Raises:
        RoutingError: the scheme is none of :data:`SCHEMES`, or the URI is not of its scheme's form. The message
            never repeats what may be a signature, a key or a password.
    """
    if not isinstance(uri, str) or not uri.strip():
        found = repr(uri) if isinstance(uri, str) or uri is None else f"a {type(uri).__name__}"
        raise RoutingError(f"{what}: expected a URI such as hdfs://lake/folder, found {found}.")
    if uri != uri.strip() or _CONTROL.search(uri):
        raise RoutingError(
            f"{what}: {shown(uri)} begins or ends with white space, or holds a line break or another control "
            "character; take it out."
        )
    match = _URI.match(uri)
    if match is None:
        raise RoutingError(_bare_path(uri, what))
    scheme = match["scheme"].lower()
    if scheme not in SCHEMES:
        raise RoutingError(_unknown_scheme(scheme, match["rest"], what))
    slashes, rest = match["slashes"], match["rest"]
    if len(slashes) < 2 and SCHEMES[scheme] is not LakeType.LOCAL:
        raise RoutingError(f"{what}: {scheme}: must be followed by //, as in {_example(scheme)}.")
    return _PARSERS[SCHEMES[scheme]](scheme, slashes, rest, what)


def _example(scheme: str) -> str:
    return f"{scheme}://{_EXAMPLES[SCHEMES[scheme]]}"


def shown(text: str) -> str:
    """A text for a message, unless it may hold a secret."""
    return "what was given (not shown: it may hold a secret)" if may_hold_secret(text) else repr(text)


def may_hold_secret(text: str) -> bool:
    """Whether a text has what only a connection string, a signature or a user with a password has."""
    return bool(_SECRET.search(text) or _USER_INFO.search(text))


def _bare_path(uri: str, what: str) -> str:
    if may_hold_secret(uri):
        return f"{what}: {shown(uri)} is no URI. Write {_example('abfss')} or {_example('hdfs')}."
    # On this machine a relative path begins in the working directory, as Feast's commands set it: the repository.
    local = uri if uri.startswith("/") else f"{Path.cwd()}/{uri.removeprefix('./')}"
    remote = uri if uri.startswith("/") else f"/{uri.removeprefix('./')}"
    return (
        f"{what}: {uri!r} names no lake: Hadoop would read it from fs.defaultFS, which differs between "
        f"clusters. Write file://{local} for this machine's disk, or hdfs://<nameservice>{remote} for HDFS."
    )


def _unknown_scheme(scheme: str, rest: str, what: str) -> str:
    rest = rest.partition("?")[0]
    if scheme in ("wasb", "wasbs"):
        secure = "abfss" if scheme == "wasbs" else "abfs"
        container, separator, host = rest.partition("@")
        spelling = f"{container}{separator}{host.replace('.blob.', '.dfs.', 1)}"
        if ":" in container or not separator:
            spelling = _EXAMPLES[LakeType.ADLS]
        return (
            f"{what}: {scheme}:// is gone from Hadoop (3.5 dropped the driver). The same data is at "
            f"{secure}://{spelling}"
        )
    known = ", ".join(f"{name}://" for name in SCHEMES)
    message = f"{what}: {scheme}:// is a lake that feast-hybrid does not know. It knows {known}."
    if scheme == "https" and (blob := _BLOB_URL.match(rest)):
        return (
            f"{message} The same data is at abfss://{blob['container']}@{blob['account']}.dfs."
            f"{blob['domain']}{blob['path']}"
        )
    near = difflib.get_close_matches(scheme, SCHEMES, n=1)
    return f"{message} Did you mean {near[0]}://?" if near else message


def _split(rest: str) -> tuple[str, str]:
    authority, slash, path = rest.partition("/")
    return authority, slash + path or "/"


def _has_password(authority: str, path: str) -> bool:
    """Whether a user's password ends in the path: a ``/`` in it ends the authority before the ``@`` does."""
    return "@" in path and ":" in authority and not re.search(r":[0-9]{1,5}$", authority)


def _checked_path(path: str, what: str) -> str:
    # Those of a pattern's alternatives too, {a,../b}, and those that Hadoop takes a backslash out of.
    segments = re.split(r"[/{},]", path.replace("\\", ""))
    if ".." in segments or "." in segments:
        raise RoutingError(f"{what}: the path {shown(path)} has a '.' or '..' segment; write the path out.")
    collapsed = re.sub("/{2,}", "/", path)
    return collapsed.rstrip("/") or "/"


def _parse_hdfs(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    authority, path = _split(rest) if len(slashes) == 2 else ("", rest)
    if not authority:
        raise RoutingError(
            f"{what}: {scheme}:///… names no nameservice, which leaves it to fs.defaultFS. Write {_example(scheme)}."
        )
    if _AZURE_HOST.search(authority.lower()) and ":" not in authority:
        container, _, host = authority.rpartition("@")
        host = host.lower().replace(".blob.", ".dfs.", 1)
        raise RoutingError(
            f"{what}: {shown(authority)} is a storage account of Azure's, which {scheme}:// does not lead to. Write "
            f"abfss://{container or '<container>'}@{host}{path if container else '/<folder>'}."
        )
    if "@" in authority or _has_password(authority, path):
        raise RoutingError(
            f"{what}: {scheme}:// takes no user in its authority; sign-in belongs to the site's credential."
        )
    if not _HDFS_AUTHORITY.match(authority):
        underscore = " Java's URIs know no underscore in a host." if "_" in authority else ""
        raise RoutingError(
            f"{what}: {shown(authority)} is neither a nameservice nor host:port: letters, digits, '-' and '.', "
            f"then a port if there is one.{underscore}"
        )
    return LakeUri(LakeType.HDFS, scheme, authority, _checked_path(path, what))


def _parse_adls(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    if "?" in rest:
        before = rest.partition("?")[0]
        found = f"{scheme}://{before}" if ":" not in before.partition("/")[0] else f"{scheme}://…"
        raise RoutingError(
            f"{what}: {found} is followed by a query string, which is not part of a path. A SAS token belongs to "
            "the site: credential: {type: sas, token: {env: NAME}}."
        )
    authority, path = _split(rest) if len(slashes) == 2 else ("", f"/{rest}")
    container, separator, host = authority.rpartition("@")
    host = host.lower()
    # Without an @ before it, no port is meant by what follows the colon: digits may be a password too.
    if ":" in container or _has_password(authority, path) or (not separator and ":" in authority and "@" in path):
        raise RoutingError(
            f"{what}: {scheme}:// takes no user or password; sign-in belongs to the site's credential."
        )
    if not separator:
        first, _, below = path.lstrip("/").partition("/")
        spelling = _example(scheme)
        if _ACCOUNT_HOST.match(host) and _CONTAINER.match(first):
            spelling = f"{scheme}://{first}@{host}/{below}"
        found = shown(f"{scheme}://{authority}{path}")
        raise RoutingError(f"{what}: {found} has no container before the account. Write {spelling}.")
    if ":" in host:
        raise RoutingError(f"{what}: {scheme}:// takes no port, found {host!r}. Write {_example(scheme)}.")
    if not _CONTAINER.match(container):
        raise RoutingError(
            f"{what}: {container!r} is no container's name: 3 to 63 lower-case letters, digits and single hyphens."
        )
    if not _ACCOUNT_HOST.match(host):
        raise RoutingError(
            f"{what}: {host!r} is no storage account with its domain, such as acct.dfs.core.windows.net: the "
            "account's name is 3 to 24 lower-case letters and digits."
        )
    if ".blob." in host:
        right = f"{scheme}://{container}@{host.replace('.blob.', '.dfs.', 1)}{path}"
        raise RoutingError(f"{what}: {host} is the account's Blob endpoint. Write {right}.")
    return LakeUri(LakeType.ADLS, scheme, f"{container}@{host}", _checked_path(path, what))


def _parse_local(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    if len(slashes) == 2 and not rest.startswith("localhost/"):
        spelling = "" if may_hold_secret(f"//{rest}") else f": write file:///{rest}"
        raise RoutingError(
            f"{what}: {scheme}:// with two slashes names a host; for this machine there are three{spelling}."
        )
    path = "/" + (rest.removeprefix("localhost/") if len(slashes) == 2 else rest)
    return LakeUri(LakeType.LOCAL, scheme, "", _checked_path(path, what))


_PARSERS = {LakeType.HDFS: _parse_hdfs, LakeType.ADLS: _parse_adls, LakeType.LOCAL: _parse_local}
