"""The resolved schema of a source's files: one meaning for all who read, cut, write or register them.

It is found from the footers of all files, from the names of partition folders, and from the types that are declared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from feast_hybrid.errors import SourceError
from feast_hybrid.files.footers import Footer, read_footers
from feast_hybrid.files.listing import Listing, list_files
from feast_hybrid.files.resolution import Resolution
from feast_hybrid.files.selection import FileSelection

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.files.resolved import ResolvedSchema
    from feast_hybrid.lakes.location import Location


class Resolvable(Protocol):
    """A source whose schema is known, for readers that declare other types."""

    def resolve(
        self, declared: Mapping[str, pa.DataType] | None = None, *, required: Collection[str] = ()
    ) -> ResolvedSchema:
        """The schema for a reader; see :meth:`SourceFiles.resolve`."""


#: How often files are listed anew that a writer replaces meanwhile.
_TRIES = 3


@dataclass(frozen=True, eq=False)
class SourceFiles:
    """The files of a source, once they are listed and their footers read: for readers that declare other types.

    Attributes:
        listing: the files, one or more.
        footers: by their paths.
    """

    listing: Listing
    footers: Mapping[str, Footer]

    def resolve(
        self, declared: Mapping[str, pa.DataType] | None = None, *, required: Collection[str] = ()
    ) -> ResolvedSchema:
        """The schema of the files for a reader.

        Args:
            declared: types that are declared for columns of the source.
            required: columns that each file with rows must have: without its key or its event time a row would
                vanish.

        Raises:
            SchemaError: a required column is missing in a file, or cannot be read.
        """
        resolved = Resolution(self.listing, self.footers, declared or {}).resolve()
        resolved.require(required, in_each_file=True)
        return resolved


def read_files(
    location: Location,
    file_format: str,
    *,
    selection: FileSelection | None = None,
    skip_damaged: bool = False,
    check_roots: Callable[[list[str]], None] | None = None,
) -> SourceFiles | None:
    """List the files at a place, and read the footers of all of them.

    Args:
        location: a file, a folder or a glob.
        file_format: ``parquet`` or ``orc``.
        selection: which of the files count; None for all.
        skip_damaged: whether files that cannot be read are left out.
        check_roots: see :func:`feast_hybrid.files.listing.list_files`.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: folders cannot be read as partitions.
        SourceError: a file is none of the format, or damaged; or files are replaced all the time.
    """
    for _ in range(_TRIES):
        listing = list_files(
            location, selection=selection or FileSelection(), check_roots=check_roots, read_by_us=True
        )
        if not listing.files:
            return None
        try:
            footers = read_footers(location, file_format, listing.files, skip_damaged=skip_damaged)
        except FileNotFoundError as error:  # a writer replaces files
            gone = error
            continue
        listing.damaged_files = [file.path for file in listing.files if file.path not in footers]
        listing.files = [file for file in listing.files if file.path in footers]
        return SourceFiles(listing, footers) if listing.files else None
    raise SourceError(f"files are replaced while they are read, {gone.args[0]!r} the last of them. Try again.")


def resolve_schema(
    location: Location,
    file_format: str,
    *,
    declared: Mapping[str, pa.DataType] | None = None,
    required: Collection[str] = (),
    selection: FileSelection | None = None,
) -> ResolvedSchema | None:
    """Find the schema of the files at a place.

    A column that cannot be read, or whose types do not go together, matters only to who wants it: it is left out and
    remembered in ``unreadable``, unless it is required.

    Args:
        location: a file, a folder or a glob.
        file_format: ``parquet`` or ``orc``.
        declared: types that are declared for columns of the source.
        required: columns that each file with rows must have: without its key or its event time a row would vanish.
        selection: which of the files count; None for all.

    Returns:
        None where there is no data file.

    Raises:
        FileNotFoundError: nothing is there.
        SchemaError: a required column is missing in a file, or cannot be read; folders cannot be read as partitions.
        SourceError: a file is none of the format, or damaged.
    """
    files = read_files(location, file_format, selection=selection)
    return None if files is None else files.resolve(declared, required=required)
