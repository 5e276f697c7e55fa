"""Which strategy joins which view, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from types import UnionType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feast_hybrid.asof.columnar.columnar_view import ColumnarView, estimate_view, with_pushdown
from feast_hybrid.asof.columnar.eligibility import Eligible, check_view, entity_schema
from feast_hybrid.asof.columnar.executor_check import UnfitPython, check_executors, check_python
from feast_hybrid.asof.columnar.frame_view import FrameView, batch_limit_note, frame_view, with_cut
from feast_hybrid.asof.entity_stats.collect import collect_stats, max_key_bytes, stated_stats
from feast_hybrid.asof.entity_stats.model import EntityStats, KeyGroup, PlannerStats
from feast_hybrid.asof.join_plan import JoinPlan, Step, describe_reads, described_size
from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.asof.settings import check_settings, get_setting

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.asof.columnar.estimate import ScanEstimate
    from feast_hybrid.asof.prepare import Prepared
    from feast_hybrid.asof.request import JoinRequest
    from feast_hybrid.asof.view import AsOfView

#: By their places the views that can be joined by columns, and why the others cannot be.
Outcomes = Mapping[int, ColumnarView | FrameView | Ineligible]

#: Below this, a pass over entity rows of unknown number may take longer than what it spares; and without it, nobody
#: knows how many buckets they need.
SMALL = 32 << 20
#: From so many views on it does not: each is a join in Spark's plan, which takes its time for a few rows too.
MANY_VIEWS = 3
#: With no more entity rows than this, Spark's strategies cut a history to their keys before they shuffle it.
FEW_ROWS = 200_000
#: Where Spark has no bound on the bytes of an Arrow batch, a bucket's blocks travel in one, which holds 2 GiB.
_UNBOUNDED_BATCHES = 1 << 30
_BATCH_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"


def choose(prepared: Prepared, request: JoinRequest) -> JoinPlan:
    """Choose a strategy for each view. Runs nothing but statistics.

    Args:
        prepared: What is joined.
        request: What it was made from.
    """
    stats = request.stats or EntityStats()
    schema, outcomes = _columnar_views(prepared, request) if request.strategy != "window" else (pa.schema([]), {})
    views = {n: found for n, found in outcomes.items() if not isinstance(found, Ineligible)}
    known = PlannerStats(stats.rows, stats.low, stats.high)
    if views:
        groups = _groups(views.values())
        needs_pass = stats.rows is None and stats.may_collect
        known = collect_stats(prepared, groups) if needs_pass else stated_stats(stats, prepared, groups)
        max_bytes = max_key_bytes(prepared, groups)
        views = {n: _with_pushdown(view, known, max_bytes) for n, view in views.items()}
    return JoinPlan(
        steps=tuple(
            _step(history.view, views.get(n) or outcomes.get(n), request.strategy)
            for n, history in enumerate(prepared.histories)
        ),
        entities=_describe(known),
        entity_rows=known.rows,
        columnar=views,
        entity_schema=schema,
        # Only where they are at hand: a caller's frame may be dear to evaluate once more.
        cut=request.strategy == "auto" and stats.rows is not None and stats.rows <= FEW_ROWS,
    )


def _step(view: AsOfView, found: ColumnarView | FrameView | Ineligible | None, asked_for: str) -> Step:
    """How a view is joined, in words, by what was found of it."""
    step = Step(view=view.name, strategy="window", reason="asked for", where=view.where, notes=view.notes)
    if found is None:
        return step
    if isinstance(found, Ineligible):
        return replace(step, reason=f"not columnar: {found.reason}")
    reason = "asked for" if asked_for == "columnar" else "blocks of columns are the cheapest"
    if isinstance(found, ColumnarView):
        reads = describe_reads(found.spec, found.scan, found.files, found.estimate)
        return replace(step, strategy="columnar", reason=reason, reads=reads)
    note = batch_limit_note(found)
    return replace(
        step,
        strategy="columnar",
        reason=f"{reason}; rows by Spark: {found.reason}",
        reads=_reads_by_spark(found),
        notes=(*view.notes, *([note] if note else [])),
    )


def _columnar_views(prepared: Prepared, request: JoinRequest) -> tuple[pa.Schema, Outcomes]:
    """How entity rows would travel, and the views as they are joined by columns, or why they cannot be."""
    schema = entity_schema(prepared)
    if isinstance(schema, Ineligible):
        return pa.schema([]), dict.fromkeys(range(len(prepared.histories)), schema)
    session = prepared.entities.sparkSession
    outcomes = _of_files(prepared, session)
    outcomes = _else_of_frames(prepared, outcomes)
    outcomes = _unless_unbounded(session, outcomes)
    if request.strategy == "auto" and (request.stats is None or request.stats.rows is None):
        outcomes = _unless_small(outcomes)
    outcomes = _unless_unreadable(session, prepared, outcomes, request.parallelism)
    return schema, outcomes


def _of_files(prepared: Prepared, session: SparkSession) -> Outcomes:
    """The views whose files tasks can read, or why they cannot."""
    eligible = {n: check_view(history, n) for n, history in enumerate(prepared.histories)}
    if all(isinstance(view, Ineligible) for view in eligible.values()):
        return {n: view for n, view in eligible.items() if isinstance(view, Ineligible)}
    wants_spark = check_settings(session)
    return {
        n: view if isinstance(view, Ineligible) else wants_spark or _estimate(view) for n, view in eligible.items()
    }


def _else_of_frames(prepared: Prepared, outcomes: Outcomes) -> Outcomes:
    """Those whose files tasks cannot read by rows of Spark's, where blocks can hold these."""
    return {
        n: frame_view(prepared.histories[n], n, found.reason) if isinstance(found, Ineligible) else found
        for n, found in outcomes.items()
    }


def _groups(views: Collection[ColumnarView | FrameView]) -> list[KeyGroup]:
    """The views by their keys."""
    forms = {view.key_names: view.spec.forms for view in views}
    # Of all files at once, and of each frame.
    frames = Counter(view.key_names for view in views if isinstance(view, FrameView))
    files = {view.key_names for view in views if isinstance(view, ColumnarView)}
    return [KeyGroup(names, of_names, frames[names] + (names in files)) for names, of_names in forms.items()]


def _with_pushdown(view: ColumnarView | FrameView, known: PlannerStats, max_bytes: int) -> ColumnarView | FrameView:
    """The view without what the entity rows rule out."""
    of_entities: dict[str, Any] = {
        "low": known.low,
        "high": known.high,
        "key_filter": known.key_filters.get(view.key_names),
        "entity_keys": known.entity_keys.get(view.key_names),
    }
    if isinstance(view, ColumnarView):
        return with_pushdown(view, **of_entities)
    return with_cut(view, **of_entities, max_bytes=max_bytes)


def _estimate(view: Eligible) -> ColumnarView | Ineligible:
    try:
        return estimate_view(view)
    except Exception as error:
        # Whatever it is, Spark's reader may know better, or say it better: it signs in with the same credential. The
        # text may hold what the file system was given.
        return Ineligible(f"a footer cannot be read from {view.scan.where}: {type(error).__name__}")


def _unless_unbounded(session: SparkSession, outcomes: Outcomes) -> Outcomes:
    """No view by columns where a bucket's blocks would not fit into a batch of this Spark's."""
    limit = get_setting(session, _BATCH_BYTES) or "-"
    if not limit.startswith("-"):
        return outcomes
    reason = f"this Spark has no {_BATCH_BYTES}, and there is too much for batches without it"
    for views in (FrameView, ColumnarView):
        if sum(_unbounded_bytes(found) for found in outcomes.values()) <= _UNBOUNDED_BATCHES:
            return outcomes
        outcomes = _without(outcomes, reason, views)
    return outcomes


def _unbounded_bytes(view: ColumnarView | FrameView | Ineligible) -> int:
    """How many bytes a view's blocks may take, where no more of them may be."""
    if isinstance(view, Ineligible):
        return 0
    if view.estimate is None:
        return _UNBOUNDED_BATCHES + 1
    # What Spark states of a frame is how its files are compressed, which may be well.
    return view.estimate.memory_bytes * (1 if isinstance(view, ColumnarView) else 4)


def _unless_small(outcomes: Outcomes) -> Outcomes:
    """No view by columns where too little is read, of few views, to count the entity rows for it."""
    estimates = _estimates(outcomes)
    sizes = [SMALL if estimate is None else estimate.read_bytes for estimate in estimates]
    if len(sizes) >= MANY_VIEWS or sum(sizes) >= SMALL:
        return outcomes
    return _without(outcomes, "little to read for entity rows that may be many")


def _estimates(outcomes: Outcomes) -> list[ScanEstimate | None]:
    return [found.estimate for found in outcomes.values() if not isinstance(found, Ineligible)]


def _without(outcomes: Outcomes, reason: str, views: type | UnionType = ColumnarView | FrameView) -> Outcomes:
    return {n: Ineligible(reason) if isinstance(found, views) else found for n, found in outcomes.items()}


def _unless_unreadable(
    session: SparkSession, prepared: Prepared, outcomes: Outcomes, parallelism: int | None
) -> Outcomes:
    """By rows of Spark's what executors cannot open; and none of these where they cannot run this package."""
    files = {n: found for n, found in outcomes.items() if isinstance(found, ColumnarView)}
    checked = check_executors(session, [view.scan for view in files.values()], parallelism)
    changed = dict(outcomes)
    unfit: Ineligible | None = next((found for found in checked if isinstance(found, UnfitPython)), None)
    for (n, view), found in zip(files.items(), checked, strict=True):
        if isinstance(found, Ineligible):
            changed[n] = unfit or frame_view(prepared.histories[n], n, found.reason, view.estimate)
    if unfit is None and any(isinstance(found, FrameView) for found in changed.values()):
        unfit = check_python(session, parallelism)
    return changed if unfit is None else _without(changed, unfit.reason, FrameView)


def _reads_by_spark(view: FrameView) -> str:
    spec = view.spec
    parts = [f"{len(spec.columns)} columns"]
    if view.estimate is not None:
        parts.append(f"about {described_size(view.estimate.read_bytes)} by Spark's statistics")
    if spec.high is not None:
        parts.append("rows within the entity rows' times")
    if view.cut.keys is not None or view.joined_keys is not None:
        parts.append("of their keys")
    elif spec.key_filter is not None:
        parts.append("keeps those of their keys")
    if spec.entity_keys is not None:
        parts.append("passes on what answers one of them")
    return ", ".join(parts)


def _describe(stats: PlannerStats) -> str:
    if stats.rows is None:
        return ""
    return f"{stats.rows:,}" + (", counted by a pass over them" if stats.were_collected else "")
