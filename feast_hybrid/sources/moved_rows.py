"""Rows that are not at their place: missing, or moved away by a writer that replaces them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from feast_hybrid.errors import SourceNotFoundError
from feast_hybrid.lakes.replace import is_unfinished, left_over
from feast_hybrid.lakes.replace_hdfs import REPLACEMENT_SECONDS
from feast_hybrid.sources.file_schema import note_once

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location
    from feast_hybrid.sources.spec import SourceSpec

T = TypeVar("T")


def open_where_rows_are(source: SourceSpec, opened: Callable[[SourceSpec], T]) -> tuple[T, str]:
    """Open a source; where nothing is there because a writer has moved it, open what was moved.

    Args:
        source: where the rows are.
        opened: opens a source.

    Returns:
        What was opened; and a note for plans where it is at another place.

    Raises:
        SourceNotFoundError: nothing is there, nor was it moved.
    """
    try:
        return opened(source), ""
    except SourceNotFoundError as error:
        if source.location is None or (place := _moved_to(source.location, error)) is None:
            raise
        found = opened(replace(source, location=place))
        if place == source.location:
            return found, ""
        return found, note_once(
            source, f"a writer died while it replaced the rows there; the old ones are read, at {place}"
        )


def _moved_to(location: Location, error: SourceNotFoundError) -> Location | None:
    """Where the rows of a folder are that is not there.

    Returns:
        The folder itself, if it was only away for a moment, while a writer replaced it; where a writer has moved it
        that died before its own rows were there; None if nobody has.

    Raises:
        SourceNotFoundError: somebody has moved it, and removed what should have come: says where the rows are.
    """
    try:
        old = left_over(location)
        deadline = time.monotonic() + REPLACEMENT_SECONDS
        while old is not None:
            if location.exists():
                return location
            if time.monotonic() > deadline:
                break
            time.sleep(REPLACEMENT_SECONDS / 20)
        if old is None or is_unfinished(location):
            return old
    except Exception:  # what the first error said is what there is to say
        return None
    raise SourceNotFoundError(
        f"{str(error).rstrip('.')}: a writer died while it replaced the rows there, and the old ones are at {old}. "
        "Save the dataset again, or rename that folder."
    ) from error


def is_missing(source: SourceSpec) -> bool:
    """Whether a path's lake says that nothing is there, as opposed to saying nothing at all."""
    if source.location is None:
        return False
    try:
        source.location.fs.info(source.location.path)
    except FileNotFoundError:
        return True
    return False
