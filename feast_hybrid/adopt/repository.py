"""A Feast repository of whatever offline store: its configuration as it stands, and what its files define."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import sys
import types
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from feast.feature_store import FeatureStore
from feast.repo_config import RepoConfig
from feast.repo_contents import RepoContents
from feast.repo_operations import get_repo_files, parse_repo, py_path_to_module
from feast.utils import get_default_yaml_file_path

from feast_hybrid.adopt.standins import StandIns, stand_ins
from feast_hybrid.config import HybridSparkOfflineStoreConfig
from feast_hybrid.errors import ConfigError
from feast_hybrid.lakes.errors import redacted, redacted_summary

if TYPE_CHECKING:
    from types import ModuleType

#: What ``offline_store.type`` is where nothing is said.
DEFAULT_STORE = "dask"
OUR_TYPE = "feast_hybrid.HybridSparkOfflineStore"
_OUR_TYPES = (OUR_TYPE, "feast_hybrid.offline_store.HybridSparkOfflineStore")
#: Beginnings of the names of Feast's classes for which a file cannot be passed over.
_DEFINES = ("FeatureView", "LabelView", "Source", "feature_view")


class UnreadableError(ConfigError):
    """A repository cannot be read at all."""


@dataclass(frozen=True)
class Unread:
    """A Python file that could not be imported.

    Attributes:
        file: from the repository's folder on.
        reason: what Python said.
        views: the names of the feature views that it seems to define.
        defines: whether it seems to define views or sources.
    """

    file: str
    reason: str
    views: tuple[str, ...] = ()
    defines: bool = False


@dataclass(frozen=True)
class Repository:
    """``feature_store.yaml``, as it stands.

    Attributes:
        folder: the repository's, links followed.
        file: ``feature_store.yaml``.
        text: of the file.
        raw: what it holds, variables of the environment not put in.
    """

    folder: Path
    file: Path
    text: str
    raw: Mapping[str, Any]

    @property
    def section(self) -> dict[str, Any]:
        """``offline_store``, with its type; variables are not put in."""
        given = self.raw.get("offline_store")
        section: dict[str, Any] = {"type": given} if isinstance(given, str) else dict(given or {})
        section["type"] = os.path.expandvars(str(section.get("type") or DEFAULT_STORE))
        return section

    @property
    def store_type(self) -> str:
        """The type of the offline store."""
        return str(self.section["type"])

    @property
    def is_ours(self) -> bool:
        """Whether it has this offline store already."""
        return self.store_type in _OUR_TYPES


@dataclass(frozen=True)
class Definitions:
    """What a repository defines.

    Attributes:
        contents: Feast's objects.
        unread: the files that are missing from them.
        origin: ``the repository's files``, or ``the registry``.
        stand_ins: packages that Feast's other stores need, and that are not installed here.
    """

    contents: RepoContents
    unread: Sequence[Unread] = ()
    origin: str = "the repository's files"
    stand_ins: Sequence[str] = ()
    _held: Sequence[ModuleType] = field(default=(), repr=False)  # their functions' globals

    @property
    def batch_views(self) -> list[Any]:
        """All views with rows of their own, in Feast's order."""
        found = self.contents
        return [*found.feature_views, *found.stream_feature_views, *found.label_views]


def read_repository(folder: Path) -> Repository:
    """Read ``feature_store.yaml``, or the file that ``FEAST_FS_YAML_FILE_PATH`` names.

    Raises:
        UnreadableError: it is not there, or is no YAML, or not what Feast could read.
    """
    folder = folder.resolve()
    file = Path(get_default_yaml_file_path(folder))
    try:
        with file.open(encoding="utf-8", newline="") as opened:  # line ends stay
            text = opened.read()
    except FileNotFoundError:
        raise UnreadableError(f"{file} is not there; give the repository's folder: -c FOLDER.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{file} cannot be read: {error}") from None
    raw = _parsed(text, file)
    if not isinstance(raw, dict):
        raise UnreadableError(f"{file}: expected 'key: value' lines, found {type(raw).__name__}.")
    section = raw.get("offline_store")
    if section is not None and not isinstance(section, str | dict):
        raise UnreadableError(f"{file}: offline_store must hold 'key: value' lines, found {type(section).__name__}.")
    return Repository(folder=folder, file=file, text=text, raw=raw)


def _parsed(text: str, file: Path) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        pass
    # ``{key: ${VARIABLE}}`` is YAML only once the variable is put in, as Feast does before it reads the text.
    try:
        return yaml.safe_load(os.path.expandvars(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise UnreadableError(f"{file}{place}: this is no YAML: {getattr(error, 'problem', '')}.") from None


def read_definitions(repository: Repository, config: RepoConfig) -> Definitions:
    """Import the repository's Python files as ``feast apply`` does, or read its registry where they define nothing.

    A file that cannot be imported is named in the result, and the others are read without it. What the files print
    goes to the standard error.

    Args:
        repository: of whatever offline store.
        config: of :func:`config_of`, which says where the registry is.

    Raises:
        UnreadableError: neither the files nor a registry define anything, as far as they can be read.
    """
    with _imports_as_feast(repository.folder):
        files = get_repo_files(repository.folder)
        unread = []
        with stand_ins() as standing_in, contextlib.redirect_stdout(sys.stderr):
            for file in files:
                error = _imported(file, standing_in)
                if error is not None:
                    unread.append(_unread(file, repository.folder, error))
        for each in unread:  # Feast's own collecting finds an empty module in their place
            name = py_path_to_module(repository.folder / each.file)
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__file__ = str(repository.folder / each.file)
        contents = parse_repo(repository.folder)
        if not contents.data_sources and not any(each.defines for each in unread):
            return replace(_of_registry(config, repository), unread=unread)
        held = [module for module in sys.modules.values() if _is_below(module, repository.folder)]
        return Definitions(contents, unread, stand_ins=sorted(standing_in.names), _held=held)


def config_of(repository: Repository, section: Mapping[str, Any]) -> RepoConfig:
    """A configuration with this offline store, for whatever asks one; the other parts are Feast's business.

    The online store and the provider are left out: their packages need not be installed.

    Args:
        repository: says where the registry is, and which engine materialises.
        section: ``offline_store``, of this store.

    Raises:
        ConfigError: the section cannot be meant.
    """
    raw = with_variables({key: repository.raw.get(key) for key in ("project", "registry", "batch_engine")})
    try:
        config = RepoConfig(
            project=raw["project"] or "unnamed",
            registry=raw["registry"] or "data/registry.db",
            provider="local",
            batch_engine=raw["batch_engine"] or "local",
            offline_store=dict(section),
            online_store=None,
            entity_key_serialization_version=3,
        )
    except ConfigError:
        raise
    except Exception as error:
        raise UnreadableError(f"{repository.file}: {redacted_summary(error)}") from None
    config.repo_path = repository.folder
    assert isinstance(config.offline_store, HybridSparkOfflineStoreConfig)
    return config


def _imported(file: Path, standing_in: StandIns) -> BaseException | None:
    """Import a file; what it raises, if it does."""
    while True:
        try:
            importlib.import_module(py_path_to_module(file))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # what a script may raise where it is imported: SystemExit, too
            if not standing_in.learn(error):
                return error
        else:
            return None


def _of_registry(config: RepoConfig, repository: Repository) -> Definitions:
    nothing = f"{repository.folder}: its Python files define neither views nor sources, and its registry"
    path = str(config.registry.path or "")
    if "://" not in path and config.registry.registry_type == "file":
        # Feast would make an empty one.
        file = repository.folder / path
        if not file.is_file():
            raise UnreadableError(f"{nothing} is not there ({file}).")
    try:
        store = FeatureStore(config=config)
        registry, project = store.registry, store.project
        contents = RepoContents(
            projects=[],
            data_sources=registry.list_data_sources(project),
            entities=registry.list_entities(project),
            feature_views=registry.list_feature_views(project),
            on_demand_feature_views=registry.list_on_demand_feature_views(project),
            stream_feature_views=registry.list_stream_feature_views(project),
            label_views=registry.list_label_views(project),
            feature_services=registry.list_feature_services(project),
            permissions=[],
        )
    except Exception as error:
        raise UnreadableError(f"{nothing} cannot be read: {redacted_summary(error)}") from None
    if not contents.data_sources:
        raise UnreadableError(f"{nothing} has none of project {project!r}.")
    return Definitions(contents, origin="the registry")


@contextlib.contextmanager
def _imports_as_feast(folder: Path) -> Iterator[None]:
    """The working directory and the module path as in ``feast apply``; afterwards all is as it was."""
    before, path, bytecode = Path.cwd(), list(sys.path), sys.dont_write_bytecode
    modules = set(sys.modules)
    os.chdir(folder)
    sys.path.append(str(folder))
    sys.dont_write_bytecode = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in set(sys.modules) - modules:
            if _is_below(sys.modules[name], folder):
                del sys.modules[name]
        sys.path[:], sys.dont_write_bytecode = path, bytecode
        os.chdir(before)


def _is_below(module: ModuleType, folder: Path) -> bool:
    """Whether a module is of the repository, or stands for one; a folder without ``__init__.py`` is one, too."""
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(isinstance(place, str) and Path(place).is_relative_to(folder) for place in places)


def _unread(file: Path, folder: Path, error: BaseException) -> Unread:
    """What is known of a file that could not be imported, by its syntax alone."""
    named = error if isinstance(error, Exception) else RuntimeError(f"it ended with {type(error).__name__}")
    reason = f"{type(named).__name__}: {redacted(str(named)).splitlines()[0] if str(named) else ''}".rstrip(": ")
    views: list[str] = []
    defines = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return Unread(str(file.relative_to(folder)), reason, defines=True)
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        name = getattr(called, "id", None) or getattr(called, "attr", None) or ""
        if not name.endswith(_DEFINES):
            continue
        defines = True
        assert isinstance(node, ast.Call)
        if not name.endswith("Source"):
            views += [
                str(given.value.value)
                for given in node.keywords
                if given.arg == "name" and isinstance(given.value, ast.Constant)
            ]
    return Unread(str(file.relative_to(folder)), reason, tuple(views), defines)


def with_variables(value: Any) -> Any:
    """Variables of the environment, as Feast puts them in."""
    if isinstance(value, dict):
        return {with_variables(key): with_variables(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_variables(item) for item in value]
    return os.path.expandvars(value) if isinstance(value, str) else value
