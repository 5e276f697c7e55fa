"""Sign-ins of single sources: what a source's ``connection_ref`` names, fetched by reference where it is used.

A source refers to a secret of a provider (Vault, Kubernetes, Azure Key Vault, the environment). For this source's
reads and writes alone, what the provider has takes the place of its site's credential. The reference travels to
tasks, which ask the provider themselves; what it holds is kept in the memory of a process for :data:`SECONDS_KEPT`.

Which secrets a source may refer to is said by the configuration: the registry is written by people who may have fewer
rights than the process that asks the provider.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from feast_hybrid.errors import CredentialError, HybridError
from feast_hybrid.lakes.bounded_calls import BoundedCalls
from feast_hybrid.lakes.credentials import (
    AccountKey,
    Emulator,
    Sas,
    ServicePrincipal,
    WorkloadIdentity,
    _Credential,
)
from feast_hybrid.lakes.field_types import LOGIN
from feast_hybrid.lakes.secrets import Secret
from feast_hybrid.lakes.uri import LakeType, LakeUri

if TYPE_CHECKING:
    from feast_hybrid.lakes.kerberos import Fault

#: How long a process signs in with what a provider said before it asks again.
SECONDS_KEPT = 300.0
#: How long a provider may take. Clients of Kubernetes wait without end by themselves.
SECONDS_TO_ANSWER = 60.0

#: Each way to sign in by the keys that it needs.
_WAYS: dict[str, frozenset[str]] = {
    "account_key": frozenset({"account_key"}),
    "sas": frozenset({"sas_token"}),
    "service_principal": frozenset({"tenant_id", "client_id", "client_secret"}),
}
#: Other names of keys: those of Azure's own tools for variables of the environment.
_ALIASES = {
    "azure_storage_account_key": "account_key",
    "azure_storage_key": "account_key",
    "azure_storage_sas_token": "sas_token",
    "azure_storage_account_name": "account_name",
    "azure_storage_account": "account_name",
    "azure_tenant_id": "tenant_id",
    "azure_client_id": "client_id",
    "azure_client_secret": "client_secret",
}
_KEYS = ("account_name", *dict.fromkeys(key for keys in _WAYS.values() for key in sorted(keys)))
#: What the registry may hold as text: ``ConnectionRef.params``.
_PARAMS = ("account_name", "tenant_id", "client_id")
#: Feast's name for a provider that it does not ship, and this package does.
KEY_VAULT = "azure-key-vault"
#: Which of a secret's keys a plain value is, to a provider whose secrets are one text each.
KEY_PARAM = "key"


class ConnectionRule(BaseModel):
    """One entry of ``offline_store.connection_refs``: what sources may sign in with at a site.

    Attributes:
        provider: by its name in Feast, such as ``vault``.
        name: a pattern of what a source's reference may name there.
        namespace: a pattern of its namespace; without it there must be none.
        site: whose sources.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: str
    name: str
    namespace: str = ""
    site: str

    @field_validator("provider", "name")
    @classmethod
    def _of_something(cls, value: str) -> str:
        if not value.strip():
            raise PydanticCustomError("connection", "is empty")
        return value

    def allows(self, reference: Reference, site: str) -> bool:
        """Whether a source on a site may sign in with what a reference names."""
        return (
            self.site == site
            and self.provider == reference.provider
            and fnmatch.fnmatchcase(reference.name, self.name)
            and fnmatch.fnmatchcase(reference.namespace, self.namespace)
        )


@dataclass(frozen=True)
class Reference:
    """Where a secret is: nothing of what is there.

    Attributes:
        provider: by its name in Feast.
        name: what the provider calls it.
        namespace: the provider's scope; empty for its default.
        params: what goes with it that is no secret.
        fetch: asks the provider; a function of a module, which is pickled by its name.
    """

    provider: str
    name: str
    namespace: str = ""
    params: tuple[tuple[str, str], ...] = ()
    fetch: Callable[[Reference], Mapping[str, str]] = field(repr=False, compare=False, kw_only=True)

    def describe(self) -> str:
        """For messages."""
        scope = f" in {self.namespace!r}" if self.namespace else ""
        return f"connection_ref to {self.name!r}{scope} of provider {self.provider!r}"


class _Fetched:
    """What providers have said to this process, for a while. Its repr shows none of it, and it is in no pickle."""

    def __init__(self) -> None:
        self._forked()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[Reference, tuple[float, Mapping[str, str]]] = {}
        self._calls = BoundedCalls(SECONDS_TO_ANSWER, setting="for a provider", name="feast-hybrid-connection")

    def get(self, reference: Reference) -> Mapping[str, str]:
        """What a reference names.

        Raises:
            CredentialError: the provider does not say it in time, or at all.
        """
        with self._lock:  # one question for all who want the same answer
            until, values = self._values.get(reference, (0.0, {}))
            if time.monotonic() < until:
                return values
            fault: HybridError | None = None
            try:
                values = self._calls.run(lambda: reference.fetch(reference))
            except HybridError as error:
                fault = error
            except TimeoutError as error:
                fault = CredentialError(f"{reference.describe()}: the provider {error}.")
            if fault is not None:  # outside of the except: a context might carry a secret along
                raise fault
            self._values[reference] = time.monotonic() + SECONDS_KEPT, values
            return values

    def forget(self, reference: Reference) -> None:
        """Have the provider asked again: what it said before was refused."""
        with self._lock:
            self._values.pop(reference, None)


_FETCHED = _Fetched()


class Connection(_Credential):
    """What a source's ``connection_ref`` names: one of the other ways to sign in to ADLS, known where it is used.

    Attributes:
        reference: where it is.
        of_site: the site's own credential, which says where an emulator and a sovereign cloud's Entra are.
    """

    of_one_source = True
    type: Literal["connection_ref"] = "connection_ref"
    reference: Reference
    of_site: Any

    def describe(self) -> str:
        """Where the secret is."""
        return self.reference.describe()

    def _signed_in(self, uri: LakeUri, site: str) -> _Credential:
        return _credential(_FETCHED.get(self.reference), self.reference, uri, self.of_site, site)

    def find_fault(self, text: str = "", *, here: bool = True) -> Fault | None:  # noqa: ARG002
        """Nothing is found out; but a secret that is refused is asked for again the next time."""
        _FETCHED.forget(self.reference)
        return None

    def secret_digest(self, site: str) -> str:  # noqa: ARG002
        """A digest of all that the provider said."""
        text = json.dumps(dict(_FETCHED.get(self.reference)), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=10, person=b"feast-hybrid").hexdigest()

    def sign_in_state(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """As the way to sign in has it that the secret is for."""
        return self._signed_in(uri, site).sign_in_state(uri, site)

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """As the way to sign in has it that the secret is for."""
        return self._signed_in(uri, site).to_hadoop_options(uri, site)

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """As the way to sign in has it that the secret is for."""
        return self._signed_in(uri, site).to_fsspec_kwargs(uri, site)


def _credential(
    values: Mapping[str, str], reference: Reference, uri: LakeUri, of_site: _Credential, site: str
) -> _Credential:
    """The way to sign in that a provider's values are for.

    Raises:
        CredentialError: a key is unknown or missing, or keys of several ways are there. No value is shown.
    """
    what = f"site {site!r}, {reference.describe()}"
    known = _known(values, reference, what)
    account = known.pop("account_name", None)
    if account is not None and account != uri.account:
        raise CredentialError(f"{what}: account_name is not {uri.account!r}, the account of {uri}.")
    ways = [way for way, keys in _WAYS.items() if keys & known.keys()]
    if len(ways) != 1 or _WAYS[ways[0]] - known.keys():
        found = f"keys {', '.join(sorted(known))}" if known else "none of them"
        needed = "; ".join(" and ".join(sorted(keys)) for keys in _WAYS.values())
        raise CredentialError(f"{what}: give the keys of one way to sign in ({needed}); found {found}.")
    (way,) = ways
    fault = None
    try:
        return _made(way, known, reference, of_site)
    except ValidationError as invalid:
        faults = invalid.errors(include_input=False, include_url=False, include_context=False)
        fault = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults)
    except _NotOfTheSiteError as error:
        fault = str(error)
    raise CredentialError(f"{what}: {fault}.")


class _NotOfTheSiteError(Exception):
    pass


def _made(way: str, known: Mapping[str, str], reference: Reference, of_site: _Credential) -> _Credential:
    def secret(key: str) -> Secret:
        return Secret(literal=SecretStr(known[key]), origin=f"{key} of {reference.describe()}")

    if isinstance(of_site, Emulator):
        if way != "account_key":
            raise _NotOfTheSiteError("the site is an emulator, which is signed in to with an account_key")
        return Emulator(type="emulator", account_key=secret("account_key"), endpoint=of_site.endpoint)
    if way == "account_key":
        return AccountKey(type="account_key", account_key=secret("account_key"))
    if way == "sas":
        return Sas(type="sas", token=secret("sas_token"))
    # Not from the reference: whoever names Entra's host is sent the secret.
    authority = of_site.authority if isinstance(of_site, (ServicePrincipal, WorkloadIdentity)) else LOGIN
    return ServicePrincipal(
        type="service_principal",
        tenant_id=known["tenant_id"],
        client_id=known["client_id"],
        client_secret=secret("client_secret"),
        authority=authority,
    )


def _known(values: Mapping[str, str], reference: Reference, what: str) -> dict[str, str]:
    """A provider's values and the reference's params, by this package's names of keys."""
    known = {key: value for key, value in reference.params if key != KEY_PARAM}
    if wrong := sorted(known.keys() - set(_PARAMS)):
        raise CredentialError(
            f"{what}: params {', '.join(wrong)}: there are {', '.join(_PARAMS)}. Secrets come from the provider: "
            "what is in params is in the registry as text."
        )
    unknown, empty, given = [], [], dict[str, str]()
    for key, value in values.items():
        plain = key
        if reference.provider == "env":  # whose keys are variables that begin with the name
            plain = key.removeprefix(reference.name)
        plain = plain.lower().replace("-", "_").replace(".", "_").strip("_")
        whole = key.lower().replace("-", "_").replace(".", "_")
        name = next((name for name in (_ALIASES.get(whole), _ALIASES.get(plain), plain) if name in _KEYS), None)
        if name is None:
            unknown.append(key)
        elif not isinstance(value, str) or not value.strip():
            empty.append(key)
        elif given.setdefault(name, value) != value:
            raise CredentialError(f"{what}: {name} is there twice, with two values.")
    if unknown:
        raise CredentialError(f"{what}: unknown keys {', '.join(sorted(unknown))}; there are {', '.join(_KEYS)}.")
    if empty:
        raise CredentialError(f"{what}: nothing is in {', '.join(sorted(empty))}.")
    for key, value in given.items():
        if known.setdefault(key, value) != value:
            raise CredentialError(f"{what}: params and the provider say different things of {key}.")
    return known


def require_lake(lake: LakeType, what: str) -> None:
    """Refuse a ``connection_ref`` where no source can have a sign-in of its own.

    Raises:
        CredentialError: says why, and what to do instead.
    """
    if lake is LakeType.HDFS:
        raise CredentialError(
            f"{what}: a connection_ref cannot sign in to HDFS: a JVM is one user to it, whichever source it reads. "
            "Leave it out, and give the site its credential in offline_store.sites (kerberos, with principal and "
            "keytab)."
        )
    if lake is LakeType.LOCAL:
        raise CredentialError(f"{what}: this machine's files need no sign-in; leave out connection_ref.")
