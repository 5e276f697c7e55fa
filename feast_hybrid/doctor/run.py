"""All that the doctor looks at, in its order: the configuration, this machine, each site, Spark."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from feast.repo_config import load_repo_config
from feast.utils import get_default_yaml_file_path

from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.doctor.checking import Checks, GaveUpError, noting_warnings, run_all
from feast_hybrid.doctor.lake import impatient, look_at_location, look_at_site, probe_place
from feast_hybrid.doctor.leftovers import clean, look_for_leftovers
from feast_hybrid.doctor.machine import look_at_machine
from feast_hybrid.doctor.report import Check, Report, Status
from feast_hybrid.errors import ConfigError, CredentialError, RoutingError
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.leftovers import DAY, Leftover
from feast_hybrid.spark.installed import find_pyspark

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Site

#: For all sites, which are looked at at the same time.
SITES_SECONDS = 60.0
#: For what writers have left, which takes a listing of all that is on a site.
LEFTOVERS_SECONDS = 20.0
#: Where one of these fails, the site cannot be reached.
_REACHING = ("credential", "name", "port", "TLS")


def diagnose(
    repo: Path,
    *,
    sites: Sequence[str] = (),
    write: bool = True,
    with_spark: bool = True,
    older_than: timedelta = DAY,
) -> Report:
    """Look at a repository's configuration, this machine, each site and Spark.

    Args:
        repo: the folder of ``feature_store.yaml``.
        sites: the names of those to look at; all where there are none.
        write: whether to write and delete a probe on each site.
        with_spark: whether to look at Spark too, which takes a session.
        older_than: the age from which on something is named that a writer may have left.

    Returns:
        What was found, without any secret in it.

    Raises:
        RoutingError: a site of that name is not configured.
    """
    checks = Checks("configuration")
    try:
        config = _load(checks, repo)
    except GaveUpError:
        return Report(tuple(checks.made))
    chosen = _chosen(config, sites)
    made = [*checks.made, *_machine_and_sites(config, chosen, write=write, with_spark=with_spark)]
    failed = {check.site for check in made if check.status is Status.FAILED and check.name in _REACHING}
    reached = [site for site in chosen if site.name not in failed]
    listed = {check.site for check in made if check.status is Status.OK and check.name == "list"}
    made += _leftovers([site for site in chosen if site.name in listed], older_than)
    if with_spark:
        made += _spark(config, chosen, reached, write=write)
    else:
        made.append(Check("spark", "session", Status.NOT_TRIED, "--no-spark"))
    return Report(_by_part(made)).without(_secrets(config))


def _by_part(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks with those of one area and site together."""
    parts = list(dict.fromkeys((check.area, check.site) for check in checks))
    return tuple(sorted(checks, key=lambda check: parts.index((check.area, check.site))))


def _load(checks: Checks, repo: Path) -> HybridSparkOfflineStoreConfig:
    file = get_default_yaml_file_path(repo)
    with checks.step("feature_store.yaml"), noting_warnings(checks, "feature_store.yaml"):
        if not file.is_file():
            raise ConfigError(f"{file} is not there; give the repository's folder: feast-hybrid doctor -c FOLDER.")
        config = load_repo_config(repo, file).offline_store
        if not isinstance(config, HybridSparkOfflineStoreConfig):
            raise ConfigError(f"{file}: offline_store.type is {getattr(config, 'type', None)!r}, not this store's.")
        names = ", ".join(site.name for site in config.sites) or "none: the scheme of a source's path decides"
        checks.ok(f"{file}; sites: {names}")
    return config


def _chosen(config: HybridSparkOfflineStoreConfig, names: Sequence[str]) -> list[Site]:
    known = [site.name for site in config.sites]
    for name in names:
        if name not in known:
            raise RoutingError(f"site {name!r} is not configured (configured: {', '.join(known) or 'none'}).")
    return [site for site in config.sites if not names or site.name in names]


def _machine_and_sites(
    config: HybridSparkOfflineStoreConfig, sites: Sequence[Site], *, write: bool, with_spark: bool
) -> list[Check]:
    machine = Checks("machine")
    uses_adls = any(site.lake is LakeType.ADLS for site in sites)
    look_at_machine(machine, config.spark, uses_adls=uses_adls, starts_spark=with_spark)
    places = [probe_place(impatient(site), config.staging_location) for site in sites]
    works = [
        (
            Checks("site", place.site.name),
            partial(look_at_site, site=place.site, probe=place if write else None),
        )
        for place in places
    ]
    if write:
        probed = {place.site.name for place in places}
        works += [
            (Checks("locations"), partial(look_at_location, name=f"offline_store.{name}", location=location))
            for name, location in _locations(config)
            if not (name == "staging_location" and location.site.name in probed)
        ]
    return [*machine.made, *run_all(works, seconds=SITES_SECONDS)]


def _locations(config: HybridSparkOfflineStoreConfig) -> list[tuple[str, Location]]:
    """The places that the configuration itself writes to, by their settings."""
    given = {name: getattr(config, name) for name in ("staging_location", "monitoring_location")}
    return [
        (name, config.router.locate(uri, what=f"offline_store.{name}", configured=True))
        for name, uri in given.items()
        if uri
    ]


def _leftovers(sites: Sequence[Site], older_than: timedelta) -> list[Check]:
    works = [
        (Checks("site", site.name), partial(look_for_leftovers, site=site, older_than=older_than)) for site in sites
    ]
    advice = (
        "feast-hybrid doctor --clean lists all of it, however long that takes, and asks before it removes anything."
    )
    return run_all(works, seconds=LEFTOVERS_SECONDS, late=Status.NOT_TRIED, advice=advice)


def _spark(
    config: HybridSparkOfflineStoreConfig, sites: Sequence[Site], reached: Sequence[Site], *, write: bool
) -> list[Check]:
    """A server of Spark Connect may reach a site that this machine does not; a session of this process does not."""
    if find_pyspark() is None:
        return [Check("spark", "session", Status.NOT_TRIED, "PySpark is not installed")]
    from feast_hybrid.doctor.spark_part import TRIED_BY_SPARK, look_at_spark

    to_try = (sites if config.spark.remote else reached) if write else ()
    made = look_at_spark(
        config.spark,
        config.router,
        [probe_place(site, config.staging_location) for site in to_try],
    )
    reason = "the site cannot be reached from here" if write else "--no-write"
    left_out = [site.name for site in sites if site not in to_try]
    return [
        *made,
        *(
            Check("site by spark", name, Status.NOT_TRIED, reason, site=site)
            for site in left_out
            for name in TRIED_BY_SPARK
        ),
    ]


def find_all_leftovers(
    repo: Path, *, sites: Sequence[str] = (), older_than: timedelta = DAY
) -> tuple[Report, list[Leftover]]:
    """List what killed writers have left on a repository's sites, however long that takes. Nothing is changed.

    Args:
        repo: the folder of ``feature_store.yaml``.
        sites: the names of those to look through; all where there are none.
        older_than: what was written later may be a living writer's, and is passed over.

    Raises:
        RoutingError: a site of that name is not configured.
    """
    checks = Checks("configuration")
    try:
        config = _load(checks, repo)
    except GaveUpError:
        return Report(tuple(checks.made)), []
    found: list[Leftover] = []
    made = list(checks.made)
    for site in _chosen(config, sites):
        of_site = Checks("site", site.name)
        found += look_for_leftovers(of_site, site, older_than)
        made += of_site.made
    return Report(tuple(made)).without(_secrets(config)), found


def remove_all_leftovers(found: Sequence[Leftover]) -> Report:
    """Remove what :func:`find_all_leftovers` gave, but for what may be the only copy of rows."""
    made: list[Check] = []
    for name in dict.fromkeys(leftover.location.site.name for leftover in found):
        checks = Checks("site", name)
        clean(checks, [leftover for leftover in found if leftover.location.site.name == name])
        made += checks.made
    return Report(tuple(made))


def _secrets(config: HybridSparkOfflineStoreConfig) -> list[str]:
    """The values of all secrets that are there."""
    named = [named for site in config.sites for named in site.credential.named_secrets(site.name)]
    if config.spark.token is not None:
        named.append((config.spark.token, "token"))
    found = []
    for secret, what in named:
        with suppress(CredentialError):
            found.append(secret.resolve(what))
    return found
