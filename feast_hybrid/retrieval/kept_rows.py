"""Rows that materialisation has kept of a view that is made of others, or by a query."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from feast.batch_feature_view import BatchFeatureView

from feast_hybrid.sources.declared import transforms
from feast_hybrid.sources.file_schema import source_errors
from feast_hybrid.sources.moved_rows import is_missing

if TYPE_CHECKING:
    from feast.feature_view import FeatureView

    from feast_hybrid.sources.spec import SourceSpec

logger = logging.getLogger(__name__)


def kept_rows(view: FeatureView, source: SourceSpec) -> SourceSpec | None:
    """Where materialisation has put the rows that history of a view reads; None where it reads the view's source.

    As Feast's Spark store has it: where ``offline=True``, it is a path, and something is there. The path is that of
    the sink of a view that is made of others, or the one that a ``SparkSource`` of Feast's has beside its query.
    """
    kept: SourceSpec | None = None
    if not getattr(view, "offline", False):  # a label view has no such word
        return None
    if view.source_views:
        kept = source if transforms(view) else None
    elif isinstance(view, BatchFeatureView):
        kept = source.written_to
    if kept is None or kept.location is None:
        return None
    with source_errors(kept):
        missing = is_missing(kept)
    if missing:
        instead = "its transformation is run" if transforms(view) else "its query is read"
        logger.warning(
            "view %r: nothing is at its sink yet (%s); %s instead. Materialise it first.",
            view.name,
            kept.describe(),
            instead,
        )
        return None
    return kept
