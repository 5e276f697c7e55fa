"""``offline_store`` in ``feature_store.yaml``."""

from __future__ import annotations

import difflib
import re
from typing import Any, Literal

from feast.repo_config import FeastConfigBaseModel
from pydantic import BaseModel, ByteSize, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from feast_hybrid.asof.local.work import machine_memory, threads_for
from feast_hybrid.asof.request import REMOVED_STRATEGIES, Strategy
from feast_hybrid.errors import ConfigError, CredentialError
from feast_hybrid.lakes import Allowed, BarePaths, ConnectionRule, Router, Site, SourceRule
from feast_hybrid.lakes.bare_paths import SERVER
from feast_hybrid.lakes.credentials import CREDENTIALS
from feast_hybrid.sources import feast_hooks
from feast_hybrid.spark.config import SparkConfig

#: What the local engine is given at the least: 256 MiB.
_LEAST_MEMORY = 256 << 20

#: A variable that Feast left as it is, for being unset or for a form that only shells know, as in ``${NAME:-x}``.
_UNSET = re.compile(r"\$\{(?P<name>\w+)(?P<rest>\}|:?[-=+?])")


class JoinConfig(BaseModel):
    """How the as-of join is done.

    Attributes:
        strategy: ``auto`` lets the planner choose; another name overrules it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    strategy: Strategy = "auto"

    @field_validator("strategy", mode="before")
    @classmethod
    def _refuse_what_was_removed(cls, strategy: Any) -> Any:
        if strategy in REMOVED_STRATEGIES:
            raise ConfigError(f"offline_store.join.strategy: {REMOVED_STRATEGIES[strategy]}.")
        return strategy


class LocalConfig(BaseModel):
    """The local engine, which works in this process, without Spark.

    Attributes:
        memory: for what it reads and keeps of it, such as ``4GiB``; a quarter of the machine's by default.
        threads: how many read at once; by default as many as there are cores, and twice as many where they read from
            a lake's servers.
        max_read: with ``engine: auto``, what it reads of files at the most, such as ``2GiB``; Spark reads more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    memory: ByteSize | None = Field(default=None, ge=_LEAST_MEMORY)
    threads: int | None = Field(default=None, ge=1)
    max_read: ByteSize = ByteSize(2 << 30)

    @property
    def memory_bytes(self) -> int:
        """What the engine may take."""
        return int(self.memory) if self.memory is not None else max(_LEAST_MEMORY, machine_memory() // 4)

    def thread_count(self, *, far: bool) -> int:
        """How many threads read at once.

        Args:
            far: whether something is read from servers, and not only from this machine's disk.
        """
        return self.threads or threads_for(far=far)


class SqlConfig(BaseModel):
    """What SQL text may do: queries of sources, and entity rows.

    Attributes:
        allow_functions: functions that it may call beside those of Spark that compute, by the names that it calls
            them by: ``sales.net_price``. They run with the rights of whoever retrieves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    allow_functions: list[str] = Field(default_factory=list)


class HybridSparkOfflineStoreConfig(FeastConfigBaseModel):
    """The offline store's configuration.

    Attributes:
        type: ``feast_hybrid.HybridSparkOfflineStore``.
        sites: the lakes; with none, the scheme of each URI decides and the platform signs in.
        sources: on which site a source is that does not say it itself, by its name; the first match counts.
        connection_refs: the secrets of Feast's credential providers with which single sources may sign in.
        spark: the session to start; an active one wins. ``spark_conf``, as Feast's own Spark store calls its
            settings, is taken for it.
        engine: which engine answers: ``spark``, ``local``, or ``auto`` for the local one where it can and there is
            little to read, and else Spark.
        local: the local engine.
        join: how the as-of join is done.
        sql: what SQL text may do.
        file_formats: formats of paths that sources may have beside the usual ones, in Spark's words.
        staging_location: a URI under which results are put that Feast asks for as files.
        monitoring_location: a URI under which Feast's monitoring metrics are kept.

    Raises:
        ConfigError: something cannot be meant or is missing. The message never shows what was given for a
            secret; nor does the repr.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    type: Literal["feast_hybrid.HybridSparkOfflineStore", "feast_hybrid.offline_store.HybridSparkOfflineStore"] = (
        "feast_hybrid.HybridSparkOfflineStore"
    )
    sites: list[Site] = Field(default_factory=list)
    sources: list[SourceRule] = Field(default_factory=list)
    connection_refs: list[ConnectionRule] = Field(default_factory=list)
    spark: SparkConfig = Field(default_factory=SparkConfig)
    engine: Literal["auto", "local", "spark"] = "auto"
    local: LocalConfig = Field(default_factory=LocalConfig)
    join: JoinConfig = Field(default_factory=JoinConfig)
    sql: SqlConfig = Field(default_factory=SqlConfig)
    file_formats: list[str] = Field(default_factory=list)
    staging_location: str | None = None
    monitoring_location: str | None = None

    _router: Router = PrivateAttr()

    def __init__(self, **data: Any) -> None:
        _refuse_unset_variables(data, "offline_store")
        data = _with_feasts_spark_conf(data)
        error: ConfigError | None = None
        try:
            # A key with nothing after it, as in "spark:" with all its lines commented out, is not there.
            super().__init__(**{key: value for key, value in data.items() if value is not None})
        except ValidationError as invalid:
            error = _translated(invalid)
        if error is not None:  # outside of the except: a context would carry the input along
            raise error

    def model_post_init(self, _context: Any, /) -> None:
        """Check what depends on several fields. No secret is read: a command that touches no lake needs none."""
        allowed = Allowed(
            functions=frozenset(name.lower() for name in self.sql.allow_functions),
            file_formats=frozenset(name.lower() for name in self.file_formats),
        )
        master = self.spark.master or "local"
        elsewhere = None if master.startswith("local") else master
        if self.spark.remote:
            elsewhere = SERVER
        bare_paths = BarePaths(settings=self.spark.conf, elsewhere=elsewhere)
        self._router = Router(
            self.sites,
            allowed=allowed,
            bare_paths=bare_paths,
            rules=self.sources,
            connection_rules=self.connection_refs,
        )
        for name in ("staging_location", "monitoring_location"):
            if uri := getattr(self, name):
                self._router.locate(uri, what=f"offline_store.{name}", configured=True)

    @property
    def router(self) -> Router:
        """Sends URIs to sites."""
        return self._router


feast_hooks.install()  # which loads the classes of our registry entries too: Feast knows a destination's kind by them

# Feast looks for the store's class in the module of its configuration's class.
HybridSparkOfflineStoreConfig.__module__ = "feast_hybrid"


def _with_feasts_spark_conf(data: dict[str, Any]) -> dict[str, Any]:
    """The settings with those of ``spark_conf`` where this store has them, so that a team can go back."""
    conf = data.get("spark_conf")
    if conf is None:
        return data
    if data.get("spark") is not None:
        raise ConfigError("offline_store: spark_conf is Feast's own name for spark.conf; give one of the two.")
    if not isinstance(conf, dict):
        raise ConfigError("offline_store.spark_conf: must hold 'key: value' lines.")
    fields = {"spark.master": "master", "spark.remote": "remote", "spark.app.name": "app_name"}
    spark = {fields[key]: value for key, value in conf.items() if key in fields}
    spark["conf"] = {key: value for key, value in conf.items() if key not in fields}
    return {**{key: value for key, value in data.items() if key != "spark_conf"}, "spark": spark}


def _refuse_unset_variables(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_unset_variables(key, f"a key of {where}")
            _refuse_unset_variables(item, f"{where}.{key}")
    elif isinstance(value, list):
        for position, item in enumerate(value):
            _refuse_unset_variables(item, f"{where}[{position}]")
    elif isinstance(value, str) and (found := _UNSET.search(value)):
        if found["rest"] == "}":
            raise ConfigError(f"{where}: environment variable ${{{found['name']}}} is not set.")
        raise ConfigError(
            f"{where}: Feast does not know a default in ${{{found['name']}{found['rest']}…}}; write "
            f"${{{found['name']}}} and set it."
        )


#: pydantic's words for what was not found, in the words of someone who writes YAML.
_FAULTS = {
    "missing": "missing",
    "list_type": "must be a list, with lines that begin with '-'",
    "dict_type": "must hold 'key: value' lines",
    "model_type": "must hold 'key: value' lines",
    "model_attributes_type": "must hold 'key: value' lines",
    "string_type": "must be text",
    "union_tag_not_found": "missing key 'type'",
}


def _translated(invalid: ValidationError) -> ConfigError:
    """What is wrong, place by place, without the values."""
    lines = []
    error_class = ConfigError
    for fault in invalid.errors(include_input=False, include_url=False):
        place, model = _place(fault["loc"])
        message = _FAULTS.get(fault["type"], fault["msg"])
        if fault["type"] == "extra_forbidden":
            message = _unknown_key(str(fault["loc"][-1]), model)
        elif fault["type"] == "union_tag_invalid":
            message = _unknown_type(str(fault["ctx"]["tag"]))
        elif fault["type"] == "credential":
            error_class = CredentialError
        lines.append(f"{place}: {message.rstrip('.')}")
    return error_class("; ".join(lines) + ".")


def _place(loc: tuple[int | str, ...]) -> tuple[str, type[BaseModel]]:
    """A place as it is read in YAML, ``offline_store.sites[0].credential.account_key``, and the model it is in."""
    place = "offline_store"
    model: type[BaseModel] = HybridSparkOfflineStoreConfig
    parts = iter(loc)
    for part in parts:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
        if part in _SECTIONS:
            model = _SECTIONS[str(part)]
        elif part == "credential":
            # What follows is the credential's type, which pydantic tells and YAML does not.
            model = CREDENTIALS.get(str(next(parts, None)), model)
    return place, model


_SECTIONS: dict[str, type[BaseModel]] = {
    "sites": Site,
    "sources": SourceRule,
    "connection_refs": ConnectionRule,
    "spark": SparkConfig,
    "local": LocalConfig,
    "join": JoinConfig,
    "sql": SqlConfig,
}


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, model.model_fields, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key; {hint}there are {', '.join(model.model_fields)}"


def _unknown_type(found: str) -> str:
    near = difflib.get_close_matches(found, CREDENTIALS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown credential type; {hint}there are {', '.join(CREDENTIALS)}"
