"""Which answers differ from those of a repository's own offline store, and where the documents state the rule.

Only what the documents say is here; ``tests/unit/test_check.py`` holds each reference to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from feast.feature_view import DUMMY_ENTITY_NAME
from feast.infra.offline_stores.file_source import FileSource

from feast_hybrid.adopt.settings import is_file_store, is_spark_store
from feast_hybrid.sources.feast_sources import is_feasts

if TYPE_CHECKING:
    from feast_hybrid.sources.spec import SourceSpec

_FROM_FEAST = "docs/feast-sources.md#what-differs-from-feasts-own-store"
_WORDS = "docs/point-in-time.md#where-feasts-own-words-differ"
_TABLE = "README.md#how-it-differs"
_MEANING = "docs/point-in-time.md#what-the-point-in-time-join-means"


@dataclass(frozen=True)
class Case:
    """What is looked at.

    Attributes:
        view: a feature view; None for the repository as a whole.
        spec: what its source means here.
        store_type: the offline store's that the repository has now.
    """

    view: Any
    spec: SourceSpec | None
    store_type: str

    @property
    def was_spark(self) -> bool:
        """Whether Feast's Spark store answers now."""
        return is_spark_store(self.store_type)


@dataclass(frozen=True)
class Difference:
    """One kind of answer that differs.

    Attributes:
        id: for scripts.
        text: what was, and what is.
        docs: the page and section that state the rule.
        applies: whether it can be seen in a case.
    """

    id: str
    text: str
    docs: str
    applies: Callable[[Case], bool]


def _of_spark(also: Callable[[Case], bool] = lambda _: True) -> Callable[[Case], bool]:
    return lambda case: case.was_spark and case.spec is not None and also(case)


def _of_repository(store: Callable[[str], bool]) -> Callable[[Case], bool]:
    return lambda case: case.view is None and store(case.store_type)


def _has_several_keys(case: Case) -> bool:
    return len([name for name in case.view.entities if name != DUMMY_ENTITY_NAME]) > 1


def _has_ttl(case: Case) -> bool:
    return bool(case.view.ttl)


def _has_part_of_a_second(case: Case) -> bool:
    ttl: timedelta = getattr(case.view, "ttl", None) or timedelta()
    of_sql = not is_file_store(case.store_type)
    return of_sql and case.spec is not None and bool(ttl % timedelta(seconds=1))


def _is_in_catalog(case: Case) -> bool:
    assert case.spec is not None
    return case.spec.location is None


def _is_folder_of_text(case: Case) -> bool:
    assert case.spec is not None
    return case.spec.file_format in ("csv", "json")


def _infers(case: Case) -> bool:
    """Whether Feast infers the view's features of its source's columns."""
    source = getattr(case.view, "batch_source", None)
    return source is not None and is_feasts(source) and not case.view.features


def _infers_text(case: Case) -> bool:
    return case.spec is not None and _infers(case) and isinstance(case.view.batch_source, FileSource)


def _has_sink(case: Case) -> bool:
    return bool(getattr(case.view, "source_views", None))


DIFFERENCES: Sequence[Difference] = (
    Difference(
        "ties",
        "of rows of one key that tie on event time and created time one wins, by a fixed rule; Feast's Spark store "
        "returns each, so a training set may have fewer rows than before",
        _WORDS,
        _of_spark(),
    ),
    Difference(
        "keys",
        "join keys are compared column by column; Feast's Spark store mixes (1, 11) with (11, 1), and gives rows "
        "that nobody asked for",
        _FROM_FEAST,
        _of_spark(_has_several_keys),
    ),
    Difference(
        "time-zone",
        "a time without a zone (timestamp_ntz, text, entity rows) is UTC whatever the session's zone; Feast's Spark "
        "store reads it in the session's zone",
        _WORDS,
        _of_spark(),
    ),
    Difference(
        "ttl-in-time-zone",
        "values inside their ttl are there in every session; Feast's Spark store drops some where the session's zone "
        "is not UTC",
        _FROM_FEAST,
        _of_spark(_has_ttl),
    ),
    Difference(
        "ttl-part-of-second",
        "the ttl counts to the microsecond; Feast's SQL stores cut it to whole seconds",
        _WORDS,
        _has_part_of_a_second,
    ),
    Difference(
        "catalog",
        "a table or query reads the session's catalogs with the sites' settings, and none of your session's own "
        "temporary views",
        _FROM_FEAST,
        _of_spark(_is_in_catalog),
    ),
    Difference(
        "text-files",
        "CSV and JSON are read as Feast reads them, without options: a time there is text, which is refused as an "
        "event time; make it a HybridSparkSource with options",
        "docs/feast-sources.md#sparksource",
        _of_spark(_is_folder_of_text),
    ),
    Difference(
        "columns",
        "columns have the types that all files of the folder and the view have; files may differ in their columns",
        "docs/formats.md#files-that-differ",
        _of_spark(lambda case: case.spec is not None and case.spec.location is not None),
    ),
    Difference(
        "inferred-text",
        "features are inferred of the files' columns; text is String, also where the file says large_string, of "
        "which Feast makes Json",
        _FROM_FEAST,
        _infers_text,
    ),
    Difference(
        "inferred-decimals",
        "features are inferred as Feast infers them: a decimal is Float64, and history has it so",
        _FROM_FEAST,
        _of_spark(_infers),
    ),
    Difference(
        "sink",
        "a sink that cannot be read is an error; Feast's Spark store reads the view's source in its place",
        _FROM_FEAST,
        _of_spark(_has_sink),
    ),
    Difference(
        "sql-entity-rows",
        "in SQL entity rows a source's name stands for its rows, and your session's temporary views are not seen: "
        "pass what they hold as a Spark frame",
        _MEANING,
        _of_repository(is_spark_store),
    ),
    Difference(
        "apply",
        "feast apply looks at the files' columns (without Spark), and refuses what they cannot mean: a join key that "
        "the source lacks, a feature whose type is not the column's",
        _FROM_FEAST,
        _of_repository(lambda store: is_spark_store(store) or is_file_store(store)),
    ),
    Difference(
        "threads",
        "each of several threads on one session gets its own rows; with Feast's Spark store they read each other's",
        _TABLE,
        _of_repository(is_spark_store),
    ),
    Difference(
        "row-order",
        "the row order of a pandas entity frame is kept; Feast's Spark store loses it",
        _TABLE,
        _of_repository(is_spark_store),
    ),
    Difference(
        "writing",
        "a batch is seen whole or not at all, and goes to tables too; Feast's Spark store appends part by part",
        _FROM_FEAST,
        _of_repository(is_spark_store),
    ),
)


def differences_of(case: Case) -> list[Difference]:
    """The differences that can be seen in a view, or those of the repository as a whole."""
    return [each for each in DIFFERENCES if each.applies(case)]
