"""Which of the columns of a source's files can be read, and by whom."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from feast_hybrid.files.resolved import ResolvedSchema


def not_to_be_had(
    resolved: ResolvedSchema, columns: Collection[str] | None, required: Collection[str]
) -> Collection[str]:
    """The wanted columns that cannot be read, or of which it is not known which ones they are."""
    known = {column.name.lower() for column in resolved.columns}
    unreadable = {name.lower() for name in resolved.unreadable}
    names = dict.fromkeys([*required, *(columns or ())])
    unclear = [name for name in names if name.lower() in known and resolved.find(name) is None]
    wanted = resolved.unreadable if columns is None else [name for name in columns if name.lower() in unreadable]
    return [*wanted, *unclear]


def only_sparks(resolved: ResolvedSchema, columns: Collection[str] | None, required: Collection[str]) -> str:
    """Which wanted column our reader would read otherwise than Spark's, and why; empty where it reads all alike."""
    wanted = resolved.only_sparks if columns is None else columns_meant(resolved, [*columns, *required])
    found = [f"column {name!r} {why}" for name, why in resolved.only_sparks.items() if name in wanted]
    return f"{found[0]}: only Spark reads such columns" if found else ""


def columns_meant(resolved: ResolvedSchema, names: Collection[str]) -> set[str]:
    """The resolved columns that names mean."""
    return {column.name for column in map(resolved.find, names) if column is not None}
