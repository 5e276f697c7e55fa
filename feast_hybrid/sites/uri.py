"""URIs of the lakes: which scheme means which lake, and what a well-formed URI of each looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from feast_hybrid.errors import RoutingError


class Lake(StrEnum):
    """The kinds of storage that a URI can point to."""

    HDFS = "hdfs"
    ADLS = "adls"
    LOCAL = "local"


#: The whole routing table. ``file`` is there for trying things out.
SCHEMES: dict[str, Lake] = {
    "hdfs": Lake.HDFS,
    "viewfs": Lake.HDFS,
    "abfs": Lake.ADLS,
    "abfss": Lake.ADLS,
    "file": Lake.LOCAL,
}

_URI = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<slashes>/*)(?P<rest>.*)$", re.DOTALL)
_ADLS_AUTHORITY = re.compile(r"^(?P<container>[^@/:]+)@(?P<host>(?P<account>[a-z0-9]{3,24})\.[A-Za-z0-9.-]+)$")


@dataclass(frozen=True)
class LakeUri:
    """A URI taken apart.

    Attributes:
        lake: the kind of storage.
        scheme: in lower case.
        authority: what stands between ``//`` and the path: a nameservice, ``host:port``, or ``container@host``.
        path: absolute, ``/`` at least; as Hadoop sees it, never percent-decoded.
    """

    lake: Lake
    scheme: str
    authority: str
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

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
        if (self.scheme, self.authority) != (prefix.scheme, prefix.authority):
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


def parse_uri(uri: str, *, what: str = "the path") -> LakeUri:
    """Take a URI apart, or say what is wrong with it.

    Args:
        uri: such as ``hdfs://lake/flights`` or ``abfss://features@acct.dfs.core.windows.net/weather``.
        what: how the message names the thing, e.g. ``path of source 'weather'``.

    Raises:
        RoutingError: the scheme is none of :data:`SCHEMES`, or the URI is not of its scheme's form. A query
            string, which may be a signature, is never repeated in the message.
    """
    if not isinstance(uri, str) or not uri.strip():
        raise RoutingError(f"{what}: expected a URI such as hdfs://lake/folder, found {uri!r}.")
    match = _URI.match(uri)
    if match is None:
        path = uri if uri.startswith("/") else f"/{uri}"
        raise RoutingError(
            f"{what}: {uri!r} names no lake: Hadoop would read it from fs.defaultFS, which differs between "
            f"clusters. Write file://{path} for this machine's disk, or hdfs://<nameservice>{path} for HDFS."
        )
    scheme = match["scheme"].lower()
    if scheme in ("wasb", "wasbs"):
        secure = "abfss" if scheme == "wasbs" else "abfs"
        rest = match["rest"].partition("?")[0].replace(".blob.", ".dfs.", 1)
        raise RoutingError(
            f"{what}: {scheme}:// is gone from Hadoop (3.5 dropped the driver). The same data is at {secure}://{rest}"
        )
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise RoutingError(f"{what}: {scheme}:// is a lake that feast-hybrid does not know. It knows {known}.")
    if len(match["slashes"]) < 2 and SCHEMES[scheme] is not Lake.LOCAL:
        raise RoutingError(f"{what}: {scheme}: must be followed by //, as in {_example(scheme)}.")
    return _PARSERS[SCHEMES[scheme]](scheme, match["slashes"], match["rest"], what)


def _example(scheme: str) -> str:
    if SCHEMES[scheme] is Lake.ADLS:
        return f"{scheme}://<container>@<account>.dfs.core.windows.net/<folder>"
    if SCHEMES[scheme] is Lake.HDFS:
        return f"{scheme}://<nameservice>/<folder>"
    return "file:///<folder>"


def _split(rest: str) -> tuple[str, str]:
    authority, slash, path = rest.partition("/")
    return authority, slash + path or "/"


def _checked_path(path: str, shown: str, what: str) -> str:
    segments = path.split("/")
    if ".." in segments or "." in segments:
        raise RoutingError(f"{what}: {shown} has a '.' or '..' segment; write the path out.")
    collapsed = re.sub("/{2,}", "/", path)
    return collapsed.rstrip("/") or "/"


def _parse_hdfs(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    authority, path = _split(rest) if len(slashes) == 2 else ("", rest)
    if not authority:
        raise RoutingError(
            f"{what}: {scheme}://{'/' + rest.lstrip('/')} names no nameservice, which leaves it to fs.defaultFS. "
            f"Write {_example(scheme)}."
        )
    if "@" in authority:
        raise RoutingError(
            f"{what}: {scheme}:// takes no user in its authority; sign-in belongs to the site's credential."
        )
    return LakeUri(Lake.HDFS, scheme, authority.lower(), _checked_path(path, f"{scheme}://{rest}", what))


def _parse_adls(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    if "?" in rest:
        raise RoutingError(
            f"{what}: {scheme}://{rest.partition('?')[0]} is followed by a query string. A SAS token belongs to "
            "the site: credential: {type: sas, token: {env: NAME}}."
        )
    authority, path = _split(rest) if len(slashes) == 2 else ("", rest)
    match = _ADLS_AUTHORITY.match(authority)
    if match is None:
        missing = "no container" if "@" not in authority else "no storage account in lower-case letters and digits"
        shown = authority.rpartition("@")[2] if ":" in authority.partition("@")[0] else authority
        raise RoutingError(f"{what}: {scheme}://{shown} has {missing}. Write {_example(scheme)}.")
    authority = f"{match['container']}@{match['host'].lower()}"
    return LakeUri(Lake.ADLS, scheme, authority, _checked_path(path, f"{scheme}://{rest}", what))


def _parse_local(scheme: str, slashes: str, rest: str, what: str) -> LakeUri:
    if len(slashes) == 2 and not rest.startswith("localhost/"):
        raise RoutingError(
            f"{what}: {scheme}://{rest} names a host; for this machine write file:///{rest} with three slashes."
        )
    path = "/" + (rest.removeprefix("localhost/") if len(slashes) == 2 else rest)
    return LakeUri(Lake.LOCAL, scheme, "", _checked_path(path, f"{scheme}://{path}", what))


_PARSERS = {Lake.HDFS: _parse_hdfs, Lake.ADLS: _parse_adls, Lake.LOCAL: _parse_local}
