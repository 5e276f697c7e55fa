"""How to sign in to a lake: one type for each way, chosen by ``type`` in the configuration.

Each type gives the same sign-in twice: as Hadoop settings, for Spark's readers and writers, and as arguments of
the fsspec file system, for what needs no Spark. Hadoop's names are those of the ABFS driver's documentation
(hadoop-azure, "Authentication") and of ``hdfs-default.xml``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from feast_hybrid.errors import CredentialError
from feast_hybrid.lakes import kerberos
from feast_hybrid.lakes.field_types import LOGIN, AuthorityHost, HostPort, Identifier
from feast_hybrid.lakes.sas import sas_fault
from feast_hybrid.lakes.secrets import Secret
from feast_hybrid.lakes.uri import LakeType, LakeUri

#: azure-identity's and its environments'.
_AZURE_VARIABLES = ("AZURE_", "IDENTITY_", "IMDS_", "MSI_")
#: hdfs-native's user, configuration and tickets.
_HDFS_VARIABLES = ("HADOOP_", "KRB5")
_OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2"
#: How azure-identity asks Entra for a token: once, and not for the five minutes that it waits by itself. The storage
#: client asks for it again, with the request that it is for.
_ENTRA_LIMITS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 10}


class _Credential(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: The lakes that this way of signing in is for.
    lakes: ClassVar[frozenset[LakeType]] = frozenset({LakeType.ADLS})
    #: What the names of the environment variables begin with that the client reads by itself.
    variables: ClassVar[tuple[str, ...]] = ()
    #: Whether a single source is signed in to, and not its site.
    of_one_source: ClassVar[bool] = False
    type: str

    def check(self, site: str) -> None:
        """Look at what is configured, without reading a secret: that is read where it is used. Warns of a literal.

        Raises:
            CredentialError: it cannot be meant.
        """
        for secret, what in self.named_secrets(site):
            secret.warn_if_literal(what)

    def named_secrets(self, site: str) -> list[tuple[Secret, str]]:
        """The secrets that this refers to, and how an error names each."""
        return [(value, f"{name} of site {site!r}") for name, value in self if isinstance(value, Secret)]

    def require_files(self, site: str) -> None:
        """Raise CredentialError if a file that the client reads by itself is not there: for where it is used."""

    def describe(self) -> str:
        """The way to sign in and where its secret is from, for messages; nothing of the secret."""
        secrets = [f"{name} from {value.describe()}" for name, value in self if isinstance(value, Secret)]
        return f"credential type {self.type!r}{' with ' + ' and '.join(secrets) if secrets else ''}"

    def find_fault(self, text: str = "", *, here: bool = True) -> kerberos.Fault | None:  # noqa: ARG002
        """Why the sign-in was refused, where more can be found out than the client says.

        Args:
            text: the client's words.
            here: whether it ran on this machine.
        """
        return None

    @property
    def safe_to_pickle(self) -> bool:
        """Whether this may be sent to executors: it refers to its secrets, and holds none."""
        return not any(isinstance(value, Secret) and value.is_literal for _, value in self)

    def secret_digest(self, site: str) -> str:
        """What tells whether two processes have the same secrets; nothing of them can be had back from it.

        Raises:
            CredentialError: a secret is not there.
        """
        secrets = {
            name: value.resolve(f"{name} of site {site!r}") for name, value in self if isinstance(value, Secret)
        }
        if not secrets:
            return ""
        text = json.dumps(secrets, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=10, person=b"feast-hybrid").hexdigest()

    def sign_in_state(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """All that decides who signs in at this moment, secrets resolved: to be digested, and kept nowhere.

        Raises:
            CredentialError: a secret is not there.
        """
        fields = {
            name: value.resolve(f"{name} of site {site!r}") if isinstance(value, Secret) else value
            for name, value in self
        }
        environment = {name: value for name, value in os.environ.items() if name.startswith(self.variables)}
        files = {str(file): _file_state(file) for file in self._files()} if uri.lake is LakeType.HDFS else {}
        return {"fields": fields, "environment": environment, "files": files}

    def _files(self) -> list[Path]:
        """Files with tickets and keys, which HDFS's client reads once."""
        return []

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """The Hadoop settings that sign in, secrets resolved."""
        raise NotImplementedError

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """The arguments of the fsspec file system that sign in, secrets resolved."""
        raise NotImplementedError


class Platform(_Credential):
    """The cluster, or the machine's own Azure identity, supplies the sign-in: nothing is added."""

    lakes = frozenset({LakeType.ADLS, LakeType.HDFS, LakeType.LOCAL})
    variables = (*_AZURE_VARIABLES, *_HDFS_VARIABLES)
    type: Literal["platform"] = "platform"

    def _files(self) -> list[Path]:
        return _ticket_files()

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """Nothing: what the session has is used."""
        return {}

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """For ADLS the account, and the identity that azure-identity finds by itself."""
        if uri.lake is not LakeType.ADLS:
            return {}
        from azure.identity.aio import DefaultAzureCredential

        return {**_account(uri), "credential": DefaultAzureCredential()}


class AccountKey(_Credential):
    """The storage account's shared key."""

    type: Literal["account_key"]
    account_key: Secret

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """Shared key, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SharedKey",
            f"fs.azure.account.key.{host}": _account_key(self.account_key, site),
        }

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """Account and key."""
        key = _account_key(self.account_key, site)
        return {**_account(uri), "account_key": key}


class Sas(_Credential):
    """A shared access signature for the account or the container."""

    type: Literal["sas"]
    token: Secret

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """A fixed token, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SAS",
            f"fs.azure.sas.fixed.token.{host}": self._token(site),
        }

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """Account and token."""
        return {**_account(uri), "sas_token": self._token(site)}

    def _token(self, site: str) -> str:
        what = f"token of site {site!r}"
        token = self.token.resolve(what).lstrip("?")
        if "sig=" not in token:
            raise CredentialError(
                f"{what}: what stands in {self.token.describe()} is no shared access signature: none of its "
                "parts is sig=."
            )
        return token

    def find_fault(self, text: str = "", *, here: bool = True) -> kerberos.Fault | None:  # noqa: ARG002
        """What the signature itself says: from when and until when it is good."""
        try:
            token = self._token("")
        except CredentialError:
            return None
        return kerberos.Fault(f"It was signed in to by {self.describe()}{sas_fault(token)}")


class ServicePrincipal(_Credential):
    """An Entra application with a client secret."""

    type: Literal["service_principal"]
    tenant_id: Identifier
    client_id: Identifier
    client_secret: Secret
    authority: AuthorityHost = LOGIN

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """OAuth 2 client credentials, for this account only."""
        settings = {
            "client.endpoint": f"{self.authority}/{self.tenant_id}/oauth2/token",
            "client.id": self.client_id,
            "client.secret": self._secret(site),
        }
        return _oauth(uri, "ClientCredsTokenProvider", settings)

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """An azure-identity credential of the application."""
        from azure.identity.aio import ClientSecretCredential

        credential = ClientSecretCredential(
            tenant_id=self.tenant_id,
            client_id=self.client_id,
            client_secret=self._secret(site),
            authority=self.authority,
            **_ENTRA_LIMITS,
        )
        return {**_account(uri), "credential": credential}

    def _secret(self, site: str) -> str:
        return self.client_secret.resolve(f"client_secret of site {site!r}")


class ManagedIdentity(_Credential):
    """The identity that Azure gives to the machine; ``client_id`` where it has several."""

    variables = _AZURE_VARIABLES
    type: Literal["managed_identity"]
    client_id: Identifier | None = None
    tenant_id: Identifier | None = None

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """OAuth 2 by the instance metadata service, for this account only."""
        settings = {"client.id": self.client_id, "msi.tenant": self.tenant_id}
        return _oauth(uri, "MsiTokenProvider", {key: value for key, value in settings.items() if value})

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """An azure-identity credential for the machine's identity."""
        from azure.identity.aio import ManagedIdentityCredential

        return {**_account(uri), "credential": ManagedIdentityCredential(client_id=self.client_id)}


class WorkloadIdentity(_Credential):
    """A Kubernetes service account federated with Entra; the defaults are the ones that AKS injects."""

    variables = _AZURE_VARIABLES
    type: Literal["workload_identity"]
    tenant_id: Identifier
    client_id: Identifier
    token_file: Path = Path("/var/run/secrets/azure/tokens/azure-identity-token")
    authority: AuthorityHost = LOGIN

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """OAuth 2 by a federated token, for this account only."""
        settings = {
            "msi.authority": self.authority,
            "msi.tenant": self.tenant_id,
            "client.id": self.client_id,
            "token.file": str(self.token_file),
        }
        return _oauth(uri, "WorkloadIdentityTokenProvider", settings)

    def describe(self) -> str:
        """The application and the file."""
        return f"credential type {self.type!r} with client_id {self.client_id} and token_file {self.token_file}"

    def require_files(self, site: str) -> None:
        """Raise CredentialError if the token's file is not there."""
        self._assertion(site)

    def _assertion(self, site: str) -> str:
        try:
            return self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise CredentialError(
            f"site {site!r}: token_file {self.token_file} of credential type {self.type!r} cannot be read: {reason}. "
            'Kubernetes puts it into pods that are labelled azure.workload.identity/use: "true"; name another file '
            "by token_file."
        )

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """An azure-identity credential that exchanges the token."""
        from azure.identity.aio import ClientAssertionCredential

        # Not WorkloadIdentityCredential: where the file is gone it says what a missing path says.
        credential = ClientAssertionCredential(
            tenant_id=self.tenant_id,
            client_id=self.client_id,
            func=lambda: self._assertion(site),
            authority=self.authority,
            **_ENTRA_LIMITS,
        )
        return {**_account(uri), "credential": credential}


class Emulator(_Credential):
    """Azurite in the place of ADLS, over plain HTTP: for tests and for trying things out.

    ``endpoint`` is the ``host:port`` of its Blob service. Hadoop knows no account's own setting for plain HTTP, so in
    a session for all sites (tables and queries) ``abfs://`` is spoken without TLS to every account; ``abfss://``
    never is.
    """

    type: Literal["emulator"]
    account_key: Secret
    endpoint: HostPort

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:
        """Shared key against the Blob endpoint, without hierarchical namespace."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SharedKey",
            f"fs.azure.account.key.{host}": _account_key(self.account_key, site),
            f"fs.azure.account.hns.enabled.{host}": "false",
            f"fs.azure.abfs.endpoint.{host}": self.endpoint,
            f"fs.azure.fns.account.service.type.{host}": "BLOB",
            f"fs.azure.networking.library.{host}": "JDK_HTTP_URL_CONNECTION",
            "fs.azure.always.use.https": "false",
            # When Java ends the driver would report how it was used, and wait for an account that has ended before.
            "fs.azure.metrics.collection.enabled": "false",
        }

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """A connection string with the Blob endpoint."""
        key = _account_key(self.account_key, site)
        return {
            "account_name": uri.account,
            "connection_string": (
                f"DefaultEndpointsProtocol=http;AccountName={uri.account};AccountKey={key};"
                f"BlobEndpoint=http://{self.endpoint}/{uri.account};"
            ),
        }


class Simple(_Credential):
    """HDFS without Kerberos: the user is the one that runs the process, or ``HADOOP_USER_NAME``."""

    lakes = frozenset({LakeType.HDFS})
    variables = _HDFS_VARIABLES
    type: Literal["simple"] = "simple"

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """Nothing to add."""
        return {}

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """Nothing to add."""
        return {}


class Kerberos(_Credential):
    """HDFS with Kerberos: a keytab with its principal, or the ticket cache (of the principal, if one is given).

    A JVM signs in when its session starts (:mod:`feast_hybrid.spark.kerberos`), since one JVM is one principal.
    """

    lakes = frozenset({LakeType.HDFS})
    variables = _HDFS_VARIABLES
    type: Literal["kerberos"]
    principal: str | None = None
    keytab: Path | None = None

    def describe(self) -> str:
        """Who signs in with which file."""
        who = f"principal {self.principal} and " if self.principal else ""
        return f"credential type 'kerberos' with {who}{self._source()}"

    def _source(self) -> str:
        return f"keytab {self.keytab}" if self.keytab else f"the ticket cache {kerberos.ticket_cache()}"

    def _files(self) -> list[Path]:
        return [self.keytab] if self.keytab else _ticket_files()

    def check(self, site: str) -> None:
        """Raise CredentialError if a keytab has no principal."""
        if self.keytab is not None and not self.principal:
            raise CredentialError(f"site {site!r}: a keytab needs the principal whose key it holds.")

    def require_files(self, site: str) -> None:
        """Raise CredentialError if the keytab is not there."""
        if self.keytab is not None and not self.keytab.is_file():
            raise CredentialError(f"site {site!r}: there is no keytab at {self.keytab}.")

    def find_fault(self, text: str = "", *, here: bool = True) -> kerberos.Fault | None:
        """Why nobody is signed in: by a client's words, and where it ran on this machine by trying again."""
        found = kerberos.fault_in_text(text, self.principal, self.keytab)
        return found or (kerberos.find_fault(self.principal, self.keytab) if here else None)

    def check_files(self, site: str) -> None:
        """See that the keytab has a key of the principal, or that there is a ticket that has not expired.

        Raises:
            AuthenticationError: it has none, or there is none.
        """
        if self.keytab:
            fault = kerberos.keytab_fault(self.principal or "", self.keytab)
        else:
            fault = kerberos.ticket_fault(self.principal)
        if fault:
            raise fault.meaning(f"site {site!r}: {fault.text}")

    def to_hadoop_options(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """The client's side of Kerberos; it is the JVM that is signed in."""
        return {"hadoop.security.authentication": "kerberos"}

    def to_fsspec_kwargs(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """The client's side of Kerberos, and whose ticket or keytab it is.

        Raises:
            AuthenticationError: the keytab has no key of the principal, or there is no ticket.
            MissingDependencyError: Kerberos' library is not installed.
        """
        kerberos.check_library()
        self.check_files(site)
        options: dict[str, Any] = {
            "hadoop.security.authentication": "kerberos",
            # That it is set counts, not the value: hdfs-native takes the strongest that the lake offers.
            "dfs.data.transfer.protection": "privacy",
        }
        if self.principal:
            options["kerberos_principal"] = self.principal
        if self.keytab:
            options["kerberos_keytab"] = str(self.keytab)
            # Else its tickets would be put into the user's own cache.
            state = f"{self.principal} {self.keytab} {_file_state(self.keytab)}"
            options["kerberos_cache"] = f"MEMORY:feast-hybrid-{hashlib.sha256(state.encode()).hexdigest()[:16]}"
        return options

    def session(self) -> dict[str, str]:
        """Settings that a Spark session needs from its start."""
        if self.principal and self.keytab:
            return {"spark.kerberos.principal": self.principal, "spark.kerberos.keytab": str(self.keytab)}
        return {}


def _account_key(secret: Secret, site: str) -> str:
    """An account's key; one that is none is refused here, where it can be said where it came from.

    Raises:
        CredentialError: it is not there, or is no base64, of which clients say that a padding is wrong.
    """
    what = f"account_key of site {site!r}"
    key = secret.resolve(what)
    try:
        base64.b64decode(key, validate=True)
    except ValueError:
        pass
    else:
        return key
    instead = ""
    if "accountkey=" in key.lower():
        instead = " It looks like a connection string: give what follows AccountKey= alone, up to the next semicolon."
    elif "sig=" in key.lower():
        instead = " It looks like a shared access signature: use credential type sas."
    elif key != key.strip():
        instead = " There is white space around it."
    raise CredentialError(
        f"{what}: what stands in {secret.describe()} is no account key, which is base64 text that ends in '=='."
        f"{instead}"
    )


def _ticket_files() -> list[Path]:
    """The file with Kerberos' tickets, where they are in a file."""
    file = kerberos.ticket_file()
    return [file] if file else []


def _file_state(file: Path) -> tuple[int, int] | None:
    """What changes when a file is written; None where it is not there."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _oauth(uri: LakeUri, provider: str, settings: Mapping[str, str]) -> dict[str, str]:
    """Hadoop's settings for one of its token providers; ``settings`` by their names behind ``account.oauth2.``."""
    host = uri.account_host
    return {
        f"fs.azure.account.auth.type.{host}": "OAuth",
        f"fs.azure.account.oauth.provider.type.{host}": f"{_OAUTH}.{provider}",
        **{f"fs.azure.account.oauth2.{key}.{host}": value for key, value in settings.items()},
    }


def _account(uri: LakeUri) -> dict[str, Any]:
    """The account and its Blob endpoint, which differs from adlfs's own guess outside of the public cloud."""
    return {"account_name": uri.account, "account_host": uri.account_host.replace(".dfs.", ".blob.", 1)}


Credential = Annotated[
    Platform
    | AccountKey
    | Sas
    | ServicePrincipal
    | ManagedIdentity
    | WorkloadIdentity
    | Emulator
    | Simple
    | Kerberos,
    Field(discriminator="type"),
]

#: The ways to sign in by the names they have in the configuration: those of the union above.
CREDENTIALS: dict[str, type[_Credential]] = {
    get_args(way.model_fields["type"].annotation)[0]: way for way in get_args(get_args(Credential)[0])
}
