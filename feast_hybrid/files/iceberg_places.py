"""Where the files of an Iceberg table are, which writes whole URIs of them into its metadata."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from pyiceberg.io import FileIO, InputFile, OutputFile

from feast_hybrid.errors import RoutingError, SourceError
from feast_hybrid.lakes.location import Location
from feast_hybrid.lakes.uri import LakeType, parse_uri

if TYPE_CHECKING:
    from feast_hybrid.lakes.uri import LakeUri

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def require_own_place(location: Location, recorded: str) -> None:
    """See that a table says of itself that it lies where it was found: what is added is named by that.

    Raises:
        SourceError: it says another place, as a copy of a table does.
    """
    if not _is_same(location, recorded):
        raise SourceError(
            f"the table {location} says of itself that it lies at {recorded}, where its files are looked for. Name "
            "that path; a copy of a table is none that can be added to"
        )


def _is_same(location: Location, recorded: str) -> bool:
    there = location.uri
    if not _SCHEME.match(recorded):  # of the default file system of whoever made it
        return recorded.rstrip("/") == there.path.rstrip("/")
    try:
        uri = parse_uri(recorded.rstrip("/"))
    except RoutingError:
        return False
    if uri.path.rstrip("/") != there.path.rstrip("/") or uri.lake is not there.lake:
        return False
    return there.lake is LakeType.LOCAL or _is_same_server(location, uri)


def _is_same_server(location: Location, uri: LakeUri) -> bool:
    of_nameservice = {node.lower() for node in location.site.namenodes}
    return uri.authority.lower() in {location.uri.authority.lower(), *of_nameservice}


def place_of(table: Location, base: str, recorded: str) -> Location:
    """The place of a table's file.

    Args:
        table: the table's folder.
        base: the URI of that folder, as the table writes it.
        recorded: the URI of the file, likewise.

    Raises:
        SourceError: it is not on the table's site.
    """
    prefix = f"{base.rstrip('/')}/"
    if recorded.startswith(prefix):
        return table.child(recorded.removeprefix(prefix))
    if not _SCHEME.match(recorded):
        recorded = f"{table.uri.scheme}://{table.uri.authority}{recorded}"
    uri = parse_uri(recorded, what=f"a file of the table {table}")
    same = uri.lake is table.lake and (uri.lake is LakeType.LOCAL or _is_same_server(table, uri))
    found = Location(table.site, table.uri.__class__(table.lake, table.uri.scheme, table.uri.authority, uri.path))
    if not same or not found.uri.is_under(table.site.root):
        raise SourceError(f"the file {uri} of the table {table} is not on the table's site {table.site.name!r}")
    return found


class TableFiles(FileIO):
    """Opens the files of a table for pyiceberg: as the table's site signs in, and for reading alone."""

    def __init__(self, table: Location, base: str) -> None:
        super().__init__()
        self._table = table
        self._base = base

    def new_input(self, location: str) -> InputFile:
        """See :class:`pyiceberg.io.FileIO`."""
        return _Read(location, place_of(self._table, self._base, location))

    def new_output(self, location: str) -> OutputFile:
        """Nothing is written by it."""
        raise NotImplementedError

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Nothing is deleted by it."""
        raise NotImplementedError


class _Read(InputFile):
    """A small file, read at once."""

    def __init__(self, location: str, place: Location) -> None:
        super().__init__(location)
        self._place = place

    def __len__(self) -> int:
        return int(self._place.fs.size(self._place.path))

    def exists(self) -> bool:
        return self._place.exists()

    def open(self, seekable: bool = True) -> Any:  # noqa: ARG002
        return io.BytesIO(self._place.fs.cat_file(self._place.path))
