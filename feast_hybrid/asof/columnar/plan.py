"""The columnar strategy in Spark: what it can do, how much there is to read, and the frames that do it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feast_hybrid.arrow.types import arrow_type_of_spark
from feast_hybrid.asof.columnar.blocks import BUCKET, PART, SCHEMA
from feast_hybrid.asof.columnar.join import EntityBlocks, JoinBlocks
from feast_hybrid.asof.columnar.keys import KeyForm
from feast_hybrid.asof.columnar.ranks import rankable
from feast_hybrid.asof.columnar.read import ReadBlocks
from feast_hybrid.asof.columnar.spec import EntitySpec, GroupSpec, Piece, SourceColumn, ViewSpec
from feast_hybrid.asof.prepare import AT

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from feast_hybrid.asof.entity_stats.model import Known
    from feast_hybrid.asof.prepare import History, Prepared
    from feast_hybrid.asof.scan import Scan, ScanFile

#: Bytes of a bucket's rows, as they are in memory; and the least for which a further task is worth its start.
BUCKET_BYTES, _LEAST_BUCKET = 64 << 20, 8 << 20
_MOST_BUCKETS = 4096
#: What each reading task takes.
Tasks = tuple[tuple[Piece, ...], ...]
#: Bytes of files that a reading task takes. Between two tasks a Python worker does nothing for some 100 ms.
_LEAST_TASK, _MOST_TASK = 8 << 20, 512 << 20
#: And of one file at a time: Arrow reads them ahead.
_MOST_PIECE = 64 << 20
#: Rows are split when there are this many bytes of them for each bucket, within bounds.
_BLOCK, _LEAST_FLUSH, _MOST_FLUSH = 128 << 10, 48 << 20, 192 << 20

#: Settings with which Spark's reader does what pyarrow does not, and the value at which it does not.
_READER_SETTINGS = {
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}


def hindrance(history: History) -> str | None:
    """Why a view cannot be joined by columns, if it cannot; runs nothing."""
    recipe, view = history.recipe, history.view
    if view.scan is None:
        return view.no_scan
    if not recipe.keys:
        return "no keys: all of it would be one bucket"
    for _, name, kind, domain in recipe.keys:
        if KeyForm.of(domain) is None or arrow_type_of_spark(kind) is None:
            return f"key column {name!r} is {kind.simpleString()}, which blocks do not hold"
    for name, kind in (recipe.timestamp, *([recipe.created] if recipe.created else []), *recipe.values):
        if arrow_type_of_spark(kind) is None:
            return f"column {name!r} is {kind.simpleString()}, which blocks do not hold"
        if not rankable(kind):
            return f"feature column {name!r} is {kind.simpleString()}: ties in it are ranked by Spark"
    return None


def entity_hindrance(prepared: Prepared, session: SparkSession) -> str | None:
    """Why entity rows cannot travel in blocks, if they cannot."""
    kinds = {field.name: field.dataType for field in prepared.entities.schema.fields}
    for name, column in zip(prepared.names, prepared.columns, strict=True):
        if arrow_type_of_spark(kinds[column]) is None:
            return f"entity column {name!r} is {kinds[column].simpleString()}, which blocks do not hold"
    for name, fine in _READER_SETTINGS.items():
        found = setting(session, name)
        if found is not None and found.upper() != fine.upper():
            return f"{name} is {found}, which only Spark's reader knows"
    return None


@dataclass(frozen=True)
class Measure:
    """What is to be read of a view, reckoned from the sizes of its files and one footer.

    Args:
        rows: How many rows there are.
        read: Bytes of the needed columns in the files.
        memory: Bytes of the needed columns in memory.
        share: Which part of the files' bytes the needed columns are.
    """

    rows: int
    read: int
    memory: int
    share: float

    def scaled(self, by: float) -> Measure:
        """Of a part of the files."""
        return Measure(int(self.rows * by), int(self.read * by), int(self.memory * by), self.share)


def measure(scan: Scan, view: ViewSpec) -> Measure:
    """Reckon what is to be read; opens the largest file.

    Raises:
        Exception: Whatever the file system or pyarrow raises where the file cannot be read.
    """
    import pyarrow.parquet as pq

    if not scan.files:
        return Measure(0, 0, 0, 1.0)
    largest = max(scan.files, key=lambda file: file.size)
    source = scan.open(largest.path)
    try:
        with pq.ParquetFile(source) as file:
            footer, names = file.metadata, [path.split(".")[0] for path in _leaves(file)]
    finally:
        if hasattr(source, "close"):
            source.close()
    wanted = {column.name.lower() for column in view.columns if column.name not in largest.partitions}
    read = unpacked = 0
    for group in range(footer.num_row_groups):
        for n, name in enumerate(names):
            if name.lower() in wanted:
                column = footer.row_group(group).column(n)
                read += column.total_compressed_size
                unpacked += column.total_uncompressed_size
    scale = scan.size / max(largest.size, 1)
    fixed = sum(_width(field.type) for field in view.block_schema())
    # Text and lists may be shorter in the file than in memory, where it holds each distinct value once.
    memory = max(fixed * footer.num_rows, unpacked)
    share = min(1.0, read / max(largest.size, 1))
    return Measure(int(footer.num_rows * scale), int(read * scale), int(memory * scale), share)


def _leaves(file: object) -> list[str]:
    schema = file.schema  # type: ignore[attr-defined]
    return [schema.column(n).path for n in range(len(schema))]


def _width(kind: pa.DataType) -> int:
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return 16


def key_names(history: History) -> tuple[str, ...]:
    """The entity rows' key columns of a view, in an order of our own: views of the same keys share a shuffle."""
    return tuple(sorted(history.keys))


def view_spec(history: History, part: int) -> ViewSpec:
    """What tasks are told of a view."""
    recipe = history.recipe
    seen: set[str] = set()
    keys = []
    # Keys in the order of the entity frame's names, each followed by those that have to agree with it.
    for name in key_names(history):
        for key, column, kind, domain in recipe.keys:
            if key == name:
                form = KeyForm.of(domain)
                assert form is not None
                keys.append((form, _column(column, kind), key in seen))
                seen.add(key)
    return ViewSpec(
        part=part,
        name=history.name,
        keys=tuple(keys),
        timestamp=_column(*recipe.timestamp),
        created=_column(*recipe.created) if recipe.created else None,
        by_created=history.by_created,
        ttl=history.ttl,
        values=tuple(_column(name, kind) for name, kind in recipe.values),
        ranked=recipe.ranked,
        outputs=tuple(answer_column(part, n) for n in range(len(recipe.values))),
        case_sensitive=recipe.case_sensitive,
    )


def _column(name: str, kind: object) -> SourceColumn:
    found = arrow_type_of_spark(kind)  # type: ignore[arg-type]
    assert found is not None
    return SourceColumn(name, found)


def answer_column(part: int, value: int) -> str:
    """Our name for a feature in the result."""
    return f"__fh_a{part}_{value}"


@dataclass(frozen=True, eq=False)
class ColumnarView:
    """A view that is joined by columns, and the files that are read for it."""

    history: History
    spec: ViewSpec
    measure: Measure
    files: tuple[ScanFile, ...]

    @property
    def scan(self) -> Scan:
        """Its files."""
        scan = self.history.view.scan
        assert scan is not None
        return scan


def bounded(view: ColumnarView, known: Known) -> ColumnarView:
    """The view with what the entity rows rule out: files, times, keys, rows that answer none of them."""
    spec, low = view.spec, None
    if known.low is not None and spec.ttl is not None:
        low = max(known.low - spec.ttl, -(2**63))
    names = key_names(view.history)
    told = replace(spec, low=low, high=known.high, filter=known.filters.get(names), asked=known.pairs.get(names))
    if view.scan.within is None or (low is None and known.high is None):
        return replace(view, spec=told)
    files = view.scan.within(low, known.high)
    share = sum(file.size for file in files) / max(view.scan.size, 1)
    return replace(view, spec=told, files=files, measure=view.measure.scaled(share))


def join(rows: DataFrame, views: Sequence[ColumnarView], *, parallelism: int | None, entity_rows: int) -> DataFrame:
    """The rows with the features of the views, in columns called by :func:`answer_column`.

    One shuffle for each group of views with the same keys; between groups the rows stay blocks.
    """
    import pyarrow as pa
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructField, StructType

    session = rows.sparkSession
    fields = list(rows.schema.fields)
    kinds = []
    for field in fields:
        kind = arrow_type_of_spark(field.dataType)
        assert kind is not None
        kinds.append(pa.field(field.name, kind))
    entities = EntitySpec(AT, pa.schema(kinds))
    stages: list[tuple[EntitySpec, GroupSpec, list[ColumnarView], Tasks]] = []
    by_keys: dict[tuple[str, ...], list[ColumnarView]] = {}
    for view in views:
        by_keys.setdefault(key_names(view.history), []).append(view)
    width = parallelism or _parallelism(session)
    for names, group in by_keys.items():
        keys = tuple(zip(names, group[0].spec.forms, strict=True))
        tasks = tasks_of(group, width)
        size = entity_rows * sum(_width(kind.type) for kind in kinds) + sum(_shuffled(view, tasks) for view in group)
        # What only readers go by does not travel to those who join.
        joined = tuple(replace(view.spec, filter=None, asked=None) for view in group)
        spec = GroupSpec(joined, keys, buckets(size, width))
        stages.append((entities, spec, group, tasks))
        for view in group:
            kinds += [
                pa.field(out, value.kind) for out, value in zip(view.spec.outputs, view.spec.values, strict=True)
            ]
        entities = EntitySpec(AT, pa.schema(kinds))
    answers = []
    for _, _, group, _ in stages:
        for view in group:
            for out, (_, kind) in zip(view.spec.outputs, view.history.recipe.values, strict=True):
                answers.append(StructField(out, kind, True))
    result = StructType([*fields, *answers])
    blocks = rows.mapInArrow(EntityBlocks(*stages[0][:2]), SCHEMA)
    for n, (of_stage, spec, group, tasks) in enumerate(stages):
        then = stages[n + 1][:2] if n + 1 < len(stages) else None
        blocks = blocks.union(_history(session, group, tasks, spec.buckets))
        blocks = blocks.repartition(spec.buckets, BUCKET).sortWithinPartitions(F.col(BUCKET), F.col(PART))
        task = JoinBlocks(of_stage, spec, then, tuple(result.names))
        blocks = blocks.mapInArrow(task, result if then is None else SCHEMA)
    return blocks


def buckets(size: int, parallelism: int) -> int:
    """How many buckets: so that each fits into memory, and that all cores have some, where that is worth it.

    If there are more than cores, as far as ``parallelism`` says how many these are, each gets as many, so that none
    waits for a last one; a bucket may then be half as large again as it should.
    """
    for_memory = math.ceil(size / BUCKET_BYTES)
    if for_memory > parallelism:
        for_memory = math.ceil(for_memory / parallelism - 0.5) * parallelism
    for_cores = min(parallelism, math.ceil(size / _LEAST_BUCKET))
    return min(max(for_memory, for_cores, 1), _MOST_BUCKETS)


def _shuffled(view: ColumnarView, tasks: Tasks) -> int:
    """About how many bytes of a view's rows are shuffled, for the number of buckets."""
    measure, asked = view.measure, view.spec.asked
    if asked is None or not measure.rows:
        return measure.memory
    # Of each task some rows answer an entity row; where it splits rows more than once, of each part. A bucket that
    # grows larger than was reckoned is joined in chunks.
    readers = sum(any(piece.part == view.spec.part for piece in task) for task in tasks)
    return min(measure.memory, readers * len(asked.codes) * measure.memory // measure.rows)


def _history(session: SparkSession, views: Sequence[ColumnarView], tasks: Tasks, buckets: int) -> DataFrame:
    """The blocks of the views' files."""
    flush = min(max(buckets * _BLOCK, _LEAST_FLUSH), _MOST_FLUSH)
    read = ReadBlocks(tasks, {view.spec.part: view.spec for view in views}, buckets, flush)
    return session.range(0, len(tasks), 1, max(1, len(tasks))).mapInArrow(read, SCHEMA)


def tasks_of(views: Sequence[ColumnarView], parallelism: int) -> Tasks:
    """The pieces of files that each reading task takes: some small files, or a range of a large one."""
    needed = sum(file.size * view.measure.share for view in views for file in view.files)
    each = min(max(needed / (2 * parallelism), _LEAST_TASK), _MOST_TASK)
    tasks: list[tuple[Piece, ...]] = []
    pending: list[Piece] = []
    size = 0.0
    for view in views:
        share = max(view.measure.share, 1e-6)
        for file in view.files:
            pieces = max(1, math.ceil(file.size * share / min(each, _MOST_PIECE)))
            step = math.ceil(file.size / pieces)
            for n in range(pieces):
                start = n * step
                piece = Piece(view.spec.part, file.path, start, start + step, file.partitions, view.scan.open)
                pending.append(piece)
                size += step * share
                if size >= each:
                    tasks.append(tuple(pending))
                    pending, size = [], 0.0
    if pending:
        tasks.append(tuple(pending))
    return tuple(tasks)


def _parallelism(session: SparkSession) -> int:
    """How many tasks run at once, as far as the settings say it."""
    for name in ("spark.default.parallelism", "spark.sql.shuffle.partitions"):
        found = setting(session, name)
        if found is not None and found.isdigit():
            return int(found)
    return 8


def setting(session: SparkSession, name: str) -> str | None:
    """A session's setting or its default; None where this Spark has no such setting, or it is not set."""
    from pyspark.errors import PySparkException

    try:
        return session.conf.get(name)  # with a second argument, Spark's own default would not be given
    except PySparkException:
        return None
