"""Rows are written only where whoever reads the source finds them again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from feast_hybrid.errors import WriteError
from feast_hybrid.files.globs import SIGNS, name_matcher
from feast_hybrid.sources.file_schema import reader_options
from feast_hybrid.spark.formats import TABLE_FORMATS

if TYPE_CHECKING:
    from feast_hybrid.files.selection import FileSelection
    from feast_hybrid.sources.spec import SourceSpec


def require_readable(source: SourceSpec, *, what: str, file_name: str | None = None) -> None:
    """Refuse to write files that the source's own path or options would hide from readers, or give other columns.

    Args:
        source: where the rows go; a table passes.
        what: how an error names the rows and the place.
        file_name: the file's; None where Spark gives it, which nobody knows before: its ending depends on the format,
            on options and on the session.

    Raises:
        WriteError: names the pattern or the option.
        SourceError: an option has a value that nothing takes.
    """
    location = source.location
    if location is None:
        return
    if SIGNS & set(location.uri.path):
        raise WriteError(f"{what}: {location} is a pattern; rows are written to one folder.")
    if source.file_format in TABLE_FORMATS:  # a log says which files count
        return
    reason = _why_hidden(reader_options(source).selection, file_name)
    if reason is not None:
        raise WriteError(
            f"{what}: rows that are written there would not be read back: its option {reason}. Leave the option out."
        )


def _why_hidden(selection: FileSelection, file_name: str | None) -> str | None:
    pattern = selection.name_pattern
    if pattern is not None and file_name is None:
        return f"pathGlobFilter, {pattern!r}, may leave out files that Spark names"
    if pattern is not None and file_name is not None and not name_matcher(pattern)(file_name):
        return f"pathGlobFilter, {pattern!r}, leaves out a file such as {file_name}"
    if selection.before is not None:
        return "modifiedBefore leaves out what is written later"
    if selection.after is not None and selection.after >= datetime.now(UTC):
        return "modifiedAfter leaves out what is written before that time"
    if selection.base is not None:
        return "basePath takes columns from folders above the path"
    return None
