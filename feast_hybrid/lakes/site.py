"""A site: one lake with its address and the way to sign in."""

from __future__ import annotations

import re
import warnings
from typing import Annotated, Any

from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator
from pydantic_core import PydanticCustomError

from feast_hybrid.errors import ConfigError, CredentialError
from feast_hybrid.lakes.answering import in_order
from feast_hybrid.lakes.credentials import CREDENTIALS, Credential, Kerberos, Platform
from feast_hybrid.lakes.secrets import holds_secret, literal_secrets
from feast_hybrid.lakes.shared_filesystems import SHARED, KeptFileSystem
from feast_hybrid.lakes.timeouts import NUMBERS
from feast_hybrid.lakes.uri import LakeType, LakeUri, parse_uri

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,253}$")


def _as_text(value: Any) -> Any:
    """A setting as Hadoop and Spark write it: YAML reads ``true`` and ``8`` as other than text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


#: The value of a Hadoop or Spark setting.
SettingText = Annotated[str, BeforeValidator(_as_text)]


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
    options: dict[str, SettingText] = Field(default_factory=dict, repr=False)

    _root: LakeUri = PrivateAttr()
    _kept: KeptFileSystem = PrivateAttr(default_factory=KeptFileSystem)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _NAME.match(value):
            raise PydanticCustomError(
                "name", "use letters, digits, '_', '.' and '-', beginning with a letter or a digit"
            )
        return value

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields."""
        self._root = parse_uri(self.uri, what=f"uri of site {self.name!r}")
        if self._root.lake not in self.credential.lakes:
            ways = sorted(name for name, way in CREDENTIALS.items() if self._root.lake in way.lakes)
            raise CredentialError(
                f"site {self.name!r}: credential type {self.credential.type!r} is not for {self._root.scheme}://; "
                f"use one of {', '.join(ways)}."
            )
        self.credential.check(self.name)
        self._check_namenodes()
        self._warn_of_literals()
        for key, value in self.options.items():
            self._check_option(key)
            if key in NUMBERS and not value.isdecimal():
                raise ConfigError(f"site {self.name!r}: option {key!r} must be a whole number.")

    def _check_namenodes(self) -> None:
        if self.namenodes and self._root.scheme != "hdfs":
            raise ConfigError(f"site {self.name!r}: namenodes belong to hdfs://, not to {self._root.scheme}://.")
        for node in self.namenodes:
            if not re.fullmatch(r"[A-Za-z0-9.-]+:[0-9]{1,5}", node):
                raise ConfigError(f"site {self.name!r}: namenode {node!r} must be host:port, such as nn1.corp:8020.")
        if self.namenodes and ":" in self._root.authority:
            raise ConfigError(
                f"site {self.name!r}: namenodes name the servers of a nameservice, but uri {self.uri!r} has a port; "
                "write hdfs://<nameservice>."
            )

    def _warn_of_literals(self) -> None:
        for name in literal_secrets({key: value for key, value in self.options.items() if not holds_secret(key)}):
            warnings.warn(
                f"site {self.name!r}: option {name} holds a secret as text. It shows in feature_store.yaml, and "
                "wherever Feast's RepoConfig is printed or logged. Refer to it by a file or a credential provider of "
                "Hadoop's.",
                UserWarning,
                stacklevel=2,
            )

    def _check_option(self, key: str) -> None:
        if holds_secret(key):
            raise ConfigError(f"site {self.name!r}: option {key!r} holds a secret; use credential instead.")
        if key.startswith("spark.hadoop."):
            right = key.removeprefix("spark.hadoop.")
            raise ConfigError(f"site {self.name!r}: options are Hadoop's own; write {right!r} for {key!r}.")
        if key.startswith("spark."):
            raise ConfigError(
                f"site {self.name!r}: option {key!r} is Spark's; it belongs in offline_store.spark.conf."
            )

    @property
    def root(self) -> LakeUri:
        """The site's URI, taken apart."""
        return self._root

    @property
    def lake(self) -> LakeType:
        """The kind of storage."""
        return self._root.lake

    def hadoop_options(self) -> dict[str, str]:
        """The Hadoop settings that reach this site, secrets resolved: for readers and writers only."""
        return {
            **self._high_availability(),
            **self.credential.to_hadoop_options(self._root, self.name),
            **self.options,
        }

    def signed_in_by(self, credential: Any) -> Site:
        """This site, signed in to in another way: for the reads and writes of a single source."""
        # Deep: one that is not would share what this site keeps open.
        return self.model_copy(update={"credential": credential}, deep=True)

    def session_conf(self) -> dict[str, str]:
        """What a Spark session must be started with for this site, if it is ours to start."""
        return self.credential.session() if isinstance(self.credential, Kerberos) else {}

    def _high_availability(self) -> dict[str, str]:
        if not self.namenodes:
            return {}
        service = self._root.authority
        names = [f"nn{number}" for number in range(1, len(self.namenodes) + 1)]
        options = {
            "dfs.nameservices": service,
            f"dfs.ha.namenodes.{service}": ",".join(in_order(service, names)),
            f"dfs.client.failover.proxy.provider.{service}": (
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
            ),
        }
        for name, address in zip(names, self.namenodes, strict=True):
            options[f"dfs.namenode.rpc-address.{service}.{name}"] = address
        return options

    def filesystem(self, uri: LakeUri | None = None) -> Any:
        """An fsspec file system for a URI of this site; needs no JVM.

        It is shared in the process by all whose sign-in is the same at this moment, and closed when it is used no
        more. Ask for it anew for each piece of work: when a secret has changed, this gives another one, and in a
        forked process too.

        Raises:
            CredentialError: a secret is not there.
        """
        place = uri or self._root
        if self.lake is LakeType.LOCAL:
            return LocalFileSystem()
        return self._kept.get(self.sign_in_key(place), lambda: self._connect(place))

    def sign_in_key(self, uri: LakeUri) -> bytes:
        """What tells the sign-in of this moment from others in this process; nothing of it can be had back.

        Raises:
            CredentialError: a secret is not there.
        """
        return SHARED.key(
            place=f"{uri.scheme}://{uri.authority}",
            settings={
                "credential": self.credential.sign_in_state(uri, self.name),
                "namenodes": self.namenodes,
                "options": self.options,
            },
        )

    def _connect(self, place: LakeUri) -> Any:
        from feast_hybrid.lakes.filesystems import SiteBlobFileSystem, SiteHdfsFileSystem, SiteViewfsFileSystem

        self.credential.require_files(self.name)
        signed_in = self.credential.to_fsspec_kwargs(place, self.name)
        if self.lake is LakeType.ADLS:
            return SiteBlobFileSystem(**signed_in, limits=self.options, skip_instance_cache=True)
        host, _, port = place.authority.partition(":")
        driver = SiteViewfsFileSystem if place.scheme == "viewfs" else SiteHdfsFileSystem
        config = {**self._high_availability(), **signed_in, **self.options}
        return driver(host, int(port) if port else None, skip_instance_cache=True, **config)

    def fsspec_path(self, uri: LakeUri) -> str:
        """A URI as this site's fsspec file system wants it: ADLS counts the container as a folder."""
        return f"{uri.container}{uri.path}" if uri.lake is LakeType.ADLS else uri.path
