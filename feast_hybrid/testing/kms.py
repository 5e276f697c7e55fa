"""Hadoop's key management server, which has the keys of encryption zones."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from feast_hybrid.spark.java import find_java
from feast_hybrid.testing import artifacts
from feast_hybrid.testing.hdfs import JVM
from feast_hybrid.testing.lake import Server
from feast_hybrid.testing.services import HOST, Service, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KEY_SHELL = "org.apache.hadoop.crypto.key.KeyShell"
CRYPTO_ADMIN = "org.apache.hadoop.hdfs.tools.CryptoAdmin"
_MAIN = "org.apache.hadoop.crypto.key.kms.server.KMSWebServer"


class KeyServer(Server):
    """A KMS without Kerberos, whose keys are in a file; a plain process in any mode.

    Everybody may use each key, but for those whose names are given: of these nobody may have one decrypted.

    Args:
        closed_keys: their names.
    """

    server_type = image = "kms"

    def __init__(self, closed_keys: tuple[str, ...] = ()) -> None:
        super().__init__("process")
        self.closed_keys = closed_keys
        self._port = 0

    @property
    def uri(self) -> str:
        """As ``hadoop.security.key.provider.path`` takes it."""
        return f"kms://http@{HOST}:{self._port}/kms"

    def _fetch(self) -> None:
        artifacts.kms_jars()

    def _plan(self, folder: Path) -> list[Service]:
        (self._port,) = free_ports(1)
        settings = folder / "settings"
        settings.mkdir()
        server = {
            "hadoop.kms.http.host": HOST,
            "hadoop.kms.http.port": str(self._port),
            "hadoop.kms.key.provider.uri": f"jceks://file@{folder}/keys.jceks",
            "hadoop.kms.authentication.type": "simple",
        }
        rights = {f"default.key.acl.{each}": "*" for each in ("MANAGEMENT", "GENERATE_EEK", "DECRYPT_EEK", "READ")}
        for key in self.closed_keys:
            # A key that has rights of its own has none of the others.
            rights |= {f"key.acl.{key}.{each}": "*" for each in ("MANAGEMENT", "GENERATE_EEK", "READ")}
            rights[f"key.acl.{key}.DECRYPT_EEK"] = "nobody"
        (settings / "kms-site.xml").write_text(_xml(server))
        (settings / "kms-acls.xml").write_text(_xml(rights))
        (settings / "core-site.xml").write_text(_xml({}))
        (settings / "log4j.properties").write_text(
            "log4j.rootLogger=INFO,out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
        )
        jars = artifacts.kms_jars().path
        # JAXB of this release opens what Java has closed since.
        opens = ("--add-opens", "java.base/java.lang=ALL-UNNAMED")
        options = (*opens, f"-Dkms.config.dir={settings}", f"-Dlog4j.configuration=file:{settings}/log4j.properties")
        command = (find_java(), *JVM, *options, "-cp", f"{settings}:{jars}/*", _MAIN)
        return [Service("kms", command, image="kms", arguments=())]

    def _ready(self) -> str | None:
        with suppress(OSError), socket.create_connection((HOST, self._port), timeout=1):
            return None
        return "it to listen"


def _xml(settings: Mapping[str, str]) -> str:
    """A file of Hadoop's settings."""
    properties = "".join(
        f"<property><name>{escape(key)}</name><value>{escape(value)}</value></property>"
        for key, value in settings.items()
    )
    return f'<?xml version="1.0"?><configuration>{properties}</configuration>'
