"""SQL text in sources: queries and tables' names, which may do no more than to name rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.errors import SourceError
from feast_hybrid.spark.sql import single_select, table_parts
from feast_hybrid.spark.sql_rules import path_as_table, refuse_unsafe

if TYPE_CHECKING:
    from feast_hybrid.lakes import Allowed


def refuse_table(table: str, *, what: str) -> None:
    """Refuse a table's name that names a path.

    Raises:
        SourceError: it names one, or is no name.
    """
    if fault := path_as_table(table_parts(table, what=f"{what}: table", error=SourceError)):
        raise SourceError(f"{what}: table {fault}")


def refuse_query(query: str, allowed: Allowed, *, what: str) -> None:
    """Refuse a query that does more than to compute on tables.

    Raises:
        SourceError: it does; names what.
    """
    what = f"{what}: query"
    parsed = single_select(query, what=what, error=SourceError)
    refuse_unsafe(query, parsed, what=what, error=SourceError, more_functions=allowed.functions)
