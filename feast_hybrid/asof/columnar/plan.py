"""The frames of the columnar strategy: entity rows and histories as blocks, shuffled and joined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from feast_hybrid.asof.columnar.blocks import BUCKET, SCHEMA, VIEW_ID
from feast_hybrid.asof.columnar.columnar_view import ColumnarView
from feast_hybrid.asof.columnar.estimate import value_width
from feast_hybrid.asof.columnar.frame_view import FrameView, row_width
from feast_hybrid.asof.columnar.join import EntityBlocks, JoinBlocks
from feast_hybrid.asof.columnar.read import ReadBlocks
from feast_hybrid.asof.columnar.spec import EntitySpec, GroupSpec
from feast_hybrid.asof.columnar.split_rows import SplitRows
from feast_hybrid.asof.columnar.splits import Tasks, plan_splits
from feast_hybrid.asof.prepare import ENTITY_TS
from feast_hybrid.asof.settings import parallelism_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Bytes of a bucket's rows, as they are in memory; and the least for which a further task is worth its start.
BUCKET_BYTES, _MIN_BUCKET_BYTES = 64 << 20, 8 << 20
_MAX_BUCKETS = 4096
#: A frame of unknown size is taken for so many rounds of buckets on all cores, and none for more than the second:
#: what Spark states may be far too much. A bucket that grows larger than was estimated is joined in chunks.
_UNKNOWN_ROUNDS, _MAX_ROUNDS = 2, 16
#: Bytes of rows that a task has of a frame, as it is in memory.
_FRAME_TASK_BYTES = 256 << 20
#: Rows are split when there are this many bytes of them for each bucket, within bounds.
_BLOCK_BYTES, _MIN_FLUSH, _MAX_FLUSH = 128 << 10, 48 << 20, 192 << 20


@dataclass(frozen=True, eq=False)
class _Stage:
    """One shuffle: the views of one group of keys.

    Args:
        entities: The entity rows' columns as they come in.
        group: What is joined.
        views: Its views.
        tasks: What reads those of them that are files.
    """

    entities: EntitySpec
    group: GroupSpec
    views: tuple[ColumnarView | FrameView, ...]
    tasks: Tasks


def join_columnar(
    rows: DataFrame,
    entity_schema: pa.Schema,
    views: Sequence[ColumnarView | FrameView],
    *,
    parallelism: int | None,
    entity_rows: int | None,
) -> DataFrame:
    """The rows with the features of the views, in columns called by ``eligibility.match_column``.

    One shuffle for each group of views with the same keys; between groups the rows stay blocks.

    Args:
        rows: The entity rows.
        entity_schema: How they travel in blocks.
        views: One or more.
        parallelism: How many tasks run at once, where it is known.
        entity_rows: How many there are; None where it is not known: then they are made of the histories.
    """
    session = rows.sparkSession
    stages = _stages(entity_schema, views, parallelism or parallelism_of(session), entity_rows)
    fields = [*rows.schema.fields, *(field for stage in stages for field in _match_fields(stage.views))]
    result = StructType(fields)
    blocks = rows.mapInArrow(EntityBlocks(stages[0].entities, stages[0].group), SCHEMA)
    for stage, following in zip(stages, [*stages[1:], None], strict=True):
        buckets = stage.group.buckets
        for history in _histories(session, stage):
            blocks = blocks.union(history)
        blocks = blocks.repartition(buckets, BUCKET).sortWithinPartitions(F.col(BUCKET), F.col(VIEW_ID))
        then = None if following is None else (following.entities, following.group)
        task = JoinBlocks(stage.entities, stage.group, then, tuple(result.names))
        blocks = blocks.mapInArrow(task, result if following is None else SCHEMA)
    return blocks


def _stages(
    schema: pa.Schema, views: Sequence[ColumnarView | FrameView], parallelism: int, entity_rows: int | None
) -> list[_Stage]:
    """The views grouped by their keys; each stage's rows have the features of the stages before it."""
    by_keys: dict[tuple[str, ...], list[ColumnarView | FrameView]] = {}
    for view in views:
        by_keys.setdefault(view.key_names, []).append(view)
    if entity_rows is None:
        entity_rows = sum(_rows(view, parallelism) for view in views)
    stages = []
    for names, group in by_keys.items():
        tasks = plan_splits([view for view in group if isinstance(view, ColumnarView)], parallelism)
        entity_width = sum(value_width(data_type) for data_type in schema.types)
        size = entity_rows * entity_width + sum(_shuffled_bytes(view, tasks, parallelism) for view in group)
        spec = GroupSpec(
            # What only readers go by does not travel to those who join.
            views=tuple(replace(view.spec, key_filter=None, entity_keys=None) for view in group),
            keys=tuple(zip(names, group[0].spec.forms, strict=True)),
            buckets=bucket_count(size, parallelism),
        )
        stages.append(_Stage(EntitySpec(ENTITY_TS, schema), spec, tuple(group), tasks))
        for view in group:
            for output, value in zip(view.spec.outputs, view.spec.values, strict=True):
                schema = schema.append(pa.field(output, value.data_type))
    return stages


def _match_fields(views: Sequence[ColumnarView | FrameView]) -> list[StructField]:
    return [
        StructField(output, value.data_type, True)
        for view in views
        for output, value in zip(view.spec.outputs, view.history.binding.values, strict=True)
    ]


def bucket_count(size: int, parallelism: int) -> int:
    """How many buckets: so that each fits into memory, and that all cores have some, where that is worth it.

    If there are more than cores, as far as ``parallelism`` says how many these are, each gets as many, so that none
    waits for a last one; a bucket may then be half as large again as it should.

    Args:
        size: Bytes that are shuffled.
        parallelism: How many tasks run at once.
    """
    for_memory = math.ceil(size / BUCKET_BYTES)
    if for_memory > parallelism:
        for_memory = math.ceil(for_memory / parallelism - 0.5) * parallelism
    for_cores = min(parallelism, math.ceil(size / _MIN_BUCKET_BYTES))
    return min(max(for_memory, for_cores, 1), _MAX_BUCKETS)


def _memory_bytes(view: ColumnarView | FrameView, parallelism: int) -> int:
    """About how many bytes a view's rows take in memory."""
    if isinstance(view, ColumnarView):
        return view.estimate.memory_bytes
    round_bytes = parallelism * BUCKET_BYTES
    if view.estimate is None:
        return _UNKNOWN_ROUNDS * round_bytes
    return min(view.estimate.memory_bytes, _MAX_ROUNDS * round_bytes)


def _rows(view: ColumnarView | FrameView, parallelism: int) -> int:
    """About how many rows a view has."""
    if isinstance(view, ColumnarView):
        return view.estimate.rows
    return _memory_bytes(view, parallelism) // row_width(view.spec)


def _shuffled_bytes(view: ColumnarView | FrameView, tasks: Tasks, parallelism: int) -> int:
    """About how many bytes of a view's rows are shuffled, for the number of buckets."""
    size, entity_keys = _memory_bytes(view, parallelism), view.spec.entity_keys
    if entity_keys is None:
        return size
    # Of each task some rows match an entity row; where it splits rows more than once, of each part. A bucket that
    # grows larger than was estimated is joined in chunks.
    if isinstance(view, ColumnarView):
        if not view.estimate.rows:
            return size
        readers = sum(any(split.view_id == view.spec.view_id for split in task) for task in tasks)
        return min(size, readers * len(entity_keys.codes) * size // view.estimate.rows)
    readers = max(parallelism, math.ceil(size / _FRAME_TASK_BYTES))
    return min(size, readers * len(entity_keys.codes) * row_width(view.spec))


def _histories(session: SparkSession, stage: _Stage) -> Iterator[DataFrame]:
    """The blocks of the views: of all that are files, and of each that is a frame."""
    buckets, tasks = stage.group.buckets, stage.tasks
    flush = min(max(buckets * _BLOCK_BYTES, _MIN_FLUSH), _MAX_FLUSH)
    files = {view.spec.view_id: view.spec for view in stage.views if isinstance(view, ColumnarView)}
    if files:
        read = ReadBlocks(tasks, files, buckets, flush)
        yield session.range(0, len(tasks), 1, max(1, len(tasks))).mapInArrow(read, SCHEMA)
    for view in stage.views:
        if isinstance(view, FrameView):
            yield view.frame().mapInArrow(SplitRows(view.spec, buckets, flush), SCHEMA)
