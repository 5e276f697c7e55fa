"""From the caller's frames to frames of our own columns, holding only what the join needs.

Column names from here on: entity columns ``__fh_e0…`` as they came in, ``__fh_t`` the entity row's
instant, ``__fh_k0…`` keys in their common form; in a history ``__fh_ts``, ``__fh_cr`` (created), ``__fh_v0…``
features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from feast_hybrid.asof import ties
from feast_hybrid.asof.keys import Domain, domain
from feast_hybrid.spark.columns import is_case_sensitive, position, refuse_clashes
from feast_hybrid.spark.times import micros, require_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from feast_hybrid.asof.view import AsOfView

AT, TS, CREATED = "__fh_t", "__fh_ts", "__fh_cr"


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """How a history comes from the view's frame, for those who read the frame's files themselves.

    Source columns go with the types that the frame has for them.

    Args:
        keys: For each key of the view its name in the entity frame, the source column and its type, and the domain;
            a name that repeats has to agree with itself.
        timestamp: The source column.
        created: The source column, if there is one.
        values: The source columns, in the order of :attr:`History.values`.
        ranked: Which of the values rank ties, in order.
        case_sensitive: Whether the session tells ``a`` from ``A``.
    """

    keys: tuple[tuple[str, str, DataType, Domain], ...]
    timestamp: tuple[str, DataType]
    created: tuple[str, DataType] | None
    values: tuple[tuple[str, DataType], ...]
    ranked: tuple[int, ...]
    case_sensitive: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """One view's rows, ready to be joined.

    Args:
        name: The view's name.
        make_frame: Gives :attr:`frame`.
        keys: The key columns, of the same names here and in the entity frame.
        values: The feature columns.
        created: Whether there is a created column.
        by_created: Whether a row only counts for entity rows at or after its created time.
        ttl: Microseconds, or None.
        outputs: For each output column, which of ``values`` it is and its name.
        view: What it was made from.
        recipe: And how.
    """

    name: str
    make_frame: Callable[[], DataFrame]
    keys: tuple[str, ...]
    values: tuple[str, ...]
    created: bool
    by_created: bool
    ttl: int | None
    outputs: tuple[tuple[str, str], ...]
    view: AsOfView
    recipe: Recipe

    @cached_property
    def frame(self) -> DataFrame:
        """Rows that can be a candidate for some entity row; none has a null key or a null time.

        Made when it is first asked for: its some fifty calls of the JVM are in vain where files are read without it.
        """
        return self.make_frame()

    @cached_property
    def ranks(self) -> tuple[Column, ...]:
        """What ranks rows of equal (time, created): the greatest wins."""
        named = zip(self.values, self.recipe.values, strict=True)
        return tuple(ties.ranks([(source, value, kind) for value, (source, kind) in named]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Entity rows and histories in our own columns.

    Args:
        entities: ``columns``, then :data:`AT` and the key columns of all histories.
        columns: Our names of the entity columns.
        names: Their own names.
        histories: One for each view.
        keys: For each key column of ``entities`` which entity column it is, by position, and its domain.
        at: Which entity column the time is.
    """

    entities: DataFrame
    columns: tuple[str, ...]
    names: tuple[str, ...]
    histories: tuple[History, ...]
    keys: dict[str, tuple[int, Domain]]
    at: int


def prepare(
    entities: DataFrame, views: Sequence[AsOfView], *, timestamp: str, filter_by_created_timestamp: bool
) -> Prepared:
    """Check what was asked for, and bring the entity frame to our own columns; a history's when it is asked for. Runs
    nothing.

    Raises:
        SchemaError: A column is missing, or its type does not do.
        JoinError: Two output columns would have one name.
    """
    from pyspark.sql import functions as F

    case_sensitive = is_case_sensitive(entities.sparkSession)
    names = tuple(entities.columns)
    refuse_clashes(names, [(v.name, out) for v in views for _, out in v.features], case_sensitive=case_sensitive)
    kinds = [field.dataType for field in entities.schema.fields]
    columns = tuple(f"__fh_e{i}" for i in range(len(names)))

    def entity(name: str, role: str) -> int:
        return position(name, names, case_sensitive=case_sensitive, owner="the entity frame", role=role)

    at = entity(timestamp, "timestamp column")
    require_time(kinds[at], owner="the entity frame", role="timestamp column", name=timestamp)
    known: dict[tuple[int, Domain], str] = {}
    histories = []
    for view in views:
        source = _Source(view, case_sensitive)
        keys: list[tuple[str, str, DataType, Domain]] = []
        for entity_column, source_column in view.keys:
            i = entity(entity_column, f"join key of view {view.name!r}")
            _, kind = source.find(source_column, "key column")
            common = domain(kinds[i], kind, view=view.name, entity_column=entity_column, source_column=source_column)
            key = known.setdefault((i, common), f"__fh_k{len(known)}")
            keys.append((key, source_column, kind, common))
        histories.append(source.history(keys, filter_by_created_timestamp))
    own = [micros(F.col(columns[at]), kinds[at]).alias(AT)]
    own += [common.of(F.col(columns[i]), kinds[i]).alias(key) for (i, common), key in known.items()]
    frame = entities.toDF(*columns).select(*columns, *own)
    return Prepared(
        entities=frame,
        columns=columns,
        names=names,
        histories=tuple(histories),
        keys={key: place for place, key in known.items()},
        at=at,
    )


class _Source:
    """A view's frame, renamed by position."""

    def __init__(self, view: AsOfView, case_sensitive: bool) -> None:
        self._view = view
        self._case_sensitive = case_sensitive
        self._names = view.frame.columns
        self._columns = [f"__fh_s{i}" for i in range(len(self._names))]
        #: Where the columns stand that were found.
        self._found: dict[str, int] = {}
        self._kinds: list[DataType] = [field.dataType for field in view.frame.schema.fields]

    def find(self, name: str, role: str) -> tuple[str, DataType]:
        owner = f"view {self._view.name!r}"
        i = position(name, self._names, case_sensitive=self._case_sensitive, owner=owner, role=role)
        self._found[name] = i
        return self._columns[i], self._kinds[i]

    def _named(self, name: str) -> tuple[str, DataType]:
        i = self._found[name]
        return self._names[i], self._kinds[i]

    def time(self, name: str, role: str) -> tuple[str, DataType]:
        column, kind = self.find(name, role)
        require_time(kind, owner=f"view {self._view.name!r}", role=role, name=name)
        return column, kind

    def history(
        self, keys: Sequence[tuple[str, str, DataType, Domain]], filter_by_created_timestamp: bool
    ) -> History:
        view = self._view
        times = {TS: self.time(view.timestamp, "timestamp column")}
        if view.created is not None:
            times[CREATED] = self.time(view.created, "created timestamp column")
        values: dict[str, tuple[str, DataType]] = {}
        outputs = []
        for name, out in view.features:
            column, kind = self.find(name, "feature column")
            value, _ = values.setdefault(column, (f"__fh_v{len(values)}", kind))
            outputs.append((value, out))
        source_names = dict(zip(self._columns, self._names, strict=True))
        in_order = [(source_names[column], kind) for column, (_, kind) in values.items()]
        own_name = {name: self._names[i] for name, i in self._found.items()}
        recipe = Recipe(
            keys=tuple((key, own_name[name], kind, common) for key, name, kind, common in keys),
            timestamp=self._named(view.timestamp),
            created=None if view.created is None else self._named(view.created),
            values=tuple(in_order),
            ranked=tuple(sorted(range(len(in_order)), key=lambda i: in_order[i][0])),
            case_sensitive=self._case_sensitive,
        )
        by_created = filter_by_created_timestamp and view.created is not None
        named = {column: value for column, (value, _) in values.items()}
        return History(
            name=view.name,
            make_frame=partial(self._frame, keys, times, named, by_created),
            keys=tuple(dict.fromkeys(key for key, *_ in keys)),
            values=tuple(named.values()),
            created=view.created is not None,
            by_created=by_created,
            ttl=view.ttl_micros,
            outputs=tuple(outputs),
            view=view,
            recipe=recipe,
        )

    def _frame(
        self,
        keys: Sequence[tuple[str, str, DataType, Domain]],
        times: Mapping[str, tuple[str, DataType]],
        values: Mapping[str, str],
        by_created: bool,
    ) -> DataFrame:
        from pyspark.sql import functions as F

        wanted = []
        for n, (_, name, kind, common) in enumerate(keys):
            column = self._columns[self._found[name]]
            wanted.append(common.of(F.col(column), kind).alias(f"__fh_j{n}"))
        wanted += [micros(F.col(column), kind).alias(own) for own, (column, kind) in times.items()]
        wanted += [F.col(column).alias(value) for column, value in values.items()]
        frame = self._view.frame.toDF(*self._columns).select(*wanted)
        # Not dropna(), which would drop a key of NaN too.
        for name in (*(f"__fh_j{n}" for n in range(len(keys))), TS, *([CREATED] if by_created else [])):
            frame = frame.where(F.col(name).isNotNull())
        # One entity key may be asked of two source columns: the names repeat, and both have to match.
        return _distinct_keys(frame, [key for key, *_ in keys])


def _distinct_keys(frame: DataFrame, keys: Sequence[str]) -> DataFrame:
    """Name the keys as the entity frame does; a key that is there twice has to agree with itself."""
    from pyspark.sql import functions as F

    first: dict[str, str] = {}
    for n, key in enumerate(keys):
        own = f"__fh_j{n}"
        if key in first:
            frame = frame.where(F.col(own) == F.col(first[key])).drop(own)
        else:
            first[key] = own
    return frame.withColumnsRenamed({own: key for key, own in first.items()})
