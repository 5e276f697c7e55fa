"""A site: one lake with its address and the way to sign in."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from feast_hybrid.errors import ConfigError, CredentialError
from feast_hybrid.sites.credentials import Credential, Kerberos, Platform
from feast_hybrid.sites.uri import Lake, LakeUri, parse_uri

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")


class Site(BaseModel):
    """One entry of ``offline_store.sites``.

    Attributes:
        name: how errors, tags and ``doctor`` call it.
        uri: every URI at or below it belongs to this site; the longest such site wins.
        namenodes: ``host:port`` of each NameNode, where ``uri`` names a nameservice and Hadoop's own
            configuration files, which would say it, are not at hand.
        credential: how to sign in; by default the platform does.
        options: further Hadoop settings for this site, such as a timeout; never a secret.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str
    uri: str
    namenodes: list[str] = Field(default_factory=list)
    credential: Credential = Field(default_factory=Platform)
    options: dict[str, str] = Field(default_factory=dict)

    _at: LakeUri = PrivateAttr()

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise ConfigError(
                f"site name {value!r}: use letters, digits, '_', '.' and '-', beginning with a letter or digit."
            )
        return value

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields."""
        self._at = parse_uri(self.uri, what=f"uri of site {self.name!r}")
        if self._at.lake not in self.credential.lakes:
            ways = sorted(_WAYS[self._at.lake])
            raise CredentialError(
                f"site {self.name!r}: credential type {self.credential.type!r} is not for {self._at.scheme}://; "
                f"use one of {', '.join(ways)}."
            )
        if self.namenodes and self._at.lake is not Lake.HDFS:
            raise ConfigError(f"site {self.name!r}: namenodes belong to hdfs://, not to {self._at.scheme}://.")
        for node in self.namenodes:
            host, _, port = node.rpartition(":")
            if not host or not port.isdigit():
                raise ConfigError(f"site {self.name!r}: namenode {node!r} must be host:port, such as nn1.corp:8020.")
        if self.namenodes and ":" in self._at.authority:
            raise ConfigError(
                f"site {self.name!r}: namenodes name the servers of a nameservice, but uri {self.uri!r} has a port; "
                "write hdfs://<nameservice>."
            )
        for key in self.options:
            if re.search(r"(key|secret|token|password|sas)", key, re.IGNORECASE) and key.startswith("fs.azure"):
                raise ConfigError(f"site {self.name!r}: option {key!r} may hold a secret; use credential instead.")

    @property
    def at(self) -> LakeUri:
        """The site's URI, taken apart."""
        return self._at

    @property
    def lake(self) -> Lake:
        """The kind of storage."""
        return self._at.lake

    def hadoop_options(self) -> dict[str, str]:
        """The Hadoop settings that reach this site, secrets resolved: for readers and writers only."""
        return {**self._high_availability(), **self.credential.hadoop(self._at, self.name), **self.options}

    def session_conf(self) -> dict[str, str]:
        """What a Spark session must be started with for this site, if it is ours to start."""
        return self.credential.session() if isinstance(self.credential, Kerberos) else {}

    def _high_availability(self) -> dict[str, str]:
        if not self.namenodes:
            return {}
        service = self._at.authority
        names = [f"nn{number}" for number in range(1, len(self.namenodes) + 1)]
        options = {
            "dfs.nameservices": service,
            f"dfs.ha.namenodes.{service}": ",".join(names),
            f"dfs.client.failover.proxy.provider.{service}": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
        }
        for name, address in zip(names, self.namenodes, strict=True):
            options[f"dfs.namenode.rpc-address.{service}.{name}"] = address
        return options

    def filesystem(self, uri: LakeUri | None = None) -> Any:
        """An fsspec file system for a URI of this site; needs no JVM.

        Raises:
            CredentialError: a secret is not there.
        """
        at = uri or self._at
        if self.lake is Lake.ADLS:
            from adlfs import AzureBlobFileSystem

            return AzureBlobFileSystem(**self.credential.fsspec(at, self.name), skip_instance_cache=True)
        if self.lake is Lake.HDFS:
            from hdfs_native.fsspec import HdfsFileSystem, ViewfsFileSystem

            host, _, port = at.authority.partition(":")
            config = {**self._high_availability(), **self.credential.fsspec(at, self.name), **self.options}
            kind = ViewfsFileSystem if at.scheme == "viewfs" else HdfsFileSystem
            return kind(host, int(port) if port else None, skip_instance_cache=True, **config)
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem()

    def fsspec_path(self, uri: LakeUri) -> str:
        """A URI as this site's fsspec file system wants it: ADLS counts the container as a folder."""
        return f"{uri.container}{uri.path}" if uri.lake is Lake.ADLS else uri.path


_WAYS: dict[Lake, set[str]] = {
    Lake.ADLS: {
        "platform",
        "account_key",
        "sas",
        "service_principal",
        "managed_identity",
        "workload_identity",
        "emulator",
    },
    Lake.HDFS: {"platform", "simple", "kerberos"},
    Lake.LOCAL: {"platform"},
}
