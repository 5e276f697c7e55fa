"""A view that is joined by columns: which of its files are read, and how much that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feast_hybrid.asof.columnar.eligibility import key_names
from feast_hybrid.asof.columnar.estimate import MAX_PART_BYTES, estimate_scan, pushed_down
from feast_hybrid.asof.scan import Ineligible

if TYPE_CHECKING:
    from feast_hybrid.asof.columnar.eligibility import Eligible
    from feast_hybrid.asof.columnar.entity_keys import EntityKeys
    from feast_hybrid.asof.columnar.estimate import ScanEstimate
    from feast_hybrid.asof.columnar.spec import KeyFilter, ViewSpec
    from feast_hybrid.asof.prepare import History
    from feast_hybrid.asof.scan import Scan, ScanFile


@dataclass(frozen=True, eq=False)
class ColumnarView:
    """A view that is joined by columns.

    Args:
        view: What is known of it.
        spec: What tasks get of it.
        files: Those of its files that are read.
        estimate: How much that is.
    """

    view: Eligible
    spec: ViewSpec
    files: tuple[ScanFile, ...]
    estimate: ScanEstimate

    @property
    def scan(self) -> Scan:
        """All its files, and how they are opened."""
        return self.view.scan

    @property
    def history(self) -> History:
        """The view's, in our own columns."""
        return self.view.history

    @property
    def key_names(self) -> tuple[str, ...]:
        """The entity rows' key columns, in our order."""
        return key_names(self.view.history)


def estimate_view(view: Eligible) -> ColumnarView | Ineligible:
    """The whole view, with what is to be read of it; opens the largest file.

    Returns:
        Why it is not to be read by columns, where its parts are too large.

    Raises:
        Exception: Whatever the file system or pyarrow raises where the file cannot be read.
    """
    estimate = estimate_scan(view.scan, view.spec)
    if estimate.part_bytes > MAX_PART_BYTES:
        size = f"{estimate.part_bytes / (1 << 30):.1f} GiB"
        return Ineligible(f"its stripes hold about {size} of the needed columns, and pyarrow reads a stripe at once")
    return ColumnarView(view, view.spec, view.scan.files, estimate)


def with_pushdown(
    view: ColumnarView,
    *,
    low: int | None,
    high: int | None,
    key_filter: KeyFilter | None,
    entity_keys: EntityKeys | None,
) -> ColumnarView:
    """The view without what the entity rows rule out: files, times, keys, rows that match none of them.

    Args:
        view: All of it.
        low: The first time of the entity rows in microseconds, where it is known.
        high: Their last time.
        key_filter: Their keys.
        entity_keys: Their keys and times.
    """
    spec, files = pushed_down(
        view.spec, view.scan, low=low, high=high, key_filter=key_filter, entity_keys=entity_keys
    )
    if files is view.scan.files:
        return replace(view, spec=spec)
    share = sum(file.size for file in files) / max(view.scan.size, 1)
    return replace(view, spec=spec, files=files, estimate=view.estimate.scaled(share))
