"""A view whose rows Spark hands to the tasks of a columnar join, for whatever is no file of ours to read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from feast_hybrid.arrow.validity import first_invalid
from feast_hybrid.asof.columnar.eligibility import frame_spec, key_names
from feast_hybrid.asof.columnar.estimate import ScanEstimate, oldest_wanted, value_width
from feast_hybrid.asof.prepare import CREATED, TS, WHOLE, Cut
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.asof.settings import get_setting
from feast_hybrid.spark.arrow_frames import frame_of
from feast_hybrid.spark.statistics import frame_bytes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.spec import KeyFilter, ViewSpec
    from feast_hybrid.asof.prepare import History

#: Rows in memory take so many times what Spark says of their files.
_BYTES_PER_STATED_BYTE = 2
#: No more keys than the first are literals in Spark's plan, by which formats leave out files and row groups; no more
#: than the second are a table to which Spark joins the history before it hands it out.
_MAX_LITERAL_KEYS, _MAX_JOINED_KEYS = 100, 200_000
#: Spark's bound for the bytes of a batch, and the number with which it looks at none.
_BATCH_BYTES, _NO_BOUND = "spark.sql.execution.arrow.maxBytesPerBatch", 2**31 - 1
#: An estimate of more is made anew once the entity rows' times are known.
_LARGE = 1 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameView:
    """A view that is joined by columns, of rows by Spark.

    Args:
        history: The view's, in our own columns.
        spec: What tasks get of it.
        reason: Why its files are not read by tasks.
        estimate: How much there is to read; None where that is not known.
        cut: What Spark reads of the history.
        joined_keys: The keys to which Spark cuts it by a join, by the names of their columns.
    """

    history: History
    spec: ViewSpec
    reason: str
    estimate: ScanEstimate | None
    cut: Cut = WHOLE
    joined_keys: pa.Table | None = None

    @property
    def key_names(self) -> tuple[str, ...]:
        """The entity rows' key columns, in our order."""
        return key_names(self.history)

    def frame(self) -> DataFrame:
        """The rows: keys in our order, times, features."""
        history = self.history
        times = [TS, *([CREATED] if history.created else [])]
        rows = history.frame if self.cut == WHOLE else history.make_frame(self.cut)
        rows = rows.select(*self.key_names, *times, *history.values)
        if self.joined_keys is None:
            return rows
        wanted = frame_of(rows.sparkSession, self.joined_keys)
        return rows.join(F.broadcast(wanted), list(self.key_names), "left_semi")


def frame_view(
    history: History, view_id: int, reason: str, estimate: ScanEstimate | None = None
) -> FrameView | Ineligible:
    """The view as it is joined by columns of rows by Spark, or why it cannot be.

    Args:
        history: The view's.
        view_id: Its number in the join.
        reason: Why its files are not read by tasks.
        estimate: How much there is to read; Spark is asked where it is not given.
    """
    spec = frame_spec(history, view_id)
    if isinstance(spec, Ineligible):
        return spec
    estimate = estimate or _estimate(history.frame, spec)
    return FrameView(history=history, spec=spec, reason=reason, estimate=estimate)


def with_cut(
    view: FrameView,
    *,
    low: int | None,
    high: int | None,
    key_filter: KeyFilter | None,
    entity_keys: EntityKeys | None,
    max_bytes: int,
) -> FrameView:
    """The view without what the entity rows rule out: times and keys in Spark's plan, what is left of it in tasks.

    Args:
        view: All of it.
        low: The first time of the entity rows in microseconds, where it is known.
        high: Their last time.
        key_filter: Their keys.
        entity_keys: Their keys and times.
        max_bytes: How many bytes the view may carry of each of these: it carries them by itself.
    """
    keys = _known_keys(view.spec, key_filter, entity_keys)
    literals = _literals(view.history, keys)
    cut = Cut(low=oldest_wanted(low, view.spec.ttl), high=high, keys=literals)
    joined_keys = None if literals is not None else _joined_keys(view, keys, max_bytes)
    if literals is not None or joined_keys is not None or (key_filter is not None and key_filter.nbytes > max_bytes):
        key_filter = None
    spec = replace(view.spec, low=cut.low, high=cut.high, key_filter=key_filter, entity_keys=entity_keys)
    estimate = view.estimate
    if cut != WHOLE and (estimate is None or estimate.memory_bytes > _LARGE):
        estimate = _estimate(view.history.make_frame(cut), spec)
    return replace(view, spec=spec, estimate=estimate, cut=cut, joined_keys=joined_keys)


def _estimate(frame: DataFrame, spec: ViewSpec) -> ScanEstimate | None:
    size = frame_bytes(frame)
    if size is None:
        return None
    memory = size * _BYTES_PER_STATED_BYTE
    return ScanEstimate(memory // row_width(spec), size, memory, 1.0)


def batch_limit_note(view: FrameView) -> str | None:
    """Why Spark takes about twice as long to hand out the view's rows; None where it does not, or ought to.

    Spark weighs a batch after each row by adding up the buffers of all columns, unless
    ``spark.sql.execution.arrow.maxBytesPerBatch`` is the largest number there is (seen on 4.3). The bound is good for
    large values alone.
    """
    limit = get_setting(view.history.frame.sparkSession, _BATCH_BYTES) or ""
    number = limit.removesuffix("b")
    is_bound = number.isdigit() and int(number) < _NO_BOUND
    if not is_bound or not all(pa.types.is_primitive(field.type) for field in view.spec.block_schema()):
        return None
    return (
        f"Spark would hand out these rows in half the time if the session had {_BATCH_BYTES}={_NO_BOUND}: with "
        f"{limit} it weighs a batch after each row"
    )


def row_width(spec: ViewSpec) -> int:
    """About how many bytes a row takes in blocks."""
    return sum(value_width(field.type) for field in spec.block_schema())


def _known_keys(
    spec: ViewSpec, key_filter: KeyFilter | None, entity_keys: EntityKeys | None
) -> list[pa.Array] | None:
    """The key columns of the entity rows as they stand in blocks; None where they are not known or too many."""
    if entity_keys is not None:
        return entity_keys.distinct_keys() if entity_keys.count <= _MAX_JOINED_KEYS else None
    exact = None if key_filter is None else key_filter.exact
    if not isinstance(exact, tuple):
        return None if exact is None else [pa.array(exact)]
    values = pa.array(exact, pa.binary())
    return [pa.Array.from_buffers(spec.forms[0].stored, len(values), values.buffers())]


def _literals(history: History, keys: list[pa.Array] | None) -> tuple[Any, ...] | None:
    """The keys as values of the source's column; None where they are none or too many."""
    if keys is None or not history.takes_literal_keys or len(keys[0]) > _MAX_LITERAL_KEYS:
        return None
    if pa.types.is_string(keys[0].type) and first_invalid(keys[0]) is not None:
        return None  # bytes that are no text, which Python cannot write
    return tuple(keys[0].to_pylist())


def _joined_keys(view: FrameView, keys: list[pa.Array] | None, max_bytes: int) -> pa.Table | None:
    """The keys as Spark's columns have them; None where they are too many, or stand otherwise in blocks."""
    if keys is None or any(form.stored != form.data_type for form in view.spec.forms):
        return None
    table = pa.table(dict(zip(view.key_names, keys, strict=True)))
    return table if table.nbytes <= max_bytes else None
