"""Which column a name means: one rule for all who look for columns, whatever a session says of letters' case.

A column of the very name wins; else it is the only one whose name differs by case alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from feast_hybrid.errors import SchemaError

T = TypeVar("T")


def positions_of(name: str, columns: Sequence[str]) -> list[int]:
    """Where the columns stand that a name may mean: none, one, or, where it is ambiguous, several."""
    exact = [position for position, column in enumerate(columns) if column == name]
    return exact or [position for position, column in enumerate(columns) if column.lower() == name.lower()]


def find_name(name: str, columns: Sequence[str]) -> str | None:
    """The column that a name means; None where there is none, or where several differ by case alone."""
    found = positions_of(name, columns)
    return columns[found[0]] if len(found) == 1 else None


def value_of(name: str, values: Mapping[str, T]) -> T | None:
    """What is given for the column that a name means, by columns' names; None where nothing is, or it is unclear."""
    found = find_name(name, list(values))
    return None if found is None else values[found]


def names_for(wanted: Collection[str], columns: Sequence[str], *, what: str, others: bool) -> list[str | None]:
    """The columns' names as they are asked for, so that whoever uses them needs no rule.

    Args:
        wanted: names that are asked for; those of no column are left to who needs them.
        columns: that there are.
        what: names the source and its place, for errors.
        others: whether columns that are not asked for are wanted too. Else those are left out whose names differ by
            case alone from another's, which Spark would not tell apart.

    Returns:
        A name for each column; None for one that is left out.

    Raises:
        SchemaError: a name may mean several columns, or two wanted columns differ by case alone.
    """
    names: list[str | None] = list(columns)
    asked: dict[int, str] = {}
    for name in dict.fromkeys(wanted):
        found = positions_of(name, columns)
        if len(found) > 1:
            raise SchemaError(f"{what}: column {name!r} may be {_listed(columns, found)}. Rename all but one.")
        for position in found:
            if columns[position] != asked.get(position):  # the very name wins, then the first
                asked[position] = name if name == columns[position] else asked.get(position, name)
            names[position] = asked[position]
    alike: dict[str, list[int]] = {}
    for position, column in enumerate(columns):
        alike.setdefault(column.lower(), []).append(position)
    for positions in alike.values():
        if len(positions) == 1:
            continue
        if others or len(asked.keys() & set(positions)) > 1:
            raise SchemaError(
                f"{what}: the columns {_listed(columns, positions)} differ by case alone, and Spark does not tell "
                "them apart. Rename one of them, or ask for one alone."
            )
        for position in positions:
            if position not in asked:
                names[position] = None
    return names


def _listed(columns: Sequence[str], positions: Sequence[int]) -> str:
    return " or ".join(repr(columns[position]) for position in positions)
