"""Whether the views of one source can all hold: each declares types of its own for columns that they share."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from feast_hybrid.arrow.unify import go_together
from feast_hybrid.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

    from feast_hybrid.files.schema import Resolvable
    from feast_hybrid.sources.spec import SourceSpec

    Types = Mapping[str, pa.DataType]

logger = logging.getLogger(__name__)

#: What was warned of.
_warned_of: set[str] = set()


def require_agreement(specs: Sequence[SourceSpec], files: Resolvable | None) -> None:
    """Refuse views whose declared types the source's columns do not have, or that take one column for two things.

    Whole numbers and doubles over ``int32`` both hold, and each view gives its own. A partition folder ``zip=01234``
    declared ``String`` by one view and ``Int64`` by another would be ``01234`` here and ``1234`` there. Where a view
    was defined several times under one name, which of them counts is not known: one that holds is enough.

    Args:
        specs: the source, once for each of its views, with what that declares.
        files: of the source; None where only Spark knows what it holds: a warning says then what may differ.

    Raises:
        SchemaError: names the column, and the view or both views.
    """
    views: dict[str, list[tuple[SourceSpec, Types]]] = {}
    refusals: dict[str, SchemaError] = {}
    for spec in sorted(specs, key=lambda spec: spec.view or ""):
        name = spec.view or ""
        views.setdefault(name, [])
        try:
            views[name].append((spec, _types(spec, files)))
        except SchemaError as refusal:
            refusals.setdefault(name, refusal)
    for name, found in refusals.items():
        if not views[name]:
            raise found
    for one, other in combinations(views.values(), 2):
        differences = [list(_differences(*left, *right)) for left in one for right in other]
        if all(differences):
            _report(differences[0][0], is_known=files is not None)


def _types(spec: SourceSpec, files: Resolvable | None) -> Types:
    """The types of the declared columns, as the view's readers get them; those declared where files are not known.

    Raises:
        SchemaError: a column is none of the declared type.
    """
    if files is None:
        return spec.declared
    resolved = files.resolve(spec.declared)
    lower = {name.lower() for name in resolved.unreadable}
    resolved.require(
        [name for name in spec.declared if name.lower() in lower], what=f"{spec.label} ({spec.describe()})"
    )
    found = {name: resolved.find(name) for name in spec.declared}
    return {name: column.data_type for name, column in found.items() if column is not None}


def _differences(one: SourceSpec, types: Types, other: SourceSpec, other_types: Types) -> Iterator[str]:
    """What is said of each column that is another thing to two views."""
    for name in types.keys() & other_types.keys():
        if not go_together(types[name], other_types[name]):
            yield (
                f"source {one.name!r} ({one.describe()}): column {name!r} is {types[name]} to view {one.view!r}, "
                f"which declares it {one.declared[name]}, and {other_types[name]} to view {other.view!r}, which "
                f"declares it {other.declared[name]}. Declare one type"
            )


def _report(difference: str, *, is_known: bool) -> None:
    if is_known:
        raise SchemaError(f"{difference}.")
    if difference not in _warned_of:
        _warned_of.add(difference)
        logger.warning("%s, unless the source holds what both can mean.", difference)
