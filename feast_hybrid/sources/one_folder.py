"""The folder of a table, which a path may name by a pattern."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.files.globs import SIGNS, expand
from feast_hybrid.sources.file_schema import refuse_other_sites

if TYPE_CHECKING:
    from feast_hybrid.lakes import Location, Router
    from feast_hybrid.sources.spec import SourceSpec


def one_folder(source: SourceSpec, router: Router, *, what: str) -> Location:
    """The place that a source's path names.

    Raises:
        SourceError: it is a pattern that expands to no folder, or to several.
        RoutingError: it is a pattern that also expands to what is on another site.
    """
    location = source.location
    assert location is not None
    if not SIGNS & set(location.uri.path):
        return location
    found = expand(location)
    refuse_other_sites(source, found, router)
    if len(found) != 1:
        raise SourceError(f"the path is a pattern that expands to {len(found)} folders: name one {what}")
    prefix = location.path.removesuffix(location.uri.path)
    return replace(location, uri=replace(location.uri, path=found[0].removeprefix(prefix)))
