"""``offline_store.spark`` in ``feature_store.yaml``."""

from __future__ import annotations

import warnings
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from feast_hybrid.errors import ConfigError
from feast_hybrid.lakes.secrets import Secret, holds_secret, literal_secrets
from feast_hybrid.lakes.site import SettingText

#: Spark settings that have a field of their own.
_FIELDS_OF_THEIR_OWN = ("spark.master", "spark.remote")
#: How errors name the token.
_SIGN_IN = "offline_store.spark.token"


class SparkConfig(BaseModel):
    """The Spark session to start where none is active.

    Attributes:
        master: a Classic master URL such as ``spark://host:7077``; ``local[*]`` where neither is given.
        remote: a Spark Connect URL such as ``sc://host:15002``.
        token: what signs in to that server: ``{env: NAME}`` or ``{file: /path}``.
        app_name: the application's name in Spark's UI.
        conf: Spark settings by their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    master: str | None = None
    remote: str | None = Field(default=None, repr=False)  # it may end in ;token=…
    token: Secret | None = None
    app_name: str = "feast-hybrid"
    conf: dict[str, SettingText] = Field(default_factory=dict, repr=False)

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields."""
        if self.master and self.remote:
            raise ConfigError("offline_store.spark: give master (Spark Classic) or remote (Spark Connect), not both.")
        for key in _FIELDS_OF_THEIR_OWN:
            if key in self.conf:
                raise ConfigError(f"offline_store.spark.conf: {key} belongs in offline_store.{key}.")
        for key in self.conf:
            if holds_secret(key):
                raise ConfigError(
                    f"offline_store.spark.conf: {key} would be readable in Spark's UI and event log; sign in by "
                    "offline_store.sites[].credential instead."
                )
        self._check_token()
        self._warn_of_literals()

    def resolved_token(self) -> str | None:
        """The token itself, where there is one. Pass it on at once.

        Raises:
            CredentialError: it is not there.
        """
        return None if self.token is None else self.token.resolve(_SIGN_IN)

    def _check_token(self) -> None:
        if self.token is None:
            return
        if not self.remote:
            raise ConfigError(f"{_SIGN_IN} signs in to a Spark Connect server: it needs remote beside it.")
        if "token" in _parameters(self.remote):
            raise ConfigError(f"{_SIGN_IN}: offline_store.spark.remote has a token of its own; take that one out.")
        self.token.warn_if_literal(_SIGN_IN)

    def _warn_of_literals(self) -> None:
        for name in literal_secrets(_parameters(self.remote or "")):
            warnings.warn(
                f"offline_store.spark.remote: {name} stands as text in feature_store.yaml, and shows wherever "
                f"Feast's RepoConfig is printed or logged. Refer to it instead: {_SIGN_IN}: {{env: NAME}}.",
                UserWarning,
                stacklevel=2,
            )
        where = (
            "the event log of the server"
            if self.remote
            else "the command line of Spark's JVM, for whoever may list this machine's processes, and Spark's UI and "
            "event log unless spark.redaction.regex knows it"
        )
        for name in literal_secrets(self.conf):
            warnings.warn(
                f"offline_store.spark.conf: {name} holds a secret as text. It shows in feature_store.yaml, wherever "
                f"Feast's RepoConfig is printed or logged, and in {where}. Set it where only its owner reads it, "
                "such as conf/spark-defaults.conf, or refer to it by a file or a credential provider of Hadoop's.",
                UserWarning,
                stacklevel=2,
            )


def _parameters(remote: str) -> dict[str, str]:
    """The parameters of a Spark Connect URL: ``sc://host:port/;name=value;…``."""
    parts = (part.partition("=") for part in remote.partition(";")[2].split(";"))
    return {name: value for name, separator, value in parts if separator}
