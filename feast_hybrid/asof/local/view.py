"""The views of a join in this process, and what its threads get of them. Runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from feast_hybrid.arrow.types import spark_type_of_arrow
from feast_hybrid.arrow.utc import is_time, no_time
from feast_hybrid.asof.columnar.keys import FAMILIES, KeyForm
from feast_hybrid.asof.columnar.spec import KeyColumn, SourceColumn, ViewSpec
from feast_hybrid.asof.key_types import DECIMAL, FLOAT, INSTANT, TEXT, WHOLE, KeyType, compared_as, key_type_of_arrow
from feast_hybrid.asof.scan import Ineligible, Scan
from feast_hybrid.asof.view import ttl_in_micros
from feast_hybrid.spark.columns import position

#: How the keys of a family stand in blocks, of those in which there are several types.
_FORMS = {WHOLE: pa.int64(), FLOAT: pa.float64(), TEXT: pa.string(), INSTANT: pa.int64()}


@dataclass(frozen=True, kw_only=True, eq=False)
class LocalView:
    """The history of some features in files that this process can read; see :class:`feast_hybrid.asof.AsOfView`.

    Args:
        name: Names the view in errors and plans.
        schema: The source's columns, in Spark's forms of Arrow types.
        keys: Pairs of (entity column, source column) that have to be equal by value; with none, every entity row
            matches every row of the history.
        timestamp: The source column that says when a row became true: a timestamp, naive ones being UTC, or a date.
        created: The source column that says when a row was written, if there is one.
        ttl: How old a row may be to still count, inclusive. ``None``, zero and less mean: any age.
        features: Pairs of (source column, output column).
        scan: The source's files.
        where: Where the history is, in words.
        notes: What a plan says of how it is read.
    """

    name: str
    schema: pa.Schema
    keys: Sequence[tuple[str, str]]
    timestamp: str
    created: str | None
    ttl: timedelta | None
    features: Sequence[tuple[str, str]]
    scan: Scan
    where: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class BoundView:
    """A view whose columns are found.

    Args:
        view: The view.
        spec: What threads get of it.
        keys: The entity rows' key columns, and how each stands in blocks, as ``spec`` has them.
        outputs: For each output column which of the values of ``spec`` it is, and its name.
    """

    view: LocalView
    spec: ViewSpec
    keys: tuple[tuple[str, KeyForm], ...]
    outputs: tuple[tuple[int, str], ...]


class ColumnFinder:
    """Finds columns of a source by the names that are asked for.

    Args:
        schema: The source's columns.
        owner: Names the view or the source, for errors.
    """

    def __init__(self, schema: pa.Schema, owner: str) -> None:
        self._schema, self._owner = schema, owner

    def find(self, name: str, role: str) -> SourceColumn:
        """The column.

        Raises:
            SchemaError: There is none, or there are several.
        """
        found = self._schema.field(position(name, self._schema.names, owner=self._owner, role=role))
        return SourceColumn(found.name, found.type)

    def find_time(self, name: str, role: str) -> SourceColumn:
        """A column that says when.

        Raises:
            SchemaError: There is none, there are several, or it has another type.
        """
        column = self.find(name, role)
        if not is_time(column.data_type):
            raise no_time(key_type_of_arrow(column.data_type).name, owner=self._owner, role=role, name=name)
        return column


def bind_view(
    view: LocalView, view_id: int, entity_types: Mapping[str, pa.DataType], *, by_created: bool
) -> BoundView | Ineligible:
    """Find a view's columns, or say what of it is Spark's to join.

    Args:
        view: The view.
        view_id: Its number.
        entity_types: Of the entity rows' key columns, in types that Spark has.
        by_created: Whether a row only counts from its created time on, if it has one.

    Raises:
        SchemaError: A column is missing, is ambiguous, or has a type that does not do.
    """
    owner = f"view {view.name!r}"
    source = ColumnFinder(view.schema, owner)
    keys: dict[tuple[str, KeyForm], list[KeyColumn]] = {}
    for entity_column, source_column in view.keys:
        if entity_column not in entity_types:
            position(entity_column, list(entity_types), owner="the entity frame", role=f"join key of {owner}")
        column = source.find(source_column, "key column")
        of_entities = key_type_of_arrow(entity_types[entity_column])
        of_source = key_type_of_arrow(column.data_type)
        common = compared_as(
            of_entities, of_source, view=view.name, entity_column=entity_column, source_column=source_column
        )
        form = _form(common.family, common.digits, column.data_type, entity_types[entity_column])
        if form is None:
            return _cannot_hold(f"key column {source_column!r}", of_source)
        same = keys.setdefault((entity_column, form), [])
        same.append(KeyColumn(form, column, repeats=bool(same)))
    timestamp = source.find_time(view.timestamp, "timestamp column")
    created = None if view.created is None else source.find_time(view.created, "created timestamp column")
    values: dict[str, SourceColumn] = {}
    outputs = []
    for name, output in view.features:
        column = source.find(name, "feature column")
        if reason := not_rankable(column):
            return Ineligible(reason)
        values.setdefault(column.name, column)
        outputs.append((list(values).index(column.name), output))
    ordered = sorted(keys, key=lambda key: (key[0], key[1].family, str(key[1].data_type)))
    names = list(values)
    spec = ViewSpec(
        view_id=view_id,
        what=f"{owner} ({view.scan.where})",
        keys=tuple(column for key in ordered for column in keys[key]),
        timestamp=timestamp,
        created=created,
        by_created=by_created and created is not None,
        ttl=ttl_in_micros(view.ttl),
        values=tuple(values.values()),
        ranked=tuple(sorted(range(len(names)), key=lambda n: names[n])),
        outputs=tuple(f"v{n}" for n in range(len(names))),
    )
    return BoundView(view, spec, tuple(ordered), tuple(outputs))


def form_of_key(column: SourceColumn) -> KeyForm | Ineligible:
    """How a source's key stands in blocks where it is compared with none but itself."""
    found = key_type_of_arrow(column.data_type)
    form = None if found.family is None else _form(found.family, found.digits, column.data_type, column.data_type)
    return form or _cannot_hold(f"key column {column.name!r}", found)


def not_rankable(column: SourceColumn) -> str:
    """Why tied rows cannot be ranked by a column here; empty where they can."""
    if not _holds_maps(column.data_type):
        return ""
    return f"column {column.name!r} is {_name(column.data_type)}: ties in it are ranked by Spark"


def _form(family: str, digits: tuple[int, int] | None, source: pa.DataType, entities: pa.DataType) -> KeyForm | None:
    if family not in FAMILIES:
        return None
    if family == DECIMAL:
        whole, fraction = digits or (0, 0)
        return KeyForm(family, pa.decimal128(whole + fraction, fraction))
    own = source if pa.types.is_null(entities) else entities
    return KeyForm(family, _FORMS.get(family, own))


def _holds_maps(data_type: pa.DataType) -> bool:
    if pa.types.is_map(data_type):
        return True
    return any(_holds_maps(data_type.field(n).type) for n in range(data_type.num_fields))


def _cannot_hold(what: str, found: KeyType) -> Ineligible:
    return Ineligible(f"{what} is {found.name}, which blocks do not hold")


def _name(data_type: pa.DataType) -> str:
    return spark_type_of_arrow(data_type)
