"""A source's resolved schema, from its files: which columns they are, of which types, and in which files.

Everyone who reads, writes or checks a path of Parquet or ORC files takes it from here: Spark's reader, the columnar
strategy, both pulls, batches, and ``feast apply``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from feast_hybrid.errors import (
    HybridError,
    RetrievalError,
    RoutingError,
    SchemaError,
    SourceError,
    SourceNotFoundError,
)
from feast_hybrid.files.globs import SIGNS
from feast_hybrid.files.schema import SourceFiles, read_files
from feast_hybrid.files.table_formats import TableFormatError
from feast_hybrid.lakes.errors import raise_from, redacted_summary, storage_error
from feast_hybrid.lakes.markers import BEING_REPLACED, BEING_REPLACED_ADVICE
from feast_hybrid.sources.reader_options import ReaderOptions, reads_encrypted
from feast_hybrid.spark.formats import TABLE_FORMATS
from feast_hybrid.spark.installed import pyspark_version

if TYPE_CHECKING:
    from feast_hybrid.files.listing import Listing
    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.lakes import Router
    from feast_hybrid.sources.spec import SourceSpec

logger = logging.getLogger(__name__)

#: The notes that were logged.
_noted: set[tuple[str, str]] = set()

_FORMATS = frozenset({"parquet", "orc"})


def ineligibility_reason(source: SourceSpec) -> str | None:
    """Why a source's schema is Spark's to find, in words for plans; None where it is resolved from its files."""
    if source.location is None:
        return "a table or query: its files are Spark's to know"
    if source.file_format not in _FORMATS:
        return f"its files are {source.file_format}"
    if reads_encrypted(source.options):
        return "its files are encrypted, and Spark's to read"
    return None


def reader_options(source: SourceSpec) -> ReaderOptions:
    """What the options of a source's path mean, whatever the format.

    Raises:
        SourceError: an option has a value that Spark does not take.
    """
    assert source.location is not None
    with source_errors(source):
        return ReaderOptions.of(source.options, source.location)


def source_files(source: SourceSpec, router: Router) -> SourceFiles:
    """The files of a source whose :func:`ineligibility_reason` is None, and their footers.

    Args:
        source: a path of Parquet or ORC files.
        router: knows the sites.

    Raises:
        SourceNotFoundError: nothing is there, or no file with rows.
        SourceError: a file cannot be read.
        StorageError: the site cannot be reached, does not accept the sign-in, or denies access.
        SchemaError: folders cannot be read as partitions.
        RoutingError: the path is a pattern that also expands to what is on another site.
    """
    assert source.location is not None
    options = reader_options(source)
    with source_errors(source):
        files = read_files(
            source.location,
            source.file_format or "parquet",
            selection=options.selection,
            skip_damaged=options.skip_damaged,
            check_roots=lambda roots: refuse_other_sites(source, roots, router),
        )
    if files is None:
        format_name = "ORC" if source.file_format == "orc" else "Parquet"
        raise SourceNotFoundError(f"{source.label}: {source.describe()} holds no {format_name} files.")
    refuse_other_sites(source, folders_of(files.listing), router)
    note_left_out(source, files.listing.empty_files, files.listing.damaged_files)
    return files


def file_schema(source: SourceSpec, router: Router, required: Collection[str] = ()) -> ResolvedSchema:
    """The resolved schema of a source whose :func:`ineligibility_reason` is None.

    Args:
        source: a path of Parquet or ORC files.
        router: knows the sites.
        required: the source's columns that each file has to have: join keys and event time.

    Raises:
        SourceError, SourceNotFoundError, StorageError, RoutingError: see :func:`source_files`.
        SchemaError: types of a column do not go together, or a file lacks a required column.
    """
    files = source_files(source, router)
    with source_errors(source):
        return files.resolve(source.declared, required=required)


@contextmanager
def source_errors(source: SourceSpec) -> Iterator[None]:
    """What is raised while a source's place is read becomes an error of ours that names the source and the site."""
    location = source.location
    assert location is not None
    where = location.describe()
    try:
        yield
    except FileNotFoundError:
        raise SourceNotFoundError(f"{source.label}: nothing is at {where}.") from None
    except TableFormatError as error:
        hint = f"{error}. {_package_hint(error.file_format)}".strip()
        raise SourceError(f"{source.label} ({where}): {hint}") from None
    except (SchemaError, SourceError) as error:
        if f"/{BEING_REPLACED}" in str(error):
            raise RetrievalError(f"{source.label} ({where}): {BEING_REPLACED_ADVICE}") from None
        raise type(error)(f"{source.label} ({where}): {error}") from None
    except HybridError:  # such as a secret that is not set
        raise
    except Exception as error:
        refused = storage_error(error, what=source.label, where=where, sites=[location.site])
        raise_from(
            refused or SourceError(f"{source.label}: {where} cannot be read: {redacted_summary(error)}"), error
        )


def folders_of(listing: Listing) -> set[str]:
    """The folders that hold a source's files."""
    return {file.path.rpartition("/")[0] for file in listing.files}


def refuse_other_sites(source: SourceSpec, paths: Collection[str], router: Router) -> None:
    """Refuse a pattern that expands to what another site covers, or none.

    Args:
        source: a path.
        paths: that it expands to, as its file system has them.
        router: knows the sites.

    Raises:
        RoutingError: names the site and a path.
    """
    location = source.location
    if location is None or not SIGNS & set(location.uri.path):
        return
    prefix = location.path.removesuffix(location.uri.path)
    for path in paths:
        uri = replace(location.uri, path=path.removeprefix(prefix) or "/")
        site = router.route(uri, what=f"path of {source.label}")
        if site.name != location.site.name:
            raise RoutingError(
                f"{source.label}: {location} begins on site {location.site.name!r} and also expands to {uri}, which "
                f"is on site {site.name!r}. Name the folders of one site, and make a source for each site."
            )


def note_left_out(
    source: SourceSpec, empty_files: Sequence[str], damaged_files: Sequence[str] = ()
) -> tuple[str, ...]:
    """Log, once for each file, that files of no bytes or damaged ones are left out; and what a plan says of it."""
    return tuple(note_once(source, note) for note in left_out_notes(empty_files, damaged_files))


def left_out_notes(empty_files: Sequence[str], damaged_files: Sequence[str]) -> tuple[str, ...]:
    """What a plan says of files of no bytes or damaged ones that are left out."""
    notes = []
    for files, what in ((empty_files, "of 0 bytes"), (damaged_files, "damaged, by the option ignoreCorruptFiles")):
        if files:
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            notes.append(f"left out {files[0]}{more}, {what}")
    return tuple(notes)


def note_once(source: SourceSpec, note: str) -> str:
    """Log a note of a source, once."""
    if (source.name, note) not in _noted:
        _noted.add((source.name, note))
        logger.warning("%s (%s): %s.", source.label, source.describe(), note)
    return note


def _package_hint(file_format: str) -> str:
    """What reads a table format with the Spark that is installed; nothing where this package does."""
    if file_format in {*TABLE_FORMATS, "hive"}:
        return ""
    installed = pyspark_version()
    of = "" if installed is None else f" for PySpark {installed}"
    return f"No package of that format is known{of}; docs/formats.md lists those that are tested."
