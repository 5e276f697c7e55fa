"""What the shuffle's two sides run: entity rows into blocks, and blocks into entity rows with features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.asof.columnar.blocks import (
    BLOCK,
    BUCKET,
    ENTITIES,
    VIEW_ID,
    concat_batches,
    read_block,
    split_into_blocks,
)
from feast_hybrid.asof.columnar.entity_keys import EntityKeys
from feast_hybrid.asof.columnar.keys import hashed
from feast_hybrid.asof.columnar.match import BestMatches

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.spec import EntitySpec, GroupSpec, ViewSpec

#: Bytes of entity rows that are split at once, and of a history that is joined at once.
_ENTITIES, _CHUNK = 32 << 20, 128 << 20
#: Results leave in batches of no more bytes, nor more rows.
_RESULT, _RESULT_ROWS = 16 << 20, 65_536


@dataclass(frozen=True, eq=False)
class EntityBlocks:
    """For ``mapInArrow`` over the entity rows: the same rows as blocks."""

    entities: EntitySpec
    group: GroupSpec
    __name__ = "split_entity_rows"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Split."""
        schema = self.entities.schema
        pending: list[pa.RecordBatch] = []
        size = 0
        for batch in batches:
            arrays = [convert_for_reading(batch.column(n), field.type) for n, field in enumerate(schema)]
            pending.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            size += batch.nbytes
            if size >= _ENTITIES:
                yield from entity_blocks(pending, self.entities, self.group)
                pending, size = [], 0
        yield from entity_blocks(pending, self.entities, self.group)


def entity_blocks(rows: list[pa.RecordBatch], entities: EntitySpec, group: GroupSpec) -> Iterator[pa.RecordBatch]:
    """Entity rows as blocks of a group's buckets."""
    batch = concat_batches(rows)
    if batch is None:
        return
    keys = [form.encode(batch.column(batch.schema.get_field_index(name))) for name, form in group.keys]
    words = hashed(keys)
    nulls = [np.asarray(key.is_null()) for key in keys if key.null_count]
    if nulls:
        # They match nothing, so any bucket will do: by their time, for they may be many. By values alone, so that a
        # task that is tried again does the same.
        spread = hashed([batch.column(entities.timestamp).fill_null(0)])
        words = np.where(np.logical_or.reduce(nulls), spread, words)
    yield from split_into_blocks(batch, words, group.buckets, ENTITIES)


@dataclass(frozen=True, eq=False)
class JoinBlocks:
    """For ``mapInArrow`` over blocks sorted by bucket and view: entity rows with the group's features.

    Args:
        entities: The entity rows' columns, with the features of earlier groups.
        group: What is joined here.
        then: The group that the rows go to next, and their columns there; None to end with rows.
        columns: The columns of the rows at the end.
    """

    entities: EntitySpec
    group: GroupSpec
    then: tuple[EntitySpec, GroupSpec] | None
    columns: tuple[str, ...]
    __name__ = "join_blocks"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Join."""
        bucket: _Bucket | None = None
        for batch in batches:
            numbers = batch.column(batch.schema.get_field_index(BUCKET)).to_pylist()
            view_ids = batch.column(batch.schema.get_field_index(VIEW_ID)).to_pylist()
            blocks = batch.column(batch.schema.get_field_index(BLOCK))
            for n, (number, view_id) in enumerate(zip(numbers, view_ids, strict=True)):
                if bucket is None or bucket.number != number:
                    if bucket is not None:
                        yield from self._joined(bucket)
                    bucket = _Bucket(number, self.entities, self.group)
                bucket.add(view_id, blocks[n])
        if bucket is not None:
            yield from self._joined(bucket)

    def _joined(self, bucket: _Bucket) -> Iterator[pa.RecordBatch]:
        table = bucket.joined()
        if table is None:
            return
        if self.then is not None:
            yield from entity_blocks(table.to_batches(), *self.then)
            return
        for rows in table.select(list(self.columns)).to_batches():
            step = max(1, min(_RESULT_ROWS, rows.num_rows * _RESULT // max(rows.nbytes, 1)))
            for start in range(0, rows.num_rows, step):
                yield rows.slice(start, step)


class _Bucket:
    """One bucket while its blocks come in."""

    def __init__(self, number: int, entities: EntitySpec, group: GroupSpec) -> None:
        self.number = number
        self._entities = entities
        self._group = group
        self._views = {view.view_id: view for view in group.views}
        self._schemas = {view.view_id: view.block_schema() for view in group.views}
        self._pending: list[pa.RecordBatch] = []
        self._size = 0
        self._rows: pa.RecordBatch | None = None
        self._keys: EntityKeys | None = None
        self._matches: dict[int, BestMatches] = {}
        self._view_id = ENTITIES

    def add(self, view_id: int, block: Any) -> None:
        """Take a block; entity rows come before all history."""
        if view_id != self._view_id:
            self._take_up()
            self._view_id = view_id
        if view_id != ENTITIES and self._keys is None:
            return  # no entity row has this bucket's keys
        schema = self._entities.schema if view_id == ENTITIES else self._schemas[view_id]
        rows = read_block(block, schema)
        self._pending.append(rows)
        self._size += rows.nbytes
        if view_id != ENTITIES and self._size >= _CHUNK:
            self._take_up()

    def _take_up(self) -> None:
        """Use the blocks that have come of one view."""
        rows = concat_batches(self._pending)
        self._pending, self._size = [], 0
        if rows is None:
            return
        if self._view_id == ENTITIES:
            self._rows, self._keys = _sorted(rows, self._entities, self._group)
            return
        assert self._keys is not None
        view = self._views[self._view_id]
        self._matches.setdefault(self._view_id, BestMatches(view, self._keys)).add(rows)

    def joined(self) -> pa.Table | None:
        """The entity rows with the features of all views; None without entity rows."""
        self._take_up()
        if self._rows is None or self._keys is None:
            return None
        arrays: list[pa.Array | pa.ChunkedArray] = [*self._rows.columns]
        names = list(self._rows.schema.names)
        for view in self._group.views:
            arrays += self._columns(view)
            names += view.outputs
        return pa.Table.from_arrays(arrays, names=names)

    def _columns(self, view: ViewSpec) -> list[pa.ChunkedArray]:
        assert self._keys is not None
        return self._matches.get(view.view_id, BestMatches(view, self._keys)).columns()


def _sorted(rows: pa.RecordBatch, entities: EntitySpec, group: GroupSpec) -> tuple[pa.RecordBatch, EntityKeys]:
    """The entity rows by key and time, and their keys."""
    timestamps = rows.column(rows.schema.get_field_index(entities.timestamp))
    keys = EntityKeys(
        [form.encode(rows.column(rows.schema.get_field_index(name))) for name, form in group.keys], timestamps
    )
    return rows.take(pa.array(keys.sort())), keys
