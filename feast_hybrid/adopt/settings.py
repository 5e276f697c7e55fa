"""Feast's ``offline_store`` section in our words: what ``migrate`` writes, and what ``check`` goes by.

Spark's settings become ``spark``; those that sign in to a lake become the credential of a site, by reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from typing import Any

from feast_hybrid.adopt.repository import OUR_TYPE
from feast_hybrid.errors import RoutingError
from feast_hybrid.lakes import LakeType, LakeUri, Router
from feast_hybrid.lakes.field_types import LOGIN
from feast_hybrid.lakes.secrets import holds_secret

#: Types whose settings have a meaning here, and their keys besides ``type``.
_SPARK_STORE = re.compile(r"spark|feast\..*\.SparkOfflineStore")
_FILE_STORE = re.compile(r"file|dask|duckdb|feast\..*\.(Dask|DuckDB)OfflineStore")
#: Spark's settings that are fields of ours.
FIELDS = {"spark.master": "master", "spark.remote": "remote", "spark.app.name": "app_name"}

_PREFIX = "spark.hadoop."
_ACCOUNT = r"(?P<host>[a-z0-9]{3,24}\.dfs\.[a-z0-9.-]+)"
#: Settings of Hadoop that say how to sign in to Azure, for one account or, without a host, for all.
_AZURE = re.compile(
    r"fs\.azure\.(?P<name>account\.auth\.type|account\.key|account\.oauth\.provider\.type|account\.oauth2\.[a-z.]+?"
    rf"|sas\.fixed\.token|sas\.token\.provider\.type)(\.{_ACCOUNT})?"
)
_ENDPOINT = re.compile(r"https://(?P<authority>[^/]+)/(?P<tenant>[^/]+)/oauth2/(v2\.0/)?token")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))")
_KERBEROS = ("spark.kerberos.principal", "spark.kerberos.keytab", "spark.yarn.principal", "spark.yarn.keytab")
_HA = re.compile(
    r"dfs\.(nameservices|ha\.namenodes\.\S+|namenode\.rpc-address\.\S+|client\.failover\.proxy\.provider\.\S+)"
)


@dataclass(frozen=True)
class Adopted:
    """A section in our words.

    Attributes:
        section: ``offline_store`` as it would stand; variables of the environment are not put in.
        moved: the settings of ``spark_conf`` that are in another place now.
        dropped: keys of the section that nothing comes of here.
        notes: what to do or to know besides, in sentences; no secret.
        problems: why it cannot be written as it is, in sentences.
    """

    section: Mapping[str, Any]
    moved: frozenset[str] = frozenset()
    dropped: tuple[str, ...] = ()
    notes: Sequence[str] = ()
    problems: Sequence[str] = ()


@dataclass
class _Work:
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)


def is_spark_store(store_type: str) -> bool:
    """Whether a type of an offline store is Feast's Spark store."""
    return _SPARK_STORE.fullmatch(store_type) is not None


def is_file_store(store_type: str) -> bool:
    """Whether a type of an offline store is one of Feast's that read files in this process."""
    return _FILE_STORE.fullmatch(store_type) is not None


def adopt_section(section: Mapping[str, Any], used: Iterable[LakeUri] = ()) -> Adopted:
    """A section of another store's in our words.

    Args:
        section: with its type; variables of the environment not put in.
        used: the places that the repository's sources name, each of which needs a site where there are any.
    """
    work = _Work()
    store_type = str(section["type"])
    ours: dict[str, Any] = {"type": OUR_TYPE}
    known = {"type", "staging_location"}
    spark: dict[str, Any] = {}
    sites: list[dict[str, Any]] = []
    if is_spark_store(store_type):
        known.add("spark_conf")
        conf = dict(section.get("spark_conf") or {})
        staged = _located(section.get("staging_location"))
        sites = _sites(conf, [*used, *([staged] if staged else [])], work)
        for key, name in FIELDS.items():
            if key in conf:
                spark[name] = conf[key]
                work.moved.add(key)
        if "master" in spark and "remote" in spark:
            work.problems.append("spark_conf has both spark.master and spark.remote: take one of them out first.")
        kept = {key: value for key, value in conf.items() if key not in work.moved}
        if kept:
            spark["conf"] = kept
        work.problems += [
            f"spark_conf: {key} signs in to Azure, and no site is known to move it to: no source and no "
            "staging_location names a container of that account. Give it: --site abfss://CONTAINER@ACCOUNT."
            for key in kept
            if holds_secret(key)
        ]
    elif not is_file_store(store_type):
        work.problems.append(
            f"offline_store.type {store_type!r} keeps its rows where this store does not read, so feast-hybrid "
            "migrate leaves it: its sources have to be others first (feast-hybrid check names them)."
        )
    if sites:
        ours["sites"] = sites
    if spark:
        ours["spark"] = spark
    if staging := section.get("staging_location"):
        if _located(staging):
            ours["staging_location"] = staging
        else:
            known.discard("staging_location")
    dropped = tuple(key for key in section if key not in known)
    if not work.problems:
        work.notes += [f"offline_store.{key} has no meaning here, and is left out." for key in dropped]
    return Adopted(ours, frozenset(work.moved), dropped, tuple(work.notes), tuple(work.problems))


def roots_of(places: Iterable[LakeUri]) -> list[LakeUri]:
    """The roots of the lakes that are named; of this machine's disk, the folder that holds all that is named."""
    roots: dict[tuple[str, str], LakeUri] = {}
    local: list[str] = []
    for uri in places:
        if uri.lake is LakeType.LOCAL:
            local.append(uri.parent().path)
        else:
            key = (uri.scheme, uri.authority.lower())
            roots.setdefault(key, LakeUri(uri.lake, uri.scheme, uri.authority, "/"))
    found = list(roots.values())
    if local:
        found.append(LakeUri(LakeType.LOCAL, "file", "", commonpath(local)))
    return found


def _located(uri: Any) -> LakeUri | None:
    """Where a URI leads; None where it is none that this store knows."""
    try:
        return Router().locate(uri, configured=True).uri if isinstance(uri, str) else None
    except RoutingError:
        return None


def _sites(conf: Mapping[str, Any], used: Sequence[LakeUri], work: _Work) -> list[dict[str, Any]]:
    """A site for each lake that is used, where the settings sign in to one of them; else none."""
    azure = _azure_settings(conf)
    nodes = _namenodes(conf, work)
    kerberos = _kerberos(conf)
    roots = roots_of(used)
    known = {root.authority for root in roots}
    roots += [LakeUri(LakeType.HDFS, "hdfs", service, "/") for service in nodes if service not in known]
    sites = []
    signs_in = False
    for root in roots:
        site: dict[str, Any] = {"name": _name(root, roots), "uri": _spelt(root)}
        credential: dict[str, Any] | None = None
        if root.lake is LakeType.ADLS:
            credential = _azure_credential(root, azure, work)
        elif root.lake is LakeType.HDFS:
            if root.authority in nodes:
                site["namenodes"] = nodes[root.authority]
                signs_in = True
            if kerberos:
                credential = kerberos
                work.moved.update(key for key in _KERBEROS if key in conf)
        if credential:
            site["credential"] = credential
            signs_in = True
        sites.append(site)
    return sites if signs_in else []


def _name(root: LakeUri, roots: Sequence[LakeUri]) -> str:
    if root.lake is LakeType.LOCAL:
        return "local"
    if root.lake is LakeType.HDFS:
        return re.sub(r"[^A-Za-z0-9_.-]", "-", root.authority)
    several = sum(other.account_host == root.account_host for other in roots) > 1
    return f"{root.account}-{root.container}" if several else root.account


def _spelt(root: LakeUri) -> str:
    return str(root) if root.lake is LakeType.LOCAL else str(root).rstrip("/")


def _azure_settings(conf: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """The sign-in by (account's host or nothing, name behind ``fs.azure.``): the setting's key and value."""
    found = {}
    for key, value in conf.items():
        if match := _AZURE.fullmatch(key.removeprefix(_PREFIX)):
            found[match["host"] or "", match["name"]] = (key, str(value))
    return found


def _azure_credential(
    root: LakeUri, azure: Mapping[tuple[str, str], tuple[str, str]], work: _Work
) -> dict[str, Any] | None:
    """How an account's settings sign in, in our words; None where they do not, or not in a way that has a word."""
    host = root.account_host
    given = {name: pair for (of, name), pair in azure.items() if not of}
    given |= {name: pair for (of, name), pair in azure.items() if of == host}
    values = {name: value for name, (_, value) in given.items()}
    provider = values.get("account.oauth.provider.type", "").rpartition(".")[2]
    credential: dict[str, Any] | None = None
    secret = ""
    if provider == "ClientCredsTokenProvider":
        secret = "account.oauth2.client.secret"  # noqa: S105 - a setting's name
        endpoint = _ENDPOINT.fullmatch(values.get("account.oauth2.client.endpoint", ""))
        if endpoint is None or secret not in values or "account.oauth2.client.id" not in values:
            work.problems.append(
                f"spark_conf: the service principal of {host} needs client.id, client.secret and a client.endpoint "
                "like https://login.microsoftonline.com/TENANT/oauth2/token; write its site by hand."
            )
            return None
        credential = {
            "type": "service_principal",
            "tenant_id": endpoint["tenant"],
            "client_id": values["account.oauth2.client.id"],
            "client_secret": _reference(values[secret], f"{root.account}_CLIENT_SECRET", work),
        }
        if f"https://{endpoint['authority']}" != LOGIN:
            credential["authority"] = f"https://{endpoint['authority']}"
    elif provider in ("MsiTokenProvider", "WorkloadIdentityTokenProvider"):
        credential = {"type": "managed_identity" if provider.startswith("Msi") else "workload_identity"}
        names = {"tenant_id": "account.oauth2.msi.tenant", "client_id": "account.oauth2.client.id"}
        credential |= {key: values[name] for key, name in names.items() if name in values}
        if (token_file := values.get("account.oauth2.token.file")) and not provider.startswith("Msi"):
            credential["token_file"] = token_file
    elif provider:
        work.notes.append(
            f"spark_conf: {host} signs in by {provider}, which has no credential type here: its settings stay in "
            "spark.conf, and the site's credential is 'platform'. What needs no Spark signs in by the machine's own "
            "identity then."
        )
        return None
    elif "sas.fixed.token" in values:
        token = _reference(values["sas.fixed.token"], f"{root.account}_SAS_TOKEN", work)
        credential = {"type": "sas", "token": token}
    elif "account.key" in values:
        key = _reference(values["account.key"], f"{root.account}_ACCOUNT_KEY", work)
        credential = {"type": "account_key", "account_key": key}
    if credential is not None:
        work.moved.update(key for key, _ in given.values())
    return credential


def _reference(value: str, name: str, work: _Work) -> dict[str, str]:
    """A secret by reference: the variable that it came from, or one that has to be set."""
    if match := _VARIABLE.fullmatch(value.strip()):
        return {"env": match[1] or match[2]}
    variable = name.upper()
    note = (
        f"A secret stands as text in feature_store.yaml. It is {{env: {variable}}} now: set the variable {variable} "
        "where the repository is used, and give the account a new secret: this one is in the file's history."
    )
    if note not in work.notes:
        work.notes.append(note)
    return {"env": variable}


def _namenodes(conf: Mapping[str, Any], work: _Work) -> dict[str, list[str]]:
    """The NameNodes of each nameservice that the settings name completely."""
    settings = {key.removeprefix(_PREFIX): (key, str(value)) for key, value in conf.items()}
    found: dict[str, list[str]] = {}
    for service in re.split(r"\s*,\s*", settings.get("dfs.nameservices", ("", ""))[1]):
        names = settings.get(f"dfs.ha.namenodes.{service}", ("", ""))[1]
        nodes = [
            settings.get(f"dfs.namenode.rpc-address.{service}.{name}", ("", ""))[1]
            for name in re.split(r"\s*,\s*", names)
        ]
        if service and all(re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}", node) for node in nodes):
            found[service] = nodes
    if found:
        work.moved.update(key for name, (key, _) in settings.items() if _HA.fullmatch(name))
    return found


def _kerberos(conf: Mapping[str, Any]) -> dict[str, Any] | None:
    given = {key.rpartition(".")[2]: conf[key] for key in reversed(_KERBEROS) if key in conf}
    return {"type": "kerberos", **dict(sorted(given.items(), reverse=True))} if given else None
