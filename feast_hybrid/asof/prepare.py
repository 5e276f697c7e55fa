"""From the caller's frames to frames of our own columns, holding only what the join needs.

Column names from here on: entity columns ``__fh_e0…`` as they came in, ``__fh_t`` the entity row's
instant, ``__fh_k0…`` keys in their common form; in a history ``__fh_ts``, ``__fh_cr`` (created), ``__fh_v0…``
features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feast_hybrid.asof import ties
from feast_hybrid.asof.keys import Domain, domain
from feast_hybrid.asof.names import position, refuse_clashes
from feast_hybrid.asof.times import micros, require_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

    from feast_hybrid.asof.view import AsOfView

AT, TS, CREATED = "__fh_t", "__fh_ts", "__fh_cr"


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """One view's rows, ready to be joined.

    Args:
        name: The view's name.
        frame: Rows that can be a candidate for some entity row; none has a null key or a null time.
        keys: The key columns, of the same names here and in the entity frame.
        values: The feature columns.
        ranks: What ranks rows of equal (time, created): the greatest wins.
        created: Whether there is a created column.
        by_created: Whether a row only counts for entity rows at or after its created time.
        ttl: Microseconds, or None.
        outputs: For each output column, which of ``values`` it is and its name.
    """

    name: str
    frame: DataFrame
    keys: tuple[str, ...]
    values: tuple[str, ...]
    ranks: tuple[Column, ...]
    created: bool
    by_created: bool
    ttl: int | None
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """Entity rows and histories in our own columns.

    Args:
        entities: ``columns``, then :data:`AT` and the key columns of all histories.
        columns: Our names of the entity columns.
        names: Their own names.
        histories: One for each view.
    """

    entities: DataFrame
    columns: tuple[str, ...]
    names: tuple[str, ...]
    histories: tuple[History, ...]


def prepare(
    entities: DataFrame, views: Sequence[AsOfView], *, timestamp: str, filter_by_created_timestamp: bool
) -> Prepared:
    """Check what was asked for, and bring all frames to our own columns. Runs nothing.

    Raises:
        SchemaError: A column is missing, or its type does not do.
        JoinError: Two output columns would have one name.
    """
    from pyspark.sql import functions as F

    case_sensitive = entities.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
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
        keys: list[tuple[str, Column]] = []
        for entity_column, source_column in view.keys:
            i = entity(entity_column, f"join key of view {view.name!r}")
            column, kind = source.find(source_column, "key column")
            common = domain(kinds[i], kind, view=view.name, entity_column=entity_column, source_column=source_column)
            key = known.setdefault((i, common), f"__fh_k{len(known)}")
            keys.append((key, common.of(F.col(column), kind)))
        histories.append(source.history(keys, filter_by_created_timestamp))
    own = [micros(F.col(columns[at]), kinds[at]).alias(AT)]
    own += [common.of(F.col(columns[i]), kinds[i]).alias(key) for (i, common), key in known.items()]
    frame = entities.toDF(*columns).select(*columns, *own)
    return Prepared(entities=frame, columns=columns, names=names, histories=tuple(histories))


class _Source:
    """A view's frame, renamed by position."""

    def __init__(self, view: AsOfView, case_sensitive: bool) -> None:
        self._view = view
        self._case_sensitive = case_sensitive
        self._names = view.frame.columns
        self._columns = [f"__fh_s{i}" for i in range(len(self._names))]
        self._kinds: list[DataType] = [field.dataType for field in view.frame.schema.fields]

    def find(self, name: str, role: str) -> tuple[str, DataType]:
        owner = f"view {self._view.name!r}"
        i = position(name, self._names, case_sensitive=self._case_sensitive, owner=owner, role=role)
        return self._columns[i], self._kinds[i]

    def time(self, name: str, role: str) -> Column:
        from pyspark.sql import functions as F

        column, kind = self.find(name, role)
        require_time(kind, owner=f"view {self._view.name!r}", role=role, name=name)
        return micros(F.col(column), kind)

    def history(self, keys: Sequence[tuple[str, Column]], filter_by_created_timestamp: bool) -> History:
        from pyspark.sql import functions as F

        view = self._view
        wanted = [column.alias(f"__fh_j{n}") for n, (_, column) in enumerate(keys)]
        wanted.append(self.time(view.timestamp, "timestamp column").alias(TS))
        needed = [f"__fh_j{n}" for n in range(len(keys))] + [TS]
        if view.created is not None:
            wanted.append(self.time(view.created, "created timestamp column").alias(CREATED))
        by_created = filter_by_created_timestamp and view.created is not None
        if by_created:
            needed.append(CREATED)
        values: dict[str, tuple[str, DataType]] = {}
        outputs = []
        for name, out in view.features:
            column, kind = self.find(name, "feature column")
            value, _ = values.setdefault(column, (f"__fh_v{len(values)}", kind))
            outputs.append((value, out))
        wanted += [F.col(column).alias(value) for column, (value, _) in values.items()]
        source_names = dict(zip(self._columns, self._names, strict=True))
        ranks = ties.ranks([(source_names[column], *pair) for column, pair in values.items()])
        frame = view.frame.toDF(*self._columns).select(*wanted)
        # Not dropna(), which would drop a key of NaN too.
        for name in needed:
            frame = frame.where(F.col(name).isNotNull())
        # One entity key may be asked of two source columns: the names repeat, and both have to match.
        frame, names = _distinct_keys(frame, [key for key, _ in keys])
        return History(
            name=view.name,
            frame=frame,
            keys=names,
            values=tuple(value for value, _ in values.values()),
            ranks=tuple(ranks),
            created=view.created is not None,
            by_created=by_created,
            ttl=view.ttl_micros,
            outputs=tuple(outputs),
        )


def _distinct_keys(frame: DataFrame, keys: Sequence[str]) -> tuple[DataFrame, tuple[str, ...]]:
    """Name the keys as the entity frame does; a key that is there twice has to agree with itself."""
    from pyspark.sql import functions as F

    first: dict[str, str] = {}
    for n, key in enumerate(keys):
        own = f"__fh_j{n}"
        if key in first:
            frame = frame.where(F.col(own) == F.col(first[key])).drop(own)
        else:
            first[key] = own
    return frame.withColumnsRenamed({own: key for key, own in first.items()}), tuple(first)
