"""A storage account with sign-ins by Entra, as far as that can be had without Azure: Azurite and a token service."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import TestServerError
from feast_hybrid.spark.java import find_java
from feast_hybrid.testing.adls import AdlsLake, make_container
from feast_hybrid.testing.services import HOST, Service, free_ports

if TYPE_CHECKING:
    from feast_hybrid.lakes.credentials import Emulator

SCRIPT = Path(__file__).with_name("entra_server.py")
_STORE_PASSWORD = "changeit"  # noqa: S105  # Java's own; it guards certificates only
_HOSTS = (
    *("*.blob.core.windows.net", "*.dfs.core.windows.net", "*.vault.azure.net"),
    *("login.microsoftonline.com", "localhost"),
)


class EntraLake(AdlsLake):
    """A storage account under its real host names, reached over TLS through a proxy; plain processes in any mode.

    Programs that are to reach it are started with :meth:`environment`, and JVMs with :meth:`java_options` too. What
    it cannot show: roles, access control lists, the hierarchical namespace; a token's signature is not looked at.

    Args:
        container: the name of the container to create.
        seconds: for which a token is good.
        vault: whether any vault of Azure Key Vault has the account's key, as the secret ``account-key``.
        clock: by how many seconds the account's clock is ahead of this machine's; negative where it is behind.

    Attributes:
        tenant: of the application.
        client: the application's id, which the machine's identity has too.
        secret: the application's, as it is in :meth:`environment`.
    """

    def __init__(self, *, container: str = "lake", seconds: int = 3600, clock: int = 0, vault: bool = False) -> None:
        super().__init__("process", container=container)
        self.seconds, self.clock, self.vault = seconds, clock, vault
        self.tenant, self.client = str(uuid.uuid4()), str(uuid.uuid4())
        self.secret = secrets.token_urlsafe(24)
        self._proxy_port = self._login_port = self._vault_port = 0

    @property
    def uri(self) -> str:
        """``abfss://CONTAINER@ACCOUNT.dfs.core.windows.net``."""
        return f"abfss://{self.container}@{self._host}"

    @property
    def assertion_file(self) -> Path:
        """What a pod's federated token would be in."""
        return self._inside / "assertion"

    def environment(self) -> dict[str, str]:
        """The variables of a program that is to reach it, the application's secret among them."""
        proxy = f"http://{HOST}:{self._proxy_port}"
        return {
            "HTTPS_PROXY": proxy,
            "HTTP_PROXY": proxy,
            "NO_PROXY": f"{HOST},localhost",
            "SSL_CERT_FILE": str(self._inside / "authority.pem"),
            "REQUESTS_CA_BUNDLE": str(self._inside / "authority.pem"),
            "THE_CLIENT_SECRET": self.secret,
            "THE_ACCOUNT_KEY": self.key,
            "THE_SAS": self.sas(),
        }

    def java_options(self) -> str:
        """The options of a JVM that is to reach it."""
        return " ".join(
            [
                *(
                    f"-D{scheme}.proxy{name}"
                    for scheme in ("http", "https")
                    for name in (f"Host={HOST}", f"Port={self._proxy_port}")
                ),
                f"-Djavax.net.ssl.trustStore={self._inside / 'authority.p12'}",
                f"-Djavax.net.ssl.trustStorePassword={_STORE_PASSWORD}",
            ]
        )

    def options(self) -> dict[str, str]:
        """A site's options for an account without hierarchical namespace."""
        return {
            f"fs.azure.account.hns.enabled.{self._host}": "false",
            f"fs.azure.fns.account.service.type.{self._host}": "BLOB",
            f"fs.azure.networking.library.{self._host}": "JDK_HTTP_URL_CONNECTION",
            "fs.azure.metrics.collection.enabled": "false",
        }

    def credentials(self) -> dict[str, dict[str, Any]]:
        """Each way to sign in to it, by its name in the configuration."""
        application = {"tenant_id": self.tenant, "client_id": self.client}
        return {
            "account_key": {"type": "account_key", "account_key": {"env": "THE_ACCOUNT_KEY"}},
            "sas": {"type": "sas", "token": {"env": "THE_SAS"}},
            "service_principal": {
                "type": "service_principal",
                **application,
                "client_secret": {"env": "THE_CLIENT_SECRET"},
            },
            "managed_identity": {"type": "managed_identity", **application},
            "workload_identity": {
                "type": "workload_identity",
                **application,
                "token_file": str(self.assertion_file),
            },
            "platform": {"type": "platform"},
        }

    def platform_settings(self) -> dict[str, str]:
        """What a Spark cluster that signs in by the machine's identity is started with."""
        oauth = "fs.azure.account.oauth"
        settings = {
            "fs.azure.account.auth.type": "OAuth",
            f"{oauth}.provider.type": "org.apache.hadoop.fs.azurebfs.oauth2.MsiTokenProvider",
            f"{oauth}2.msi.tenant": self.tenant,
            f"{oauth}2.client.id": self.client,
        }
        return {f"spark.hadoop.{key}.{self._host}": value for key, value in settings.items()}

    def site(self, name: str, credential: str = "service_principal") -> dict[str, Any]:
        """A site that signs in by one of :meth:`credentials`."""
        return {
            "name": name,
            "uri": self.uri,
            "credential": self.credentials()[credential],
            "options": self.options(),
        }

    def sas(self, *, hours: float = 1, since: float = -2, permissions: str = "rwdlac") -> str:
        """A shared access signature of the account.

        Args:
            hours: until when it is good, from now by this machine's clock.
            since: from when on.
            permissions: what it allows, by Azure's letters.
        """
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

        return generate_account_sas(
            account_name=self.account,
            account_key=self.key,
            resource_types=ResourceTypes(service=True, container=True, object=True),
            permission=AccountSasPermissions.from_string(permissions),
            expiry=datetime.now(UTC) + timedelta(hours=hours),
            start=datetime.now(UTC) + timedelta(hours=since),
        )

    @property
    def connection_string(self) -> str:
        """What Azure's own clients are given; they have to be told of the certificate."""
        return (
            f"DefaultEndpointsProtocol=https;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint=https://{self.endpoint}/{self.account};"
        )

    @property
    def _inside(self) -> Path:
        if self.folder is None:
            raise TestServerError("This storage account does not run.")
        return self.folder

    def _credential(self) -> Emulator:
        raise TestServerError("An account with Entra is signed in to by one of credentials().")

    def _plan(self, folder: Path) -> list[Service]:
        (azurite,) = super()._plan(folder)
        self._proxy_port, self._login_port, self._vault_port = free_ports(3)
        _write_certificates(folder)
        (folder / "assertion").write_text(secrets.token_urlsafe(24))
        config = {
            "port": self._proxy_port,
            "login_port": self._login_port,
            "vault_port": self._vault_port,
            "secrets": {"account-key": json.dumps({"account_key": self.key})} if self.vault else {},
            "storage_port": self._port,
            "certificate": str(folder / "server.pem"),
            "key": str(folder / "server.key"),
            "tenant": self.tenant,
            "client": self.client,
            "secret": self.secret,
            "assertion_file": str(folder / "assertion"),
            "seconds": self.seconds,
            "audience": "https://storage.azure.com",
        }
        (folder / "entra.json").write_text(json.dumps(config))
        tls = ("--oauth", "basic", "--cert", str(folder / "server.pem"), "--key", str(folder / "server.key"))
        # Azurite asks itself, as any client does, whether the source of a copy may be read.
        itself = {
            "HTTPS_PROXY": f"http://{HOST}:{self._proxy_port}",
            "NODE_EXTRA_CA_CERTS": str(folder / "authority.pem"),
        }
        environment = {**azurite.environment, **itself, "LAKE_CLOCK": str(self.clock)}
        return [
            Service("azurite", (*azurite.command, *tls), image="", arguments=(), environment=environment),
            Service("entra", (sys.executable, str(SCRIPT), str(folder / "entra.json")), image="", arguments=()),
        ]

    def _ready(self) -> str | None:
        for port, what in (
            (self._proxy_port, "the proxy to answer"),
            (self._login_port, "the token service to answer"),
        ):
            try:
                socket.create_connection((HOST, port), timeout=2).close()
            except OSError:
                return what
        authority = str(self._inside / "authority.pem")
        return make_container(self.connection_string, self.container, connection_verify=authority)


def _write_certificates(folder: Path) -> None:
    """An authority and a certificate of Azure's hosts by it, as PEM files and as Java's store."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.now(UTC)

    def certificate(name: str, key: Any, issuer: Any, signing_key: Any, *extensions: Any) -> Any:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=2))
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(signing_key, hashes.SHA256())

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = certificate(
        "feast-hybrid test authority", authority_key, None, authority_key, (x509.BasicConstraints(True, None), True)
    )
    names = [*map(x509.DNSName, _HOSTS), x509.IPAddress(ip_address(HOST))]
    server = certificate(
        "feast-hybrid test server", key, authority.subject, authority_key, (x509.SubjectAlternativeName(names), False)
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    keytool = str(Path(find_java()).resolve().with_name("keytool"))
    store = ["-keystore", str(folder / "authority.p12"), "-storetype", "PKCS12", "-storepass", _STORE_PASSWORD]
    done = subprocess.run(
        [keytool, "-importcert", "-noprompt", "-alias", "authority", "-file", str(folder / "authority.pem"), *store],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise TestServerError(f"keytool: {done.stdout}{done.stderr}")
