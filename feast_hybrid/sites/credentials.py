"""How to sign in to a lake: one type for each way, chosen by ``type`` in the configuration.

Each type gives the same sign-in twice: as Hadoop settings, for Spark's readers and writers, and as arguments of
the fsspec file system, for what needs no Spark. Hadoop's names are those of the ABFS driver's documentation
(hadoop-azure, "Authentication") and of ``hdfs-default.xml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from feast_hybrid.errors import CredentialError
from feast_hybrid.sites.secrets import Secret
from feast_hybrid.sites.uri import Lake, LakeUri

_LOGIN = "https://login.microsoftonline.com"
_OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2"


class _Credential(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    #: The lakes that this way of signing in is for.
    lakes: ClassVar[frozenset[Lake]] = frozenset({Lake.ADLS})
    type: str

    def check(self, site: str) -> None:
        """Raise CredentialError if a secret that this refers to is not there."""
        for name, value in self:
            if isinstance(value, Secret):
                value.check(f"{name} of site {site!r}")

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:
        """The Hadoop settings that sign in, secrets resolved."""
        raise NotImplementedError

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """The arguments of the fsspec file system that sign in, secrets resolved."""
        raise NotImplementedError


class Platform(_Credential):
    """The cluster, or the machine's own Azure identity, supplies the sign-in: nothing is added."""

    lakes = frozenset({Lake.ADLS, Lake.HDFS, Lake.LOCAL})
    type: Literal["platform"] = "platform"

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """Nothing: what the session has is used."""
        return {}

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """For ADLS the account, and the identity that azure-identity finds by itself."""
        return {"account_name": uri.account, "anon": False} if uri.lake is Lake.ADLS else {}


class AccountKey(_Credential):
    """The storage account's shared key."""

    type: Literal["account_key"]
    account_key: Secret

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:
        """Shared key, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SharedKey",
            f"fs.azure.account.key.{host}": self.account_key.resolve(f"account_key of site {site!r}"),
        }

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """Account and key."""
        key = self.account_key.resolve(f"account_key of site {site!r}")
        return {"account_name": uri.account, "account_key": key}


class Sas(_Credential):
    """A shared access signature for the account or the container."""

    type: Literal["sas"]
    token: Secret

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:
        """A fixed token, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SAS",
            f"fs.azure.sas.fixed.token.{host}": self._token(site),
        }

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """Account and token."""
        return {"account_name": uri.account, "sas_token": self._token(site)}

    def _token(self, site: str) -> str:
        return self.token.resolve(f"token of site {site!r}").lstrip("?")


class ServicePrincipal(_Credential):
    """An Entra application with a client secret."""

    type: Literal["service_principal"]
    tenant_id: str
    client_id: str
    client_secret: Secret

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:
        """OAuth 2 client credentials, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "OAuth",
            f"fs.azure.account.oauth.provider.type.{host}": f"{_OAUTH}.ClientCredsTokenProvider",
            f"fs.azure.account.oauth2.client.endpoint.{host}": f"{_LOGIN}/{self.tenant_id}/oauth2/token",
            f"fs.azure.account.oauth2.client.id.{host}": self.client_id,
            f"fs.azure.account.oauth2.client.secret.{host}": self._secret(site),
        }

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """Account, tenant, client and secret."""
        return {
            "account_name": uri.account,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self._secret(site),
        }

    def _secret(self, site: str) -> str:
        return self.client_secret.resolve(f"client_secret of site {site!r}")


class ManagedIdentity(_Credential):
    """The identity that Azure gives to the machine; ``client_id`` where it has several."""

    type: Literal["managed_identity"]
    client_id: str | None = None
    tenant_id: str | None = None

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """OAuth 2 by the instance metadata service, for this account only."""
        host = uri.account_host
        options = {
            f"fs.azure.account.auth.type.{host}": "OAuth",
            f"fs.azure.account.oauth.provider.type.{host}": f"{_OAUTH}.MsiTokenProvider",
        }
        if self.client_id:
            options[f"fs.azure.account.oauth2.client.id.{host}"] = self.client_id
        if self.tenant_id:
            options[f"fs.azure.account.oauth2.msi.tenant.{host}"] = self.tenant_id
        return options

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """An azure-identity credential for the machine's identity."""
        from azure.identity.aio import ManagedIdentityCredential

        return {"account_name": uri.account, "credential": ManagedIdentityCredential(client_id=self.client_id)}


class WorkloadIdentity(_Credential):
    """A Kubernetes service account federated with Entra; the defaults are the ones that AKS injects."""

    type: Literal["workload_identity"]
    tenant_id: str
    client_id: str
    token_file: Path = Path("/var/run/secrets/azure/tokens/azure-identity-token")

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """OAuth 2 by a federated token, for this account only."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "OAuth",
            f"fs.azure.account.oauth.provider.type.{host}": f"{_OAUTH}.WorkloadIdentityTokenProvider",
            f"fs.azure.account.oauth2.msi.tenant.{host}": self.tenant_id,
            f"fs.azure.account.oauth2.client.id.{host}": self.client_id,
            f"fs.azure.account.oauth2.token.file.{host}": str(self.token_file),
        }

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """An azure-identity credential that exchanges the token."""
        from azure.identity.aio import WorkloadIdentityCredential

        credential = WorkloadIdentityCredential(
            tenant_id=self.tenant_id, client_id=self.client_id, token_file_path=str(self.token_file)
        )
        return {"account_name": uri.account, "credential": credential}


class Emulator(_Credential):
    """Azurite in the place of ADLS, over plain HTTP: for tests and for trying things out.

    ``endpoint`` is the ``host:port`` of its Blob service. Hadoop keeps the endpoint in a setting without an
    account's name, so a session reads one emulator at a time.
    """

    type: Literal["emulator"]
    account_key: Secret
    endpoint: str

    @field_validator("endpoint")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not (host and colon and port.isdigit()) or "/" in value:
            raise CredentialError(f"endpoint of an emulator: expected host:port, found {value!r}.")
        return value

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:
        """Shared key against the Blob endpoint, without hierarchical namespace."""
        host = uri.account_host
        return {
            f"fs.azure.account.auth.type.{host}": "SharedKey",
            f"fs.azure.account.key.{host}": self.account_key.resolve(f"account_key of site {site!r}"),
            f"fs.azure.account.hns.enabled.{host}": "false",
            "fs.azure.account.hns.enabled": "false",
            "fs.azure.abfs.endpoint": self.endpoint,
            "fs.azure.always.use.https": "false",
            "fs.azure.fns.account.service.type": "BLOB",
            "fs.azure.networking.library": "JDK_HTTP_URL_CONNECTION",
        }

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:
        """A connection string with the Blob endpoint."""
        key = self.account_key.resolve(f"account_key of site {site!r}")
        return {
            "account_name": uri.account,
            "connection_string": (
                f"DefaultEndpointsProtocol=http;AccountName={uri.account};AccountKey={key};"
                f"BlobEndpoint=http://{self.endpoint}/{uri.account};"
            ),
        }


class Simple(_Credential):
    """HDFS without Kerberos: the user is the one that runs the process, or ``HADOOP_USER_NAME``."""

    lakes = frozenset({Lake.HDFS})
    type: Literal["simple"] = "simple"

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """Nothing to add."""
        return {}

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """Nothing to add."""
        return {}


class Kerberos(_Credential):
    """HDFS with Kerberos: a keytab, or the ticket cache where there is none.

    Spark takes the keytab when its session starts (``spark.kerberos.*``), since it also renews the tokens of
    the executors; hdfs-native takes the ticket cache, so run ``kinit`` for what needs no Spark.
    """

    lakes = frozenset({Lake.HDFS})
    type: Literal["kerberos"]
    principal: str | None = None
    keytab: Path | None = None

    def hadoop(self, uri: LakeUri, site: str) -> dict[str, str]:  # noqa: ARG002
        """The client's side of Kerberos; the keytab goes to the session, see :meth:`session`."""
        return {"hadoop.security.authentication": "kerberos"}

    def fsspec(self, uri: LakeUri, site: str) -> dict[str, Any]:  # noqa: ARG002
        """The client's side of Kerberos."""
        return {"hadoop.security.authentication": "kerberos"}

    def session(self) -> dict[str, str]:
        """Settings that a Spark session needs from its start."""
        if self.principal and self.keytab:
            return {"spark.kerberos.principal": self.principal, "spark.kerberos.keytab": str(self.keytab)}
        return {}


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
