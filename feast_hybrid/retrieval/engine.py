"""Which engine answers a request: this process, or Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feast_hybrid.asof.scan import Ineligible
from feast_hybrid.errors import NotSupportedError
from feast_hybrid.retrieval.local_history import local_history
from feast_hybrid.retrieval.local_pull import local_pull
from feast_hybrid.spark.installed import require_pyspark

if TYPE_CHECKING:
    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.retrieval.frame_rows import FrameRows
    from feast_hybrid.retrieval.history import History, HistoryRequest
    from feast_hybrid.retrieval.job_rows import JobRows
    from feast_hybrid.retrieval.pulled import Pull


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
    return _by_spark(request, found.reason)


def pull_of(pull: Pull) -> JobRows:
    """The rows of a pull, by the engine that the configuration asks for, or else by the one that suits it.

    Raises:
        NotSupportedError: the configuration asks for the local engine, and something of the pull is Spark's.
        HybridError: whatever the engine's planning raises.
    """
    if pull.store.engine == "spark":
        return _pulled_by_spark(pull)
    found = local_pull(pull, lambda: _pulled_by_spark(pull))
    if not isinstance(found, Ineligible):
        return found
    refuse_where_local(pull.store, pull.what, found)
    rows = _pulled_by_spark(pull, found.reason)
    rows.engine = f"spark ({found.reason})"
    return rows


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


def _by_spark(request: HistoryRequest, reason: str | None = None) -> History:
    """By Spark, since it was asked for, or for the reason why the local engine cannot answer."""
    require_pyspark(_with_reason(request.what, reason))
    from feast_hybrid.retrieval.spark_history import spark_history

    return spark_history(request, "" if reason is None else f"spark ({reason})")


def _with_reason(what: str, reason: str | None) -> str:
    return what if reason is None else f"{what} ({reason})"


def _pulled_by_spark(pull: Pull, reason: str | None = None) -> FrameRows:
    require_pyspark(_with_reason(pull.what, reason))
    from feast_hybrid.retrieval.pull import spark_pull

    return spark_pull(pull)
