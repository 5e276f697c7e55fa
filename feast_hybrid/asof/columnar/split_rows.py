"""Splitting the rows of a view's Spark frame into blocks, in tasks that Spark hands them to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from feast_hybrid.arrow.convert import convert_for_reading
from feast_hybrid.asof.columnar.blocks import concat_batches
from feast_hybrid.asof.columnar.candidates import BlockWriter, Candidates

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.keys import KeyForm
    from feast_hybrid.asof.columnar.spec import ViewSpec

#: Spark gives 10,000 rows at a time, whose NumPy calls would take a third longer than those of so many, or so many
#: bytes.
_ROWS, _BYTES = 1 << 17, 16 << 20


@dataclass(frozen=True, eq=False)
class SplitRows:
    """For ``mapInArrow`` over a history's frame: its rows that can be a match as blocks.

    The frame has the view's keys in the types of their domains, its time and its created time in microseconds, and
    its features. Which of a row's keys and times are null, and which keys repeat, was Spark's to look at.

    Args:
        view: Whose rows they are.
        buckets: How many.
        flush: Bytes of rows that are reduced and split at once.
    """

    view: ViewSpec
    buckets: int
    flush: int
    __name__ = "split_history"

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Split."""
        view = self.view
        schema, forms = view.block_schema(), view.forms
        candidates, writer = Candidates(view), BlockWriter(view, self.buckets, self.flush)
        pending: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in batches:
            pending.append(_converted(batch, forms, schema))
            rows += batch.num_rows
            size += batch.nbytes
            if rows >= _ROWS or size >= _BYTES:
                yield from self._add(pending, candidates, writer)
                pending, rows, size = [], 0, 0
        yield from self._add(pending, candidates, writer)
        yield from writer.finish()

    def _add(
        self, pending: list[pa.RecordBatch], candidates: Candidates, writer: BlockWriter
    ) -> Iterator[pa.RecordBatch]:
        batch = concat_batches(pending)
        if batch is None:
            return
        view = self.view
        first = len(view.forms)
        features = first + (1 if view.created is None else 2)
        chosen = candidates.choose(
            batch.columns[:first], batch.columns[first:features], lambda n: batch.column(features + n)
        )
        if chosen is not None:
            yield from writer.add(chosen)


def _converted(batch: pa.RecordBatch, forms: Sequence[KeyForm], schema: pa.Schema) -> pa.RecordBatch:
    """Spark's batch in blocks' columns: instants have its session's zone there, text may be laid out widely."""
    arrays = [form.encode(batch.column(n)) for n, form in enumerate(forms)]
    arrays += [convert_for_reading(batch.column(n), schema.field(n).type) for n in range(len(forms), len(schema))]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
