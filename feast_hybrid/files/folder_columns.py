"""The columns that folders give, for files of any format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from feast_hybrid.arrow.names import value_of
from feast_hybrid.files.partitions import partition_type

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.files.listing import Listing


class FolderColumns(NamedTuple):
    """What folders say of files in any format.

    Attributes:
        types: of the columns that they give, the outermost first.
        only_ours: why Spark would read them otherwise; None where it does not.
    """

    types: Mapping[str, pa.DataType]
    only_ours: str | None


def folder_columns(listing: Listing, declared: Mapping[str, pa.DataType]) -> FolderColumns:
    """The columns that folders give.

    Raises:
        SchemaError: a name is none of the declared type.
    """
    types = {
        name: partition_type(name, texts, value_of(name, declared)) for name, texts in listing.folder_texts.items()
    }
    reasons = [listing.only_ours, *(listing.read_otherwise(name, data_type) for name, data_type in types.items())]
    return FolderColumns(types, next(filter(None, reasons), None))
