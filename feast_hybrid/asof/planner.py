"""Which strategy joins which view, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from feast_hybrid.asof.columnar.executor_check import executors_fail
from feast_hybrid.asof.columnar.plan import (
    ColumnarView,
    bounded,
    entity_hindrance,
    hindrance,
    key_names,
    measure,
    setting,
    view_spec,
)
from feast_hybrid.asof.entity_stats.model import EntityFacts, Known, known

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from feast_hybrid.asof.prepare import Prepared


#: Below this, a pass over entity rows of unknown number may take longer than what it spares; and without it, nobody
#: knows how many buckets they need.
SMALL = 32 << 20
#: With no more entity rows than this, Spark's strategies cut a history to their keys before they shuffle it.
FEW_ROWS = 200_000
#: Where Spark has no bound on the bytes of an Arrow batch, a bucket's blocks travel in one, which holds 2 GiB.
_UNBOUNDED_BATCHES = 1 << 30
_BATCH_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one view is joined.

    Args:
        view: The view's name.
        strategy: ``columnar`` or ``window``.
        reason: Why this one.
        reads: What is read of its files, where that is known.
    """

    view: str
    strategy: str
    reason: str
    reads: str = ""


@dataclass(frozen=True, kw_only=True)
class JoinPlan:
    """How the views are joined, in their order.

    Args:
        steps: One for each view.
        entities: What is known of the entity rows, in words.
        entity_rows: How many there are, where it is known.
        columnar: By their places the views that are joined by columns.
        cut: Whether Spark's strategies cut histories to the entity rows' keys first.
    """

    steps: tuple[Step, ...]
    entities: str = ""
    entity_rows: int | None = None
    columnar: dict[int, ColumnarView] = field(default_factory=dict, repr=False, compare=False)
    cut: bool = False

    def describe(self) -> str:
        """One line for each view: its name, the strategy, the reason; and what was known of the entity rows."""
        if not self.steps:
            return "no views: the entity rows as they are"
        lines = [
            f"view {s.view!r}: {s.strategy} ({s.reason})" + (f"; reads {s.reads}" if s.reads else "")
            for s in self.steps
        ]
        return "\n".join([*lines, *([f"entity rows: {self.entities}"] if self.entities else [])])


def choose(prepared: Prepared, strategy: str, facts: EntityFacts, parallelism: int | None = None) -> JoinPlan:
    """Choose a strategy for each view."""
    session = prepared.entities.sparkSession
    reasons: dict[int, str] = {}
    views: dict[int, ColumnarView] = {}
    if strategy in ("auto", "columnar"):
        least = SMALL if strategy == "auto" and facts.rows is None else 0
        views = _by_columns(prepared, session, reasons, least, parallelism)
    about = Known(facts.rows, facts.low, facts.high)
    if views:
        groups = {key_names(view.history): view.spec.forms for view in views.values()}
        about = known(facts, prepared, list(groups.items()))
        views = {n: bounded(view, about) for n, view in views.items()}
    # Only where they are at hand: a caller's frame may be dear to evaluate once more.
    cut = strategy == "auto" and facts.rows is not None and facts.rows <= FEW_ROWS
    steps = []
    for n, history in enumerate(prepared.histories):
        if n in views:
            asked = "asked for" if strategy == "columnar" else "blocks of columns are the cheapest"
            step = Step(view=history.name, strategy="columnar", reason=asked, reads=_reads(views[n]))
        else:
            reason = "asked for" if strategy == "window" else f"not columnar: {reasons.get(n)}"
            step = Step(view=history.name, strategy="window", reason=reason)
        steps.append(step)
    return JoinPlan(steps=tuple(steps), entities=_entities(about), entity_rows=about.rows, columnar=views, cut=cut)


def _by_columns(
    prepared: Prepared, session: SparkSession, reasons: dict[int, str], least: int, parallelism: int | None
) -> dict[int, ColumnarView]:
    """The views to be joined by columns, if ``least`` bytes are read; for the others ``reasons`` is given why not."""
    views: dict[int, ColumnarView] = {}
    common: str | None = None
    for n, history in enumerate(prepared.histories):
        why = hindrance(history)
        scan = history.view.scan
        if why is None:
            common = common or entity_hindrance(prepared, session)
            why = common
        if why is None and scan is not None:
            spec = view_spec(history, n)
            try:
                views[n] = ColumnarView(history, spec, measure(scan, spec), scan.files)
            except Exception as error:
                # Whatever it is, Spark's reader may know better. Its text may hold what the file system was given.
                why = f"a footer cannot be read from {scan.where}: {type(error).__name__}"
        if why is not None:
            reasons[n] = why
    total = sum(view.measure.memory for view in views.values())
    if (setting(session, _BATCH_BYTES) or "-").startswith("-") and total > _UNBOUNDED_BATCHES:
        why = f"this Spark has no {_BATCH_BYTES}, and there is too much for batches without it"
        reasons.update(dict.fromkeys(views, why))
        return {}
    if sum(view.measure.read for view in views.values()) < least:
        reasons.update(dict.fromkeys(views, "little to read for entity rows that may be many"))
        return {}
    for n, view in list(views.items()):
        check = executors_fail(session, view.scan, parallelism)
        if check is not None:
            reasons[n] = check
            del views[n]
    return views


def _reads(view: ColumnarView) -> str:
    spec = view.spec
    parts = [
        f"{len(spec.columns)} columns of {len(view.files)} files on {view.scan.where}",
        f"about {_size(view.measure.read)} of {_size(view.scan.size)}",
    ]
    if spec.high is not None:
        parts.append("row groups within the entity rows' times")
    if spec.filter is not None:
        parts.append("rows of their keys")
    if spec.asked is not None:
        parts.append("passes on what answers one of them")
    return ", ".join(parts)


def _entities(about: Known) -> str:
    if about.rows is None:
        return ""
    return f"{about.rows:,}" + (", counted by a pass over them" if about.asked else "")


def _size(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
