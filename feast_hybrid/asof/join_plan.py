"""How views are joined, in words and for those who join them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.columnar_view import ColumnarView
    from feast_hybrid.asof.columnar.estimate import ScanEstimate
    from feast_hybrid.asof.columnar.frame_view import FrameView
    from feast_hybrid.asof.columnar.spec import ViewSpec
    from feast_hybrid.asof.scan import Scan, ScanFile


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one view is joined.

    Args:
        view: The view's name.
        strategy: ``columnar`` or ``window`` on Spark, ``local`` in this process.
        reason: Why this one.
        where: Where its history is, in words.
        reads: What is read of it, where that is known.
        notes: What else there is to say of its files.
    """

    view: str
    strategy: str
    reason: str
    where: str = ""
    reads: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JoinPlan:
    """How the views are joined, in their order.

    Args:
        steps: One for each view.
        entities: What is known of the entity rows, in words.
        entity_rows: How many there are, where it is known.
        columnar: By their places the views that are joined by columns.
        entity_schema: How the entity rows travel with these.
        cut: Whether Spark's strategies cut histories to the entity rows' keys first.
        engine: Which engine joins them, and why, in words; empty where the caller chose none.
    """

    steps: tuple[Step, ...]
    entities: str = ""
    entity_rows: int | None = None
    columnar: dict[int, ColumnarView | FrameView] = field(default_factory=dict, repr=False, compare=False)
    entity_schema: pa.Schema = field(default_factory=lambda: pa.schema([]), repr=False, compare=False)
    cut: bool = False
    engine: str = ""

    def describe(self) -> str:
        """One line for each view: its name, the strategy, the reason; and what was known of the entity rows."""
        if not self.steps:
            return "no views: the entity rows as they are"
        lines = [
            "; ".join(
                [f"view {s.view!r}: {s.strategy} ({s.reason})", *([f"reads {s.reads}"] if s.reads else []), *s.notes]
            )
            for s in self.steps
        ]
        more = {"entity rows": self.entities, "engine": self.engine}
        return "\n".join([*lines, *(f"{name}: {found}" for name, found in more.items() if found)])


def describe_reads(spec: ViewSpec, scan: Scan, files: Sequence[ScanFile], estimate: ScanEstimate) -> str:
    """What is read of a view's files, in words."""
    parts = [
        f"{len(spec.columns)} columns of {len(files)} files on {scan.where}",
        *([] if estimate.rows_are_guessed else [f"about {estimate.rows:,} rows"]),
        f"about {described_size(estimate.read_bytes)} of {described_size(scan.size)}",
    ]
    if spec.high is not None:
        parts.append("row groups within the entity rows' times")
    if spec.key_filter is not None:
        parts.append("rows of their keys")
    if spec.entity_keys is not None:
        parts.append("passes on what answers one of them")
    return ", ".join(parts)


def described_size(size: int) -> str:
    """A number of bytes, for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
