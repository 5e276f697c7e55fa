"""Dates in place of entity rows: which they are, and which views' rows they can stand for together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from feast.utils import compute_non_entity_date_range

from feast_hybrid.errors import EntityFrameError, SchemaError

if TYPE_CHECKING:
    from feast_hybrid.retrieval.entity_rows import Bounds
    from feast_hybrid.retrieval.request import RequestedView


def date_range(views: Sequence[RequestedView], dates: tuple[datetime | None, datetime | None]) -> Bounds:
    """The first and the last time that are meant; Feast's defaults stand for None, naive times are UTC.

    Raises:
        EntityFrameError: the dates are in the wrong order.
    """
    start, end = compute_non_entity_date_range([view.view for view in views], *dates)
    if start > end:
        raise EntityFrameError(
            f"start_date {start.isoformat()} is after end_date {end.isoformat()}; give the earlier first."
        )
    return start, end


def require_one_type_for_each_key(histories: Sequence[tuple[RequestedView, Mapping[str, str]]]) -> None:
    """Refuse a join key whose values in two views cannot stand in one column.

    Args:
        histories: views, and Spark's names for the types of their rows' columns.

    Raises:
        SchemaError: it names the key, and both views and types.
    """
    first: dict[str, tuple[str, str]] = {}
    for view, types in histories:
        for key, column in view.keys:
            type_name = types[column]
            first_view, first_type = first.setdefault(key, (view.name, type_name))
            if _type_family(first_type) != _type_family(type_name):
                raise SchemaError(
                    f"join key {key!r} is {first_type} in view {first_view!r} and {type_name} in view "
                    f"{view.name!r}: their rows cannot be united."
                )


def _type_family(type_name: str) -> str:
    """Types whose values can stand in one key column."""
    return "a whole number" if type_name in ("tinyint", "smallint", "int", "bigint") else type_name
