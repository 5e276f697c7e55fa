"""A one-node HDFS with Kerberos: sign-in, block tokens, and a chosen protection of what goes over the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from feast_hybrid.testing.hdfs import JVM, HdfsLake
from feast_hybrid.testing.services import HOST

if TYPE_CHECKING:
    from feast_hybrid.testing.kerberos import KerberosRealm

Protection = Literal["authentication", "integrity", "privacy"]


class SecureHdfsLake(HdfsLake):
    """A NameNode and a DataNode in a Kerberos realm, as plain processes in any mode.

    Everybody may write to its root. Its superuser is ``nn``, the NameNode's own principal.

    Args:
        realm: runs for as long as the lake does.
        protection: of calls to the NameNode and of blocks alike; clients have to take it.
        user: the principal, without the realm, with which :meth:`site` signs in.

    Attributes:
        keytab: holds the user's key; made when the lake starts.
    """

    def __init__(self, realm: KerberosRealm, *, protection: Protection = "privacy", user: str = "feast") -> None:
        super().__init__("process")
        self.realm = realm
        self.protection = protection
        self.user = user
        self.keytab = self._server_keytab = Path()

    def site(self, name: str) -> dict[str, Any]:
        """A site that signs in by the user's keytab."""
        credential = {"type": "kerberos", "principal": self.realm.principal(self.user), "keytab": str(self.keytab)}
        return {"name": name, "uri": self.uri, "credential": credential}

    def hadoop_options(self) -> dict[str, str]:
        """What a JVM that has signed in needs to reach it."""
        return {
            **super().hadoop_options(),
            "hadoop.security.authentication": "kerberos",
            "hadoop.rpc.protection": self.protection,
            "dfs.data.transfer.protection": self.protection,
            "dfs.namenode.kerberos.principal": self._principal("nn"),
        }

    def filesystem(self) -> Any:
        """``hdfs_native``'s, signed in as the superuser."""
        from hdfs_native import Client
        from hdfs_native.fsspec import HdfsFileSystem

        options = {"hadoop.security.authentication": "kerberos", "dfs.data.transfer.protection": self.protection}
        made = HdfsFileSystem(host=HOST, port=self._port, skip_instance_cache=True, **options)
        made.client = Client(
            self.uri,
            options,
            kerberos_principal=self._principal("nn"),
            kerberos_keytab=str(self._server_keytab),
            kerberos_cache=f"MEMORY:feast-hybrid-test-{self._port}",
        )
        return made

    def _principal(self, service: str) -> str:
        return self.realm.principal(f"{service}/localhost")

    def _fetch(self) -> None:
        super()._fetch()
        self._server_keytab = self.realm.keytab(
            "servers.keytab", *(f"{each}/localhost" for each in ("nn", "dn", "HTTP"))
        )
        self.keytab = self.realm.keytab(f"{self.user}.keytab", self.user)

    def _more_settings(self) -> dict[str, str]:
        keytab = str(self._server_keytab)
        return {
            "hadoop.security.authentication": "kerberos",
            "hadoop.rpc.protection": self.protection,
            "dfs.data.transfer.protection": self.protection,
            "dfs.block.access.token.enable": "true",
            "dfs.namenode.kerberos.principal": self._principal("nn"),
            "dfs.namenode.keytab.file": keytab,
            "dfs.datanode.kerberos.principal": self._principal("dn"),
            "dfs.datanode.keytab.file": keytab,
            "dfs.web.authentication.kerberos.principal": self._principal("HTTP"),
            "dfs.web.authentication.kerberos.keytab": keytab,
            "dfs.namenode.kerberos.internal.spnego.principal": self._principal("HTTP"),
            # Else a DataNode wants ports that root alone may open, or certificates for its pages.
            "ignore.secure.ports.for.testing": "true",
        }

    def _java_options(self) -> tuple[str, ...]:
        return (*JVM, f"-Djava.security.krb5.conf={self.realm.config}")

    def _started(self) -> None:
        self.filesystem().client.set_permission("/", 0o777)
