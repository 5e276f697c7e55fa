"""From the caller's frames to frames of our own columns, holding only what the join needs.

Column names from here on: entity columns ``__fh_e0…`` as they came in, ``__fh_t`` the entity row's
instant, ``__fh_k0…`` keys in their common form; in a history ``__fh_ts``, ``__fh_cr`` (created), ``__fh_v0…``
features.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import CharType, IntegralType, StringType

from feast_hybrid.arrow.utc import datetime_of
from feast_hybrid.asof import ties
from feast_hybrid.asof.keys import Domain, domain
from feast_hybrid.spark.columns import is_case_sensitive, position, refuse_clashes
from feast_hybrid.spark.times import bounded, micros, require_time

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from feast_hybrid.asof.view import AsOfView

ENTITY_TS, TS, CREATED = "__fh_t", "__fh_ts", "__fh_cr"


@dataclass(frozen=True)
class BoundColumn:
    """A column of a caller's frame, found by the name that was asked for.

    Args:
        name: Its name in the frame.
        alias: Its name once the frame's columns are renamed by position, since the caller's may be anything.
        data_type: Its type.
    """

    name: str
    alias: str
    data_type: DataType


@dataclass(frozen=True)
class BoundKey:
    """A key of a view.

    Args:
        name: The key column of the entity frame; keys of one name have to agree with each other.
        source: The source's column.
        domain: The form in which the two are compared.
    """

    name: str
    source: BoundColumn
    domain: Domain


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnBinding:
    """Which columns of a view's frame its history is made of.

    Args:
        keys: One for each key of the view.
        timestamp: When a row became true.
        created: When it was written, if there is such a column.
        values: The features, each once, in the order of :attr:`History.values`.
    """

    keys: tuple[BoundKey, ...]
    timestamp: BoundColumn
    created: BoundColumn | None
    values: tuple[BoundColumn, ...]

    @property
    def ranked(self) -> tuple[int, ...]:
        """Which of the values rank ties, in order: by their names in the source."""
        return tuple(sorted(range(len(self.values)), key=lambda n: self.values[n].name))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What of a history is wanted: conditions on the source's own columns, so that Spark reads no more of it.

    Args:
        low: No time before this microsecond.
        high: No time after this one, nor a created time where it decides.
        keys: No other keys than these; only of a history for which :attr:`History.takes_literal_keys` holds.
    """

    low: int | None = None
    high: int | None = None
    keys: tuple[Any, ...] | None = None


#: All of a history.
WHOLE = Cut()


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """One view's rows, ready to be joined.

    Args:
        view: What it was made from.
        binding: Which columns of the view's frame it holds.
        by_created: Whether a row only counts for entity rows at or after its created time.
        outputs: For each output column, which of :attr:`values` it is and its name.
        make_frame: Gives :attr:`frame`, or less of it.
    """

    view: AsOfView
    binding: ColumnBinding
    by_created: bool
    outputs: tuple[tuple[str, str], ...]
    make_frame: Callable[[Cut], DataFrame]

    @property
    def name(self) -> str:
        """The view's name."""
        return self.view.name

    @property
    def ttl(self) -> int | None:
        """Microseconds, or None."""
        return self.view.ttl_micros

    @property
    def created(self) -> bool:
        """Whether there is a created column."""
        return self.binding.created is not None

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The key columns, of the same names here and in the entity frame."""
        return tuple(dict.fromkeys(key.name for key in self.binding.keys))

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The feature columns."""
        return tuple(_value_name(n) for n in range(len(self.binding.values)))

    @cached_property
    def frame(self) -> DataFrame:
        """Rows that can be a candidate for some entity row; none has a null key or a null time.

        Made when it is first used: its some fifty calls of the JVM are in vain where files are read without it.
        """
        return self.make_frame(WHOLE)

    @property
    def takes_literal_keys(self) -> bool:
        """Whether the keys of :class:`Cut` are the source's own values: of one column of whole numbers or text."""
        (key, *more) = self.binding.keys or (None,)
        if key is None or more:
            return False
        found = key.source.data_type
        # A collation's or a length's type has another name; such values compare otherwise.
        is_plain = isinstance(found, IntegralType) or found == StringType()
        return is_plain and key.domain.family in ("whole number", "string")

    @cached_property
    def ranks(self) -> tuple[Column, ...]:
        """What ranks rows of equal (time, created): the greatest wins."""
        named = zip(self.values, self.binding.values, strict=True)
        return tuple(ties.ranks([(source.name, value, source.data_type) for value, source in named]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Entity rows and histories in our own columns.

    Args:
        entities: ``columns``, then :data:`ENTITY_TS` and the key columns of all histories.
        columns: Our names of the entity columns.
        names: Their own names.
        histories: One for each view.
        keys: For each key column of ``entities`` which entity column it is, by position, and its domain.
        timestamp: Which entity column the time is, by position.
    """

    entities: DataFrame
    columns: tuple[str, ...]
    names: tuple[str, ...]
    histories: tuple[History, ...]
    keys: dict[str, tuple[int, Domain]]
    timestamp: int


def prepare(
    entities: DataFrame, views: Sequence[AsOfView], *, timestamp: str, filter_by_created_timestamp: bool
) -> Prepared:
    """Check a request, and bring the entity frame to our own columns; a history's when it is used. Runs nothing.

    Raises:
        SchemaError: A column is missing, or its type does not do.
        JoinError: Two output columns would have one name.
    """
    refuse_clashes(
        entities.columns,
        [(v.name, out) for v in views for _, out in v.features],
        case_sensitive=is_case_sensitive(entities.sparkSession),
    )
    frame = _Frame(entities, "the entity frame", "__fh_e")
    time = frame.bind_time(timestamp, "timestamp column")
    #: The key columns by entity column and domain: views that compare alike share one.
    keys: dict[tuple[BoundColumn, Domain], str] = {}
    histories = []
    for view in views:
        source = _Frame(view.frame, f"view {view.name!r}", "__fh_s")
        bound = []
        for entity_name, source_name in view.keys:
            entity_column = frame.bind_key(entity_name, f"join key of view {view.name!r}")
            source_column = source.bind_key(source_name, "key column")
            common = domain(
                entity_column.data_type,
                source_column.data_type,
                view=view.name,
                entity_column=entity_name,
                source_column=source_name,
            )
            key = keys.setdefault((entity_column, common), f"__fh_k{len(keys)}")
            bound.append(BoundKey(key, source_column, common))
        histories.append(_history(view, source, tuple(bound), filter_by_created_timestamp))
    added = [micros(F.col(time.alias), time.data_type).alias(ENTITY_TS)]
    added += [common.of(F.col(c.alias), c.data_type).alias(key) for (c, common), key in keys.items()]
    columns = frame.aliases
    return Prepared(
        entities=entities.toDF(*columns).select(*columns, *added),
        columns=columns,
        names=tuple(entities.columns),
        histories=tuple(histories),
        keys={key: (columns.index(column.alias), common) for (column, common), key in keys.items()},
        timestamp=columns.index(time.alias),
    )


class _Frame:
    """Finds columns of a caller's frame."""

    def __init__(self, frame: DataFrame, owner: str, prefix: str) -> None:
        self._owner = owner
        self._fields = frame.schema.fields
        self._names = [field.name for field in self._fields]
        self.aliases = tuple(f"{prefix}{i}" for i in range(len(self._fields)))

    def bind(self, name: str, role: str) -> BoundColumn:
        """Find a column.

        Args:
            name: As it is asked for.
            role: What it is asked for, for errors.

        Raises:
            SchemaError: There is none, or there are several.
        """
        i = position(name, self._names, owner=self._owner, role=role)
        return BoundColumn(self._names[i], self.aliases[i], self._fields[i].dataType)

    def bind_key(self, name: str, role: str) -> BoundColumn:
        """Find a key column; ``char(n)``, which a table's frame calls a string, has its own type."""
        column = self.bind(name, role)
        metadata = self._fields[self.aliases.index(column.alias)].metadata or {}
        length = re.fullmatch(r"char\((\d+)\)", str(metadata.get("__CHAR_VARCHAR_TYPE_STRING", "")))
        return column if length is None else replace(column, data_type=CharType(int(length[1])))

    def bind_time(self, name: str, role: str) -> BoundColumn:
        """Find a column that holds times."""
        column = self.bind(name, role)
        require_time(column.data_type, owner=self._owner, role=role, name=name)
        return column


def _history(
    view: AsOfView, source: _Frame, keys: tuple[BoundKey, ...], filter_by_created_timestamp: bool
) -> History:
    timestamp = source.bind_time(view.timestamp, "timestamp column")
    created = None if view.created is None else source.bind_time(view.created, "created timestamp column")
    values: dict[str, BoundColumn] = {}
    outputs = []
    for name, out in view.features:
        column = source.bind(name, "feature column")
        values.setdefault(column.alias, column)
        outputs.append((_value_name(list(values).index(column.alias)), out))
    binding = ColumnBinding(keys=keys, timestamp=timestamp, created=created, values=tuple(values.values()))
    by_created = filter_by_created_timestamp and created is not None
    return History(
        view=view,
        binding=binding,
        by_created=by_created,
        outputs=tuple(outputs),
        make_frame=partial(_history_frame, view, source.aliases, binding, by_created),
    )


def _value_name(n: int) -> str:
    return f"__fh_v{n}"


def _history_frame(
    view: AsOfView, aliases: Sequence[str], binding: ColumnBinding, by_created: bool, cut: Cut
) -> DataFrame:
    """The history's rows, see :attr:`History.frame`."""
    # One entity key may be compared with two source columns: the names repeat, and both have to match.
    own_keys = [f"__fh_j{n}" for n in range(len(binding.keys))]
    times = {TS: binding.timestamp} | ({CREATED: binding.created} if binding.created is not None else {})
    wanted = [
        key.domain.of(F.col(key.source.alias), key.source.data_type).alias(own)
        for own, key in zip(own_keys, binding.keys, strict=True)
    ]
    wanted += [micros(F.col(time.alias), time.data_type).alias(own) for own, time in times.items()]
    wanted += [F.col(value.alias).alias(_value_name(n)) for n, value in enumerate(binding.values)]
    frame = view.frame if view.within is None else view.within(cut.low, cut.high)
    rows = frame.toDF(*aliases)
    for condition in _conditions(binding, by_created, cut):
        rows = rows.where(condition)
    rows = rows.select(*wanted)
    # Not dropna(), which would drop a key of NaN too.
    for name in (*own_keys, TS, *([CREATED] if by_created else [])):
        rows = rows.where(F.col(name).isNotNull())
    first: dict[str, str] = {}
    for own, key in zip(own_keys, binding.keys, strict=True):
        if key.name in first:
            rows = rows.where(F.col(own) == F.col(first[key.name])).drop(own)
        else:
            first[key.name] = own
    return rows.withColumnsRenamed({own: name for name, own in first.items()})


def _conditions(binding: ColumnBinding, by_created: bool, cut: Cut) -> list[Column]:
    """What a cut says of the source's columns."""
    found = []
    bounds = [(binding.timestamp, cut.low, True), (binding.timestamp, cut.high, False)]
    if by_created and binding.created is not None:
        bounds.append((binding.created, cut.high, False))
    for column, micros_of_bound, at_least in bounds:
        time = datetime_of(micros_of_bound)  # readers look again where no datetime is it
        if time is not None:
            found.append(bounded(F.col(column.alias), column.data_type, time, at_least=at_least))
    if cut.keys is not None:
        key = binding.keys[0].source
        found.append(F.col(key.alias).isin([F.lit(value) for value in cut.keys]))
    return found
