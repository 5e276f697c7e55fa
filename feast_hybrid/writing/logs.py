"""Logs of the features that a feature service served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from feast_hybrid.arrow.convert import convert_for_writing
from feast_hybrid.arrow.utc import in_instants
from feast_hybrid.errors import WriteError
from feast_hybrid.sources.resolve import destination_spec
from feast_hybrid.spark.installed import require_pyspark
from feast_hybrid.writing.naming import in_spark_task
from feast_hybrid.writing.parquet_files import append_parquet

if TYPE_CHECKING:
    from feast.feature_logging import LoggingConfig, LoggingSource
    from feast.infra.registry.base_registry import BaseRegistry

    from feast_hybrid.config import HybridSparkOfflineStoreConfig


def write_logs(
    store: HybridSparkOfflineStoreConfig,
    data: pa.Table | Path,
    source: LoggingSource,
    logging_config: LoggingConfig,
    registry: BaseRegistry,
) -> None:
    """See :meth:`feast_hybrid.HybridSparkOfflineStore.write_logged_features`."""
    target = destination_spec(logging_config.destination, store.router)
    what = f"logging features to {target.describe()}"
    schema = in_instants(source.get_schema(registry))
    table = convert_for_writing(_rows(data, what), schema, what=what)
    if not table.num_rows:
        return
    if target.file_format == "parquet":
        declared = replace(target, declared=dict(zip(schema.names, schema.types, strict=True)))
        append_parquet(table, declared, lambda: schema, what=what, columns_may_differ=True)
        return
    if in_spark_task():
        raise WriteError(f"{what}: inside a Spark task only Parquet files can be written.")
    require_pyspark(what)
    from feast_hybrid.writing.by_spark import append_by_spark  # Parquet files need no Spark

    append_by_spark(table, target, store, lambda: schema, what=what)


def _rows(data: pa.Table | Path, what: str) -> pa.Table:
    if not isinstance(data, Path):
        return data
    try:
        return ds.dataset(data, format="parquet").to_table()
    except (OSError, ValueError) as error:
        raise WriteError(f"{what}: the logs at {data} cannot be read: {error}") from error
