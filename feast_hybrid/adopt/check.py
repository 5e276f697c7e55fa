"""What would change with this store, view by view: by the very code that reads, refuses and routes at run time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from feast.data_source import DataSource, RequestSource

from feast_hybrid.adopt.differences import DIFFERENCES, Case, differences_of
from feast_hybrid.adopt.report import CheckReport, Finding, Place, Refusal, UnreadFile
from feast_hybrid.adopt.repository import (
    OUR_TYPE,
    Definitions,
    Repository,
    UnreadableError,
    config_of,
    read_definitions,
    read_repository,
    with_variables,
)
from feast_hybrid.adopt.settings import Adopted, adopt_section
from feast_hybrid.errors import ConfigError, HybridError, SourceNotFoundError
from feast_hybrid.files.listed_tables import TableFeatureError
from feast_hybrid.lakes import LakeType
from feast_hybrid.lakes.errors import redacted, redacted_summary
from feast_hybrid.lakes.uri import shown
from feast_hybrid.sources.feast_hooks import validate
from feast_hybrid.sources.file_schema import ineligibility_reason
from feast_hybrid.sources.resolve import (
    destination_spec,
    require_written_here,
    router_of,
    source_spec,
)
from feast_hybrid.sources.tables import lists_its_files, open_table_version
from feast_hybrid.sources.view_rules import require_history, require_pull, require_supported

if TYPE_CHECKING:
    from feast.repo_config import RepoConfig

    from feast_hybrid.lakes import LakeUri, Router
    from feast_hybrid.sources.spec import SourceSpec

T = TypeVar("T")


def check(folder: Path) -> CheckReport:
    """Look at a repository of any offline store as if it had this one. Starts no Spark, asks no lake.

    Files on this machine's disk are looked at, as ``feast apply`` does.

    Args:
        folder: of ``feature_store.yaml``.

    Returns:
        What was found. Where nothing could be read, ``fault`` says why.
    """
    try:
        repository = read_repository(folder)
        definitions, adopted = understand(repository)
        config, said = config_and_faults(repository, with_variables(adopted.section))
        notes = [*adopted.notes, *adopted.problems, *said.warnings, *_of_reading(definitions)]
        return replace(_report(repository, definitions, config), notes=notes, refused=said.refused)
    except HybridError as error:
        return CheckReport(file=str(folder), fault=redacted(str(error)))


def understand(repository: Repository, more: Iterable[LakeUri] = ()) -> tuple[Definitions, Adopted]:
    """What a repository defines, and its section in our words.

    Args:
        repository: of whatever offline store.
        more: places that sites are wanted for besides those that its sources name.

    Raises:
        UnreadableError: neither its files nor its registry can be read.
        ConfigError: it has this store, and its section cannot be meant.
    """
    if repository.is_ours:
        adopted = Adopted(section=repository.section)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = config_of(repository, with_variables(adopted.section))
        return read_definitions(repository, config), adopted
    # Sites are made of the places that sources name, so these are looked up without sites first.
    first = adopt_section(repository.section)
    spark = {key: value for key, value in first.section.get("spark", {}).items() if key != "conf"}
    conf = first.section.get("spark", {}).get("conf", {})
    spark["conf"] = {key: value for key, value in conf.items() if key.endswith("fs.defaultFS")}
    config, _ = config_and_faults(repository, with_variables({"type": OUR_TYPE, "spark": spark}))
    definitions = read_definitions(repository, config)
    return definitions, adopt_section(repository.section, [*places_of(definitions, router_of(config)), *more])


@dataclass(frozen=True)
class Faults:
    """What is said of a section: why it is refused, in sentences, and what it is warned of."""

    refused: Sequence[str] = ()
    warnings: Sequence[str] = ()


def config_and_faults(repository: Repository, section: Mapping[str, Any]) -> tuple[RepoConfig, Faults]:
    """A configuration with a section, or, where that is refused, with one that has its type alone.

    Args:
        repository: whose section it is.
        section: in our words, with variables of the environment put in: one that is not set here is refused.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            config, refused = config_of(repository, section), []
        except UnreadableError:
            raise
        except ConfigError as error:
            config, refused = config_of(repository, {"type": OUR_TYPE}), [redacted(str(error))]
    said = [str(warning.message) for warning in caught if warning.category is UserWarning]
    return config, Faults(refused, list(dict.fromkeys(said)))


def places_of(definitions: Definitions, router: Router) -> Iterator[LakeUri]:
    """The URIs that a repository's sources, and its services' logs, name; those that are refused name none."""
    contents = definitions.contents
    logs = [service.logging_config for service in contents.feature_services]
    asked = [partial(source_spec, source, router) for source in contents.data_sources]
    asked += [partial(destination_spec, log.destination, router) for log in logs if log is not None]
    for ask in asked:
        try:
            spec = ask()
        except HybridError:
            continue
        for each in (spec, spec.written_to):
            if each is not None and each.location is not None:
                yield each.location.uri


def _report(repository: Repository, definitions: Definitions, config: RepoConfig) -> CheckReport:
    with _quiet():
        views = [_of_view(view, config, repository.store_type) for view in definitions.batch_views]
        views += [_of_on_demand(view) for view in definitions.contents.on_demand_feature_views]
        used = [source for view in definitions.batch_views for source in _sources_of(view)]
        others = [
            _of_source(source, config)
            for source in definitions.contents.data_sources
            if not any(source is each or source == each for each in used) and _has_rows(source)
        ]
        services = [
            finding
            for service in definitions.contents.feature_services
            if (finding := _of_service(service, config)) is not None
        ]
    differs = [each.id for each in differences_of(Case(None, None, repository.store_type))]
    named = {name for finding in views for name in finding.differs}.union(differs)
    return CheckReport(
        file=str(repository.file),
        store_type=repository.store_type,
        read_from=definitions.origin,
        views=views,
        sources=others,
        services=services,
        differs=differs,
        texts={each.id: {"text": each.text, "docs": each.docs} for each in DIFFERENCES if each.id in named},
        unread=[UnreadFile(**asdict(each)) for each in definitions.unread],
    )


def _of_reading(definitions: Definitions) -> Iterator[str]:
    if definitions.stand_ins:
        yield (
            f"Not installed here, and stood in for while the files were read: {', '.join(definitions.stand_ins)}. "
            "Feast's own stores need it; a definition that asks it something may be another one."
        )
    if any(each.defines for each in definitions.unread):
        version = metadata.version("feast")
        yield f"Files that are not read: feast apply of this machine's Feast ({version}) fails on them likewise."


def _of_view(view: Any, config: RepoConfig, store_type: str) -> Finding:
    source = view.batch_source
    refused = _Refusals()
    spec = refused.of("always", lambda: source_spec(source, router_of(config), view=view))
    refused.of("history", lambda: require_history(view))
    refused.of("materialise", lambda: require_pull([view]))
    refused.of("apply", lambda: require_supported(view))
    if source is not None:
        refused.of("materialise", lambda: require_written_here(source, config))
    notes = []
    if spec is not None:
        notes = _looked_at(source, spec, config, refused)
    return Finding(
        name=view.name,
        kind=type(view).__name__,
        source=_name_of(source),
        source_class=type(source).__name__ if source is not None else "",
        reads=_place(spec, config),
        writes=_place(spec.written_to, config) if spec is not None else None,
        refused=tuple(refused.found),
        differs=tuple(each.id for each in differences_of(Case(view, spec, store_type))),
        notes=tuple(notes),
    )


def _looked_at(source: DataSource, spec: SourceSpec, config: RepoConfig, refused: _Refusals) -> list[str]:
    """Look at the columns as ``feast apply`` does, where that asks neither a lake nor Spark; why not, elsewhere."""
    if spec.location is None or spec.location.lake is not LakeType.LOCAL:
        return []
    try:
        if lists_its_files(spec):
            open_table_version(spec, router_of(config))  # which raises for what is left to Spark
        elif ineligibility_reason(spec) is not None:
            return []
        refused.of("apply", lambda: validate(source, config), SourceNotFoundError)
    except (SourceNotFoundError, TableFeatureError) as error:
        return [f"its columns were not looked at: {redacted(str(error))}"]
    except HybridError as error:
        refused.note("apply", str(error))
    return []


def _of_on_demand(view: Any) -> Finding:
    inputs = [projection.name for projection in view.source_feature_view_projections.values()]
    asked = [source.name for source in view.source_request_sources.values()]
    words = [f"made of {', '.join(inputs)}"] if inputs else []
    words += [f"of request data {', '.join(asked)}"] if asked else []
    note = f"{' and '.join(words) or 'made of nothing'}, by Feast's own code, as before"
    return Finding(name=view.name, kind=type(view).__name__, notes=(note,))


def _of_source(source: DataSource, config: RepoConfig) -> Finding:
    refused = _Refusals()
    spec = refused.of("always", lambda: source_spec(source, router_of(config)))
    return Finding(
        name=_name_of(source),
        kind=type(source).__name__,
        reads=_place(spec, config),
        writes=_place(spec.written_to, config) if spec is not None else None,
        refused=tuple(refused.found),
    )


def _of_service(service: Any, config: RepoConfig) -> Finding | None:
    """A feature service that logs; None for others."""
    logging_config = getattr(service, "logging_config", None)
    if logging_config is None:
        return None
    destination = logging_config.destination
    refused = _Refusals()
    spec = refused.of("logging", lambda: destination_spec(destination, router_of(config)))
    return Finding(
        name=service.name, kind=type(destination).__name__, writes=_place(spec, config), refused=tuple(refused.found)
    )


class _Refusals:
    """Collects what is refused; each reason once."""

    def __init__(self) -> None:
        self.found: list[Refusal] = []

    def of(self, when: str, ask: Callable[[], T], *passed: type[Exception]) -> T | None:
        """What is asked for; None where it is refused, which is noted.

        Args:
            when: as :class:`Refusal` has it.
            ask: raises what is raised at run time.
            passed: errors that the caller wants to see.
        """
        try:
            return ask()
        except passed:
            raise
        except HybridError as error:
            self.note(when, str(error))
        except Exception as error:  # of a class whose attributes are not what they should be
            self.note(when, redacted_summary(error))
        return None

    def note(self, when: str, reason: str) -> None:
        """Note what is refused, unless it was said before."""
        reason = redacted(reason)
        if all(reason != each.reason for each in self.found):
            self.found.append(Refusal(when, reason))


def _place(spec: SourceSpec | None, config: RepoConfig) -> Place | None:
    if spec is None:
        return None
    # Where none are configured, a URI has a site of its own, which nobody has named.
    site = spec.site.name if spec.site is not None and router_of(config).sites else None
    if spec.location is not None:
        return Place("path", str(spec.location), spec.location.lake.value, site, spec.file_format)
    if spec.table is not None:
        return Place("table", spec.table, site=site)
    return Place("query", redacted(spec.query or ""), site=site)


def _sources_of(view: Any) -> list[DataSource]:
    found = [getattr(view, name, None) for name in ("batch_source", "stream_source", "source")]
    found += [getattr(source, "batch_source", None) for source in found if source is not None]
    return [source for source in found if isinstance(source, DataSource)]


def _has_rows(source: DataSource) -> bool:
    """Whether it is read from an offline store: neither request data nor a stream by itself."""
    return not isinstance(source, RequestSource) and not hasattr(source, "batch_source")


def _name_of(source: DataSource | None) -> str:
    if source is None:
        return ""
    return source.name if shown(source.name).startswith(("'", '"')) else shown(source.name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the log are said here in words of their own."""
    logger = logging.getLogger("feast_hybrid")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
