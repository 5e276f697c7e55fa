"""A request for historical features, and what an engine makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from feast_hybrid.errors import EntityFrameError
from feast_hybrid.retrieval.local_frames import is_spark_frame, rows_of_frame

if TYPE_CHECKING:
    from feast.infra.registry.base_registry import BaseRegistry
    from feast.on_demand_feature_view import OnDemandFeatureView

    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.files.listed_tables import ListedTable
    from feast_hybrid.retrieval.job import HybridRetrievalMetadata
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.pandas_rows import PandasRows
    from feast_hybrid.retrieval.request import RequestedView
    from feast_hybrid.sources.tables import VersionKey


@dataclass(frozen=True, kw_only=True, eq=False)
class HistoryRequest:
    """What is asked of an engine.

    Attributes:
        store: the configuration.
        views: what is asked for.
        feature_refs: ``view:feature`` each.
        entity_df: as the caller gave it.
        dates: start and end, used where ``entity_df`` is None.
        by_created: whether a row only counts from its created time on.
        on_demand: on-demand views of the request.
        registry: knows the sources that SQL text may name.
        project: the project in the registry.
        tables: the tables that were opened for it, each in one version for all engines that are asked.
    """

    store: HybridSparkOfflineStoreConfig
    views: Sequence[RequestedView]
    feature_refs: Sequence[str]
    entity_df: Any
    dates: tuple[datetime | None, datetime | None]
    by_created: bool
    on_demand: Sequence[OnDemandFeatureView] = field(default_factory=tuple)
    registry: BaseRegistry
    project: str
    tables: dict[VersionKey, ListedTable] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """How errors call the result."""
        return f"historical features of {', '.join(view.name for view in self.views)}"

    @property
    def keys(self) -> list[str]:
        """The join keys of all views, as entity rows call them."""
        return list(dict.fromkeys(key for view in self.views for key, _ in view.keys))

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Pairs of (view, output column)."""
        return [(view.name, output) for view in self.views for _, output in view.features]

    @cached_property
    def given_rows(self) -> PandasRows | None:
        """The entity rows of a frame of this process, made once, since a stream can be read once; None for others.

        Raises:
            EntityFrameError: they cannot be used.
        """
        if self.entity_df is None or isinstance(self.entity_df, str) or is_spark_frame(self.entity_df):
            return None
        return rows_of_frame(self.entity_df)

    def require_request_data(self, columns: Sequence[str]) -> None:
        """Refuse entity rows without a column that an on-demand view takes from the request.

        Raises:
            EntityFrameError: it names the view, and the columns that are missing.
        """
        for view in self.on_demand if self.entity_df is not None else ():
            missing = [name for name in view.get_request_data_schema() if name not in columns]
            if missing:
                raise EntityFrameError(
                    f"entity_df lacks the request data {', '.join(missing)} of on-demand feature view "
                    f"{view.projection.name_to_use()!r}; it has {', '.join(columns)}."
                )


@dataclass(frozen=True, eq=False)
class History:
    """What an engine makes of a request.

    Attributes:
        rows: the entity rows with their features, lazily.
        metadata: gives what Feast tells of them; may run a job.
        order: of rows in files: keys first, then times.
    """

    rows: JobRows
    metadata: Callable[[], HybridRetrievalMetadata]
    order: tuple[str, ...]
