"""Which site a URI belongs to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from feast_hybrid.errors import ConfigError, CredentialError, RoutingError
from feast_hybrid.lakes.bare_paths import BarePaths
from feast_hybrid.lakes.connections import Connection, ConnectionRule, Reference, require_lake
from feast_hybrid.lakes.credentials import Kerberos
from feast_hybrid.lakes.location import Location
from feast_hybrid.lakes.site import Site
from feast_hybrid.lakes.source_sites import SourceRule, described, first_match
from feast_hybrid.lakes.uri import LakeType, LakeUri, parse_uri


@dataclass(frozen=True)
class Allowed:
    """What sources and SQL text may use beside what they always may; in lower case.

    Attributes:
        functions: of SQL text, with their schemas.
        file_formats: of paths.
    """

    functions: frozenset[str] = frozenset()
    file_formats: frozenset[str] = frozenset()


class Router:
    """Sends each URI to its site: the longest matching prefix where sites are configured, else the scheme.

    With no sites, a URI gets a site of its own that signs in by the platform.

    Attributes:
        sites: as configured.
        allowed: what sources may use there.
        bare_paths: what paths without a scheme mean, which only Feast's own sources may have.
        rules: which site a source is on that does not say it itself; the first one that its name matches counts.

        connection_rules: what sources may sign in with by themselves, and where.

    Raises:
        ConfigError: two sites have one name or one prefix; or a rule names a site that is not configured, or
            repeats the pattern of another.
        CredentialError: two sites have one authority but different credentials, of which a session for tables
            and queries could hold one alone.
    """

    def __init__(
        self,
        sites: Sequence[Site] = (),
        *,
        allowed: Allowed | None = None,
        bare_paths: BarePaths | None = None,
        rules: Sequence[SourceRule] = (),
        connection_rules: Sequence[ConnectionRule] = (),
    ) -> None:
        self.sites = tuple(sites)
        self.rules = tuple(rules)
        self.connection_rules = tuple(connection_rules)
        self.allowed = allowed or Allowed()
        self.bare_paths = bare_paths or BarePaths()
        by_name: dict[str, Site] = {}
        by_place: dict[tuple[str, str, str], Site] = {}
        by_authority: dict[tuple[LakeType, str], Site] = {}
        for site in self.sites:
            if site.name in by_name:
                raise ConfigError(f"sites: the name {site.name!r} stands twice; names must differ.")
            by_name[site.name] = site
            first = by_place.setdefault(site.root.place, site)
            if first is not site:
                raise ConfigError(f"sites {first.name!r} and {site.name!r} claim the same prefix {site.root}.")
            other = by_authority.setdefault((site.lake, site.root.authority.lower()), site)
            if other.credential != site.credential:
                raise CredentialError(
                    f"sites {other.name!r} and {site.name!r} share {site.root.authority} but sign in differently. "
                    "Hadoop's settings are those of a whole account, so a session for tables and queries could hold "
                    "one of the two alone: give both the same credential."
                )
            if other.namenodes != site.namenodes:
                raise ConfigError(
                    f"sites {other.name!r} and {site.name!r} share {site.root.authority} but list other namenodes; "
                    "give both the same list."
                )
        _one_principal(self.sites)
        self._by_name = by_name
        self._of_sources: dict[tuple[str, Reference], Site] = {}
        self._check_rules()

    def _check_rules(self) -> None:
        for position, allowed in enumerate(self.connection_rules):
            what = f"offline_store.connection_refs[{position}] (name: {allowed.name!r})"
            if allowed.site not in self._by_name:
                raise ConfigError(f"{what}: {self._not_configured(allowed.site)}")
            require_lake(self._by_name[allowed.site].lake, what)
        first: dict[str, int] = {}
        for position, rule in enumerate(self.rules):
            if rule.site not in self._by_name:
                raise ConfigError(f"{described(position, rule)}: {self._not_configured(rule.site)}")
            other = first.setdefault(rule.match, position)
            if other != position:
                raise ConfigError(
                    f"{described(position, rule)}: {described(other, rule)} has the same pattern, and the first "
                    "match counts; leave one out."
                )

    def route(self, uri: str | LakeUri, *, what: str = "the path") -> Site:
        """The site that a URI belongs to.

        Raises:
            RoutingError: sites are configured and none of them holds the URI, or the URI is malformed.
        """
        wanted = parse_uri(uri, what=what) if isinstance(uri, str) else uri
        holders = [site for site in self.sites if wanted.is_under(site.root)]
        if holders:
            return max(holders, key=lambda site: len(site.root.path.rstrip("/")))
        if not self.sites:
            return _site_of_its_own(wanted)
        raise RoutingError(self._no_site(wanted, what))

    def _no_site(self, wanted: LakeUri, what: str) -> str:
        configured = "; ".join(f"{site.name}: {site.root}" for site in self.sites)
        host = f"{wanted.scheme}://{wanted.authority}"
        hosts = [f"{site.root.scheme}://{site.root.authority}" for site in self.sites]
        near = difflib.get_close_matches(host, hosts, n=1, cutoff=0.7)
        hint = f" Did you mean {near[0]}{wanted.path}?" if near and near[0].lower() != host.lower() else ""
        if of_other := _site_of_the_other_lake(wanted, self.sites):
            root = of_other.root
            hint = (
                f" {wanted.scheme}:// is not how site {of_other.name!r} is reached: did you mean "
                f"{root.scheme}://{root.authority}{wanted.path}?"
            )
        if wanted.lake is LakeType.LOCAL:
            folder = wanted.path.rpartition("/")[0] or "/"
            hint = (
                " This machine's files need a site as any other storage does; to have them read and written, add to "
                f"offline_store.sites: {{name: local, uri: 'file://{folder}'}}."
            )
        return f"{what}: {wanted} is under none of the configured sites ({configured}).{hint}"

    def locate(self, uri: str | LakeUri, *, what: str = "the path", configured: bool = False) -> Location:
        """The place that a URI names, on the site that it belongs to.

        Args:
            uri: as :func:`~feast_hybrid.lakes.parse_uri` takes it, or taken apart already.
            what: how an error names the thing, such as ``path of source 'weather'``.
            configured: whether the configuration itself names it, which needs no site for this machine's disk.

        Raises:
            RoutingError: sites are configured and none of them holds the URI, or the URI is malformed.
        """
        parsed = parse_uri(uri, what=what) if isinstance(uri, str) else uri
        if configured and parsed.lake is LakeType.LOCAL:
            return Location(_site_of_its_own(parsed), parsed)
        return Location(self.route(parsed, what=what), parsed)

    def named(self, name: str | None, *, what: str) -> Site | None:
        """The site of a table or query, which has no URI to tell it by.

        Args:
            name: as given by the source; None where it gives none.
            what: how an error names the source.

        Returns:
            The site; None where no sites are configured.

        Raises:
            RoutingError: the name is unknown, or is missing although there are several sites.
        """
        if name is not None:
            if name in self._by_name:
                return self._by_name[name]
            raise RoutingError(f"{what}: {self._not_configured(name)}")
        if len(self.sites) > 1:
            raise RoutingError(
                f"{what}: a table or query has no URI to tell its site by; set site= to one of "
                f"{', '.join(sorted(self._by_name))}, or write a rule in offline_store.sources."
            )
        return self.sites[0] if self.sites else None

    def by_rule(self, source: str) -> str | None:
        """The site that a rule gives a source of this name that does not say its site itself; None without one."""
        found = first_match(self.rules, source)
        return found[1].site if found else None

    def signed_in(self, location: Location, reference: Reference) -> Location:
        """A place, signed in to by what a source refers to: the same site each time, which keeps its file system."""
        site = location.site
        key = site.name, reference
        if key not in self._of_sources:
            credential = Connection(reference=reference, of_site=site.credential)
            self._of_sources.setdefault(key, site.signed_in_by(credential))
        return Location(self._of_sources[key], location.uri)

    def _not_configured(self, name: str) -> str:
        known = ", ".join(sorted(self._by_name)) or "none: offline_store.sites is empty"
        near = difflib.get_close_matches(name, self._by_name, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return f"site {name!r} is not configured (configured: {known}).{hint}"

    @property
    def lakes(self) -> set[LakeType]:
        """The kinds of storage that are configured; empty with no sites."""
        return {site.lake for site in self.sites}

    def hadoop_options(self) -> dict[str, str]:
        """The settings of all sites at once, for a session that reads tables and queries.

        Raises:
            CredentialError: two sites want one setting to differ, as two containers of one account do that sign in
                differently: one session can hold one of them only. Neither value is shown.
        """
        merged: dict[str, str] = {}
        givers: dict[str, Site] = {}
        services: list[str] = []
        for site in self.sites:
            options = site.hadoop_options()
            services += [service for service in [options.pop("dfs.nameservices", "")] if service]
            for key, value in options.items():
                giver = givers.setdefault(key, site)
                if merged.setdefault(key, value) != value:
                    raise CredentialError(
                        f"sites {giver.name!r} and {site.name!r} need {key} to differ, and a table or a query is "
                        "read in one session for all sites: give both the same value, or read them by path."
                    )
        if services:
            merged["dfs.nameservices"] = ",".join(dict.fromkeys(services))
        return merged


def _site_of_the_other_lake(uri: LakeUri, sites: Sequence[Site]) -> Site | None:
    """The site of another kind of storage whose server a URI names; None where there is none."""
    named = {part.partition(":")[0].lower() for part in uri.authority.split("@")}
    for site in sites:
        servers = [site.root.account_host, site.root.account] if site.lake is LakeType.ADLS else [site.root.authority]
        hosts = {server.partition(":")[0].lower() for server in (*servers, *site.namenodes)} - {""}
        if site.lake is not uri.lake and named & hosts:
            return site
    return None


def _site_of_its_own(uri: LakeUri) -> Site:
    root = LakeUri(uri.lake, uri.scheme, uri.authority, "/")
    return Site(name=re.sub("[@:]", ".", uri.authority).lstrip("$") or "local", uri=str(root))


def _one_principal(sites: Sequence[Site]) -> None:
    """A JVM signs in to every HDFS with one principal."""
    first: Site | None = None
    for site in sites:
        if not isinstance(site.credential, Kerberos):
            continue
        first = first or site
        if site.credential != first.credential:
            raise CredentialError(
                f"sites {first.name!r} and {site.name!r} sign in with Kerberos differently, but a Spark session "
                "signs in with one principal: give both the same principal and keytab, with trust between their "
                "realms."
            )
