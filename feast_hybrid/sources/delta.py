"""Tables of Delta at a path: read by their log, without Spark's package of that format.

Their rows are read as those of Parquet paths are, by the same readers. What this package does not read is left to
Spark's package where the session has it; else the error names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.files.delta_log import LOG_FOLDER
from feast_hybrid.files.delta_table import DeltaTable, needs, read_table
from feast_hybrid.sources.file_schema import source_errors
from feast_hybrid.sources.one_folder import one_folder

if TYPE_CHECKING:
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec

_VERSION, _TIMESTAMP = "versionasof", "timestampasof"
#: Options of writers, which change nothing in what is read.
_OF_WRITERS = frozenset(
    {
        "mergeschema",
        "overwriteschema",
        "partitionoverwritemode",
        "replacewhere",
        "datachange",
        "usermetadata",
        "maxrecordsperfile",
        "optimizewrite",
        "txnappid",
        "txnversion",
        "compression",
    }
)


def names_a_version(source: SourceSpec) -> bool:
    """Whether a source's options say which version of its table it is."""
    return bool({name.lower() for name in source.options} & {_VERSION, _TIMESTAMP})


def delta_table(source: SourceSpec, router: Router) -> DeltaTable:
    """The version of a source's table that it means: the latest, unless its options say another.

    Raises:
        DeltaFeatureError: the table, or an option, needs what this package does not read.
        SourceNotFoundError: nothing is there.
        SourceError: what is there is no Delta table, its log is broken, or the version is not there.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        RoutingError: the path is a pattern that also expands to what is on another site.
    """
    assert source.location is not None
    options = {name.lower(): value for name, value in source.options.items()}
    version = _version(source, options)
    timestamp = _timestamp(source, options)
    if version is not None and timestamp is not None:
        raise SourceError(f"{source.label}: both versionAsOf and timestampAsOf are given. Leave out one.")
    unknown = sorted(options.keys() - _OF_WRITERS - {_VERSION, _TIMESTAMP})
    with source_errors(source):
        if unknown:
            raise needs(f"the option {', '.join(unknown)}")
        location = one_folder(source, router, what="Delta table")
        try:
            return read_table(location, version=version, timestamp=timestamp)
        except FileNotFoundError:
            if not location.exists():
                raise
            raise SourceError(
                f"no Delta table is there: it has no commit in its {LOG_FOLDER}. Name the table's own folder, or set "
                "file_format to what the files are"
            ) from None


def _version(source: SourceSpec, options: Mapping[str, str]) -> int | None:
    text = options.get(_VERSION)
    if text is None:
        return None
    if not text.strip().isdecimal():
        raise SourceError(f"{source.label}: option versionAsOf is {text!r}; it has to be a number such as 12.")
    return int(text)


def _timestamp(source: SourceSpec, options: Mapping[str, str]) -> datetime | None:
    text = options.get(_TIMESTAMP)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SourceError(
            f"{source.label}: option timestampAsOf is {text!r}; it has to be a time such as 2026-01-10 or "
            "2026-01-10T09:30:00Z. Without a zone it is UTC."
        ) from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
