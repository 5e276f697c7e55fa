"""Values that Arrow carries and Python fails on without saying where, or drops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feast_hybrid.arrow.maps import find_key_twice
from feast_hybrid.arrow.validity import first_invalid
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa


def require_values(table: pa.Table, names: Sequence[str], what: str) -> None:
    """Refuse what engines and Arrow carry, and Python fails on without saying where, or drops.

    Args:
        table: rows for a caller.
        names: how an error names its columns.
        what: how an error names the rows.

    Raises:
        SchemaError: text that is none, or a map with a key twice; it names the column and the first row.
    """
    for name, column in zip(names, table.columns, strict=True):
        of_column = f"of column {name!r}"
        if "string" in str(column.type) and (invalid := first_invalid(column)) is not None:
            raise SchemaError(
                f"{what}: row {invalid[0]} {of_column} is no UTF-8 text; write it anew, as text or as binary."
            )
        if "map<" in str(column.type) and (twice := find_key_twice(column.combine_chunks())) is not None:
            raise SchemaError(
                f"{what}: row {twice[0]} {of_column} has a map with the key {twice[1]!r} twice; write it anew with "
                "each key once."
            )
