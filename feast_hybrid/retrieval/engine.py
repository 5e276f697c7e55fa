"""Which engine answers a request: this process, or Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.errors import NotSupportedError
from feast_hybrid.retrieval.local_history import local_history

if TYPE_CHECKING:
    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.retrieval.history import History, HistoryRequest


def history_of(request: HistoryRequest) -> History:
    """The history of a request, by the engine that the configuration asks for, or else by the one that suits it.

    Raises:
        NotSupportedError: the configuration asks for the local engine, and something of the request is Spark's.
        HybridError: whatever the engine's planning raises.
    """
    if request.store.engine == "spark":
        return _by_spark(request)
    found = local_history(request, lambda: _by_spark(request).rows)
    if not isinstance(found, Ineligible):
        return found
    refuse_where_local(request.store, request.what, found)
    return _by_spark(request, f"spark ({found.reason})")


def refuse_where_local(store: HybridSparkOfflineStoreConfig, what: str, found: Ineligible) -> None:
    """Refuse what is Spark's where the configuration asks for the local engine.

    Raises:
        NotSupportedError: it does.
    """
    if store.engine == "local":
        raise NotSupportedError(
            f"{what}: offline_store.engine is 'local', and the local engine cannot answer this: {found.reason}. "
            "Set it to 'auto', and Spark answers what is Spark's."
        )


def _by_spark(request: HistoryRequest, engine: str = "") -> History:
    from feast_hybrid.retrieval.spark_history import spark_history

    return spark_history(request, engine)
