"""What tasks get of a join: plain values that are pickled to the executors, and never a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.found_times import FoundTimes
    from feast_hybrid.asof.columnar.keys import KeyForm
    from feast_hybrid.asof.scan import DeletedRows, StoredColumn

TS, CREATED = "ts", "created"


@dataclass(frozen=True)
class SourceColumn:
    """A column of a view's frame: its name there, and its type in Arrow."""

    name: str
    data_type: pa.DataType


@dataclass(frozen=True)
class KeyColumn:
    """A key of a view.

    Args:
        form: How it stands in blocks.
        source: The source's column.
        repeats: Whether it is a further source column for the key before it, which both have to equal.
    """

    form: KeyForm
    source: SourceColumn
    repeats: bool = False


@dataclass(frozen=True, eq=False)
class KeyFilter:
    """Which keys the entity rows have.

    Args:
        bits: The filter has ``2 ** bits`` slots.
        slots: Which of them are taken, packed to bits.
        exact: All keys, sorted, where there is one key column, held as integers or text, and they are few; for row
            groups, whose statistics are ranges of keys.
    """

    bits: int
    slots: NDArray[np.uint8]
    exact: NDArray[np.int64] | tuple[bytes, ...] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the slots."""
        return self.slots.nbytes


@dataclass(frozen=True, eq=False, kw_only=True)
class ViewSpec:
    """One view's part in a columnar join.

    Args:
        view_id: The view's number, which marks its blocks.
        what: Names the view and its place, for errors.
        keys: In the order of the entity rows' key columns; those that repeat follow the one that they repeat.
        timestamp: The source's column.
        created: The source's column, if it has one.
        by_created: Whether a row only counts from its created time on.
        ttl: Microseconds, or None.
        values: The features' columns.
        ranked: Which of ``values`` rank ties, in order.
        outputs: The features' columns in the result, in the order of ``values``.
        low: No row before this microsecond can be an answer.
        high: Nor after this one.
        key_filter: The keys of the entity rows, where they are known.
        entity_keys: Their keys and times, each pair once and in order, where they are known and few.
        found: What was found already for the entity rows, where who reads knows it.
    """

    view_id: int
    what: str
    keys: tuple[KeyColumn, ...]
    timestamp: SourceColumn
    created: SourceColumn | None
    by_created: bool
    ttl: int | None
    values: tuple[SourceColumn, ...]
    ranked: tuple[int, ...]
    outputs: tuple[str, ...]
    low: int | None = None
    high: int | None = None
    key_filter: KeyFilter | None = None
    entity_keys: EntityKeys | None = None
    found: FoundTimes | None = None

    @property
    def forms(self) -> tuple[KeyForm, ...]:
        """How each of the view's keys stands in blocks."""
        return tuple(key.form for key in self.keys if not key.repeats)

    @property
    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns that are read, each once."""
        wanted = [key.source for key in self.keys] + [self.timestamp]
        wanted += [self.created] if self.created is not None else []
        return tuple({column.name: column for column in (*wanted, *self.values)}.values())

    def block_schema(self) -> pa.Schema:
        """The columns of the view's blocks: keys, times in microseconds, values."""
        fields = [pa.field(f"k{n}", form.stored) for n, form in enumerate(self.forms)]
        fields.append(pa.field(TS, pa.int64()))
        if self.created is not None:
            fields.append(pa.field(CREATED, pa.int64()))
        fields += [pa.field(f"v{n}", value.data_type) for n, value in enumerate(self.values)]
        return pa.schema(fields)


@dataclass(frozen=True, eq=False)
class FileSplit:
    """A part of a file: the row groups that begin within a range of its bytes.

    Args:
        view_id: Of the view that it is read for.
        path: The file's.
        start: The first byte of the range.
        end: The first one after it.
        partitions: What the folders on the way to the file say.
        open: Opens the file.
        file_format: ``parquet`` or ``orc``.
        version: Of the file that was listed; None where it is not known.
        current_version: Gives the version of the file that is there.
        stored: How the file calls the frame's columns, where a table's log says so.
        deleted: The rows of the file that do not count.
    """

    view_id: int
    path: str
    start: int
    end: int
    partitions: Mapping[str, Any]
    open: Callable[[str], Any]
    file_format: str = "parquet"
    version: object = None
    current_version: Callable[[str], object] | None = None
    stored: Mapping[str, StoredColumn] | None = None
    deleted: DeletedRows | None = None


@dataclass(frozen=True, eq=False)
class GroupSpec:
    """The views that share join keys, joined by one shuffle.

    Args:
        views: In the order of their numbers.
        keys: The entity rows' key columns, and how they stand in blocks.
        buckets: How many.
    """

    views: tuple[ViewSpec, ...]
    keys: tuple[tuple[str, KeyForm], ...]
    buckets: int


@dataclass(frozen=True, eq=False)
class EntitySpec:
    """The entity rows' columns.

    Args:
        timestamp: The column of their time, in microseconds.
        schema: All columns that travel, as Arrow carries them.
    """

    timestamp: str
    schema: pa.Schema


def rows_spec(
    columns: Sequence[SourceColumn], timestamp: SourceColumn | None, low: int | None, high: int | None, *, what: str
) -> ViewSpec:
    """What is read of a source of whose rows all are wanted within a time range.

    Args:
        columns: That are read, one or more.
        timestamp: The event time, one of them; None where no time counts.
        low: No earlier microsecond.
        high: Nor a later one.
        what: Names the source and its place, for errors.
    """
    return ViewSpec(
        view_id=0,
        what=what,
        keys=(),
        timestamp=timestamp or columns[0],
        created=None,
        by_created=False,
        ttl=None,
        values=tuple(columns),
        ranked=(),
        outputs=(),
        low=low if timestamp else None,
        high=high if timestamp else None,
    )
