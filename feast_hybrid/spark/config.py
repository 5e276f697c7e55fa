"""``offline_store.spark`` in ``feature_store.yaml``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from feast_hybrid.errors import ConfigError
from feast_hybrid.lakes.secrets import holds_secret
from feast_hybrid.lakes.site import SettingText

#: Spark settings that have a field of their own.
_FIELDS_OF_THEIR_OWN = ("spark.master", "spark.remote")


class SparkConfig(BaseModel):
    """The Spark session to start where none is active.

    Attributes:
        master: a Classic master URL such as ``spark://host:7077``; ``local[*]`` where neither is given.
        remote: a Spark Connect URL such as ``sc://host:15002``.
        app_name: the application's name in Spark's UI.
        conf: Spark settings by their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    master: str | None = None
    remote: str | None = Field(default=None, repr=False)  # it may end in ;token=…
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
