"""``offline_store`` in ``feature_store.yaml``."""

from __future__ import annotations

import re
from typing import Any, Literal

from feast.repo_config import FeastConfigBaseModel
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from feast_hybrid.errors import ConfigError
from feast_hybrid.sites import Router, Site, parse_uri

_UNSET = re.compile(r"\$\{\w+\}")

#: Spark settings that hold no secret and yet must not be given here.
_NOT_HERE = {"spark.master": "spark.master", "spark.remote": "spark.remote"}


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
    remote: str | None = None
    app_name: str = "feast-hybrid"
    conf: dict[str, str] = Field(default_factory=dict)

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields."""
        if self.master and self.remote:
            raise ConfigError("offline_store.spark: give master (Spark Classic) or remote (Spark Connect), not both.")
        for key, place in _NOT_HERE.items():
            if key in self.conf:
                raise ConfigError(f"offline_store.spark.conf: {key} belongs in offline_store.{place}.")
        for key in self.conf:
            if re.search(r"fs\.azure\..*(key|secret|token|password|sas)", key, re.IGNORECASE):
                raise ConfigError(
                    f"offline_store.spark.conf: {key} would be readable in Spark's UI and event log; sign in by "
                    "offline_store.sites[].credential instead."
                )


class JoinConfig(BaseModel):
    """How the as-of join is done.

    Attributes:
        strategy: ``auto`` lets the planner choose; another name overrules it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["auto", "native", "window"] = "auto"


class HybridSparkOfflineStoreConfig(FeastConfigBaseModel):
    """The offline store's configuration.

    Attributes:
        type: ``feast_hybrid.HybridSparkOfflineStore``.
        sites: the lakes; with none, the scheme of each URI decides and the platform signs in.
        spark: the session to start; an active one wins.
        join: how the as-of join is done.
        staging_location: a URI under which results are put that Feast asks for as files.

    Raises:
        ConfigError: something cannot be meant or is missing. The message never shows what was given for a
            secret; nor does the repr.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    type: Literal["feast_hybrid.HybridSparkOfflineStore", "feast_hybrid.offline_store.HybridSparkOfflineStore"] = (
        "feast_hybrid.HybridSparkOfflineStore"
    )
    sites: list[Site] = Field(default_factory=list)
    spark: SparkConfig = Field(default_factory=SparkConfig)
    join: JoinConfig = Field(default_factory=JoinConfig)
    staging_location: str | None = None

    _router: Router = PrivateAttr()

    def __init__(self, **data: Any) -> None:
        _refuse_unset_variables(data, "offline_store")
        error: ConfigError | None = None
        try:
            super().__init__(**data)
        except ValidationError as invalid:
            error = ConfigError(_describe(invalid))
        if error is not None:  # outside of the except: a context would carry the input along
            raise error

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields, and that every secret can be found."""
        self._router = Router(self.sites)
        self._router.check_credentials()
        if self.staging_location:
            at = parse_uri(self.staging_location, what="offline_store.staging_location")
            self._router.route(at, what="offline_store.staging_location")

    @property
    def router(self) -> Router:
        """Sends URIs to sites."""
        return self._router


# Feast looks for the store's class in the module of its configuration's class.
HybridSparkOfflineStoreConfig.__module__ = "feast_hybrid"


def _refuse_unset_variables(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_unset_variables(item, f"{where}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _refuse_unset_variables(item, f"{where}[{position}]")
    elif isinstance(value, str) and (found := _UNSET.search(value)):
        raise ConfigError(f"{where}: environment variable {found[0]} is not set.")


def _describe(invalid: ValidationError) -> str:
    """What is wrong, place by place, without the values."""
    lines = []
    for fault in invalid.errors(include_input=False, include_url=False, include_context=True):
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"]
        if fault["type"] == "extra_forbidden":
            message = "unknown key; see docs/configuration.md for the ones there are"
        elif fault["type"] == "missing":
            message = "missing"
        lines.append(f"offline_store.{place}: {message}")
    return "; ".join(lines)
