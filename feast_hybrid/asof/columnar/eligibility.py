"""Whether views and entity rows can be joined by columns, and what tasks then get. Runs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.asof.columnar.keys import FAMILIES, KeyForm
from feast_hybrid.asof.columnar.spec import KeyColumn, SourceColumn, ViewSpec
from feast_hybrid.asof.scan import Ineligible, Scan

if TYPE_CHECKING:
    from pyspark.sql.types import DataType

    from feast_hybrid.asof.keys import Domain
    from feast_hybrid.asof.prepare import BoundColumn, History, Prepared

#: Formats of files that are read by columns.
FILE_FORMATS = frozenset({"parquet", "orc"})


@dataclass(frozen=True, eq=False)
class Eligible:
    """A view that can be joined by columns.

    Args:
        history: The view's, in our own columns.
        scan: Its files.
        spec: What tasks get of it.
    """

    history: History
    scan: Scan
    spec: ViewSpec


def check_view(history: History, view_id: int) -> Eligible | Ineligible:
    """Whether a view can be joined by columns that tasks read from its files.

    Args:
        history: The view's.
        view_id: Its number in the join, which marks its blocks.
    """
    scan = history.view.scan
    if isinstance(scan, Ineligible):
        return scan
    if scan.file_format not in FILE_FORMATS:
        return Ineligible(f"its files are {scan.file_format}")
    keys: dict[str, list[KeyColumn]] = {}
    for key in history.binding.keys:
        form, column = key_form(key.domain), _source_column(key.source)
        if form is None or column is None:
            return _cannot_hold(f"key column {key.source.name!r}", key.source)
        same = keys.setdefault(key.name, [])
        same.append(KeyColumn(form, column, repeats=bool(same)))
    columns = tuple(column for name in key_names(history) for column in keys[name])
    spec = _view_spec(history, view_id, columns, where=scan.where)
    return spec if isinstance(spec, Ineligible) else Eligible(history, scan, spec)


def frame_spec(history: History, view_id: int) -> ViewSpec | Ineligible:
    """What tasks get of a view whose rows Spark hands to them, as :attr:`History.frame` has them.

    Args:
        history: The view's.
        view_id: Its number in the join, which marks its blocks.
    """
    keys = {}
    for key in history.binding.keys:
        form = key_form(key.domain)
        if form is None:
            return _cannot_hold(f"key column {key.source.name!r}", key.source)
        keys[key.name] = KeyColumn(form, SourceColumn(key.name, form.data_type))
    return _view_spec(history, view_id, tuple(keys[name] for name in key_names(history)), where="rows by Spark")


def _view_spec(history: History, view_id: int, keys: tuple[KeyColumn, ...], *, where: str) -> ViewSpec | Ineligible:
    """What tasks get of a view whose keys are held, if they hold the rest."""
    binding = history.binding
    if not binding.keys:
        return Ineligible("no keys: all of it would be one bucket")
    columns: list[SourceColumn] = []
    optional = [binding.created] if binding.created is not None else []
    for source in (binding.timestamp, *optional, *binding.values):
        column = _source_column(source)
        if column is None:
            return _cannot_hold(f"column {source.name!r}", source)
        if not _rankable(source.data_type):
            found = source.data_type.simpleString()
            return Ineligible(f"feature column {source.name!r} is {found}: ties in it are ranked by Spark")
        columns.append(column)
    timestamp, *rest = columns
    return ViewSpec(
        view_id=view_id,
        what=f"view {history.name!r} ({where})",
        keys=keys,
        timestamp=timestamp,
        created=rest[0] if optional else None,
        by_created=history.by_created,
        ttl=history.ttl,
        values=tuple(rest[len(optional) :]),
        ranked=binding.ranked,
        outputs=tuple(match_column(view_id, n) for n in range(len(binding.values))),
    )


def entity_schema(prepared: Prepared) -> pa.Schema | Ineligible:
    """How entity rows travel in blocks, if they can."""
    names = dict(zip(prepared.columns, prepared.names, strict=True))
    fields = []
    for field in prepared.entities.schema.fields:
        data_type = arrow_type_of_spark(field.dataType)
        if data_type is None:
            found = field.dataType.simpleString()
            return Ineligible(
                f"entity column {names.get(field.name, field.name)!r} is {found}, which blocks do not hold"
            )
        fields.append(pa.field(field.name, data_type))
    return pa.schema(fields)


def key_form(domain: Domain) -> KeyForm | None:
    """How a key stands in blocks; None for families that they cannot hold: intervals, times of day, void."""
    data_type = arrow_type_of_spark(domain.type)
    return None if data_type is None or domain.family not in FAMILIES else KeyForm(domain.family, data_type)


def key_names(history: History) -> tuple[str, ...]:
    """The entity rows' key columns of a view, in an order of our own: views of the same keys share a shuffle."""
    return tuple(sorted(history.keys))


def match_column(view_id: int, value: int) -> str:
    """Our name for a feature in the result."""
    return f"__fh_a{view_id}_{value}"


def _source_column(column: BoundColumn) -> SourceColumn | None:
    data_type = arrow_type_of_spark(column.data_type)
    return None if data_type is None else SourceColumn(column.name, data_type)


def _cannot_hold(what: str, column: BoundColumn) -> Ineligible:
    return Ineligible(f"{what} is {column.data_type.simpleString()}, which blocks do not hold")


def _rankable(spark_type: DataType) -> bool:
    """Whether tied rows can be ranked by this type in Arrow: all but maps, which rank by their JSON text."""
    parts: Any = spark_type  # which parts it has depends on its class
    if parts.typeName() == "array":
        return _rankable(parts.elementType)
    if parts.typeName() == "struct":
        return all(_rankable(field.dataType) for field in parts.fields)
    return parts.typeName() != "map" and arrow_type_of_spark(spark_type) is not None
