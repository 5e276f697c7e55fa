"""A Feast offline store over two lakes: HDFS and Azure Data Lake Storage Gen2, joined by Spark.

Names are loaded when they are first used: ``import feast`` alone takes seconds, and the command line and
:mod:`feast_hybrid.asof` do without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feast_hybrid.config import HybridSparkOfflineStoreConfig
    from feast_hybrid.offline_store import HybridSparkOfflineStore
    from feast_hybrid.retrieval.job import HybridSparkRetrievalJob
    from feast_hybrid.sources.data_source import HybridSparkSource
    from feast_hybrid.sources.key_vault import KeyVaultProvider
    from feast_hybrid.sources.saved_datasets import HybridSparkLoggingDestination, SavedDatasetHybridSparkStorage

__all__ = [
    "HybridSparkLoggingDestination",
    "HybridSparkOfflineStore",
    "HybridSparkOfflineStoreConfig",
    "HybridSparkRetrievalJob",
    "HybridSparkSource",
    "KeyVaultProvider",
    "SavedDatasetHybridSparkStorage",
    "__version__",
]

_HOMES = {
    "HybridSparkLoggingDestination": "feast_hybrid.sources.saved_datasets",
    "HybridSparkOfflineStore": "feast_hybrid.offline_store",
    "HybridSparkOfflineStoreConfig": "feast_hybrid.config",
    "HybridSparkRetrievalJob": "feast_hybrid.retrieval.job",
    # A process that reads a source from the registry then knows the other kinds of entries too.
    "HybridSparkSource": "feast_hybrid.sources.saved_datasets",
    "KeyVaultProvider": "feast_hybrid.sources.key_vault",
    "SavedDatasetHybridSparkStorage": "feast_hybrid.sources.saved_datasets",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("feast-hybrid")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
